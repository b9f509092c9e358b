"""Simulated sequences begin anywhere in a life, in the stated proportions, and are kept between runs."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from domains.powerline.data import line_sequences
from domains.powerline.data.line_sequences import (
    DIFFERENT,
    INSTRUMENTS,
    KINDS,
    NATURAL,
    PART,
    QUIET,
    STEPS,
    Kind,
    hard_sequences,
    life_sequences,
    natural_sequences,
    steady_state,
    training_part,
)
from domains.powerline.simulator.episodes import HARDER_MIX, ScenarioMix, simulate_lives
from domains.powerline.simulator.measurement import USUAL, draw_chains
from domains.powerline.simulator.network import SAMPLES_PER_CYCLE
from domains.powerline.simulator.sweep import ParameterSweep
from model.spec import load_spec
from training.data.sequences import Sequences, samples_of
from training.data.windows import QUIET_SHARE, QUIET_WEIGHT

SPEC = load_spec("line")
NONE = SPEC.none_index
ALWAYS_FAULTS = Kind(ScenarioMix(fault_share=1.0, disturbed_share=0.0), ParameterSweep())


def same(one: Sequences, other: Sequences) -> bool:
    return all(np.array_equal(getattr(one, f.name), getattr(other, f.name)) for f in fields(Sequences))


@pytest.fixture(scope="module")
def sequences() -> Sequences:
    return life_sequences(64, 3, SPEC, ALWAYS_FAULTS, USUAL, first_episode=70)


def test_a_sequence_has_the_samples_of_its_windows_and_a_number_of_its_own(sequences: Sequences) -> None:
    assert sequences.data.shape == (64, samples_of(STEPS, SPEC), len(SPEC.channels))
    assert sequences.data.dtype == np.float32
    assert np.isfinite(sequences.data).all()
    assert sequences.labels.shape == sequences.weights.shape == (64, STEPS)
    assert sequences.episode.tolist() == list(range(70, 134))


def test_the_same_seed_gives_the_same_sequences_and_another_seed_others() -> None:
    first, again, other = (life_sequences(4, seed, SPEC, ALWAYS_FAULTS, USUAL, steps=32) for seed in (4, 4, 5))
    assert same(first, again)
    assert not np.array_equal(first.data, other.data)


def test_sequences_begin_anywhere_also_within_a_fault_and_hold_several_events(sequences: Sequences) -> None:
    faulty = sequences.labels != NONE
    first = np.where(faulty.any(axis=1), faulty.argmax(axis=1), STEPS)
    assert 0.05 < (first == 0).mean() < 0.3, "some sequences begin within a fault"
    quarters = np.histogram(first[first > 0], bins=4, range=(0, STEPS))[0]
    assert quarters.min() > 0.1 * len(sequences), "a fault's place in its sequence tells nothing"
    inceptions = (faulty[:, 1:] & ~faulty[:, :-1]).sum(axis=1)
    assert (inceptions > 1).mean() > 0.1


@pytest.mark.parametrize("quiet", [0, 40, QUIET[1]])
def test_quiet_before_the_first_event_lasts_as_long_as_drawn(monkeypatch: pytest.MonkeyPatch, quiet: int) -> None:
    monkeypatch.setattr(line_sequences, "QUIET", (quiet, quiet))
    found = life_sequences(8, 1, SPEC, ALWAYS_FAULTS, USUAL)
    first = (found.labels != NONE).argmax(axis=1)
    # The record's first event begins 1 to 4 cycles, thus 4 to 16 windows, after the record. Its first window is full.
    assert (found.labels[np.arange(8), first] != NONE).all(), "even the longest quiet leaves room for the event"
    assert first.min() >= quiet + 1
    assert first.max() <= quiet + 13


def test_a_negative_quiet_cuts_the_beginning_of_the_record_off(monkeypatch: pytest.MonkeyPatch) -> None:
    cut = -QUIET[0]

    def with_quiet(quiet: int, steps: int) -> Sequences:
        monkeypatch.setattr(line_sequences, "QUIET", (quiet, quiet))
        monkeypatch.setattr(line_sequences, "measure", lambda samples, *_: samples)
        return life_sequences(4, 1, SPEC, ALWAYS_FAULTS, USUAL, steps=steps)

    # Records of a sequence that begins later are longer, so that the same lives give as many windows.
    whole, later = with_quiet(0, STEPS + cut), with_quiet(-cut, STEPS)
    np.testing.assert_array_equal(later.data, whole.data[:, cut * SPEC.hop :])
    np.testing.assert_array_equal(later.labels, whole.labels[:, cut:])
    np.testing.assert_array_equal(later.weights, whole.weights[:, cut:])


def test_shorter_sequences_have_proportionally_less_quiet() -> None:
    found = natural_sequences(24, SPEC, 2, steps=32)
    assert found.data.shape[1] == samples_of(32, SPEC)
    assert (found.labels != NONE).any(axis=1).mean() > 0.2


@pytest.mark.parametrize("kind", [*KINDS, NATURAL])
def test_a_steady_state_extends_the_simulated_line_exactly(kind: Kind) -> None:
    quiet = 10 * SAMPLES_PER_CYCLE
    mix = replace(kind.mix, disturbed_share=0.0)  # a disturbance that accompanies a fault begins before it
    record = simulate_lives(12, 5, quiet + 4 * SAMPLES_PER_CYCLE, mix=mix, sweep=kind.sweep, first=(11, 13))
    frequency = np.array([float(line["frequency_hz"]) / float(line["nominal_hz"]) for line in record.lines])
    assert np.ptp(frequency) > 0.01
    extended = steady_state(record.samples[:, quiet:], quiet, frequency)
    assert extended.dtype == np.float32
    # The record's first cycle is no steady state: the anti-aliasing filter has not settled in it.
    settled = slice(SAMPLES_PER_CYCLE, quiet)
    np.testing.assert_allclose(extended[:, settled], record.samples[:, settled], rtol=0, atol=2e-4)


def test_nothing_happens_where_the_steady_state_joins_the_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_sequences, "QUIET", (40, 40))
    monkeypatch.setattr(line_sequences, "measure", lambda samples, *_: samples)
    found = life_sequences(12, 3, SPEC, ALWAYS_FAULTS, USUAL)
    # The first event begins a cycle after the join at the earliest.
    joined = slice(40 * SPEC.hop - SAMPLES_PER_CYCLE, 40 * SPEC.hop + SAMPLES_PER_CYCLE)
    changes = np.abs(np.diff(found.data[:, joined], n=3, axis=1)).max(axis=1)
    before = np.abs(np.diff(found.data[:, : joined.start], n=3, axis=1)).max(axis=1)
    np.testing.assert_allclose(changes, before, rtol=0.05, atol=2e-4)


def test_no_steady_state_is_needed_without_quiet() -> None:
    assert steady_state(np.zeros((3, SAMPLES_PER_CYCLE, 6), np.float32), 0, np.ones(3)).shape == (3, 0, 6)


def test_windows_before_the_record_count_as_little_as_other_quiet_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_sequences, "QUIET", (60, 60))
    found = life_sequences(6, 1, SPEC, ALWAYS_FAULTS, USUAL)
    assert set(found.weights[:, :60].ravel()) == {np.float32(QUIET_SHARE) * np.float32(QUIET_WEIGHT)}
    faulty = found.labels != NONE
    assert found.weights[faulty].mean() > 2 * found.weights[~faulty].mean()


def test_natural_sequences_weigh_windows_by_what_fills_them_alone() -> None:
    found = natural_sequences(12, SPEC, 7, steps=64)
    assert found.weights.max() == 1.0
    quiet = found.labels == NONE
    assert (found.weights[quiet] == 1.0).mean() > 0.8
    assert found.episode.tolist() == list(range(12))


def test_labels_follow_the_phases_as_they_are_connected() -> None:
    swapped = replace(USUAL, faulty=replace(USUAL.faulty, swapped=1.0))
    drawn, plain = (life_sequences(10, 9, SPEC, ALWAYS_FAULTS, own, steps=32) for own in (swapped, USUAL))
    faulty = plain.labels != NONE
    np.testing.assert_array_equal(drawn.labels != NONE, faulty)
    assert (drawn.labels[faulty] != plain.labels[faulty]).mean() > 0.3


def test_parts_take_turns_with_kinds_and_instruments(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, ...]] = []

    def seen(size: int, seed: int, spec: Any, kind: Kind, instruments: Any, *, first_episode: int) -> Sequences:
        asked.append((kind, instruments, seed, first_episode))
        return Sequences.empty(spec, STEPS)

    monkeypatch.setattr(line_sequences, "life_sequences", seen)
    for number in range(12):
        training_part(number, 4, SPEC, 2024)
    kinds, instruments, seeds, first = zip(*asked, strict=True)
    assert kinds == KINDS * 4
    assert instruments == (INSTRUMENTS[0],) * 3 + (INSTRUMENTS[1],) * 3 + (INSTRUMENTS[0],) * 3 + (INSTRUMENTS[1],) * 3
    assert len(set(seeds)) == 12
    assert first == tuple(range(0, 12 * PART, PART))
    training_part(5, 4, SPEC, 2025)
    assert asked[-1][2] not in seeds


def test_kinds_of_lives_are_what_they_are_for() -> None:
    usual, harder, resistive = KINDS
    assert usual.mix.fault_share > harder.mix.fault_share
    assert set(harder.mix.non_faults) == set(HARDER_MIX.non_faults)
    assert harder.mix.swinging_share > 0
    assert harder.mix.incipient_share > 0
    assert harder.mix.arcing_share > 0
    assert resistive.sweep.scale[1] < 1
    assert all(kind.sweep.unbalanced_share > 0 for kind in KINDS)
    assert Kind(ScenarioMix(), ParameterSweep()) == NATURAL


def test_half_of_the_instruments_are_usual_ones_and_as_much_is_broken_in_them() -> None:
    different, usual = (draw_chains(4000, np.random.default_rng(1), instruments) for instruments in INSTRUMENTS)
    threshold = 10 ** (-19 / 20)
    assert (different.noise[:, 0] > threshold).mean() > 0.1
    assert not (usual.noise[:, 0] > threshold).any()
    assert np.abs(np.abs(different.gain) - 1).max() > 0.1 > np.abs(np.abs(usual.gain) - 1).max()
    for chain in (different, usual):
        wired = (chain.order != np.arange(3)).any(axis=1)
        assert (chain.lost.any(axis=1) | wired).mean() > 0.15
        assert chain.phase_to_phase.any()
        assert chain.aron.any()
        assert chain.residual.any()
    assert INSTRUMENTS[1].faulty == DIFFERENT.faulty


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count simulations of parts."""
    simulated: list[int] = []
    original = line_sequences.life_sequences

    def counting(*asked: Any, **how: Any) -> Sequences:
        simulated.append(asked[0])
        return original(*asked, **how)

    monkeypatch.setattr(line_sequences, "life_sequences", counting)
    return simulated


