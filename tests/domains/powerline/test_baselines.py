"""The fixed baselines: the rule follows its description, and both are accurate enough for a comparison."""

from __future__ import annotations

import numpy as np
import pytest

from domains.powerline.baselines import BASELINES, logistic, openxda
from domains.powerline.baselines.logistic import _fitted, features
from domains.powerline.conditions.records import resimulated
from domains.powerline.simulator.faults import CLASSES
from model.spec import load_spec
from training.evaluation.conditions.cells import macro_f1, scored_windows, tables
from training.evaluation.conditions.condition import Trial

SPEC = load_spec("line")
ANGLES = 2 * np.pi / 32 * np.arange(32)[:, None] - 2 * np.pi / 3 * np.arange(3)


def window(*currents: complex) -> np.ndarray:
    """Return one cycle of three current phasors and balanced voltages, float32 (1, 32, 6)."""
    t = 2 * np.pi / 32 * np.arange(32)
    phase = np.stack([np.real(c * np.exp(1j * t)) for c in currents], axis=1)
    return np.concatenate([phase, np.cos(ANGLES)], axis=1)[None].astype(np.float32)


LOAD = [0.5 * np.exp(-2j * np.pi / 3 * k) for k in range(3)]


@pytest.mark.parametrize(
    ("factors", "expected"),
    [
        ((1, 1, 1), "none"),
        ((4, 1, 1), "none"),
        ((8, 1, 1), "AG"),
        ((1, 1, 8), "CG"),
        ((8, 8, 1), "ABG"),
        ((8, 1, 8), "CAG"),
        ((8, 8, 8), "ABC"),
    ],
)
def test_a_phase_beyond_five_times_its_prefault_value_is_faulted(factors: tuple[int, ...], expected: str) -> None:
    faulted = window(*(f * c for f, c in zip(factors, LOAD, strict=True)))
    assert CLASSES[openxda(faulted, window(*LOAD))[0]] == expected


def test_without_residual_current_no_ground_takes_part() -> None:
    assert CLASSES[openxda(window(LOAD[0], 6, -6), window(*LOAD))[0]] == "BC"


def test_a_dead_line_is_no_fault_to_the_rule() -> None:
    assert openxda(window(0, 0, 0), window(0, 0, 0))[0] == CLASSES.index("none")


@pytest.mark.slow
def test_the_logistic_regression_is_the_same_whenever_it_is_fitted() -> None:
    windows = np.random.default_rng(3).standard_normal((200, 32, 6)).astype(np.float32)
    first = logistic(windows, windows)
    _fitted.cache_clear()
    np.testing.assert_array_equal(logistic(windows, windows), first)
    assert np.isfinite(features(np.zeros((2, 32, 6), np.float32))).all()


@pytest.mark.slow
def test_both_baselines_find_most_faults_on_clean_records() -> None:
    trial = Trial(resimulated(150, seed=8))
    scored = scored_windows(trial, SPEC)
    windows = scored.windows(trial.episodes.samples, SPEC.samples)
    first_cycle = trial.episodes.samples[scored.record, : SPEC.samples]
    score = {}
    for name, baseline in BASELINES.items():
        table = tables(scored, baseline(windows, first_cycle), 150, SPEC).sum(axis=0)
        score[name] = float(macro_f1(table, SPEC.equivalent_indices()))
    assert 0.6 < score["openxda"] < 0.95
    assert 0.85 < score["logistic"] < 0.999
