"""Chance differences seldom make one of two equally good models fail against the other; a worse model does fail."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from model.spec import load_spec
from training.evaluation.conditions.cells import KEPT, interval, macro_f1, resampled_scores
from training.evaluation.conditions.paired import standard_errors
from training.evaluation.conditions.results import ConditionCell, RobustnessResult
from training.gate.gate import GateScores, GateThresholds, gate

SPEC = load_spec("line")
CLASSES, WINDOWS = len(SPEC.classes), 12
CONDITIONS = ("noise", "gap", "jitter", "phase_loss")


def result(seed: int, errors: Mapping[str, float], records: int = 24) -> RobustnessResult:
    """Return the scores, by condition, of a made-up model that gets a share of the records wrong."""
    rng = np.random.default_rng(seed)
    truth = np.random.default_rng(0).integers(0, CLASSES, records)
    cells = []
    for condition, part in errors.items():
        for level in range(1, 6):
            said = np.where(rng.random(records) < part, rng.integers(0, CLASSES, records), truth)
            tables = np.zeros((records, CLASSES, CLASSES))
            tables[np.arange(records), 0, 0] = WINDOWS
            tables[np.arange(records), truth, said] += WINDOWS
            drawn = resampled_scores(tables, SPEC, 1)
            score = float(macro_f1(tables.sum(axis=0), SPEC.equivalent_indices()))
            low, high = interval(drawn)
            cells.append(
                ConditionCell(
                    condition=condition, unit="", level=level, value=1.0, episodes=records, windows=100, macro_f1=score,
                    merged_macro_f1=score, merged_low=low, merged_high=high, drawn=tuple(drawn[:KEPT].tolist()),
                    baselines={}, delay_cycles_median=None, delay_cycles_p95=None, flip_rate=0.0,
                    false_alarms_per_line_hour=None, missed=None, faults=0,
                )
            )  # fmt: skip
    return RobustnessResult(
        model_id=str(seed), spec="line", seed=1, cells=tuple(cells), clean=cells[0], mean_corruption_error={},
        worst=cells[0],
    )  # fmt: skip


def passed(candidate: RobustnessResult, champion: RobustnessResult, errors: Mapping[str, float]) -> bool:
    mine, theirs = (
        GateScores(holdout=1.0, ece=0.0, cells={cell.name: cell.merged_macro_f1 for cell in one.cells})
        for one in (candidate, champion)
    )
    return gate(mine, theirs, GateThresholds(), errors).passed


def test_of_two_equally_good_models_the_later_one_passes_also_on_few_records() -> None:
    equal = dict.fromkeys(CONDITIONS, 0.08)
    pairs = [(result(2 * number, equal), result(2 * number + 1, equal)) for number in range(5)]
    verdicts = [passed(*pair, standard_errors(*pair)) for pair in pairs]
    assert sum(verdicts) >= 3
    assert not any(passed(*pair, {}) for pair in pairs), "margins alone refuse every one of them"


@pytest.mark.parametrize("worse", [{"noise": 0.6}, dict.fromkeys(CONDITIONS, 0.2)])
def test_a_model_that_loses_a_condition_or_somewhat_everywhere_is_refused(worse: dict[str, float]) -> None:
    equal = dict.fromkeys(CONDITIONS, 0.08)
    for number in range(2):
        champion, candidate = result(number, equal), result(100 + number, {**equal, **worse})
        assert not passed(candidate, champion, standard_errors(candidate, champion))


def test_what_is_hard_for_both_cancels() -> None:
    one = result(1, dict.fromkeys(CONDITIONS, 0.3))
    assert set(standard_errors(one, one).values()) == {0.0}


def test_a_mean_of_cells_is_surer_than_its_cells() -> None:
    equal = dict.fromkeys(CONDITIONS, 0.2)
    errors = standard_errors(result(1, equal), result(2, equal))
    assert set(errors) == {"all", *CONDITIONS, *(f"{name}/{level}" for name in CONDITIONS for level in range(1, 6))}
    assert errors["all"] < errors["noise"] < np.mean([errors[f"noise/{level}"] for level in range(1, 6)])


def test_results_of_other_records_are_compared_by_their_intervals() -> None:
    mine, theirs = (result(seed, {"noise": 0.2}) for seed in (1, 2))
    apart = standard_errors(mine, theirs.model_copy(update={"seed": 9}))
    first, other = mine.cells[0], theirs.cells[0]
    widths = [cell.merged_high - cell.merged_low for cell in (first, other)]
    assert apart["noise/1"] == pytest.approx(np.hypot(*widths) / 3.92)
    assert apart["noise"] == pytest.approx(np.mean([apart[f"noise/{level}"] for level in range(1, 6)]))
