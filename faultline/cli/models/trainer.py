"""`faultline trainer`"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer


def trainer(
    broker: Annotated[str | None, typer.Option(help="Bootstrap servers, host:port[,host:port…].")] = None,
    folder: Annotated[Path | None, typer.Option(help="Keeps windows, candidates and reports there.")] = None,
    spec: Annotated[str | None, typer.Option(help="Signal spec: the name of one that has a recipe, as line.")] = None,
    schedule: Annotated[str | None, typer.Option(help="Cron expression in UTC, e.g. '0 3 * * 0'.")] = None,
    model: Annotated[str | None, typer.Option(help="Champion while the topic has none; else the shipped one.")] = None,
    web_port: Annotated[int | None, typer.Option(help="Port of /healthz, /readyz, /metrics; 0 takes any.")] = None,
) -> None:
    """Run the sidecar: store labelled windows, retrain on request, publish models that pass the gate.

    It retrains on `faultline retrain`, by a schedule, on drift and, where a port and a token are set, on POST /retrain.
    The training runs in a process of its own, with limits of memory and time (FAULTLINE_RETRAIN_…).
    Run one sidecar per spec, each with a folder of its own. Stopped or killed, it resumes where it was.

    Example: `faultline trainer --broker localhost:9092 --folder /var/lib/faultline --schedule '0 3 * * 0'`
    """
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from stream.settings import load_settings
    from training.sidecar.service import run_sidecar

    settings = load_settings(
        broker=broker,
        trainer_folder=folder,
        spec=spec,
        retrain_schedule=schedule,
        model=model,
        trainer_web_port=web_port,
    )
    raise typer.Exit(run_sidecar(settings))
