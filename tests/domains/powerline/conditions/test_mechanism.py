"""Conditions of mechanism break couplings from a moment on, and leave what precedes it alone."""

from __future__ import annotations

import numpy as np
import pytest

from domains.powerline.conditions import CONDITIONS
from domains.powerline.conditions.records import (
    LIVES,
    RECORDS,
    every_moment,
    kind_of,
    length_samples,
    moments,
    resimulated,
    simulating,
)
from domains.powerline.simulator.faults import CLASSES
from domains.powerline.simulator.network import SAMPLES_PER_CYCLE
from training.data.episodes import Episodes

SEED = 8


@pytest.fixture(scope="module")
def clean() -> Episodes:
    return resimulated(30, SEED)


@pytest.fixture(scope="module")
def lives() -> Episodes:
    with simulating(LIVES):
        return resimulated(6, SEED)


def altered(name: str, clean: Episodes, level: int) -> Episodes:
    return CONDITIONS[name].trial(clean, level, SEED).episodes


def test_a_life_has_several_events_after_quiet_times_of_many_lengths(clean: Episodes, lives: Episodes) -> None:
    assert lives.samples.shape[1] == 160 * SAMPLES_PER_CYCLE
    assert max(len(events) for events in lives.events) > 2
    assert np.ptp(moments(lives)) > 20 * SAMPLES_PER_CYCLE
    assert (kind_of(clean), kind_of(lives)) == (RECORDS, LIVES)
    assert length_samples() == clean.samples.shape[1]


@pytest.mark.parametrize("name", ["fault_position", "evolving", "non_faults"])
def test_a_condition_with_lines_of_its_own_simulates_lives_for_lives(name: str, lives: Episodes) -> None:
    again, found = altered(name, lives, 4), altered(name, lives, 4)
    np.testing.assert_array_equal(again.samples, found.samples)
    assert found.samples.shape == lives.samples.shape
    assert max(len(events) for events in found.events) > 1


def test_every_moment_lists_the_events_of_a_record_in_order(lives: Episodes) -> None:
    total = lives.samples.shape[1]
    for row, events in zip(every_moment(lives), lives.events, strict=True):
        assert row[row < total].tolist() == sorted(event.start for event in events)


def test_gaps_are_near_every_inception_of_a_life(lives: Episodes) -> None:
    held = (np.diff(altered("gap", lives, 5).samples, axis=1) == 0).all(axis=2)
    for row, events in zip(held, lives.events, strict=True):
        for event in events:
            around = row[max(0, event.start - 2 * SAMPLES_PER_CYCLE) : event.start + 4 * SAMPLES_PER_CYCLE]
            assert around.sum() >= 50 or event.start > len(row) - 4 * SAMPLES_PER_CYCLE


@pytest.mark.parametrize("name", ["swapped_later", "ratio_step"])
def test_a_change_comes_between_the_begin_and_the_first_event(name: str, lives: Episodes) -> None:
    changed = (altered(name, lives, 4).samples != lives.samples).any(axis=2)
    first = changed.argmax(axis=1)
    assert changed.any(axis=1).all()
    assert (first <= moments(lives)).all()
    assert len(set(first.tolist())) > 3


def test_swapped_currents_change_the_class_of_a_fault(clean: Episodes) -> None:
    seen = altered("swapped_later", clean, 1)
    single = {CLASSES.index(name) for name in ("AG", "BG", "CG")}
    moved = seen.labels != clean.labels
    assert moved.any()
    assert set(np.unique(seen.labels[moved & np.isin(clean.labels, list(single))])) <= single
    np.testing.assert_array_equal(altered("swapped_later", clean, 3).labels, clean.labels)


def test_the_ratio_steps_by_the_severity_in_all_currents_and_no_voltage(clean: Episodes) -> None:
    seen = altered("ratio_step", clean, 5).samples
    np.testing.assert_array_equal(seen[:, :, 3:], clean.samples[:, :, 3:])
    ratio = np.abs(seen[:, -1, :3]).max(axis=1) / np.maximum(np.abs(clean.samples[:, -1, :3]).max(axis=1), 1e-9)
    assert set(np.round(np.log10(ratio[ratio > 0]), 2).tolist()) == {-1.0, 1.0}


def test_clocks_drift_apart_up_to_the_angle(lives: Episodes) -> None:
    seen = altered("clock_drift", lives, 4).samples
    np.testing.assert_array_equal(seen[:, :, :3], lives.samples[:, :, :3])

    def phase(samples: np.ndarray, begin: int) -> np.ndarray:
        cycle = np.exp(-2j * np.pi * np.arange(SAMPLES_PER_CYCLE) / SAMPLES_PER_CYCLE)
        return np.asarray(np.angle(samples[:, begin : begin + SAMPLES_PER_CYCLE, 3] @ cycle, deg=True))

    quiet = int(moments(lives).max())
    record = int(moments(lives).argmax())
    begin = quiet - 2 * SAMPLES_PER_CYCLE
    turned = (phase(seen, begin) - phase(lives.samples, begin) + 180) % 360 - 180
    expected = 90 * (begin + SAMPLES_PER_CYCLE / 2) / lives.samples.shape[1]
    assert abs(turned[record]) == pytest.approx(expected, abs=3)


def test_interleaved_samples_are_of_another_line_and_never_within_a_fault(clean: Episodes) -> None:
    seen = altered("interleaved", clean, 4)
    foreign = (seen.samples != clean.samples).any(axis=2)
    assert not foreign[clean.labels != clean.labels[:, :1]].any()
    assert 0.1 < foreign.mean() < 0.25


def test_losses_come_in_bursts_after_every_inception(lives: Episodes) -> None:
    changed = (altered("loss_bursts", lives, 5).samples != lives.samples).any(axis=2)
    near = np.zeros_like(changed)
    for row, events in zip(near, lives.events, strict=True):
        for event in events:
            row[event.start : event.start + 2 * SAMPLES_PER_CYCLE] = True
    assert changed.any(axis=1).all()
    assert not changed[~near].any()


def test_the_frequency_drifts_and_the_labels_move_with_the_record(lives: Episodes) -> None:
    seen = altered("frequency_ramp", lives, 5)
    assert (seen.labels != lives.labels).any()
    lost = (np.diff(seen.samples, axis=1) == 0).all(axis=2).mean()
    assert 0.01 < lost < 0.04
    # Half of the drift at the begin: 2.5 Hz at 50 Hz turn the phase by 18 degrees a cycle, up or down.
    cycle = np.exp(-2j * np.pi * np.arange(SAMPLES_PER_CYCLE) / SAMPLES_PER_CYCLE)
    quiet = moments(lives) > 6 * SAMPLES_PER_CYCLE

    def turns(samples: np.ndarray) -> np.ndarray:
        first, second = (samples[quiet, k * SAMPLES_PER_CYCLE : (k + 1) * SAMPLES_PER_CYCLE, 3] @ cycle for k in (0, 4))
        return np.asarray(np.angle(second / first, deg=True))

    hz = np.array([float(line["nominal_hz"]) for line in lives.lines])[quiet]
    found = np.abs((turns(seen.samples) - turns(lives.samples) + 180) % 360 - 180)
    np.testing.assert_allclose(found, 4 * 360 * 2.5 / hz, atol=12)
