"""A recipe of labelled windows trains, reports, passes its gate, and continues from a champion with feedback."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from model.artefact import Artefact
from model.engine import Engine
from model.spec import SignalSpec, load_spec
from training.data.windows import Windows
from training.document import delays
from training.errors import TrainingError
from training.evaluation.robustness import evaluate
from training.recipe import Recipe, TrainOptions, named_recipe, recipe_of, trainable_specs
from training.report import collect as reporting
from training.report.collect import ReportOptions, collect, count_steps
from training.report.failures import axes
from training.report.figures import waveform
from training.report.render import MARKDOWN_NAME, write
from training.window_recipe import WindowRecipe

SPEC = load_spec("line")
BARE = SignalSpec.model_construct(**{name: getattr(SPEC, name) for name in SignalSpec.model_fields})
"""The same windows without a period."""
PER_EPISODE = 4
NONE = np.eye(len(SPEC.classes), dtype=np.float32)[SPEC.none_index]


class Levels(WindowRecipe):
    """Windows whose mean determines the class, which makes them easy to classify."""

    default_episodes, default_epochs, evaluation_episodes = 240, 6, 120
    learning_rate, batch = 1e-2, 32

    def windows(self, seed: int, episodes: int, data: Path | None) -> Windows:
        rng = np.random.default_rng(seed)
        classes = len(self.spec.classes)
        episode = np.repeat(np.arange(episodes), PER_EPISODE)
        labels = (episode % classes).astype(np.int32)
        samples = rng.normal(0, 0.1, (len(labels), *self.spec.window_shape)).astype(np.float32)
        samples += (labels[:, None, None] - classes / 2).astype(np.float32)
        return Windows(samples, labels, np.ones(len(labels), np.float32), episode.astype(np.int64))


RECIPE = Levels(SPEC)


@pytest.fixture(scope="module")
def model() -> Artefact:
    return RECIPE.train(TrainOptions(show_progress=False))


def test_it_trains_a_model_that_names_its_command_and_its_scores(model: Artefact) -> None:
    assert model.manifest.provenance["command"] == (
        "faultline train --spec line --out line.safetensors --seed 2024 --epochs 6 --episodes 240"
    )
    assert model.manifest.metrics["test"]["macro_f1"] > 0.9  # type: ignore[index, operator, call-overload]
    assert RECIPE.epochs(TrainOptions(), warm=False) == len(model.manifest.metrics["history"]["loss"])  # type: ignore[index, arg-type, call-overload]


def test_it_trains_with_feedback_from_a_champion_and_tells_every_epoch(model: Artefact, tmp_path: Path) -> None:
    told: list[int] = []
    options = TrainOptions(
        seed=1, epochs=2, work_dir=tmp_path, show_progress=False, on_epoch=lambda history: told.append(history.epochs)
    )
    again = RECIPE.train(options, RECIPE.windows(9, 24, None), model)
    assert told == [1, 2]
    assert again.manifest.metrics["warm_start"] == model.model_id
    held_out = again.manifest.metrics["field"]["hold_out"]  # type: ignore[index, call-overload]
    assert held_out["accuracy"] > 0.9  # type: ignore[index, operator, call-overload]
    with Engine(again) as engine:
        fresh = RECIPE.windows(5, 60, None)
        assert (engine.classify(fresh.data).argmax(axis=1) == fresh.labels).mean() > 0.9


def test_a_file_that_would_not_be_read_is_refused() -> None:
    with pytest.raises(TrainingError, match=r"spec line is not trained on a file: omit set\.csv"):
        RECIPE.train(TrainOptions(data=Path("set.csv")))


def test_its_report_has_scores_and_a_gate_but_no_conditions_and_no_cycles(
    model: Artefact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reporting, "recipe_of", lambda spec, wanted="": RECIPE)
    path = tmp_path / "levels.safetensors"
    model.save(path)
    told: list[str] = []
    options = ReportOptions(path, champion=path)
    data = collect(options, step=told.append)
    assert len(told) <= count_steps(options)
    assert data.events is data.conditions is data.rejection is None
    assert data.gate_scores.holdout > 0.9
    assert {criterion.name for criterion in data.verdict.criteria} == {
        "hold-out score",
        "hold-out score beside the champion",
        "calibration error",
    }
    assert [check.found for check in data.data.leakage] == [0]
    assert data.identity.evaluation_seed == RECIPE.evaluation_seed
    write(data, tmp_path)
    text = (tmp_path / MARKDOWN_NAME).read_text()
    assert "cycle" not in text
    assert "20 ms at 1600 samples a second" in text


def test_a_training_window_in_the_evaluation_is_found_as_a_leak(
    model: Artefact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reporting, "recipe_of", lambda spec, wanted="": RECIPE)
    path = tmp_path / "levels.safetensors"
    model.save(path)
    leaky = collect(ReportOptions(path, seed=2024), step=lambda _: None)
    (check,) = leaky.data.leakage
    assert check.found > 0


def test_failures_show_the_surest_wrong_windows_in_seconds_where_a_spec_has_no_period(model: Artefact) -> None:
    from training.recipe import EvaluationOptions

    evaluation = RECIPE.evaluation(EvaluationOptions(seed=3, lines=1), lambda _: None)
    found = evaluation(lambda windows: np.tile(NONE, (*windows.shape[:2], 1)), model)
    assert {failure.said for failure in found.failures} == {"none"}
    assert len({failure.truth for failure in found.failures}) == len(found.failures) == 6
    assert axes(BARE) == {
        "samples_per_cycle": None,
        "rate_hz": SPEC.rate_hz,
        "quantities": {"signal": tuple(range(len(SPEC.channels)))},
    }
    in_seconds = found.failures[0].model_copy(update=axes(BARE))
    assert "rate_hz" in in_seconds.model_dump()
    assert "seconds from the marked sample" in waveform(in_seconds)
    assert "rate_hz" not in found.failures[0].model_dump()
    assert "cycles from the marked sample" in waveform(found.failures[0])


def test_a_failures_figure_parts_channels_by_the_quantities_of_the_spec(model: Artefact) -> None:
    from training.recipe import EvaluationOptions

    evaluation = RECIPE.evaluation(EvaluationOptions(seed=3, lines=1), lambda _: None)
    failure = evaluation(lambda windows: np.tile(NONE, (*windows.shape[:2], 1)), model).failures[0]
    assert "quantities" not in failure.model_dump()
    assert {name for name in ("current", "voltage", "signal") if f">{name}<" in waveform(failure)} == {
        "current",
        "voltage",
    }
    bare = failure.model_copy(update=axes(BARE))
    assert ">signal<" in waveform(bare)
    assert ">voltage<" not in waveform(bare)


def test_delays_are_in_seconds_where_a_spec_has_no_period() -> None:
    assert delays(BARE, 1.0, None) == {
        "delay_cycles_median": None,
        "delay_cycles_p95": None,
        "delay_s_median": 0.02,
        "delay_s_p95": None,
    }
    assert delays(SPEC, 1.0, 2.0)["delay_cycles_p95"] == 2.0


def test_a_recipe_without_records_has_no_conditions() -> None:
    assert not RECIPE.conditions
    with pytest.raises(TrainingError, match="no records to alter"):
        evaluate(lambda windows: windows, RECIPE, recipe_of(SPEC).conditions.chosen(["noise"]))


def test_specs_with_a_recipe_are_those_that_ship_with_a_domain() -> None:
    assert {"line", "instant"} <= set(trainable_specs())
    assert all(isinstance(named_recipe(name), Recipe) for name in trainable_specs())
    with pytest.raises(TrainingError, match="no recipe for spec 'feeder'"):
        named_recipe("feeder")
    other = SPEC.model_copy(update={"name": "feeder"})
    with pytest.raises(TrainingError, match="no evaluation for spec 'feeder'"):
        recipe_of(other, "evaluation")
