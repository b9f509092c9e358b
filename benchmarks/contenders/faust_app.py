"""The app that the three Faust contenders share, created and run as in Faust's documentation.

All settings that affect throughput keep Faust's defaults (at-least-once, ``stream_buffer_maxsize`` 4096), except for
the interval of commits, which is the benchmark's. ``producer_acks`` is Faust's default, too, and is set here because it
matters. Leader topic, web server and tables are disabled, as in most deployments of a plain agent.
"""

from __future__ import annotations

import sys
import tempfile
from typing import Any

import faust

from benchmarks.contenders.settings import ContenderSettings, say_ready


def new_app(settings: ContenderSettings) -> faust.App:
    """Create an app that consumes as ``settings.group`` and prints ``ready`` once partitions are assigned."""
    app = faust.App(
        settings.group,
        broker=f"kafka://{settings.bootstrap}",
        # Without a prefix, environment variables such as BROKER_URL would override these arguments.
        env_prefix="BENCH_FAUST_",
        datadir=tempfile.mkdtemp(prefix="bench-faust-"),
        consumer_auto_offset_reset="earliest",
        broker_commit_interval=settings.commit_interval_s,
        producer_acks=-1,
        # Waiting for streams to be empty can prevent a worker from stopping; unfinished records are repeated.
        stream_wait_empty=False,
        topic_disable_leader=True,
        topic_allow_declare=False,
        web_enabled=False,
    )

    @app.on_partitions_assigned.connect(weak=False)  # type: ignore[untyped-decorator]
    async def ready(_: faust.App, assigned: set[Any], **__: Any) -> None:
        if assigned:
            say_ready()

    return app


def run_app(app: faust.App) -> None:
    """Run until SIGTERM, like the command ``faust worker``."""
    # Standard output is reserved for the harness: Faust would draw on it and redirect prints into its log.
    worker = faust.Worker(app, loglevel="WARNING", quiet=True, stdout=sys.stderr, redirect_stdouts=False)
    worker.execute_from_commandline()
