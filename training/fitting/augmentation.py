"""Augment training data: by symmetries, and by channels that fail for a while.

A symmetry turns a labelled window into another correctly labelled one. In every epoch, each window or sequence is
transformed by a symmetry drawn at random, and some sequences get an outage.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

__all__ = ["Outages", "Symmetries"]


@dataclass(frozen=True)
class Symmetries:
    """Transformations of windows, one per entry.

    Attributes:
        channels: original position of every channel, for each transformation.
        signs: factor by which all samples are multiplied, for each transformation.
        classes: class index into which every class turns, for each transformation.
    """

    channels: tuple[tuple[int, ...], ...]
    signs: tuple[float, ...]
    classes: tuple[tuple[int, ...], ...]

    def __len__(self) -> int:
        return len(self.signs)


@dataclass(frozen=True)
class Outages:
    """Channels that fail for a while, in some sequences.

    Attributes:
        groups: channels that read zero together.
        zero_share: share of the sequences in which one of the groups reads zero for a while.
        zero_samples: shortest and longest duration of that, drawn on a logarithmic scale.
        held_share: share of the sequences in which all channels keep their value for a while.
        held_samples: shortest and longest duration of that.
        at_inception: share of these outages that overlap the beginning of a fault, if the sequence has any.
    """

    groups: tuple[tuple[int, ...], ...]
    zero_share: float
    zero_samples: tuple[int, int]
    held_share: float
    held_samples: tuple[int, int]
    at_inception: float = 0.5

    def rarer(self, factor: float) -> Outages:
        """Return the same outages in a share of the sequences that is smaller by ``factor``."""
        return replace(self, zero_share=factor * self.zero_share, held_share=factor * self.held_share)

    def applied(
        self, data: NDArray[np.float32], inceptions: NDArray[np.intp], rng: np.random.Generator
    ) -> NDArray[np.float32]:
        """Return a sequence, with an outage if one is drawn.

        Args:
            data: the sequence, (t, channels).
            inceptions: samples at which faults begin, (k,).
            rng: source of randomness.
        """
        kind = rng.random()
        zero = kind < self.zero_share
        if not zero and kind >= self.zero_share + self.held_share:
            return data
        shortest, longest = np.log(self.zero_samples if zero else self.held_samples)
        length = round(float(np.exp(rng.uniform(shortest, longest))))
        start = int(rng.integers(1 - length, len(data)))
        if rng.random() < self.at_inception and len(inceptions):
            start = int(rng.choice(inceptions)) - int(rng.integers(length))
        span = slice(max(1, start), start + length)
        data = data.copy()
        if zero:
            data[span, list(self.groups[int(rng.integers(len(self.groups)))])] = 0
        else:
            data[span] = data[span.start - 1]
        return data
