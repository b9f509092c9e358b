"""Cut episodes into labelled and weighted windows, and split windows so that an episode stays in one part."""

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

# Windows that end within this many window lengths after a change hold a transient. They are much rarer than quiet ones
# and much more useful in training.
EVENTFUL_LENGTHS = 1.75
EVENTFUL_SHARE, UNDERWAY_SHARE, QUIET_SHARE = 0.5, 0.15, 0.03
LATE_FAULT_SHARE = 0.4
# Three in a hundred quiet windows are kept, so each represents many. With a weight of 1 a network expects an event in
# every ambiguous window and takes noise for a fault; with 12, and 2.5 for windows during a fault, it missed faults.
QUIET_WEIGHT = 4.0
FADING_WEIGHT = 0.3  # weight of windows in which a fault ends or changes


@dataclass(frozen=True)
class Windows:
    """Labelled windows.

    Attributes:
        data: float32 (n, samples, channels), per unit.
        labels: int32 (n,), class index of each window's last sample.
        weights: float32 (n,), 1 or more if a window lies fully in one state.
        episode: int64 (n,), number of the episode that a window is from.
    """

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
    labels: NDArray[np.int8], settled: NDArray[np.bool_], spec: SignalSpec, *, early: float = 1.0
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return the class and the weight of every window, both (n, windows), of labelled records (n, t).

    The class is that of the last sample, and a window that lies fully in one state has weight 1. A window in which a
    fault has just begun is weighted by the share that the fault covers, raised to the power of ``early``, because right
    after inception the class cannot be known. A window in which a fault has just ended, is half interrupted or has just
    become another fault has no correct class, but other faults are still incorrect: its weight is at most
    ``FADING_WEIGHT``, and its class is the state that fills most of it.
    """
    truth = np.lib.stride_tricks.sliding_window_view(labels, spec.samples, axis=1)[:, :: spec.hop]
    calm = np.lib.stride_tricks.sliding_window_view(settled, spec.samples, axis=1)[:, :: spec.hop].all(axis=2)
    last, none = truth[:, :, -1], spec.none_index
    own = (truth == last[:, :, None]).mean(axis=2)
    other = ((truth != last[:, :, None]) & (truth != none)).mean(axis=2)
    mostly_other = other > 0.5
    earlier = np.where(last == none, np.where(truth == none, -1, truth).max(axis=2), truth[:, :, 0])
    fading = ~calm | mostly_other | ((last == none) & (other > 0))
    weight = np.where(last == none, 1.0, own**early)
    weight = np.where(fading, FADING_WEIGHT * np.maximum(np.abs(own - other), 0.1), weight)
    return np.where(mostly_other, earlier, last).astype(np.int32), weight.astype(np.float32)


def interest(episodes: Episodes, spec: SignalSpec) -> NDArray[np.float32]:
    """Return the probability (n, windows) of keeping each window: higher near events than in quiet periods."""
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


def learned_weights(weights: NDArray[np.float32], episodes: Episodes, spec: SignalSpec) -> NDArray[np.float32]:
    """Return the weights (n, windows) from which a network learns, if it sees all windows of its records.

    Args:
        weights: weights of ``label_windows``, (n, windows).
        episodes: the records.
        spec: spec of the windows.
    """
    return weighted_by_interest(weights, interest(episodes, spec))


def weighted_by_interest(weights: NDArray[np.float32], share: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return ``weights`` (n, windows) times the windows' ``interest``; quiet ones count for those that are not kept."""
    quiet = np.where(share == np.float32(QUIET_SHARE), np.float32(QUIET_WEIGHT), np.float32(1))
    return np.asarray(weights * share * quiet, np.float32)


def select(episodes: Episodes, spec: SignalSpec) -> Windows:
    """Cut episodes into windows, except those that have no weight.

    Args:
        episodes: the episodes to cut, numbered from 0 on.
        spec: defines window length and hop.
    """
    labels, weights = label_windows(episodes.labels, episodes.settled, spec)
    keep = weights > 0
    row, _ = np.nonzero(keep)
    data = np.ascontiguousarray(cut_windows(episodes.samples, spec)[keep])
    return Windows(data, labels[keep], weights[keep], row.astype(np.int64))


def split_by_episode(windows: Windows, shares: Sequence[float], seed: int) -> list[Windows]:
    """Split windows so that all windows of an episode are in the same part.

    Args:
        windows: the windows to split.
        shares: share of the episodes in each part; they add up to 1.
        seed: seed of the shuffle.

    Raises:
        TrainingError: the shares do not add up to 1, or there are fewer episodes than parts.
    """
    numbers = np.unique(windows.episode)
    if not np.isclose(sum(shares), 1.0):
        raise TrainingError(f"the shares of a split must add up to 1, not {sum(shares):g}")
    if len(numbers) < len(shares):
        raise TrainingError(f"{len(numbers)} episodes cannot be split into {len(shares)} parts; use more episodes")
    shuffled = np.random.default_rng(seed).permutation(numbers)
    bounds = np.round(np.cumsum(shares)[:-1] * len(numbers)).astype(int)
    return [windows.take(np.isin(windows.episode, part)) for part in np.split(shuffled, bounds)]
