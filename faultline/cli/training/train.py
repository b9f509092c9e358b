"""``faultline train``: make a model."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer


class Architecture(StrEnum):
    """The networks there are; ``model.architectures`` builds them."""

    gru = "gru"
    lstm = "lstm"
    cnn = "cnn"
    cnn_advanced = "cnn-advanced"
    fnn = "fnn"
    fnn_improved = "fnn-improved"


class Split(StrEnum):
    """Name the ways in which rows of classData.csv are split."""

    random = "random"
    blocks = "blocks"


def train(
    spec: Annotated[str, typer.Option(help="A spec of an installed domain, as line or instant.")] = "line",
    architecture: Annotated[Architecture, typer.Option(help="The network.")] = Architecture.gru,
    out: Annotated[
        Path | None, typer.Option(help="Where to write the artefact [default: SPEC.safetensors].", show_default=False)
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed makes the same model on the same machine.")] = 2024,
    epochs: Annotated[int | None, typer.Option(min=1, help="Passes over the windows [default: the recipe's].")] = None,
    episodes: Annotated[
        int | None, typer.Option(min=100, help="line: episodes to simulate [default: the recipe's].")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="line: a data set of faultline simulate --dataset, not a new simulation. instant: classData.csv."
        ),
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(min=1, help="End a round of training after so many epochs without a better one [default: never]."),
    ] = None,
    split: Annotated[
        Split, typer.Option(help="instant: random is the reference report's, blocks is honest in time.")
    ] = Split.random,
    work_dir: Annotated[
        Path | None,
        typer.Option(help="Keep a checkpoint per epoch there; the same command goes on where it was killed."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress.")] = False,
) -> None:
    """Train a model and write its artefact: weights, and a manifest with scores, seed, versions and this command.

    The line model learns from simulated episodes and is scored on fresh ones: under an hour on one core, 9 GB.
    A quick one, to see that everything works: faultline train --epochs 2 --episodes 400

    Of a data set, faults of 20 ohm and more, faults near the line's ends and the weakest sources are never learned
    from: the model is scored on them.

    Example: faultline train --data episodes.parquet --patience 3 --out line.safetensors

    Example: faultline train --spec instant --data classData.csv --out instant.safetensors
    """
    import os

    # Keras' input pipeline has TensorFlow log a harmless error in every epoch.
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    from model.errors import ArtefactError
    from training.recipe import TrainOptions, named_recipe

    out = Path(f"{spec}.safetensors") if out is None else out
    if not out.parent.is_dir():
        raise ArtefactError(f"{out}: the folder {out.parent} does not exist; create it first")
    options = TrainOptions(
        seed=seed,
        epochs=epochs,
        episodes=episodes,
        architecture=architecture.value,
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
        if isinstance(value, dict) and value and key != "history":  # epoch by epoch: for the report, not for the eye
            _show(value, f"{name} {key}".strip())
