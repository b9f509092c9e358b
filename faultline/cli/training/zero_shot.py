"""Define ``faultline zero-shot``, which scores conditions by models that were trained without them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from faultline.cli.completion import condition_names
from faultline.cli.training.robustness import show_result
from faultline.output import progress_bar


def zero_shot(
    conditions: Annotated[
        str, typer.Argument(autocompletion=condition_names, help="Names of conditions, separated by commas.")
    ],
    spec: Annotated[str, typer.Option(help="Spec of the recipe.")] = "line",
    episodes: Annotated[int, typer.Option(min=2, help="Episodes of each training.")] = 20_000,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs of each training.")] = 3,
    records: Annotated[int, typer.Option(min=2, help="Records per cell; an eighth as many lives.")] = 110,
    seed: Annotated[int | None, typer.Option(help="Seed of the trainings [default: the recipe's].")] = None,
    json_out: Annotated[Path | None, typer.Option("--json", help="Also write the results to this JSON file.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress.")] = False,
) -> None:
    """Train a small model without each condition, and score that condition by it.

    The instrument faults or events that a condition consists of are left out of the training data, so the scores show
    how the recipe generalises to what it has never seen. `faultline report --zero-shot` shows them beside a model's.

    Example: `faultline zero-shot gap,lost_channel --json zero-shot.json`
    """
    import os

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from training.errors import TrainingError
    from training.recipe import TrainOptions, named_recipe
    from training.zero_shot import zero_shot as run

    if json_out is not None and not json_out.parent.is_dir():
        raise TrainingError(f"{json_out}: the folder {json_out.parent} does not exist: create it first")
    recipe = named_recipe(spec)
    wanted = recipe.conditions.chosen([name.strip() for name in conditions.split(",") if name.strip()])
    options = TrainOptions(seed=seed, epochs=epochs, episodes=episodes, most_test_lines=1, show_progress=False)
    with progress_bar("training", 11 * len(wanted), quiet=quiet) as bar:

        def show(name: str, level: int) -> None:
            bar.update(f"{name} {level}" if level else f"training without {name}", advance=1)

        result = run(recipe, wanted, options, episodes=records, progress=show)
    if json_out is not None:
        json_out.write_text(result.model_dump_json(indent=1) + "\n", encoding="utf-8")
    show_result(result)
