"""Define ``faultline folds``, which cross-validates the line recipe."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from faultline.output import print_table, progress_bar

if TYPE_CHECKING:
    from rich.table import Table

    from domains.powerline.evaluation.fold_results import Fold, Folds

TABLE_WIDTH = 132


def folds(
    work_dir: Annotated[
        Path, typer.Option(help="Folder for results and checkpoints (3 GB); a later command resumes from it.")
    ],
    folds: Annotated[int, typer.Option(min=2, help="Number of folds, that is, groups of episodes.")] = 5,
    fold: Annotated[
        int | None, typer.Option(min=1, help="Run only this fold [default: all that are not finished].")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of episodes, weights and the order of windows.")] = 2024,
    epochs: Annotated[int | None, typer.Option(min=1, help="Passes over the windows [default: the recipe's].")] = None,
    episodes: Annotated[
        int | None, typer.Option(help="Episodes in all folds together [default: the recipe's].")
    ] = None,
    lines: Annotated[
        int, typer.Option(min=1, help="Newly simulated lines with faults, and as many with disturbances.")
    ] = 60,
    json_out: Annotated[Path | None, typer.Option("--json", help="Also write the results to this JSON file.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress.")] = False,
) -> None:
    """Cross-validate the line recipe: train once per fold without one group of episodes, and evaluate on that group.

    Each model is also evaluated on newly simulated lines: faults found, delay, and false alarms per line-hour with
    sixty disturbances of every kind. Each fold takes about as long as `faultline train`.

    Examples:
    - `faultline folds --work-dir folds --fold 1` (then 2 to 5, one command each)
    - `faultline folds --work-dir folds` (runs what is left and prints mean and deviation)
    """
    import os

    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    from domains.powerline.recipes.cross_validation import FoldOptions, cross_validate, epochs_per_fold, run_fold
    from training.errors import TrainingError
    from training.fitting.fit import FitHistory

    if json_out is not None and not json_out.parent.is_dir():
        raise TrainingError(f"{json_out}: the folder {json_out.parent} does not exist: create it first")
    default = FoldOptions()
    options = FoldOptions(
        folds=folds, seed=seed, epochs=epochs or default.epochs, episodes=episodes or default.episodes, lines=lines
    )
    with progress_bar("simulating", epochs_per_fold(options) * (1 if fold else folds), quiet=quiet) as bar:

        def show(number: int, history: FitHistory) -> None:
            bar.update(f"fold {number}, loss {history.loss[-1]:.4f}", advance=1)

        found: Folds | None = None
        done: tuple[Fold, ...]
        if fold is not None:
            done = (run_fold(options, fold, work_dir, show),)
        else:
            found = cross_validate(options, work_dir, show)
            done = found.folds
    print_table(_table(done, found), TABLE_WIDTH)
    if json_out is not None:
        result: Folds | Fold = found or done[0]
        json_out.write_text(result.model_dump_json(indent=1) + "\n", encoding="utf-8")


def _table(done: tuple[Fold, ...], found: Folds | None) -> Table:
    from rich.table import Table

    table = Table(
        title=f"line, {len(done)} episode-grouped fold{'s' if len(done) > 1 else ''}",
        caption="Windows: those that lie fully in one state. Held out: the group not trained on, with instruments as"
        " bad as in training. Merged: LLL and LLLG counted as one class. A line-hour has sixty disturbances of every"
        " kind; alarms are counted after confirmation.",
    )
    table.add_column("figure", no_wrap=True)
    for fold in done:
        table.add_column(f"fold {fold.fold}", justify="right")
    if found is not None:
        table.add_column("mean ± deviation", justify="right", no_wrap=True)
    for name in done[0].figures():
        values = [fold.figures()[name] for fold in done]
        row = [_figure(value) for value in values]
        if found is not None:
            spread = found.spread.get(name)
            row.append("-" if spread is None else f"{_figure(spread.mean)} ± {spread.deviation:.4f}")
        table.add_row(name, *row)
    return table


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value}" if isinstance(value, int) else f"{value:.4f}"
