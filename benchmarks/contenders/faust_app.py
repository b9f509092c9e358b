"""What the three Faust contenders share: an app as Faust's documentation makes one, and how it is run.

Everything about throughput stays as Faust has it by default (at-least-once, ``stream_buffer_maxsize`` 4096), but for
the interval of commits, which is the benchmark's, and ``producer_acks``, which is Faust's default and stands here
because it matters. The leader topic, the web server and tables are off, as in most deployments of a plain agent.
"""

from __future__ import annotations

import sys
import tempfile
from typing import Any

import faust

from benchmarks.contenders.settings import ContenderSettings, say_ready


def new_app(settings: ContenderSettings) -> faust.App:
    """An app that consumes as ``settings.group`` and says ``ready`` once partitions are assigned."""
    app = faust.App(
        settings.group,
        broker=f"kafka://{settings.bootstrap}",
        # Else variables of the environment such as BROKER_URL override what is given here.
        env_prefix="BENCH_FAUST_",
        datadir=tempfile.mkdtemp(prefix="bench-faust-"),
        consumer_auto_offset_reset="earliest",
        broker_commit_interval=settings.commit_interval_s,
        producer_acks=-1,
        # Waiting for streams to be empty can keep a worker from ever stopping; what it leaves is repeated.
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
    """Work until SIGTERM, as the command ``faust worker`` does."""
    # Standard output is for the harness: Faust would draw on it, and turn what is printed into its log.
    worker = faust.Worker(app, loglevel="WARNING", quiet=True, stdout=sys.stderr, redirect_stdouts=False)
    worker.execute_from_commandline()
