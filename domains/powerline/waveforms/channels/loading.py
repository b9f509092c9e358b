"""Load the channels that are needed: without holes, at the nominal sampling times, in A and V of the primary side."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from domains.powerline.waveforms.record import Finding, RawChannel, RawRecord
from domains.powerline.waveforms.signal.quality import place_of, without_holes, without_skew
from domains.powerline.waveforms.units import primary_factor, unit_of

HIGHEST = np.float32(1e15)
"""Highest value, in A or V: damaged multipliers give higher ones, whose squares float32 cannot hold."""

Values = NDArray[np.float32]


class LoadedChannels:
    """Waveforms of some channels of a record, float32 (t,) each, in A and V of the primary side.

    Attributes:
        segments: the record's segments without the stretches in which no loaded channel has a value.
        rows: number of samples.
    """

    def __init__(self, raw: RawRecord, indices: Iterable[int]) -> None:
        wanted = sorted(set(indices))
        channels = [raw.channels[k] for k in wanted]
        values = raw.source.read(wanted)
        self.rows = values.shape[1]
        self._findings: list[Finding] = []
        self.segments = without_holes(values, channels, raw.segments, self._findings)
        self._waves = {
            k: primary_values(channel, without_skew(channel, row, self.segments))
            for k, channel, row in zip(wanted, channels, values, strict=True)
        }
        self._has_unit = {k: bool(unit_of(channel)[0]) for k, channel in zip(wanted, channels, strict=True)}
        self._places = {k: place_of(channel) for k, channel in zip(wanted, channels, strict=True)}
        self._steps = {k: channel.step * primary_factor(channel) for k, channel in zip(wanted, channels, strict=True)}

    def __getitem__(self, index: int) -> Values:
        """Return the waveform of a channel by its index in the record."""
        return self._waves[index]

    def findings_of(self, indices: Iterable[int]) -> list[Finding]:
        """Return the findings about some channels, and those about all."""
        places = {"", *(self._places[index] for index in indices)}
        return [finding for finding in self._findings if finding.where in places]

    def has_unit(self, index: int) -> bool:
        """Return True if the unit of a channel is known."""
        return self._has_unit[index]

    def step(self, index: int) -> float:
        """Return the step of a channel's converter in A or V of the primary side; 0 if it is not known."""
        return self._steps[index]


def primary_values(channel: RawChannel, values: Values) -> Values:
    """Convert values of a channel to A or V of the primary side."""
    with np.errstate(over="ignore", invalid="ignore"):
        primary: Values = values * np.float32(primary_factor(channel))
    np.nan_to_num(primary, copy=False, posinf=0, neginf=0)
    return np.clip(primary, -HIGHEST, HIGHEST, out=primary)
