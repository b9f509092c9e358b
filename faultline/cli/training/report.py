"""Define ``faultline report``, which evaluates a model, and ``report open``, which shows a retraining's report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from faultline.output import progress_bar

if TYPE_CHECKING:
    from training.evaluation.conditions.results import RobustnessResult


app = typer.Typer(invoke_without_command=True)


@app.callback()
def report(
    context: typer.Context,
    model: Annotated[Path | None, typer.Option(help="Artefact to evaluate; required except by `report open`.")] = (
        None
    ),
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for report.md, report.html, report.json and figures/; required except by `report open`."
        ),
    ] = None,
    champion: Annotated[
        Path | None, typer.Option(help="Artefact in use, evaluated on the same episodes for comparison.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="classData.csv: test data of an instant model; out-of-distribution data for a line model."),
    ] = None,
    robustness: Annotated[
        Path | None, typer.Option(help="JSON file that `faultline robustness` wrote for the model.")
    ] = None,
    champion_robustness: Annotated[
        Path | None, typer.Option(help="JSON file that `faultline robustness` wrote for the champion.")
    ] = None,
    zero_shot: Annotated[
        Path | None,
        typer.Option(help="JSON file that `faultline zero-shot` wrote; its scores stand beside the model's."),
    ] = None,
    conditions: Annotated[
        int,
        typer.Option(
            min=0, help="Records per condition and level if no --robustness file is given; 0 leaves them out."
        ),
    ] = 110,
    lines: Annotated[int, typer.Option(min=1, help="line: simulated lines per scenario, 64 s each.")] = 30,
    seed: Annotated[
        int | None, typer.Option(help="line: seed of the scenarios [default: one that no training uses].")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with status 1 if the gate is not passed.")] = False,
) -> None:
    """Evaluate a model and write its report.

    A line model is evaluated on newly simulated lines, an instant model on the test part of classData.csv. The gate's
    limits are FAULTLINE_GATE_… variables.

    Examples:
    - `faultline report --model candidate.safetensors --champion line.safetensors --out report`
    - `faultline report open latest`
    """
    if context.invoked_subcommand is not None:
        return
    if model is None or out is None:
        raise typer.BadParameter("give both --model and --out, or: faultline report open latest", context)
    import os

    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    from training.report.collect import ReportOptions, collect, count_steps
    from training.report.render import write

    options = ReportOptions(
        model=model,
        champion=champion,
        data=data,
        robustness=_result(robustness),
        champion_robustness=_result(champion_robustness),
        zero_shot=_result(zero_shot),
        episodes=conditions,
        lines=lines,
        seed=seed,
    )
    with progress_bar("reading the model", 1 + count_steps(options)) as bar:

        def step(doing: str) -> None:
            bar.update(doing, advance=1)

        result = collect(options, step=step)
        step("drawing")
        paths = write(result, out)
    if result.verdict.note is not None:
        typer.echo(result.verdict.note)
    for criterion in result.verdict.failed:
        typer.echo(f"not met: {criterion.text}")
    met = len(result.verdict.criteria) - len(result.verdict.failed)
    passed = "passed" if result.verdict.passed else "not passed"
    typer.echo(f"gate {passed}: {met} of {len(result.verdict.criteria)} criteria met")
    typer.echo("\n".join(str(path) for path in paths))
    if strict and not result.verdict.passed:
        raise typer.Exit(1)


@app.command("open")
def open_report(
    model_id: Annotated[str, typer.Argument(help="Id of a promoted or refused model, or latest.")] = "latest",
    folder: Annotated[
        Path | None, typer.Option(help="The trainer's folder [default: FAULTLINE_TRAINER_FOLDER].")
    ] = None,
    browser: Annotated[
        bool | None,
        typer.Option("--browser/--no-browser", help="Open the report in a browser [default: on a terminal]."),
    ] = None,
) -> None:
    """Print the path of the report of a retraining, and open it in a browser.

    Reports are on the trainer's machine, at the path published on training-reports. The trainer keeps the newest ones.

    Example: `faultline report open line-86c440159967`
    """
    import sys

    from stream.settings import load_settings
    from training.errors import TrainingError
    from training.sidecar.job.spec import PAGE
    from training.sidecar.workdir import find_report

    place = load_settings(trainer_folder=folder).trainer_folder
    found = find_report(place, model_id)
    if found is None:
        what = "any model" if model_id == "latest" else repr(model_id)
        raise TrainingError(
            f"no report of {what} in {place.absolute()}: run this on the trainer's machine, with --folder"
        )
    page = (found / PAGE).absolute()
    typer.echo(page)
    if sys.stdout.isatty() if browser is None else browser:
        typer.launch(page.as_uri())


@app.command("compact")
def compact_report(
    document: Annotated[Path, typer.Argument(help="A report.json that `faultline report` wrote.")],
    out: Annotated[Path, typer.Option(help="Folder for report.md and figures/.")],
) -> None:
    """Write the Markdown page of a report and its figures again, small enough to keep in a repository.

    Nothing is evaluated again. The same report.json gives the same bytes.

    Example: `faultline report compact report/report.json --out docs/reports/line`
    """
    from pydantic import ValidationError

    from training.errors import DataSetError
    from training.report.data import ReportData
    from training.report.render import write_compact

    try:
        data = ReportData.model_validate_json(document.read_text(encoding="utf-8"))
        page = write_compact(data, out)
    except (UnicodeDecodeError, ValidationError) as error:
        raise DataSetError(f"{document}: not a report.json of `faultline report`: {error}".splitlines()[0]) from error
    except OSError as error:
        raise DataSetError(f"{error.filename or document}: {error.strerror}") from error
    typer.echo(page)


def _result(path: Path | None) -> RobustnessResult | None:
    from pydantic import ValidationError

    from training.errors import DataSetError
    from training.evaluation.conditions.results import RobustnessResult

    if path is None:
        return None
    try:
        return RobustnessResult.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        raise DataSetError(f"{path}: not a file of `faultline robustness --json`: {error}".splitlines()[0]) from error
