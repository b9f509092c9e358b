"""Values of a file's channels, read when they are needed: many channels of a large file belong to no line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class ChannelStatistics:
    """Statistics of channels, in the channels' units; missing values do not count.

    Attributes:
        lowest, highest: extreme values, float64 (channels,); 0 for a channel without values.
        mean, rms: mean and root mean square, float64 (channels,).
        missing: number of missing values, int64 (channels,).
    """

    lowest: NDArray[np.float64]
    highest: NDArray[np.float64]
    mean: NDArray[np.float64]
    rms: NDArray[np.float64]
    missing: NDArray[np.int64]


class ChannelValues(Protocol):
    """Values of the channels of a file."""

    @property
    def shape(self) -> tuple[int, int]:
        """Number of channels, and number of samples of each."""

    def read(self, indices: Sequence[int]) -> Values:
        """Return the values of some channels, float32 (len(indices), t), a new array; NaN where missing."""

    def statistics(self, indices: Sequence[int] | None = None) -> ChannelStatistics:
        """Return the statistics of some channels, in the order of the indices; of all if there are none given."""


class StoredValues:
    """Values that are in memory.

    Args:
        values: float32 (channels, t), in the channels' units; NaN where missing.

    Example:
        >>> stored = StoredValues(np.array([[1.0, 3.0], [2.0, np.nan]], np.float32))
        >>> stored.read([1]).tolist(), stored.statistics().missing.tolist()
        ([[2.0, nan]], [0, 1])
    """

    def __init__(self, values: Values) -> None:
        self._values = values

    @property
    def shape(self) -> tuple[int, int]:
        """Number of channels, and number of samples of each."""
        return self._values.shape[0], self._values.shape[1]

    def read(self, indices: Sequence[int]) -> Values:
        """Return the values of some channels: see ``ChannelValues.read``."""
        return np.array(self._values[list(indices)])

    def statistics(self, indices: Sequence[int] | None = None) -> ChannelStatistics:
        """Return the statistics of some channels: see ``ChannelValues.statistics``."""
        return statistics_of(self._values if indices is None else self._values[list(indices)])


class RunningStatistics:
    """Statistics of channels whose values come in blocks, in memory that does not grow with their number.

    Args:
        count: number of channels.
    """

    def __init__(self, count: int) -> None:
        self._lowest, self._highest = np.full(count, np.inf), np.full(count, -np.inf)
        self._sum, self._squares = np.zeros(count), np.zeros(count)
        self._missing, self._rows = np.zeros(count, np.int64), 0

    def add(self, values: Values) -> None:
        """Add a block of values, float32 (channels, t); NaN and infinite values count as missing."""
        there = np.isfinite(values)
        self._rows += values.shape[1]
        if not there.all():
            self._missing += np.count_nonzero(~there, axis=1)
            np.minimum(self._lowest, np.where(there, values, np.inf).min(axis=1, initial=np.inf), out=self._lowest)
            np.maximum(self._highest, np.where(there, values, -np.inf).max(axis=1, initial=-np.inf), out=self._highest)
            values = np.where(there, values, 0)
        else:
            np.minimum(self._lowest, values.min(axis=1, initial=np.inf), out=self._lowest)
            np.maximum(self._highest, values.max(axis=1, initial=-np.inf), out=self._highest)
        self._sum += values.sum(axis=1, dtype=np.float64)
        self._squares += np.square(values, dtype=np.float64).sum(axis=1)

    def result(self) -> ChannelStatistics:
        """Return the statistics of all values that were added."""
        count = self._rows - self._missing
        some = np.maximum(count, 1)
        return ChannelStatistics(
            lowest=np.where(count > 0, self._lowest, 0.0),
            highest=np.where(count > 0, self._highest, 0.0),
            mean=self._sum / some,
            rms=np.sqrt(self._squares / some),
            missing=self._missing,
        )


def statistics_of(values: Values) -> ChannelStatistics:
    """Return the statistics of channels float32 (channels, t); NaN and infinite values count as missing."""
    count = values.shape[0]
    lowest, highest, mean, rms = (np.zeros(count) for _ in range(4))
    missing = np.zeros(count, np.int64)
    for k, row in enumerate(values):
        there = row[np.isfinite(row)]
        missing[k] = len(row) - len(there)
        if len(there):
            lowest[k], highest[k] = there.min(), there.max()
            mean[k] = there.mean(dtype=np.float64)
            rms[k] = np.sqrt(np.square(there, dtype=np.float64).mean())
    return ChannelStatistics(lowest, highest, mean, rms, missing)
