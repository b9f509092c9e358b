"""Phasors and sequence components before and during the event of a record."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from domains.powerline.waveforms.record import Segment
from domains.powerline.waveforms.signal.event_phasors import (
    EventPhasors,
    SteadyState,
    event_phasors,
    sequence_components,
    state_before,
)

Phasors = NDArray[np.complex128]
THIRD = np.exp(-2j * np.pi * np.arange(3) / 3)
HEALTHY = np.concatenate([0.5 * np.exp(-0.3j) * THIRD, THIRD])


def wave(
    states: list[tuple[float, Phasors]], rate_hz: float, seconds: float, frequency_hz: float
) -> NDArray[np.float32]:
    """Return samples (t, 6) of states that begin at the given times; their phasors turn from t = 0."""
    t = np.arange(int(rate_hz * seconds)) / rate_hz
    turning = np.exp(2j * np.pi * frequency_hz * t)[:, None]
    samples = np.zeros((len(t), 6))
    for begin_s, phasors in states:
        samples[t >= begin_s] = (turning * phasors).real[t >= begin_s]
    return samples.astype(np.float32)


def measured(
    states: list[tuple[float, Phasors]], rate_hz: float = 4800.0, seconds: float = 0.5, frequency_hz: float = 50.0
) -> EventPhasors:
    samples = wave(states, rate_hz, seconds, frequency_hz)
    found = event_phasors(samples, (Segment(0, len(samples), rate_hz, 0.0),), frequency_hz)
    assert found is not None
    return found


def assert_alike(state: SteadyState | None, expected: Phasors) -> None:
    """Compare magnitudes to 1 %, and angles from va to 1°."""
    assert state is not None
    assert np.abs(state.phasors) == pytest.approx(np.abs(expected), rel=0.01, abs=0.002)
    ours, theirs = state.phasors / state.phasors[3], expected / expected[3]
    present = np.abs(expected) > 0.01
    turned = np.degrees(np.angle(ours[present] / theirs[present]))
    assert np.abs(turned).max() < 1.0


def ground_fault(phase: int) -> Phasors:
    faulty = HEALTHY.copy()
    faulty[phase] = 8 * np.exp(-1.2j) * THIRD[phase]
    faulty[3 + phase] *= 0.3
    return faulty


@given(
    rate_hz=st.sampled_from([1000.0, 1200.0, 3200.0, 4800.0, 6400.0, 20_000.0]),
    frequency_hz=st.floats(48.0, 62.0),
    sizes=st.lists(st.floats(0.05, 10.0), min_size=6, max_size=6),
    angles=st.lists(st.floats(-np.pi, np.pi), min_size=6, max_size=6),
)
def test_known_phasors_come_back(rate_hz: float, frequency_hz: float, sizes: list[float], angles: list[float]) -> None:
    phasors = np.array(sizes) * np.exp(1j * np.array(angles))
    found = measured([(0.0, phasors)], rate_hz, 0.3, frequency_hz)
    assert_alike(found.before, phasors)
    assert found.during is None


@given(
    rate_hz=st.sampled_from([1200.0, 4800.0, 9600.0]),
    frequency_hz=st.floats(49.0, 61.0),
    phase=st.integers(0, 2),
    begin_s=st.floats(0.08, 0.25),
    cycles=st.floats(2.5, 10.0),
)
def test_the_states_before_and_during_a_fault_come_back(
    rate_hz: float, frequency_hz: float, phase: int, begin_s: float, cycles: float
) -> None:
    stop_s = begin_s + cycles / frequency_hz
    fault = ground_fault(phase)
    found = measured([(0.0, HEALTHY), (begin_s, fault), (stop_s, HEALTHY)], rate_hz, 0.6, frequency_hz)
    assert_alike(found.before, HEALTHY)
    assert found.before.stop_s <= begin_s + 1e-9
    assert_alike(found.during, fault)
    assert found.during is not None
    assert begin_s - 0.005 <= found.during.start_s < found.during.stop_s <= stop_s + 0.005


def test_the_fault_is_the_event_and_not_the_line_that_is_switched_off_after_it() -> None:
    for voltages_after in (THIRD, 0 * THIRD):
        off = np.concatenate([0 * THIRD, voltages_after])
        found = measured([(0.0, HEALTHY), (0.2, ground_fault(1)), (0.3, off)])
        assert_alike(found.during, ground_fault(1))


def test_a_line_that_is_switched_off_without_a_fault_is_an_event() -> None:
    found = measured([(0.0, HEALTHY), (0.2, 0 * HEALTHY)])
    assert found.during is not None
    assert np.abs(found.during.phasors).max() < 0.01


def test_a_record_that_begins_with_a_transient_is_measured_before_its_sharpest_change() -> None:
    starting = HEALTHY * np.array([3, 1, 0.2, 0.7, 1, 1.1])
    found = measured([(0.0, starting), (0.025, HEALTHY), (0.3, ground_fault(0))])
    assert_alike(found.before, HEALTHY)
    assert_alike(found.during, ground_fault(0))


def test_an_event_after_a_gap_is_found() -> None:
    samples = wave([(0.0, HEALTHY), (0.3, ground_fault(2))], 4800.0, 0.5, 50.0)
    parts = (Segment(0, 960, 4800.0, 0.0), Segment(960, 2400, 4800.0, 5.0))
    found = event_phasors(samples, parts, 50.0)
    assert found is not None
    assert_alike(found.during, ground_fault(2))
    assert found.during is not None
    assert found.during.start_s > 5.0


def test_a_frequency_that_drifts_is_no_event() -> None:
    t = np.arange(int(4000.0 * 20)) / 4000.0
    turns = 2 * np.pi * (50.0 * t + 0.02 * t**2 / 2)
    samples = (np.exp(1j * turns)[:, None] * HEALTHY).real.astype(np.float32)
    found = event_phasors(samples, (Segment(0, len(samples), 4000.0, 0.0),), 50.2)
    assert found is not None
    assert found.during is None


def test_records_without_a_whole_cycle_have_no_phasors() -> None:
    samples = wave([(0.0, HEALTHY)], 4800.0, 0.015, 50.0)
    assert event_phasors(samples, (Segment(0, len(samples), 4800.0, 0.0),), 50.0) is None
    assert state_before(samples, (), 50.0) is None


@pytest.mark.parametrize(
    ("phasors", "name"),
    [
        (HEALTHY, "va"),
        (np.concatenate([THIRD, [0, 0.8, 0.9]]), "V1"),
        (np.concatenate([THIRD, [0, 0, 0]]), "ia"),
        (np.concatenate([[0, 1, 2], [0, 0, 0]]), "I1"),
    ],
)
def test_angles_are_counted_from_a_phasor_that_exists(phasors: Phasors, name: str) -> None:
    assert SteadyState(phasors.astype(complex), 0.0, 0.02).reference[0] == name


@given(st.lists(st.complex_numbers(max_magnitude=100, allow_nan=False), min_size=3, max_size=3))
def test_sequence_components_give_the_phases_back(sequences: list[complex]) -> None:
    zero, positive, negative = sequences
    phases = zero + positive * THIRD + negative * THIRD.conj()
    assert np.abs(sequence_components(phases) - np.array(sequences)).max() < 1e-9


def test_a_fault_of_less_than_two_cycles_is_the_event() -> None:
    found = measured([(0.0, HEALTHY), (0.2, ground_fault(0)), (0.225, 0 * HEALTHY)])
    assert found.during is not None
    assert abs(found.during.phasors[0]) > 5
