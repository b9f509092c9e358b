"""Define ``faultline trainer``, which runs the sidecar that retrains models."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from faultline.cli.completion import spec_names


def trainer(
    broker: Annotated[
        str | None, typer.Option(help="Bootstrap servers, host:port[,host:port…] [default: FAULTLINE_BROKER].")
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(help="Folder for windows, candidates and reports [default: FAULTLINE_TRAINER_FOLDER]."),
    ] = None,
    spec: Annotated[
        str | None,
        typer.Option(
            autocompletion=spec_names,
            help="Signal spec: the name of one that has a training recipe [default: FAULTLINE_SPEC].",
        ),
    ] = None,
    schedule: Annotated[
        str | None, typer.Option(help="Cron expression in UTC, such as '0 3 * * 0' for Sundays at 03:00.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Path of the artefact to use while the topic has no champion [default: the shipped one]."),
    ] = None,
    web_port: Annotated[
        int | None, typer.Option(help="Port of /healthz, /readyz and /metrics; 0 chooses a free port.")
    ] = None,
) -> None:
    """Run the sidecar: store windows, retrain on request, promote the models that pass the gate.

    A retraining starts on `faultline retrain`, on a schedule, on drift and, if a port and a token are set, on
    POST /retrain. The training runs in a child process with limits of memory and time (FAULTLINE_RETRAIN_…).
    Run one trainer per spec, each with its own folder. A trainer that was stopped or killed resumes its work.

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
