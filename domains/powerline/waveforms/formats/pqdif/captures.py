"""Put the waveforms of PQDIF observations together, and choose those that form one record."""

from __future__ import annotations

from bisect import bisect
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from domains.powerline.waveforms.channel_values import ChannelStatistics, statistics_of
from domains.powerline.waveforms.formats.pqdif import tags
from domains.powerline.waveforms.record import Segment
from stream.contract import NS_PER_S

SAME_RATE = 1e-4
"""Largest relative difference of two sampling rates that count as the same."""
_LOGS = {tags.LOWEST, tags.HIGHEST, tags.AVERAGE}


@dataclass(frozen=True, slots=True)
class SeriesDefinition:
    """Meaning of a series: values or times, their unit and the way in which they are stored."""

    value_type: bytes
    unit: int
    method: int
    characteristic: bytes
    resolution: float


@dataclass(frozen=True, slots=True)
class ChannelDefinition:
    """Definition of a channel; equal definitions in several data source records are the same channel.

    Attributes:
        name, group, source: texts as stored.
        phase: identifier of the phase.
        quantity: identifier of the quantity measured.
        quantity_type: identifier of the type, e.g. waveform or log.
        series: definitions of its series.
        copy: number among equal definitions of one data source, from 0.
    """

    name: bytes
    group: bytes
    source: bytes
    phase: int
    quantity: int
    quantity_type: bytes
    series: tuple[SeriesDefinition, ...]
    copy: int = 0

    @property
    def value(self) -> int | None:
        """Index of the series of values; None if the channel is no waveform.

        Some meters declare logs of lowest, highest and effective values as waveforms: they are none.
        """
        if self.quantity_type != tags.WAVEFORM or any(series.value_type in _LOGS for series in self.series):
            return None
        for index, series in enumerate(self.series):
            if series.value_type in (tags.VALUE, tags.INSTANTANEOUS):
                return None if series.characteristic == tags.RMS else index
        return None

    @property
    def time(self) -> int | None:
        """Index of the series of times."""
        return next((k for k, series in enumerate(self.series) if series.value_type == tags.TIME), None)


@dataclass(frozen=True, slots=True, eq=False)
class StoredSeries:
    """Values of a channel as stored; ``values * scale + offset`` are those in its unit.

    Attributes:
        values: the stored numbers (t,), without a copy.
        primary, secondary: ratings of the transformer; 1 if they are not stated.
        step: smallest difference of two values in the unit; 0 if it is not known.
    """

    values: NDArray[Any]
    scale: float
    offset: float
    primary: float
    secondary: float
    step: float

    def read_into(self, row: NDArray[np.float32]) -> None:
        """Write the values into a row, float32 (t,)."""
        with np.errstate(over="ignore", invalid="ignore"):
            if self.scale == 1.0 and self.offset == 0.0:
                row[:] = self.values
            else:
                row[:] = np.multiply(self.values, self.scale, dtype=np.float64) + self.offset


@dataclass(slots=True)
class Capture:
    """Waveforms of one or more channels that were sampled at the same times.

    Attributes:
        start_ns: Unix time of the first sample; None if it is not stated.
        segments: segments of one rate each; the first sample has number 0 and time 0.
        channels: values by channel, in the order of the file.
        observation: name of the observation, as stored.
        trigger_ns: Unix time of the trigger.
        frequency_hz: nominal frequency of the settings.
        statements: what the observation says of the event: a label and an undecoded text each.
    """

    start_ns: int | None
    segments: tuple[Segment, ...]
    channels: dict[ChannelDefinition, StoredSeries]
    observation: bytes
    trigger_ns: int | None
    frequency_hz: float | None
    statements: list[tuple[str, bytes]]

    @property
    def rows(self) -> int:
        """Number of samples of each channel."""
        return self.segments[-1].stop

    @property
    def end_s(self) -> float:
        """Time after the last sample, in seconds after the first."""
        return self.segments[-1].next_s


