"""Episodes → labelled windows, their weights in training, and splits that never part an episode."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Self

import numpy as np
from numpy.typing import NDArray

from model.spec import SignalSpec
from stream.windowing import cut_windows
from training.data.episodes import Episodes
from training.errors import TrainingError

# After a change the windows of so many windows' lengths hold a transient: they are many times rarer than quiet ones
# and many times more instructive.
EVENTFUL_LENGTHS = 1.75
EVENTFUL_SHARE, UNDERWAY_SHARE, QUIET_SHARE = 0.5, 0.15, 0.03
LATE_FAULT_SHARE = 0.4
# Of three in a hundred quiet windows each stands for many. At 1 a network learns from the others that where a window is
# doubtful something has happened, and takes noise for a fault; at 12, with 2.5 for what is underway, it missed faults.
QUIET_WEIGHT = 4.0
FADING_WEIGHT = 0.3  # of windows in which a fault ends or changes


@dataclass(frozen=True)
class Windows:
    """``data`` float32 (n, samples, channels) per unit; ``labels`` int32 (n,), of the last sample; ``weights``
    float32 (n,), 1 or more where all of a window is in one state; ``episode`` int64 (n,), which episode a window comes
    from."""

    data: NDArray[np.float32]
    labels: NDArray[np.int32]
    weights: NDArray[np.float32]
    episode: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: NDArray[np.intp] | NDArray[np.bool_]) -> Self:
        """Return the windows at ``index`` (positions or a mask)."""
        return type(self)(**{f.name: getattr(self, f.name)[index] for f in fields(self)})

    @classmethod
    def empty(cls, spec: SignalSpec) -> Self:
        """Return no windows of ``spec``."""
        data = np.zeros((0, *spec.window_shape), np.float32)
        return cls(data, np.zeros(0, np.int32), np.zeros(0, np.float32), np.zeros(0, np.int64))

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Return all windows of ``parts`` in their order."""
        return cls(**{f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(cls)})


def window_ends(length: int, spec: SignalSpec) -> NDArray[np.intp]:
    """Return the last sample of every window of a record of ``length`` samples."""
    return np.arange(spec.samples - 1, length, spec.hop)


def label_windows(
    labels: NDArray[np.int8], settled: NDArray[np.bool_], spec: SignalSpec
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return the class and the weight of every window, both (n, windows), of labelled records (n, t).

    The class is that of the last sample, and a window weighs 1 where it is filled by one state. A window that a
    fault has just entered weighs as much of it as the fault covers: right after inception nothing can be known
    yet. A window that a fault has just left, or in which it is half interrupted, or in which one fault has just
    become another, has no right answer, only wrong ones, namely further faults: it weighs ``FADING_WEIGHT``, and
    its class is the state that fills most of it.
    """
    truth = np.lib.stride_tricks.sliding_window_view(labels, spec.samples, axis=1)[:, :: spec.hop]
    calm = np.lib.stride_tricks.sliding_window_view(settled, spec.samples, axis=1)[:, :: spec.hop].all(axis=2)
    last, none = truth[:, :, -1], spec.none_index
    own = (truth == last[:, :, None]).mean(axis=2)
    foreign = ((truth != last[:, :, None]) & (truth != none)).mean(axis=2)
    mostly_foreign = foreign > 0.5
    earlier = np.where(last == none, np.where(truth == none, -1, truth).max(axis=2), truth[:, :, 0])
    fading = ~calm | mostly_foreign | ((last == none) & (foreign > 0))
    weight = np.where(last == none, 1.0, own)
    weight = np.where(fading, FADING_WEIGHT * np.maximum(np.abs(own - foreign), 0.1), weight)
    return np.where(mostly_foreign, earlier, last).astype(np.int32), weight.astype(np.float32)


def interest(episodes: Episodes, spec: SignalSpec) -> NDArray[np.float32]:
    """Return with which probability a window (n, windows) is worth keeping: rare moments more than quiet ones."""
    ends = window_ends(episodes.samples.shape[1], spec)
    share = np.full((len(episodes), len(ends)), QUIET_SHARE, np.float32)
    after = int(EVENTFUL_LENGTHS * spec.samples)
    for row, events in zip(share, episodes.events, strict=True):
        for event in events:
            row[(ends >= event.start) & (ends < event.stop + after)] = UNDERWAY_SHARE
        for event in events:
            for moment in event.moments:
                row[(ends >= moment) & (ends < moment + after)] = EVENTFUL_SHARE
    faulty = episodes.labels[:, ends] != spec.none_index
    early = faulty & ~np.roll(faulty, after // spec.hop, axis=1)
    share[faulty] = LATE_FAULT_SHARE
    share[early] = 1.0
    return share


def select(
    episodes: Episodes, spec: SignalSpec, *, first_episode: int = 0, seed: int | None = None, part: float = 1.0
) -> Windows:
    """Cut episodes into windows.

    Args:
        episodes: what to cut.
        spec: window length and hop.
        first_episode: number of the first of the episodes.
        seed: where given, windows are kept at random by their interest, and of those the quiet ones weigh
            ``QUIET_WEIGHT``; otherwise all are kept, and none weighs more than 1.
        part: of those that would be kept by their interest.
    """
    labels, weights = label_windows(episodes.labels, episodes.settled, spec)
    keep = weights > 0
    if seed is not None:
        share = interest(episodes, spec)
        keep &= np.random.default_rng(seed).random(keep.shape) < part * share
        weights[share == np.float32(QUIET_SHARE)] *= QUIET_WEIGHT
    row, _ = np.nonzero(keep)
    data = np.ascontiguousarray(cut_windows(episodes.samples, spec)[keep])
    return Windows(data, labels[keep], weights[keep], row.astype(np.int64) + first_episode)


def split_by_episode(windows: Windows, shares: Sequence[float], seed: int) -> list[Windows]:
    """Split windows so that all of an episode go the same way.

    Args:
        windows: what to split.
        shares: parts of the episodes, adding up to 1.
        seed: of the shuffle.

    Raises:
        TrainingError: the shares do not add up, or there are fewer episodes than parts.
    """
    numbers = np.unique(windows.episode)
    if not np.isclose(sum(shares), 1.0):
        raise TrainingError(f"the shares of a split must add up to 1, not {sum(shares):g}")
    if len(numbers) < len(shares):
        raise TrainingError(f"{len(numbers)} episodes cannot be split in {len(shares)} parts; use more episodes")
    shuffled = np.random.default_rng(seed).permutation(numbers)
    bounds = np.round(np.cumsum(shares)[:-1] * len(numbers)).astype(int)
    return [windows.take(np.isin(windows.episode, part)) for part in np.split(shuffled, bounds)]
