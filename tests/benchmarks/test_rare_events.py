"""The check of rare events counts events, found faults and episodes of the true length."""

from __future__ import annotations

import numpy as np

from benchmarks.checks.rare_events import HARD, QUIET, count_events, count_faults
from model.spec import load_spec

SPEC = load_spec("line")


def answers(windows: np.ndarray, faulty: np.ndarray) -> np.ndarray:
    return np.eye(len(SPEC.classes), dtype=np.float32)[np.where(faulty, SPEC.class_index("ABC"), SPEC.none_index)]


def never(windows: np.ndarray) -> np.ndarray:
    return answers(windows, np.zeros(windows.shape[:2], bool))


def by_voltage(windows: np.ndarray) -> np.ndarray:
    """Take a window for a three-phase fault if the voltages sag."""
    return answers(windows, np.square(windows[..., 3:]).mean(axis=(2, 3)) < 0.3)


def for_twelve_windows(windows: np.ndarray) -> np.ndarray:
    """Forget a sag of the voltages after twelve windows, and take one in eight faults for load from the beginning."""
    sagging = by_voltage(windows).argmax(axis=2) != SPEC.none_index
    begun = np.maximum.accumulate(sagging, axis=1).cumsum(axis=1)
    return answers(windows, sagging & (begun <= 12) & (np.arange(len(windows)) % 8 != 0)[:, None])


def test_a_model_that_sees_nothing_raises_no_event_and_finds_no_fault() -> None:
    assert count_events(never, QUIET["stable swings"], 5, SPEC, 1) == 0
    found = count_faults(never, HARD["faults of 5 cycles"], 6, SPEC, 1)
    assert (found.faults, found.found, found.whole) == (6, 0, 0)


def test_events_of_records_without_a_fault_are_counted() -> None:
    slips = count_events(by_voltage, QUIET["pole slips"], 12, SPEC, 1)
    assert slips > 0
    assert slips == count_events(by_voltage, QUIET["pole slips"], 12, SPEC, 1)


def test_an_episode_that_ends_with_its_fault_has_the_true_length_and_a_shorter_one_has_not() -> None:
    hard = HARD["three-phase faults of 20 cycles"]
    right = count_faults(by_voltage, hard, 16, SPEC, 2)
    assert right.faults == 16
    assert right.found >= right.whole > 4, "the voltages of some lines stay low after the trip"
    short = count_faults(for_twelve_windows, hard, 16, SPEC, 2)
    assert 0 < short.found < right.found
    assert short.whole == 0


def test_missing_voltages_are_assumed_as_for_a_file() -> None:
    given = []

    def looking(windows: np.ndarray) -> np.ndarray:
        given.append(windows)
        return never(windows)

    count_faults(looking, HARD["three-phase faults without voltages"], 8, SPEC, 3)
    silent = (given[0][..., 3:] == 0).all(axis=(1, 2, 3))
    assert 0 < silent.sum() < 8, "voltages are assumed where the currents rise enough"