class CapturedValues:
    """Values of the channels of captures, one after another in time.

    Args:
        captures: captures of the same channels, in time order.
        channels: the channels in the order of the record.
    """

    def __init__(self, captures: Sequence[Capture], channels: Sequence[ChannelDefinition]) -> None:
        self._series: list[list[StoredSeries]] = [[capture.channels[one] for capture in captures] for one in channels]
        self._rows = sum(capture.rows for capture in captures)

    @property
    def shape(self) -> tuple[int, int]:
        """Number of channels, and number of samples of each."""
        return len(self._series), self._rows

    def read(self, indices: Sequence[int]) -> NDArray[np.float32]:
        """Return the values of some channels: see ``ChannelValues.read``."""
        values = np.empty((len(indices), self._rows), np.float32)
        for row, index in zip(values, indices, strict=True):
            first = 0
            for series in self._series[index]:
                series.read_into(row[first : first + len(series.values)])
                first += len(series.values)
        return values

    def statistics(self, indices: Sequence[int] | None = None) -> ChannelStatistics:
        """Return the statistics of some channels: see ``ChannelValues.statistics``."""
        wanted = range(len(self._series)) if indices is None else indices
        parts = [statistics_of(self.read([index])) for index in wanted] or [statistics_of(self.read([]))]
        return ChannelStatistics(
            lowest=np.concatenate([part.lowest for part in parts]),
            highest=np.concatenate([part.highest for part in parts]),
            mean=np.concatenate([part.mean for part in parts]),
            rms=np.concatenate([part.rms for part in parts]),
            missing=np.concatenate([part.missing for part in parts]),
        )


def put_together(captures: Sequence[Capture]) -> list[Capture]:
    """Join captures of different channels at the same times, which some meters store as observations of their own."""
    joined: list[Capture] = []
    near: dict[tuple[int, int], list[Capture]] = defaultdict(list)
    for capture in captures:
        step_ns = max(round(NS_PER_S / capture.segments[0].rate_hz), 1)
        slot = (capture.start_ns or 0) // step_ns
        candidates = [other for k in (-1, 0, 1) for other in near[capture.rows, slot + k][-8:]]
        same = next((other for other in candidates if _join(other, capture, step_ns)), None)
        if same is None:
            joined.append(capture)
            near[capture.rows, slot].append(capture)
    return joined


def _join(one: Capture, other: Capture, step_ns: int) -> bool:
    """Add the channels of a capture to one of the same times and other channels; return True if they were added."""
    if (one.start_ns is None) != (other.start_ns is None) or not one.channels.keys().isdisjoint(other.channels):
        return False
    if 2 * abs((one.start_ns or 0) - (other.start_ns or 0)) > step_ns or len(one.segments) != len(other.segments):
        return False
    for a, b in zip(one.segments, other.segments, strict=True):
        if (a.first, a.stop) != (b.first, b.stop) or abs(a.rate_hz - b.rate_hz) > SAME_RATE * a.rate_hz:
            return False
    one.channels.update(other.channels)
    one.trigger_ns = one.trigger_ns or other.trigger_ns
    one.observation = one.observation or other.observation
    one.statements += [said for said in other.statements if said not in one.statements]
    return True


def chosen(captures: Sequence[Capture]) -> tuple[list[Capture], list[Capture]]:
    """Choose the captures of one record: the same channels at different times.

    The channels with voltages and currents win, then those with most samples; of captures at the same time, the one
    with most samples.

    Returns:
        The chosen captures in time order, and the others in the order of the file.
    """
    groups: dict[frozenset[ChannelDefinition], list[Capture]] = defaultdict(list)
    for capture in captures:
        groups[frozenset(capture.channels)].append(capture)
    best = max(groups, key=lambda group: (_quantities(group), len(group) * sum(one.rows for one in groups[group])))
    kept: list[Capture] = []
    for capture in sorted(groups[best], key=lambda one: -one.rows):
        at = bisect(kept, capture.start_ns or 0, key=lambda one: one.start_ns or 0)
        if not any(_overlap(a, b) for a, b in pairwise([*kept[max(at - 1, 0) : at], capture, *kept[at : at + 1]])):
            kept.insert(at, capture)
    used = set(map(id, kept))
    return kept, [capture for capture in captures if id(capture) not in used]


def _quantities(channels: frozenset[ChannelDefinition]) -> int:
    """Return the number of quantities, of voltage and current, that channels measure."""
    return len({channel.quantity for channel in channels} & {tags.VOLTAGE, tags.CURRENT})


def _overlap(before: Capture, after: Capture) -> bool:
    """Return True if a capture begins before the other has ended; half a sample is tolerated."""
    between_s = ((after.start_ns or 0) - (before.start_ns or 0)) / NS_PER_S
    return between_s < before.end_s - 0.5 / before.segments[-1].rate_hz
