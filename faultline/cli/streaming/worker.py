"""Define ``faultline worker``, which classifies windows and publishes fault events."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from faultline.cli.completion import spec_names


def worker(
    broker: Annotated[
        str | None, typer.Option(help="Bootstrap servers, host:port[,host:port…] [default: FAULTLINE_BROKER].")
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(help="Consumer group, the same for all workers that share the lines [default: FAULTLINE_GROUP]."),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Path of the artefact to start with [default: the shipped artefact].")
    ] = None,
    spec: Annotated[
        str | None,
        typer.Option(
            autocompletion=spec_names,
            help="Signal spec: a shipped one by name, such as line, or a TOML file [default: FAULTLINE_SPEC].",
        ),
    ] = None,
    web_port: Annotated[
        int | None, typer.Option(help="Port of /healthz, /readyz and /metrics; 0 chooses a free port.")
    ] = None,
    window_classes: Annotated[
        bool | None,
        typer.Option(
            "--window-classes/--no-window-classes", help="Also publish the class of every window, on window-classes."
        ),
    ] = None,
) -> None:
    """Classify windows and publish fault events until SIGTERM or Ctrl-C.

    Options override FAULTLINE_ variables. On SIGTERM or Ctrl-C the worker finishes the windows that it has fetched.
    If a worker is killed, its unconfirmed windows are classified again, so that none is lost.

    Example: `faultline worker --broker localhost:9092`
    """
    # oneDNN makes TensorFlow print two lines that no log level hides; the compiled engine is no slower without it.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    # The threads of NumPy's matrix products spin between calls and took as much CPU time as the engine itself.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from stream.settings import load_settings
    from stream.worker.main import run_worker

    settings = load_settings(
        broker=broker, group=group, model=model, spec=spec, web_port=web_port, window_classes=window_classes
    )
    raise typer.Exit(run_worker(settings))
