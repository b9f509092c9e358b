"""Join consecutive windows of a line to stretches, and cut stretches into sequences of equal length. Pure.

A network with a memory learns from sequences. A labelled window needs context: the windows before it, which advance the
memory and have weight 0. Windows after the last labelled one are of no use, because no answer depends on them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.spec import SignalSpec
from stream.contract import NS_PER_S
from training.data.balancing import balanced, rarest_classes
from training.data.sequences import Sequences, samples_of
from training.data.windows import Windows
from training.sidecar.store.blocks import UNLABELLED, Block
from training.sidecar.store.episodes import episodes_of, line_hashes, neighbours, window_weights

# Weight of a window labelled by an operator, which is better evidence than a label sent with the window.
OPERATOR_WEIGHT = 3.0
# Difference of two windows, per unit, up to which their common samples count as the same: sources round, and some
# compute the per-unit values of every window anew.
AGREEMENT = 1e-3


def context_windows(steps: int) -> int:
    """Return the number of windows that the store keeps before a labelled one, for sequences of ``steps`` windows."""
    return steps // 2


def least_context(steps: int) -> int:
    """Return the number of windows before a labelled one that its sequence contains at least, if they are stored."""
    return steps // 4


@dataclass(frozen=True)
class StoredLine:
    """Stored windows of one line in order of time.

    Attributes:
        start_ns: Unix time of the first samples, (n,).
        sequence: sequence numbers, (n,).
        windows: float32 (n, samples, channels), per unit.
        label: class index of each window, −1 for none, (n,).
        weight: weight of each window, 0 without a label, float32 (n,).
        episode: number of the episode of each labelled window, int64 (n,); 0 without a label.
    """

    start_ns: NDArray[np.int64]
    sequence: NDArray[np.int64]
    windows: Sequence[NDArray[np.float32]]
    label: NDArray[np.int16]
    weight: NDArray[np.float32]
    episode: NDArray[np.int64]

    @classmethod
    def of(cls, name: str, blocks: Sequence[Block], spec: SignalSpec) -> StoredLine:
        """Join the blocks of line ``name``, at least one, in any order; samples are not copied."""
        count = [len(block) for block in blocks]
        start_ns, sequence = (
            np.concatenate([getattr(block, column) for block in blocks]) for column in ("start_ns", "sequence")
        )
        order = np.lexsort((sequence, start_ns))
        label, operator_ns = (
            np.repeat([getattr(block, column) for block in blocks], count)[order] for column in ("label", "operator_ns")
        )
        start_ns, labelled = start_ns[order], label != UNLABELLED
        hashes = np.repeat(line_hashes([name]), len(order))
        # A window without a label counts as quiet here: a fault that begins behind it has just begun.
        presumed = np.where(labelled, label, spec.none_index)
        weight = window_weights(presumed, neighbours(hashes.view(np.int64), start_ns), spec)
        weight[operator_ns > 0] *= OPERATOR_WEIGHT
        weight[~labelled] = 0
        episode = np.zeros(len(order), np.int64)
        episode[labelled], _ = episodes_of(hashes[labelled], start_ns[labelled], label[labelled], spec)
        windows = [window for block in blocks for window in block.windows]
        return cls(
            start_ns=start_ns,
            sequence=sequence[order],
            windows=[windows[k] for k in order],
            label=label.astype(np.int16),
            weight=weight,
            episode=episode,
        )


class Cut(NamedTuple):
    """Windows ``first … stop - 1`` of a line as one sequence; those before ``learned`` are context without weight."""

    first: int
    learned: int
    stop: int


def hop_ns(line: StoredLine, spec: SignalSpec) -> int:
    """Return the usual distance of a line's consecutive windows in ns; that of the spec if none are consecutive."""
    steps = np.diff(line.start_ns)[np.diff(line.sequence) == 1]
    return int(np.median(steps)) if len(steps) else round(spec.hop * NS_PER_S / spec.rate_hz)


