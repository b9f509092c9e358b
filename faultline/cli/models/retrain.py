"""Define ``faultline retrain``, which requests a retraining and can wait for its outcome."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from faultline.cli.completion import spec_names
from faultline.output import progress_bar

if TYPE_CHECKING:
    from stream.contract import RetrainRequest, TrainingReport
    from stream.settings import Settings

EXIT = {"promoted": 0, "refused": 1, "failed": 2}
NOT_IN_TIME = 3


def retrain(
    broker: Annotated[
        str | None, typer.Option(help="Bootstrap servers, host:port[,host:port…] [default: FAULTLINE_BROKER].")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the outcome and exit with its status.")] = False,
    timeout: Annotated[float, typer.Option(min=1, help="With --wait: longest wait, seconds.")] = 4 * 3600.0,
    reason: Annotated[str, typer.Option(help="Reason, kept in the audit trail.")] = "",
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Passes over the windows [default: the trainer's setting].")
    ] = None,
    episodes: Annotated[
        int | None, typer.Option(min=100, help="Episodes to simulate [default: the trainer's setting].")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the training [default: the recipe's].")] = None,
    warm_start: Annotated[
        bool | None,
        typer.Option(
            "--from-champion/--from-scratch",
            help="Start from the champion's weights, or from random ones [default: the trainer's setting].",
        ),
    ] = None,
    spec: Annotated[
        str | None, typer.Option(autocompletion=spec_names, help="Signal spec of the model [default: FAULTLINE_SPEC].")
    ] = None,
) -> None:
    """Request a retraining from the trainer.

    With --wait the exit status is 0 if the candidate was promoted, 1 if the gate refused it, 2 if the retraining
    failed, and 3 if there was no outcome in time (the retraining continues).

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
        typer.echo(f"requested: {request.request_id} (with --wait the command follows the retraining)")
        return
    final = _follow(settings, request, timeout)
    if final is None:
        typer.echo(
            f"no outcome after {timeout:.0f} s; the request remains valid: check that `faultline trainer` is running",
            err=True,
        )
        raise typer.Exit(NOT_IN_TIME)
    _show(final, request.note)
    raise typer.Exit(EXIT[final.state])


def _follow(settings: Settings, request: RetrainRequest, timeout_s: float) -> TrainingReport | None:
    """Show a progress bar, or one line per stage if standard error is not a terminal; return the final report."""
    from training.sidecar.requests.client import request_retraining

    with progress_bar("requested; waiting for a trainer", 1.0) as bar:

        def show(report: TrainingReport) -> None:
            stage = {"started": "started", "merged": f"merged: {report.note}"}.get(report.state, report.stage)
            bar.update(stage, completed=report.progress)
            if bar.hidden:
                typer.echo(f"{report.progress:4.0%} {stage}", err=True)

        return asyncio.run(request_retraining(settings, request, wait_s=timeout_s, on_report=show))


def _show(final: TrainingReport, asked: str) -> None:
    compared = "" if final.champion_id is None else f", compared with champion {final.champion_id}"
    typer.echo(f"{final.state}: {final.model_id or 'no model'}{compared}")
    for criterion in final.failed_criteria:
        typer.echo(f"not met: {criterion}")
    if final.metrics:
        typer.echo("  ".join(f"{name} {value:.4g}" for name, value in final.metrics.items()))
    if final.state == "failed" or final.note != asked:
        # The note gives the reason of a failure, or deviations from the configuration.
        typer.echo(final.note)
    if final.report_path is not None:
        typer.echo(final.report_path)
