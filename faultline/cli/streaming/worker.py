"""`faultline worker`"""

from __future__ import annotations

import os
from typing import Annotated

import typer


def worker(
    broker: Annotated[str | None, typer.Option(help="Bootstrap servers, host:port[,host:port…].")] = None,
    group: Annotated[str | None, typer.Option(help="Consumer group shared by all workers of this job.")] = None,
    model: Annotated[str | None, typer.Option(help="Artefact to use instead of the shipped one (a path).")] = None,
    spec: Annotated[str | None, typer.Option(help="Signal spec: a shipped name, as line, or a TOML file.")] = None,
    web_port: Annotated[int | None, typer.Option(help="Port of /healthz, /readyz, /metrics; 0 takes any.")] = None,
    window_classes: Annotated[
        bool | None, typer.Option("--window-classes/--no-window-classes", help="Publish classes of every window.")
    ] = None,
) -> None:
    """Classify windows and publish fault events, until SIGTERM or Ctrl-C.

    Options win over FAULTLINE_ variables. A stop finishes what is in flight; a kill loses nothing.

    Example: `faultline worker --broker localhost:9092`
    """
    # Two lines of TensorFlow's that no log level hides; the compiled engine is no slower without oneDNN.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    # Threads of NumPy's matrix products spin between calls: they took as much of a core as the engine itself.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from stream.settings import load_settings
    from stream.worker.main import run_worker

    settings = load_settings(
        broker=broker, group=group, model=model, spec=spec, web_port=web_port, window_classes=window_classes
    )
    raise typer.Exit(run_worker(settings))