def joined(line: StoredLine, spec: SignalSpec) -> NDArray[np.bool_]:
    """Return a mask (n,) of the windows that continue their predecessor.

    The sequence number is the next one, the time differs from the expected one by at most a hop, as in
    ``stream.detection``, and the samples that both windows contain agree.
    """
    hop, continues = hop_ns(line, spec), np.zeros(len(line.start_ns), bool)
    continues[1:] = (np.diff(line.sequence) == 1) & (np.abs(np.diff(line.start_ns) - hop) <= hop)
    common = spec.samples - spec.hop
    if common > 0:
        for k in np.flatnonzero(continues).tolist():
            before, after = line.windows[k - 1][spec.hop :], line.windows[k][:common]
            continues[k] = bool((np.abs(before - after) <= AGREEMENT).all())
    return continues


def cuts_of(line: StoredLine, steps: int, spec: SignalSpec) -> list[Cut]:
    """Return the cuts of a line's stretches into sequences of at most ``steps`` windows.

    Every window with a weight is learned from in exactly one cut, unless it shares samples with an earlier episode, in
    which case it is left out. A cut lies in one stretch and learns from one episode. It begins with context, at least
    ``least_context`` windows if the stretch has them, and more if there is room for them.
    """
    continues, found = joined(line, spec), []
    for first, stop in _episodes(line, spec):
        edges = [first, *(first + 1 + np.flatnonzero(~continues[first + 1 : stop])).tolist(), stop]
        for a, b in pairwise(edges):
            found += list(_cut(a, a + np.flatnonzero(line.weight[a:b] > 0), steps))
    return found


