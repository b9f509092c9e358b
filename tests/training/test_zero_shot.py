"""Zero-shot scores come from one model per condition, whose training leaves that condition out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from model.architectures import build
from model.artefact import Artefact
from model.normalisation import Normalisation
from model.spec import load_spec
from training.data.windows import Windows
from training.errors import TrainingError
from training.evaluation.conditions.condition import Conditions
from training.evaluation.conditions.generic import window_conditions
from training.recipe import EvaluationOptions, TrainOptions
from training.window_recipe import WindowRecipe
from training.zero_shot import zero_shot

SPEC = load_spec("instant")


class Noise(WindowRecipe):
    """Recipe whose model has random weights, which records the conditions that each training leaves out."""

    leaves_out_conditions = True

    def __init__(self) -> None:
        super().__init__(SPEC)
        self.trained: list[TrainOptions] = []

    @property
    def conditions(self) -> Conditions:
        return window_conditions(self.spec)

    def windows(self, seed: int, episodes: int, data: Any) -> Windows:
        rng = np.random.default_rng(seed)
        labels = rng.integers(0, len(SPEC.classes), 60).astype(np.int32)
        data = rng.normal(0, 1, (60, *SPEC.window_shape)).astype(np.float32)
        return Windows(data, labels, np.ones(60, np.float32), np.arange(60))

    def evaluation_windows(self, options: EvaluationOptions, artefact: Artefact) -> Windows:
        return self.windows(options.seed, 60, None)

    def train(self, options: TrainOptions, feedback: Any = None, champion: Artefact | None = None) -> Artefact:
        self.trained.append(options)
        normalisation = Normalisation.fitted(self.windows(1, 60, None).data)
        network = build("gru", SPEC, normalisation, 1)
        return Artefact.from_model(network, SPEC, normalisation=normalisation, architecture="gru")


def test_each_condition_is_scored_by_a_model_trained_without_it() -> None:
    recipe, told = Noise(), []
    found = zero_shot(
        recipe,
        recipe.conditions.chosen(["noise", "gain"]),
        TrainOptions(epochs=2),
        episodes=4,
        progress=lambda name, level: told.append((name, level)),
    )
    assert [options.without for options in recipe.trained] == [("noise",), ("gain",)]
    assert all(options.epochs == 2 for options in recipe.trained)
    assert told == [(name, level) for name in ("noise", "gain") for level in range(6)]
    assert found.without == ("noise", "gain")
    assert [cell.name for cell in found.cells] == [f"{name}/{k}" for name in ("noise", "gain") for k in range(1, 6)]
    assert found.worst.merged_macro_f1 == min(cell.merged_macro_f1 for cell in found.cells)


def test_without_conditions_there_is_nothing_to_train() -> None:
    with pytest.raises(TrainingError, match="at least one condition"):
        zero_shot(Noise(), [], TrainOptions())


def test_a_recipe_that_cannot_leave_a_condition_out_is_refused() -> None:
    recipe = Noise()
    recipe.leaves_out_conditions = False  # type: ignore[misc]
    with pytest.raises(TrainingError, match="cannot leave a condition out"):
        zero_shot(recipe, recipe.conditions.chosen("noise"), TrainOptions())
    assert not recipe.trained
