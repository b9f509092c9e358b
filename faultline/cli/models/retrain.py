"""`faultline retrain`"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from faultline.output import progress_bar

if TYPE_CHECKING:
    from stream.contract import RetrainRequest, TrainingReport
    from stream.settings import Settings

EXIT = {"promoted": 0, "refused": 1, "failed": 2}
NOT_IN_TIME = 3


def retrain(
    broker: Annotated[str | None, typer.Option(help="Bootstrap servers, host:port[,host:port…].")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Follow it; the exit status is its outcome.")] = False,
    timeout: Annotated[float, typer.Option(min=1, help="--wait: longest wait in seconds.")] = 4 * 3600.0,
    reason: Annotated[str, typer.Option(help="Why, in words, for the audit trail.")] = "",
    epochs: Annotated[int | None, typer.Option(min=1, help="Passes over the windows [default: trainer's].")] = None,
    episodes: Annotated[int | None, typer.Option(min=100, help="Episodes to simulate [default: trainer's].")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of the training [default: the recipe's].")] = None,
    warm_start: Annotated[
        bool | None,
        typer.Option("--from-champion/--from-scratch", help="Begin with its weights [default: trainer's]."),
    ] = None,
    spec: Annotated[str | None, typer.Option(help="Signal spec whose model is to be trained.")] = None,
) -> None:
    """Ask the trainer for a retraining.

    With --wait: exit status 0 promoted, 1 refused by the gate, 2 failed, 3 no outcome in time (it goes on).

    Example: `faultline retrain --wait --reason "40 labels on feeder-7"`
    """
    from model.spec import load_spec
    from stream.contract import RetrainOptions
    from stream.settings import load_settings
    from training.sidecar.requests.client import new_request, request_retraining

    settings = load_settings(broker=broker, spec=spec)
    options = RetrainOptions(epochs=epochs, episodes=episodes, seed=seed, warm_start=warm_start)
    request = new_request(load_spec(settings.spec).name, options, reason)
    if not wait:
        asyncio.run(request_retraining(settings, request))
        typer.echo(f"asked: {request.request_id}; --wait follows the next one")
        return
    final = _follow(settings, request, timeout)
    if final is None:
        typer.echo(f"no outcome after {timeout:.0f} s: is a trainer running? The request stands.", err=True)
        raise typer.Exit(NOT_IN_TIME)
    _show(final, request.note)
    raise typer.Exit(EXIT[final.state])


def _follow(settings: Settings, request: RetrainRequest, timeout_s: float) -> TrainingReport | None:
    """Show a bar, or a line per stage where standard error is no terminal; return the final report."""
    from training.sidecar.requests.client import request_retraining

    with progress_bar("asked; waiting for a trainer", 1.0) as bar:

        def show(report: TrainingReport) -> None:
            stage = {"started": "started", "merged": f"merged: {report.note}"}.get(report.state, report.stage)
            bar.update(stage, completed=report.progress)
            if bar.hidden:
                typer.echo(f"{report.progress:4.0%} {stage}", err=True)

        return asyncio.run(request_retraining(settings, request, wait_s=timeout_s, on_report=show))


def _show(final: TrainingReport, asked: str) -> None:
    beside = "" if final.champion_id is None else f", beside {final.champion_id}"
    typer.echo(f"{final.state}: {final.model_id or 'no model'}{beside}")
    for criterion in final.failed_criteria:
        typer.echo(f"not met: {criterion}")
    if final.metrics:
        typer.echo("  ".join(f"{name} {value:.4g}" for name, value in final.metrics.items()))
    if final.state == "failed" or final.note != asked:
        # Why it failed, or what was done otherwise than configured.
        typer.echo(final.note)
    if final.report_path is not None:
        typer.echo(final.report_path)