def _episodes(line: StoredLine, spec: SignalSpec) -> Iterator[tuple[int, int]]:
    """Yield the range of every episode's windows: from the end of the episode before to its last labelled window."""
    labelled = np.flatnonzero(line.weight > 0)
    if not len(labelled):
        return
    changes = np.flatnonzero(np.diff(line.episode[labelled]))
    length_ns, first = -(-spec.samples // spec.hop) * hop_ns(line, spec), 0
    for last in (*labelled[changes].tolist(), int(labelled[-1])):
        yield first, last + 1
        # A window that shares samples with the episode before would be in both parts of a split.
        first = max(last + 1, int(np.searchsorted(line.start_ns, line.start_ns[last] + length_ns)))


def _cut(begin: int, labelled: NDArray[np.intp], steps: int) -> Iterator[Cut]:
    """Yield the cuts of a stretch that begins at ``begin``, given the positions of its windows with a weight."""
    while len(labelled):
        learned, last = int(labelled[0]), int(labelled[-1])
        first = max(begin, min(learned - least_context(steps), last + 1 - steps))
        stop = min(first + steps, last + 1)
        yield Cut(first, learned, stop)
        labelled = labelled[labelled >= stop]


def sequences_of(line: StoredLine, cuts: Sequence[Cut], steps: int, spec: SignalSpec) -> Sequences:
    """Return sequences of ``steps`` windows; a shorter cut is padded at its end with its last sample, without weight.

    The padding is at the end, so that a network with a memory begins cold where the stretch begins.
    """
    found = Sequences.empty(spec, steps)
    data = np.empty((len(cuts), *found.data.shape[1:]), np.float32)
    labels, weights = np.full((len(cuts), steps), spec.none_index, np.int32), np.zeros((len(cuts), steps), np.float32)
    episode = np.empty(len(cuts), np.int64)
    for row, (first, learned, stop) in enumerate(cuts):
        length = samples_of(stop - first, spec)
        data[row, :length] = _samples(line.windows[first:stop], spec)
        data[row, length:] = data[row, length - 1]
        own = slice(learned - first, stop - first)
        weights[row, own] = line.weight[learned:stop]
        labels[row, own] = np.where(line.label[learned:stop] == UNLABELLED, spec.none_index, line.label[learned:stop])
        episode[row] = line.episode[learned]
    return Sequences(data, labels, weights, episode)


def _samples(windows: Sequence[NDArray[np.float32]], spec: SignalSpec) -> NDArray[np.float32]:
    """Return the samples of consecutive windows, each once; samples between windows repeat the one before."""
    gap = max(0, spec.hop - spec.samples)
    parts = [windows[0], *(window[-spec.hop :] for window in windows[1:])]
    if gap:
        parts = [np.pad(part, ((0, gap), (0, 0)), "edge") for part in parts]
    return np.concatenate(parts)[: samples_of(len(windows), spec)]


def feedback_sequences(lines: Iterator[tuple[str, list[Block]]], spec: SignalSpec, steps: int, most: int) -> Sequences:
    """Return the sequences of all lines, at most ``most`` of them, as evenly as possible by class and line.

    Args:
        lines: name and blocks of every line; the samples of one line at a time are in memory.
        spec: spec of the windows.
        steps: number of windows of a sequence.
        most: largest number of sequences, which bounds the memory that they take.
    """
    kept, number, begin = [Sequences.empty(spec, steps)], [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for place, (name, blocks) in enumerate(lines):
        line = StoredLine.of(name, blocks, spec)
        cuts = cuts_of(line, steps, spec)
        if len(cuts) > most:  # before the samples are copied: a cut may hold a single window, a sequence is always long
            classes = np.array([_class_of(line, cut) for cut in cuts])
            chosen = balanced([classes], np.arange(len(cuts)), most)
            cuts = [cut for cut, one in zip(cuts, chosen, strict=True) if one]
        kept.append(sequences_of(line, cuts, steps, spec))
        number.append(np.full(len(cuts), place))
        begin.append(line.start_ns[[cut.first for cut in cuts]])
        if sum(map(len, kept)) > most:
            sequences, numbers, begins = Sequences.joined(kept), np.concatenate(number), np.concatenate(begin)
            group = rarest_classes(sequences.labels, sequences.weights)
            chosen = balanced([group, numbers], begins, most)
            kept, number, begin = [sequences.take(chosen)], [numbers[chosen]], [begins[chosen]]
    return Sequences.joined(kept)


def _class_of(line: StoredLine, cut: Cut) -> int:
    """Return that class of a cut's labelled windows which is the rarest on the line."""
    labels = line.label[line.label != UNLABELLED]
    own = line.label[cut.learned : cut.stop]
    own = own[own != UNLABELLED]
    return int(own[np.bincount(labels)[own].argmin()])


def feedback_windows(lines: Iterator[tuple[str, list[Block]]], spec: SignalSpec) -> Windows:
    """Return the labelled windows of all lines, ordered by line and time, without those that two episodes share.

    Args:
        lines: name and blocks of every line, in order of the names.
        spec: spec of the windows.
    """
    names, blocks = [], []
    for name, own in lines:
        labelled = [block for block in own if block.label != UNLABELLED]
        names += [name] * len(labelled)
        blocks += labelled
    if not blocks:
        return Windows.empty(spec)
    count = [len(block) for block in blocks]
    line = np.repeat(np.unique(names, return_inverse=True)[1], count)
    start_ns = np.concatenate([block.start_ns for block in blocks])
    order = np.lexsort((start_ns, line))
    line, start_ns = line[order], start_ns[order]
    label, operator_ns = (
        np.repeat([getattr(block, column) for block in blocks], count)[order] for column in ("label", "operator_ns")
    )
    windows = np.concatenate([block.windows for block in blocks])[order]
    weights = window_weights(label, neighbours(line, start_ns), spec)
    weights[operator_ns > 0] *= OPERATOR_WEIGHT
    hashes = np.repeat(line_hashes(names), count)[order]
    episode, mask = episodes_of(hashes, start_ns, label, spec)
    return Windows(windows, label.astype(np.int32), weights, episode).take(mask)
