"""Sequences contain every labelled window once, with its context, and no sample of two episodes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.spec import SignalSpec, load_spec
from stream.windowing import cut_windows
from training.data.sequences import Sequences, samples_of
from training.sidecar.store.blocks import UNLABELLED, Block
from training.sidecar.store.episodes import GAP_NS
from training.sidecar.store.stretches import (
    AGREEMENT,
    OPERATOR_WEIGHT,
    StoredLine,
    context_windows,
    cuts_of,
    feedback_sequences,
    feedback_windows,
    joined,
    least_context,
)

LINE = load_spec("line")
HOP_NS = 5_000_000
NONE, AG, BG = 0, 1, 2


def spec_of(samples: int, hop: int) -> SignalSpec:
    return LINE.model_copy(update={"samples": samples, "hop": hop})


def block(first: int, count: int, label: int, spec: SignalSpec = LINE, *, operator_ns: int = 0) -> Block:
    """Return consecutive windows of a wave whose every value is the number of its sample."""
    number = np.arange(first, first + count)
    sample = number[:, None] * spec.hop + np.arange(spec.samples)
    windows = np.broadcast_to(sample[:, :, None], (count, *spec.window_shape)).astype(np.float32)
    return Block("s", 0, label, operator_ns, 0, number * HOP_NS, number, windows)


def sequences(blocks: Sequence[Block], spec: SignalSpec = LINE, steps: int = 128, most: int = 10_000) -> Sequences:
    return feedback_sequences(iter([("a", list(blocks))]), spec, steps, most)


RUNS = st.lists(
    st.tuples(
        st.sampled_from([0, 0, 0, 1, 5, 2 * GAP_NS // HOP_NS]),  # windows that were not received
        st.integers(1, 40),
        st.sampled_from([UNLABELLED, UNLABELLED, NONE, AG, BG]),
    ),
    min_size=1,
    max_size=8,
)


@given(RUNS, st.integers(1, 24), st.sampled_from([(32, 8), (5, 5), (6, 4), (3, 5), (1, 1)]))
def test_every_labelled_window_is_learned_once_from_its_own_samples_and_after_its_context(
    runs: list[tuple[int, int, int]], steps: int, shape: tuple[int, int]
) -> None:
    spec, blocks, first = spec_of(*shape), [], 0
    for gap, count, label in runs:
        blocks.append(block(first + gap, count, label, spec))
        first += gap + count
    label_of = {int(n): b.label for b in blocks for n in b.sequence}
    line = StoredLine.of("a", blocks, spec)
    weight_of = dict(zip(line.sequence.tolist(), line.weight.tolist(), strict=True))
    episode_of = dict(zip(line.sequence.tolist(), line.episode.tolist(), strict=True))
    found = sequences(blocks, spec, steps)
    windows = cut_windows(found.data, spec)
    learned: list[int] = []
    for row in range(len(found)):
        own = np.flatnonzero(found.weights[row])
        number = int(windows[row, 0, 0, 0]) // spec.hop + np.arange(steps)
        learned += number[own].tolist()
        assert [label_of[n] for n in number[own]] == found.labels[row, own].tolist()
        assert [weight_of[n] for n in number[own]] == found.weights[row, own].tolist()
        assert {episode_of[n] for n in number[own]} == {found.episode[row]}
        assert (found.labels[row, found.weights[row] == 0] == spec.none_index).all()
        # All windows up to the last learned one were received, and the memory begins with as many as it should.
        assert set(number[: own[-1] + 1].tolist()) <= set(label_of)
        assert np.array_equal(windows[row, : own[-1] + 1], block(number[0], own[-1] + 1, 0, spec).windows)
        if spec.hop <= spec.samples:
            rises = np.diff(found.data[row, :, 0])  # by one for every sample received, then not at all
            assert np.array_equal(rises, np.sort(rises)[::-1])
            assert set(rises.tolist()) <= {0.0, 1.0}
        if number[0] - 1 in label_of and own[0] < least_context(steps):
            before = [n for n in learned if episode_of[n] != found.episode[row]]
            assert before, "context was received and is not used"
            assert number[0] * spec.hop < (max(before) + 1) * spec.hop + spec.samples + spec.hop
    assert len(learned) == len(set(learned))
    left_out = {n for n, label in label_of.items() if label != UNLABELLED} - set(learned)
    for n in left_out:  # it shares samples with an earlier episode
        assert any(episode_of[k] != episode_of[n] and n - k < -(-spec.samples // spec.hop) for k in learned if k < n)


def test_context_comes_first_and_padding_last() -> None:
    found = sequences([block(0, 200, UNLABELLED), block(200, 20, AG), block(220, 50, UNLABELLED)])
    assert len(found) == 1
    (row,) = found.weights
    assert np.flatnonzero(row).tolist() == list(range(108, 128)), "context fills the sequence"
    assert row[108:112].tolist() == [0.25, 0.5, 0.75, 1.0], "the fault has just begun"
    short = sequences([block(180, 20, UNLABELLED), block(200, 20, AG)])
    assert np.flatnonzero(short.weights[0]).tolist() == list(range(20, 40))
    assert (short.data[0, samples_of(40, LINE) :] == short.data[0, samples_of(40, LINE) - 1]).all()


def test_a_long_stretch_is_cut_and_every_part_begins_with_context() -> None:
    found = sequences([block(0, 64, UNLABELLED), block(64, 300, NONE)])
    begins = [int(row[0, 0]) // LINE.hop for row in found.data]
    learned = [
        (int(w.nonzero()[0][0]) + b, int(w.nonzero()[0][-1]) + b) for w, b in zip(found.weights, begins, strict=True)
    ]
    assert learned == [(64, 159), (160, 255), (256, 351), (352, 363)]
    assert [first - b for (first, _), b in zip(learned, begins, strict=True)] == [32, 32, 32, 116]


def test_a_label_by_an_operator_weighs_more_and_only_its_windows() -> None:
    found = sequences([block(0, 40, UNLABELLED), block(40, 10, NONE, operator_ns=5)])
    assert found.weights[0].tolist() == [0.0] * 40 + [OPERATOR_WEIGHT] * 10 + [0.0] * 78


@pytest.mark.parametrize("off", [0.5 * AGREEMENT, 2 * AGREEMENT])
def test_windows_whose_common_samples_differ_are_not_joined(off: float) -> None:
    small = block(0, 6, AG)
    windows = small.windows - small.windows.min()
    windows = windows / np.float32(1000)
    windows[3:] += np.float32(off)
    line = StoredLine.of("a", [Block("s", 0, AG, 0, 0, small.start_ns, small.sequence, windows)], LINE)
    assert joined(line, LINE).tolist() == [False, True, True, off < AGREEMENT, True, True]
    assert len(cuts_of(line, 128, LINE)) == (1 if off < AGREEMENT else 2)


def test_a_jump_of_time_begins_anew_and_rounded_times_do_not() -> None:
    made = block(0, 9, AG)
    rounded, late = made.start_ns.copy(), made.start_ns.copy()
    rounded[4] += 2_000_000
    late[5:] += 3 * HOP_NS
    for times, parts in ((rounded, 1), (late, 2)):
        line = StoredLine.of("a", [Block("s", 0, AG, 0, 0, times, made.sequence, made.windows)], LINE)
        assert len(cuts_of(line, 16, LINE)) == parts


def test_the_sides_of_a_division_share_no_sample_and_have_the_episodes_of_single_windows() -> None:
    blocks = [block(first, 500, NONE) for first in range(0, 15_000, 500)]  # 75 s
    found, single = sequences(blocks), feedback_windows(iter([("a", blocks)]), LINE)
    assert set(found.episode.tolist()) == set(single.episode.tolist())
    assert len(set(found.episode.tolist())) == 3
    assert np.count_nonzero(found.weights) == len(single)
    seen: dict[int, tuple[float, float]] = {}
    for row, weights, episode in zip(found.data, found.weights, found.episode.tolist(), strict=True):
        last = float(row[samples_of(int(np.flatnonzero(weights)[-1]) + 1, LINE) - 1, 0])
        low, high = seen.get(episode, (np.inf, -np.inf))
        seen[episode] = min(low, float(row[0, 0])), max(high, last)
    ranges = sorted(seen.values())
    assert all(before[1] < after[0] for before, after in pairwise(ranges))


def test_an_episode_keeps_its_number_when_its_context_is_stored() -> None:
    labelled = block(400, 30, AG)
    alone = sequences([labelled])
    with_context = sequences([block(0, 400, UNLABELLED), labelled])
    assert alone.episode.tolist() == with_context.episode.tolist()
    assert alone.weights[0, 0] == 1.0


@pytest.mark.parametrize("most", [12, 40])
def test_too_many_sequences_are_chosen_evenly_by_class_and_line(most: int) -> None:
    lines = [
        ("a", [block(500 * k, 3, NONE) for k in range(60)]),
        ("b", [block(500 * k, 3, NONE) for k in range(60)]),
        ("c", [block(500 * k, 3, AG) for k in range(4)]),
    ]
    found = feedback_sequences(iter(lines), LINE, 8, most)
    assert len(found) == most
    of_fault = (found.labels == AG).any(axis=1)
    assert of_fault.sum() == 4
    hashes = {name: set(sequences(blocks, steps=8).episode.tolist()) for name, blocks in lines[:2]}
    counts = [sum(int(e) in hashes[name] for e in found.episode[~of_fault]) for name in "ab"]
    assert abs(counts[0] - counts[1]) <= 1


def test_no_labels_give_no_sequences() -> None:
    assert len(sequences([block(0, 50, UNLABELLED)])) == 0
    assert feedback_sequences(iter([]), LINE, 128, 10).data.shape == (0, samples_of(128, LINE), 6)


def test_the_store_keeps_more_context_than_a_sequence_needs() -> None:
    assert least_context(128) == 32
    assert context_windows(128) == 64
    assert context_windows(0) == 0
