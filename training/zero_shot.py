"""Score conditions by models whose training left them out: how far a recipe generalises to what it has never seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from model.artefact import Artefact
from model.engine import Engine
from stream.detection.classify import with_rejection
from training.errors import TrainingError
from training.evaluation.conditions.condition import Condition
from training.evaluation.conditions.results import RobustnessResult
from training.evaluation.robustness import EPISODES, SEED, evaluate, mean_corruption_error
from training.recipe import EvaluationOptions, Recipe, TrainOptions

__all__ = ["zero_shot"]

Progress = Callable[[str, int], None]


def zero_shot(
    recipe: Recipe,
    conditions: Sequence[Condition],
    options: TrainOptions,
    *,
    seed: int = SEED,
    episodes: int = EPISODES,
    lives: int | None = None,
    progress: Progress | None = None,
) -> RobustnessResult:
    """Train a model without each condition, and score that condition by it.

    Args:
        recipe: recipe to train; it must support ``TrainOptions.without``.
        conditions: conditions to leave out, one model each.
        options: options of the trainings, usually of a small one; ``without`` is set here.
        seed: seed of the records.
        episodes: records per cell.
        lives: lives per cell, an eighth of the number of records by default; 0 for none.
        progress: called with a condition's name before its training (level 0) and before each of its cells.

    Returns:
        The cells of all conditions. ``without`` names them, and the clean reference is that of the first model.

    Raises:
        TrainingError: there are no conditions, or the recipe cannot leave one out.
    """
    if not conditions:
        raise TrainingError("zero-shot scores need at least one condition to leave out")
    if not recipe.leaves_out_conditions:
        raise TrainingError(f"the recipe for spec {recipe.spec.name!r} cannot leave a condition out of its training")
    report = progress or (lambda name, level: None)
    results: list[RobustnessResult] = []
    like: Engine | None = None
    for condition in conditions:
        report(condition.name, 0)
        artefact = recipe.train(replace(options, without=(condition.name,)))
        with Engine(artefact, like=like) as engine:
            results.append(_scored(engine, artefact, recipe, condition, options, seed, episodes, lives, report))
        like = engine  # models of one recipe share their compiled functions
    cells = tuple(cell for result in results for cell in result.cells)
    return results[0].model_copy(
        update={
            "model_id": "zero-shot",
            "cells": cells,
            "lives": tuple(cell for result in results for cell in result.lives),
            "without": tuple(condition.name for condition in conditions),
            "worst": min(cells, key=lambda cell: cell.merged_macro_f1),
            "mean_corruption_error": {
                name: mean_corruption_error(cells, name) for name in results[0].mean_corruption_error
            },
        }
    )


def _scored(
    engine: Engine,
    artefact: Artefact,
    recipe: Recipe,
    condition: Condition,
    options: TrainOptions,
    seed: int,
    episodes: int,
    lives: int | None,
    report: Progress,
) -> RobustnessResult:
    asked = EvaluationOptions(seed, lines=0, data=options.data)

    def show(name: str, level: int) -> None:
        if level:
            report(name, level)

    return evaluate(
        with_rejection(engine.follow_records, artefact.manifest.rejection, artefact.manifest.spec),
        recipe.reference(asked, artefact),
        [condition],
        seed,
        episodes,
        lives=lives,
        model_id=artefact.model_id,
        without=(condition.name,),
        progress=show,
    )
