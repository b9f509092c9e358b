"""Define ``faultline robustness``, which scores a model under conditions that differ from its training."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from faultline.cli.completion import condition_names, model_names
from faultline.output import print_table, progress_bar

if TYPE_CHECKING:
    from rich.table import Table

    from model.artefact import Artefact
    from training.evaluation.conditions.results import ConditionCell, RobustnessResult

TABLE_WIDTH = 132  # width in characters; a narrower terminal scrolls or wraps, since cut-off figures are useless


def robustness(
    model: Annotated[
        str, typer.Argument(autocompletion=model_names, help="Path of an artefact, or the name of a shipped one: line.")
    ],
    quick: Annotated[
        bool, typer.Option("--quick", help="Use a quarter of the episodes: four times faster, wider intervals.")
    ] = False,
    conditions: Annotated[
        str,
        typer.Option(
            autocompletion=condition_names,
            help="Names of conditions or of a group such as base, separated by commas [default: all].",
        ),
    ] = "",
    lives: Annotated[
        int | None,
        typer.Option(
            min=0, help="Lives per cell: long records with several events [default: an eighth of the records]."
        ),
    ] = None,
    data: Annotated[Path | None, typer.Option(help="classData.csv, for an instant model.")] = None,
    json_out: Annotated[Path | None, typer.Option("--json", help="Also write the results to this JSON file.")] = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed of the records [default: a fixed one, so that results are comparable].")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress.")] = False,
) -> None:
    """Score a model under conditions of five severities each, next to fixed baselines.

    Scores are macro-F1, and "merged" counts classes that the spec calls equivalent as one. Windows that are out of
    distribution count as no fault, as in the worker. False alarms are counted after confirmation, per line-hour of
    sixty events. Every condition is scored twice: on records with one early event, and on lives, in which several
    events follow quiet times of any length. The group base holds the conditions of earlier versions.

    Examples:
    - `faultline robustness line --quick --conditions noise,ct_saturation`
    - `faultline robustness line --conditions base --lives 0`
    """
    import os

    # On import, TensorFlow logs to standard error, which also shows the progress bar.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from model.domain import domain_of
    from model.engine import Engine
    from model.errors import ArtefactError
    from stream.detection.classify import with_rejection
    from training.errors import TrainingError
    from training.evaluation.robustness import EPISODES, QUICK_EPISODES, SEED, evaluate
    from training.recipe import EvaluationOptions, Recipe

    if json_out is not None and not json_out.parent.is_dir():
        raise ArtefactError(f"{json_out}: the folder {json_out.parent} does not exist: create it first")
    artefact = _load(model)
    recipe: Recipe = domain_of(artefact.manifest.spec).recipe(artefact.manifest.spec)
    if not recipe.conditions:
        raise TrainingError(f"the recipe for spec {artefact.manifest.spec.name!r} has no conditions to score it under")
    wanted = recipe.conditions.chosen([name.strip() for name in conditions.split(",") if name.strip()])
    fixed = SEED if seed is None else seed
    reference = recipe.reference(EvaluationOptions(fixed, lines=0, data=data), artefact)
    cells = (1 if lives == 0 else 2) * (1 + 5 * len(wanted))
    with Engine(artefact).warm() as engine, progress_bar("compiling", cells, quiet=quiet) as bar:
        begun = itertools.count()

        def show(name: str, level: int) -> None:
            # This is called at the beginning of a cell, when the previous one is complete.
            bar.update(f"{name} {level}" if level else name, completed=next(begun))

        result = evaluate(
            with_rejection(engine.follow_records, artefact.manifest.rejection, artefact.manifest.spec),
            reference,
            wanted,
            fixed,
            QUICK_EPISODES if quick else EPISODES,
            lives=lives,
            model_id=artefact.model_id,
            progress=show,
        )
    if json_out is not None:
        json_out.write_text(result.model_dump_json(indent=1) + "\n", encoding="utf-8")
    show_result(result)


def _load(model: str) -> Artefact:
    from model.artefact import Artefact, shipped

    path = Path(model)
    return Artefact.load(path) if path.suffix or path.exists() else shipped(model)


def show_result(result: RobustnessResult) -> None:
    """Print the cells of a result as tables, those of lives after those of records, and its summary."""
    from training.report.groups import condition_groups, group_sentence

    title = f"{result.spec} {result.model_id}, seed {result.seed}"
    print_table(_table(title, (result.clean, *result.cells)), TABLE_WIDTH)
    if result.clean_life is not None:
        print_table(_table(f"{title}, on lives", (result.clean_life, *result.lives)), TABLE_WIDTH)
    worst = result.worst
    typer.echo(f"worst cell: {worst.condition} {worst.value} {worst.unit}".rstrip() + f", {worst.merged_macro_f1:.3f}")
    typer.echo(group_sentence(condition_groups(result)))
    for name, error in result.mean_corruption_error.items():
        typer.echo(f"mean corruption error against {name}: {error:.1f} % (below 100 % the model is better)")


def _table(title: str, cells: Sequence[ConditionCell]) -> Table:
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    table.add_column("condition")
    baselines = tuple(cells[0].baselines)
    for heading in ("severity", "macro-F1", "merged", "95 %", *baselines, "delay p95", "flips", "false/h"):
        table.add_column(heading, justify="right")
    table.add_column("missed", justify="right")
    for number, cell in enumerate(cells):
        table.add_row(*_row(cell, baselines), end_section=number % 5 == 0)
    return table


def _row(cell: ConditionCell, baselines: Sequence[str]) -> list[str]:
    value = cell.value if isinstance(cell.value, str) else f"{cell.value:g} {cell.unit}"
    alarms = cell.false_alarms_per_line_hour
    delay = cell.delay_s_p95 if cell.delay_cycles_p95 is None else cell.delay_cycles_p95
    return [
        cell.condition if cell.level <= 1 else "",
        value,
        f"{cell.macro_f1:.3f}",
        f"{cell.merged_macro_f1:.3f}",
        f"{cell.merged_low:.3f}-{cell.merged_high:.3f}",
        *(f"{cell.baselines[name]:.3f}" for name in baselines),
        "-" if delay is None else f"{delay:.2f}",
        f"{100 * cell.flip_rate:.1f} %",
        "-" if alarms is None else f"{alarms:.1f}",
        "-" if cell.missed is None else f"{cell.missed}/{cell.faults}",
    ]
