"""Summaries of a record's channels, made when they are read: their statistics need all values of the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import overload

from domains.powerline.waveforms.channel_values import ChannelValues
from domains.powerline.waveforms.record import ChannelSummary, RawChannel


class ChannelSummaries(Sequence[ChannelSummary]):
    """Summaries of all channels of a file; the statistics are computed at the first access to one of them.

    Args:
        channels: the channels.
        roles: use of each channel, by its index.
        source: values of the channels.
    """

    def __init__(self, channels: Sequence[RawChannel], roles: Mapping[int, str], source: ChannelValues) -> None:
        self._channels, self._roles, self._source = channels, roles, source

    def __len__(self) -> int:
        return len(self._channels)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and self._summaries == tuple(other)

    __hash__ = None  # type: ignore[assignment]

    @overload
    def __getitem__(self, index: int) -> ChannelSummary: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[ChannelSummary]: ...

    def __getitem__(self, index: int | slice) -> ChannelSummary | Sequence[ChannelSummary]:
        return self._summaries[index]

    @cached_property
    def _summaries(self) -> tuple[ChannelSummary, ...]:
        statistics = self._source.statistics()
        return tuple(
            ChannelSummary(
                number=channel.number,
                name=channel.name,
                unit=channel.unit,
                phase=channel.phase,
                role=self._roles[k],
                lowest=float(statistics.lowest[k]),
                highest=float(statistics.highest[k]),
                rms=float(statistics.rms[k]),
                missing=int(statistics.missing[k]),
            )
            for k, channel in enumerate(self._channels)
        )
