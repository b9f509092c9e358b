"""Group windows into episodes that no split may divide, and compute the weight of each window. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from model.spec import SignalSpec
from training.data.windows import FADING_WEIGHT

GAP_NS = 1_000_000_000  # windows of a line that are further apart belong to different episodes
# Length above which an episode is divided, at a time without a fault: hours of labelled windows are not one episode.
MAX_EPISODE_NS = 30_000_000_000
_MIX = np.uint64(0x9E3779B97F4A7C15)


def line_hashes(lines: Sequence[str]) -> NDArray[np.uint64]:
    """Return a hash of the name of every line, (n,)."""
    return np.array(
        [int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "little") for name in lines], np.uint64
    )


def neighbours(line: NDArray[np.integer], start_ns: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return a mask (n,) of windows, sorted by line and time, that follow their predecessor without a gap."""
    follows = np.zeros(len(line), bool)
    follows[1:] = (line[1:] == line[:-1]) & (np.diff(start_ns) < GAP_NS)
    return follows


def window_weights(labels: NDArray[np.integer], follows: NDArray[np.bool_], spec: SignalSpec) -> NDArray[np.float32]:
    """Return the weights of windows, float32 (n,), sorted by line and time.

    The weight of a window in which a fault has just begun is the share of the window that the fault covers; a window
    after the end of a fault gets a small weight. If the preceding windows are not stored, the weight is 1.
    ``training.data.windows.label_windows`` computes the weights of simulated windows in the same way.

    Args:
        labels: class indices (n,).
        follows: mask (n,) of windows that follow their predecessor, see ``neighbours``.
        spec: spec of the windows.
    """
    n = len(labels)
    same = np.zeros(n, bool)
    same[1:] = follows[1:] & (labels[1:] == labels[:-1])
    begins = np.flatnonzero(~same)
    run = np.repeat(np.arange(len(begins)), np.diff(np.append(begins, n)))
    covered = np.minimum(1.0, (np.arange(n) - begins[run] + 1) * spec.hop / spec.samples)
    after_change = follows[begins][run]
    none = labels == spec.none_index
    partly = np.where(none, FADING_WEIGHT, covered)
    return np.where(after_change & (covered < 1.0), partly, 1.0).astype(np.float32)


def episodes_of(
    line_hash: NDArray[np.uint64], start_ns: NDArray[np.int64], labels: NDArray[np.integer], spec: SignalSpec
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the episode of each window, and a mask of windows that share no sample with another episode.

    An episode is a series of windows of one line without a gap of a second or more. A series longer than half a minute
    is divided at multiples of half a minute, or after the fault if there is one at that time. The number of an episode
    is a hash of line and time, so that a window stays in its episode, and therefore in its part of a split, whatever
    else is stored.

    Args:
        line_hash: hash of the line of each window, (n,); windows are sorted by line and time.
        start_ns: Unix time of the windows, (n,).
        labels: class indices (n,).
        spec: spec of the windows, for the no-fault class and the overlap of windows.

    Returns:
        Episode numbers int64 (n,), and the mask bool (n,).
    """
    n = len(start_ns)
    begins = ~neighbours(line_hash.view(np.int64), start_ns)
    slot = start_ns // MAX_EPISODE_NS
    none = labels == spec.none_index
    quiet = none & np.roll(none, 1)  # neither the window nor its predecessor has a fault
    due = np.zeros(n, bool)
    due[1:] = ~begins[1:] & (slot[1:] != slot[:-1])
    for place in np.flatnonzero(due):
        stop = n
        ahead = np.flatnonzero(begins[place:stop] | quiet[place:stop])
        if len(ahead) and not begins[place + ahead[0]]:
            begins[place + ahead[0]] = True
            due[place] = False
    number = np.cumsum(begins) - 1
    first = np.flatnonzero(begins)
    name = (line_hash[first] ^ (start_ns[first] // GAP_NS).astype(np.uint64) * _MIX) >> np.uint64(2)
    return name.astype(np.int64)[number], _non_overlapping(begins, start_ns, line_hash, spec)


def _non_overlapping(
    begins: NDArray[np.bool_], start_ns: NDArray[np.int64], line_hash: NDArray[np.uint64], spec: SignalSpec
) -> NDArray[np.bool_]:
    """Return a mask that is False for the first windows after a division, which share samples with the last episode."""
    n = len(begins)
    overlap = -(-spec.samples // spec.hop) - 1
    mask = np.ones(n, bool)
    divided = np.flatnonzero(begins & neighbours(line_hash.view(np.int64), start_ns))
    for ahead in range(overlap):
        place = divided + ahead
        mask[place[place < n]] = False
    return mask
