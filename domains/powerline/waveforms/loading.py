"""Load the channels that are needed: without holes, at the nominal sampling times, in A and V of the primary side."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from domains.powerline.waveforms.naming import unit_of
from domains.powerline.waveforms.quality import without_holes, without_skew
from domains.powerline.waveforms.record import RawChannel, RawRecord

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
        self.segments = without_holes(values, channels, raw.segments, raw.findings)
        self._waves = {
            k: np.nan_to_num(primary_values(channel, without_skew(channel, row, self.segments)), posinf=0, neginf=0)
            for k, channel, row in zip(wanted, channels, values, strict=True)
        }

    def __getitem__(self, index: int) -> Values:
        """Return the waveform of a channel by its index in the record."""
        return self._waves[index]


def primary_values(channel: RawChannel, values: Values) -> Values:
    """Convert values of a channel to A or V of the primary side."""
    factor = unit_of(channel)[1]
    if channel.side == "S":
        factor *= channel.primary / channel.secondary
    return values if factor == 1.0 else values * np.float32(factor)
