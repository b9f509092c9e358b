"""Define ``faultline compare``, which compares all architectures under the reference protocol."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from faultline.output import print_table, progress_bar

if TYPE_CHECKING:
    from rich.table import Table

    from domains.powerline.recipes.architecture_comparison import Comparison


def compare(
    data: Annotated[Path, typer.Option(help="Path of classData.csv.")],
    epochs: Annotated[int, typer.Option(min=1, help="Epochs per training.")] = 50,
    seed: Annotated[int, typer.Option(help="Seed of the random split, the weights and the order of rows.")] = 42,
    out: Annotated[Path | None, typer.Option(help="Also write the results to this JSON file.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress.")] = False,
) -> None:
    """Train all six architectures on classData.csv and print their scores side by side.

    The random 60/20/20 split is that of the reference reports. It leaks: neighbouring instants of one waveform are in
    both the training and the test part. The split into blocks of time does not leak, and its scores are shown next to
    the others. The command takes one to two minutes.

    Example: `faultline compare --data classData.csv --out compare.json`
    """
    import os

    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    from domains.powerline.recipes.architecture_comparison import COMPARED
    from domains.powerline.recipes.architecture_comparison import compare as run
    from training.errors import TrainingError

    if out is not None and not out.parent.is_dir():
        raise TrainingError(f"{out}: the folder {out.parent} does not exist: create it first")
    with progress_bar("reading", 2 * len(COMPARED) * epochs, quiet=quiet) as bar:
        found = run(data, seed, epochs, on_epoch=lambda name: bar.update(name, advance=1))
    print_table(_table(found))
    if out is not None:
        out.write_text(found.model_dump_json(indent=2) + "\n", encoding="utf-8")
        typer.echo(f"results written to {out}")


def _table(found: Comparison) -> Table:
    from rich.table import Table

    rows = " / ".join(f"{count:,}" for count in found.rows["random"])
    table = Table(
        title=f"classData.csv, {rows} rows, {found.epochs} epochs, seed {found.seed}",
        caption="Scores are those of the epoch with the best validation accuracy, on the random split of the reference"
        " reports, which leaks. blocks: split by time. merged: LLL and LLLG, which one instant cannot distinguish,"
        " counted as one class. prediction: one window at a time in the worker's engine.",
    )
    table.add_column("architecture", min_width=12, no_wrap=True)
    for name in (
        "parameters",
        "validation accuracy",
        "test accuracy",
        "macro-F1",
        "merged macro-F1",
        "blocks test accuracy",
        "blocks macro-F1",
        "blocks merged",
        "training s",
        "prediction ms",
    ):
        table.add_column(name, justify="right", overflow="fold")
    for row in found.outcomes:
        scores = (
            row.random.validation_accuracy,
            row.random.test_accuracy,
            row.random.macro_f1,
            row.random.merged_macro_f1,
            row.blocks.test_accuracy,
            row.blocks.macro_f1,
            row.blocks.merged_macro_f1,
        )
        table.add_row(
            row.architecture,
            f"{row.parameters:,}",
            *(f"{score:.4f}" for score in scores),
            f"{row.random.training_s:.1f}",
            f"{row.prediction_ms:.3f}",
        )
    return table
