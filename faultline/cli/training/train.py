"""Define ``faultline train``, which trains a model and writes its artefact."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from faultline.cli.completion import spec_names


class Architecture(StrEnum):
    """Names of the networks that ``model.architectures`` can build."""

    gru = "gru"
    lstm = "lstm"
    cnn = "cnn"
    cnn_advanced = "cnn-advanced"
    fnn = "fnn"
    fnn_improved = "fnn-improved"
    gru_memory = "gru-memory"


class Split(StrEnum):
    """Names of the ways to split the rows of classData.csv."""

    random = "random"
    blocks = "blocks"


def train(
    spec: Annotated[
        str,
        typer.Option(
            autocompletion=spec_names, help="Name of a signal spec that has a recipe, such as line or instant."
        ),
    ] = ("line"),
    architecture: Annotated[
        Architecture | None, typer.Option(help="Network architecture [default: that of the recipe].")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="File to write the artefact to [default: SPEC.safetensors].", show_default=False)
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed: the same seed gives the same model on the same machine.")] = 2024,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Passes over the training data [default: the recipe's].")
    ] = None,
    episodes: Annotated[
        int | None, typer.Option(min=100, help="line: sequences of 128 windows to simulate [default: the recipe's].")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="line: data set of `faultline simulate --dataset` [default: simulate anew]. instant: classData.csv."
        ),
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(min=1, help="End a round after this many epochs without improvement [default: never]."),
    ] = None,
    split: Annotated[
        Split,
        typer.Option(help="instant: random is the split of the reference report, which leaks; blocks splits by time."),
    ] = Split.random,
    work_dir: Annotated[
        Path | None,
        typer.Option(help="Folder for a checkpoint per epoch; the same command resumes from it after a kill."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress.")] = False,
) -> None:
    """Train a model and write its artefact: weights, and a manifest with scores, seed, versions and this command.

    The line model is trained on sequences of simulated lives and scored on new ones. This takes some seventy minutes on
    one core, and 8 GB of memory. A quick trial: `faultline train --epochs 2 --episodes 400`

    With a data set, faults of 20 ohm and more, faults near the line's ends and faults with the weakest sources are left
    out of the training; the model is scored on them.

    Examples:
    - `faultline train --data episodes.parquet --patience 3 --out line.safetensors`
    - `faultline train --spec instant --data classData.csv --out instant.safetensors`
    """
    import os

    # With Keras' input pipeline TensorFlow logs a harmless error in every epoch.
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    from model.errors import ArtefactError
    from training.recipe import TrainOptions, named_recipe

    out = Path(f"{spec}.safetensors") if out is None else out
    if not out.parent.is_dir():
        raise ArtefactError(f"{out}: the folder {out.parent} does not exist: create it first")
    options = TrainOptions(
        seed=seed,
        epochs=epochs,
        episodes=episodes,
        architecture=None if architecture is None else architecture.value,
        data=data,
        split=split.value,
        patience=patience,
        work_dir=work_dir,
        show_progress=not quiet,
    )
    artefact = named_recipe(spec).train(options)
    artefact.save(out)
    _show(artefact.manifest.metrics)
    typer.echo(f"{artefact.model_id} written to {out} ({out.stat().st_size:,} bytes)")


def _show(metrics: dict[str, Any], name: str = "") -> None:
    """Print scores, one line per group."""
    plain = {key: value for key, value in metrics.items() if not isinstance(value, dict)}
    if plain:
        typer.echo(f"{name or 'scores'}: " + "  ".join(f"{key} {value}" for key, value in plain.items()))
    for key, value in metrics.items():
        if isinstance(value, dict) and value and key != "history":  # the report shows the history, values per epoch
            _show(value, f"{name} {key}".strip())