def test_a_part_is_simulated_once_and_again_if_anything_decisive_differs(
    tmp_path: Path, counted: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = training_part(1, 2, SPEC, 5, tmp_path)
    assert same(training_part(1, 2, SPEC, 5, tmp_path), first)
    assert same(training_part(1, 2, SPEC, 5), first)
    assert len(counted) == 2, "the kept part was read"
    training_part(1, 3, SPEC, 5, tmp_path)
    training_part(2, 2, SPEC, 5, tmp_path)
    training_part(1, 2, SPEC, 6, tmp_path)
    training_part(1, 2, SPEC.model_copy(update={"hop": 4}), 5, tmp_path)
    monkeypatch.setattr(line_sequences, "QUIET", (0, 5))
    training_part(1, 2, SPEC, 5, tmp_path)
    assert len(counted) == 7
    assert len(list(tmp_path.glob("sequences-*.npz"))) == 6


def _lines(count: int) -> Sequences:
    data = np.zeros((count, samples_of(4, SPEC), len(SPEC.channels)), np.float32)
    data[:, :, 0] = np.arange(count)[:, None]
    labels = np.full((count, 4), SPEC.class_index("ABC"), np.int32)
    return Sequences(data, labels, np.ones((count, 4), np.float32), np.arange(count))


def test_the_hardest_sequences_are_those_of_the_greatest_weighted_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_sequences, "PART", 3)  # sequences are classified in several parts
    sequences = _lines(8)
    right = np.array([0.9, 0.2, 0.8, 0.1, 0.7, 0.95, 0.3, 0.99])

    def classify(windows: np.ndarray) -> np.ndarray:
        assert windows.shape[1:] == (4, *SPEC.window_shape)
        own = right[windows[:, 0, 0, 0].astype(int)]
        probabilities = np.zeros((len(windows), 4, len(SPEC.classes)), np.float32)
        probabilities[:, :, SPEC.class_index("ABC")] = own[:, None]
        probabilities[:, :, NONE] = 1 - own[:, None]
        return probabilities

    assert hard_sequences(sequences, classify, SPEC, 3).episode.tolist() == [1, 3, 6]
    weightless = replace(sequences, weights=sequences.weights * (np.arange(8) != 3)[:, None])
    assert hard_sequences(weightless, classify, SPEC, 3).episode.tolist() == [1, 4, 6]
    assert len(hard_sequences(sequences, classify, SPEC, 8)) == 8


def test_doubt_between_equivalent_classes_does_not_make_a_sequence_hard() -> None:
    sequences = _lines(4)

    def classify(windows: np.ndarray) -> np.ndarray:
        probabilities = np.zeros((len(windows), 4, len(SPEC.classes)), np.float32)
        probabilities[:, :, SPEC.class_index("ABCG")] = 1.0
        probabilities[2] = 0.0
        probabilities[2, :, SPEC.class_index("AB")] = 1.0
        return probabilities

    assert hard_sequences(sequences, classify, SPEC, 1).episode.tolist() == [2]
