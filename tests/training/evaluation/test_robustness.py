"""Robustness runs: scores, intervals, corruption errors, and a result that is unchanged by its file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from domains.powerline.baselines import logistic
from domains.powerline.conditions.records import resimulated
from model.spec import load_spec
from training.errors import TrainingError
from training.evaluation.conditions.cells import (
    Scored,
    events,
    flip_rate,
    interval,
    macro_f1,
    resampled_scores,
    scored_windows,
    tables,
)
from training.evaluation.conditions.condition import Trial
from training.evaluation.conditions.results import RobustnessResult, mean_by_condition
from training.evaluation.robustness import evaluate, mean_corruption_error
from training.metrics import macro_f1 as macro_f1_of_classes
from training.recipe import recipe_of

SPEC = load_spec("line")
RECIPE = recipe_of(SPEC)
NAMES = ("noise", "window_position", "non_faults")


def like_logistic(windows: np.ndarray) -> np.ndarray:
    single = windows.reshape(-1, *SPEC.window_shape)
    return np.eye(len(SPEC.classes), dtype=np.float32)[logistic(single, single)].reshape(*windows.shape[:2], -1)


def silent(windows: np.ndarray) -> np.ndarray:
    return np.eye(len(SPEC.classes), dtype=np.float32)[np.zeros(windows.shape[:2], int)]


@pytest.fixture(scope="module")
def result() -> RobustnessResult:
    return evaluate(like_logistic, RECIPE, RECIPE.conditions.chosen(NAMES), seed=4, episodes=30, model_id="logistic")


def test_a_result_has_a_cell_for_every_severity_and_names_the_worst(result: RobustnessResult) -> None:
    assert [cell.name for cell in result.cells] == [f"{name}/{level}" for name in NAMES for level in range(1, 6)]
    assert result.worst.merged_macro_f1 == min(cell.merged_macro_f1 for cell in result.cells)
    assert result.clean.level == 0
    assert [cell.name for cell in result.lives] == [
        f"{name} on lives/{level}" for name in NAMES for level in range(1, 6)
    ]
    assert result.clean_life is not None
    assert all(cell.episodes == 3 and cell.kind == "life" for cell in (result.clean_life, *result.lives))
    for cell in (result.clean, *result.cells):
        assert cell.merged_low <= cell.merged_macro_f1 + 0.02
        assert cell.merged_high >= cell.merged_macro_f1 - 0.02
        assert cell.episodes == 30


def test_a_classifier_that_is_a_baseline_scores_as_that_baseline_does(result: RobustnessResult) -> None:
    for cell in (result.clean, *result.all_cells):
        assert cell.merged_macro_f1 == cell.baselines["logistic"]
    loud = [cell for cell in result.cells if cell.condition != "non_faults"]
    assert mean_corruption_error(loud, "logistic") == 100.0


def test_a_condition_says_if_training_contains_it_and_means_are_over_its_levels(result: RobustnessResult) -> None:
    assert {cell.condition: cell.seen for cell in result.all_cells} == dict.fromkeys(NAMES, True)
    means = mean_by_condition(result.lives)
    assert list(means) == list(NAMES)
    noise = [cell.merged_macro_f1 for cell in result.lives if cell.condition == "noise"]
    assert means["noise"] == pytest.approx(sum(noise) / 5)


def test_a_recipe_without_lives_has_cells_of_records_only() -> None:
    found = evaluate(silent, RECIPE, RECIPE.conditions.chosen("noise"), seed=4, episodes=4, lives=0)
    assert (found.lives, found.clean_life) == ((), None)
    assert '"lives"' not in found.model_dump_json()
    assert '"kind"' not in found.model_dump_json()


def test_a_result_survives_its_file(result: RobustnessResult) -> None:
    assert RobustnessResult.model_validate_json(result.model_dump_json()) == result


def test_the_same_seed_gives_the_same_result(result: RobustnessResult) -> None:
    again = evaluate(
        like_logistic, RECIPE, RECIPE.conditions.chosen(["window_position"]), seed=4, episodes=30, model_id="logistic"
    )
    assert again.cells == tuple(cell for cell in result.cells if cell.condition == "window_position")
    assert again.clean == result.clean
    assert again.lives == tuple(cell for cell in result.lives if cell.condition == "window_position")


def test_a_classifier_that_predicts_no_fault_misses_every_fault_and_raises_no_alarm() -> None:
    told: list[tuple[str, int]] = []

    def progress(name: str, level: int) -> None:
        told.append((name, level))

    found = evaluate(silent, RECIPE, RECIPE.conditions.chosen(["non_faults"]), seed=4, episodes=20, progress=progress)
    assert told == 2 * [("clean", 0), *(("non_faults", level) for level in range(1, 6))]
    assert found.clean_life is not None
    assert found.clean_life.missed == found.clean_life.faults > found.clean_life.episodes
    assert found.clean.missed == found.clean.faults > 5
    assert found.clean.delay_cycles_p95 is None
    for cell in found.all_cells:
        assert (cell.merged_macro_f1, cell.missed, cell.faults) == (1.0, None, 0)
        assert cell.false_alarms_per_line_hour == 0


def test_a_mean_corruption_error_is_the_mean_over_conditions_of_summed_errors(result: RobustnessResult) -> None:
    base = result.cells[0]

    def cell(condition: str, mine: float, rule: float) -> object:
        return base.model_copy(update={"condition": condition, "merged_macro_f1": mine, "baselines": {"openxda": rule}})

    cells = [cell("a", 0.9, 0.6), cell("a", 0.8, 0.4), cell("b", 0.9, 0.8)]
    assert mean_corruption_error(cells, "openxda") == pytest.approx(100 * (0.3 / 1.0 + 0.1 / 0.2) / 2)  # type: ignore[arg-type]


def test_the_macro_f1_of_tables_is_that_of_classes() -> None:
    rng = np.random.default_rng(1)
    truth, said = rng.integers(0, 11, 500), rng.integers(0, 12, 500)  # the twelfth is predicted, but never occurs
    scored = Scored(rng.integers(0, 7, 500), np.zeros(500, int), truth)
    per_record = tables(scored, said, 7, SPEC)
    assert per_record.sum() == 500
    assert macro_f1(per_record.sum(axis=0)) == pytest.approx(macro_f1_of_classes(truth, said, 12))
    merge = np.array(SPEC.equivalent_indices())
    expected = macro_f1_of_classes(merge[truth], merge[said], 12)
    assert macro_f1(per_record.sum(axis=0), SPEC.equivalent_indices()) == pytest.approx(expected)


def test_the_interval_is_of_records_and_narrows_with_their_number() -> None:
    def width(records: int) -> float:
        right = np.zeros((records, 12, 12))
        right[:, 0, 0] = 10
        right[::3, 0, 0], right[::3, 0, 1], right[::3, 1, 1] = 5, 5, 10
        low, high = interval(resampled_scores(right, SPEC, seed=2))
        assert low <= macro_f1(right.sum(axis=0)) <= high
        return high - low

    assert 0 < width(300) < width(30)


def test_flips_are_counted_between_neighbours_with_one_label() -> None:
    trial = Trial(resimulated(6, seed=3))
    windows = (trial.episodes.samples.shape[1] - SPEC.samples) // SPEC.hop + 1
    constant = np.zeros((6, windows), int)
    assert flip_rate(trial, constant, SPEC) == 0
    alternating = np.broadcast_to(np.arange(windows) % 2, (6, windows))
    assert flip_rate(trial, alternating, SPEC) == 1.0


def test_every_record_stands_for_a_minute_of_a_line() -> None:
    trial = Trial(resimulated(6, seed=3))
    windows = (trial.episodes.samples.shape[1] - SPEC.samples) // SPEC.hop + 1
    none = np.zeros((6, windows, 12), np.float32)
    none[:, :, 0] = 1
    assert events(trial, none, SPEC).line_hours == pytest.approx(0.1)
    twice = replace(trial.episodes, events=tuple(happened * 2 for happened in trial.episodes.events))
    dead = sum(not happened for happened in trial.episodes.events)
    hours = events(Trial(twice), none, SPEC, lives=True).line_hours
    assert hours == pytest.approx(0.2 - dead / 60)


def test_scored_windows_are_filled_by_one_state() -> None:
    episodes = resimulated(10, seed=3)
    scored = scored_windows(Trial(episodes), SPEC)
    for record, end, label in zip(scored.record, scored.end, scored.label, strict=True):
        assert (episodes.labels[record, end - 31 : end + 1] == label).all()


def test_a_spec_that_the_simulator_does_not_speak_is_refused() -> None:
    with pytest.raises(TrainingError, match="'instant'"):
        evaluate(silent, recipe_of(load_spec("instant")), RECIPE.conditions.chosen(["noise"]))
    with pytest.raises(TrainingError, match="at least one condition"):
        evaluate(silent, RECIPE, [])


@pytest.mark.slow
def test_the_command_prints_whole_figures_and_writes_its_cells(tmp_path: Path) -> None:
    from faultline.cli.commands import register

    app = typer.Typer()
    register(app)
    out = tmp_path / "cells.json"
    told = CliRunner().invoke(
        app, ["robustness", "line", "--quick", "--quiet", "--conditions", "gap", "--lives", "8", "--json", str(out)]
    )
    assert told.exit_code == 0, told.output
    assert "mean corruption error against openxda" in told.output
    assert "…" not in told.output
    cells = RobustnessResult.model_validate(json.loads(out.read_text()))
    assert f"{cells.worst.merged_macro_f1:.3f}" in told.output
    assert cells.worst.condition == "gap"
    assert [cell.episodes for cell in cells.lives] == [8] * 5
