"""Define a waveform record: the lines found in a file, in per unit, and the findings about the file."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from domains.powerline.waveforms.channel_values import ChannelValues
from model.frozen import FrozenModel

CHANNELS = ("ia", "ib", "ic", "va", "vb", "vc")
"""Channels of a line, in the order of the columns of its samples."""
MIN_HZ, MAX_HZ = 10.0, 80.0
"""Range in which the mains frequency is searched: railways at 16.7 Hz, grids at 50 and 60 Hz, machines that run up."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Problem or peculiarity of a record, with the way in which the reader handled it."""

    level: Literal["note", "warning"]
    """A note was handled without doubt. A warning may change the faults that are found: check it."""
    code: str
    """Stable name of the kind of finding, e.g. ``frequency-contradicts-header``."""
    message: str
    where: str = ""
    """Line or channel concerned; empty for the whole record."""

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" if self.where else self.message


@dataclass(frozen=True, slots=True)
class Statement:
    """Statement of the recorder about the event, e.g. its own fault type or the text of the .hdr file."""

    source: str
    """File or field that contains it, e.g. ``fault.hdr`` or ``EVENT``."""
    text: str


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision of the reader about a group of channels, for a person to check."""

    channels: str
    """Numbers and names of the channels, e.g. ``4 5 6 (IL1 IL2 IL3)``; empty if it concerns the whole line."""
    use: str
    """Use that was decided, e.g. ``feeder: ia ib ic`` or ``not used``."""
    reason: str


class ReadOptions(FrozenModel):
    """Options of the reader, which replace values that it would otherwise read or estimate.

    Example:
        >>> ReadOptions(channels="feeder: ia=4 ib=5 ic=6 va=1 vb=2 vc=3", encoding="gbk").flip
        False
    """

    encoding: str | None = Field(None, description="Encoding of the text; detected from its content when unset.")
    channels: str | None = Field(
        None,
        description="Channels of each line: 'ia=4 ib=5 …', by number or name; 'name: … ; name: …' for several lines.",
    )
    mapping: Path | None = Field(
        None, description="TOML file with the channels of each line and the time column of a table."
    )
    flip: bool = Field(False, description="Invert the currents whose polarity was found to be reversed.")
    frequency_hz: float | None = Field(
        None, ge=MIN_HZ, le=MAX_HZ, description="Mains frequency; estimated from the signal when unset."
    )
    rate_hz: float | None = Field(
        None, gt=0, le=1e9, description="Sampling rate in samples per second; read from the file when unset."
    )
    current_base: float | None = Field(
        None, ge=1e-6, le=1e12, description="Peak current of one per unit, in ampere, on the file's side of the CT."
    )
    voltage_base: float | None = Field(
        None, ge=1e-6, le=1e12, description="Peak phase-to-ground voltage of one per unit, in volt."
    )
    start_ns: int | None = Field(
        None, ge=0, description="Unix time of the first sample in ns; read from the file when unset."
    )
    max_bytes: int = Field(
        1 << 30, gt=0, description="Largest file that is read; reading takes a small multiple of the size in memory."
    )


@dataclass(frozen=True, slots=True)
class RawChannel:
    """An analogue channel as the file describes it."""

    number: int
    """Position in the file, from 1."""
    name: str
    unit: str = ""
    phase: str = ""
    circuit: str = ""
    primary: float = 1.0
    secondary: float = 1.0
    side: Literal["P", "S", ""] = ""
    """Side of the transformer on which the values are given: primary, secondary, or not stated."""
    skew_us: float = 0.0
    step: float = 0.0
    """Smallest difference of two values, one step of the converter, in the channel's unit; 0 if it is not known."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Samples ``first`` to ``stop`` (exclusive) that follow each other at one rate without a gap."""

    first: int
    stop: int
    rate_hz: float
    start_s: float
    """Time of the segment's first sample, in seconds after the record's first sample."""

    def __len__(self) -> int:
        return self.stop - self.first

    @property
    def next_s(self) -> float:
        """Time at which the sample after the last one would be due, in seconds."""
        return self.start_s + len(self) / self.rate_hz


@dataclass(slots=True)
class RawRecord:
    """Content of a file: channels in their own units, before they are assigned to lines and phases."""

    path: Path
    format: str
    channels: tuple[RawChannel, ...]
    source: ChannelValues
    """Values of the channels, in their units; NaN if the file marks a value as missing."""
    segments: tuple[Segment, ...]
    start_ns: int = 0
    trigger_ns: int | None = None
    header_hz: float | None = None
    encoding: str = ""
    station: str = ""
    device: str = ""
    line_channels: tuple[int, ...] | None = None
    """Indices of ia, ib, ic, va, vb, vc, if the format itself defines them for a single line."""
    segments_are_lines: bool = False
    """True if every segment is a separate line."""
    statements: tuple[Statement, ...] = ()
    """Statements of the recorder about the event."""
    findings: list[Finding] = field(default_factory=list)


def channels_argument(options: Iterable[str]) -> str:
    """Return the option ``--channels`` for a shell, from the texts of one or more lines.

    Example:
        >>> channels_argument(["north: ia=1 va=2", "south: ia=3 va=4"])
        "--channels 'north: ia=1 va=2; south: ia=3 va=4'"
    """
    return f"--channels {shlex.quote('; '.join(dict.fromkeys(options)))}"


@dataclass(frozen=True, slots=True)
class RecordLine:
    """One line (a bay, a feeder) of a record.

    Attributes:
        name: unique in the record; the line's id on a topic.
        samples: float32 (t, 6), ia ib ic va vb vc, per unit of nominal peak values; zeros where missing, or
            assumed voltages if a finding says so.
        missing: names of the channels that the record does not have.
        sources: channel of the file from which each channel of the line comes, e.g. ``{"ia": "4 IL1"}``.
        start_ns: Unix time of the first sample.
        segments: segments of one rate each, in time order.
        frequency_hz: mains frequency, estimated from the signal.
        current_base, voltage_base: peak values of one per unit, in A and V of the primary side (or of the side that
            the file states as primary).
        base_source: text that explains how the bases were chosen.
        channels_option: text for ``--channels`` that assigns the same channels again, e.g. ``feeder: ia=4 ib=5 …``.
        alternatives: the same line with other voltages, if the record does not show which ones belong to it. The answer
            for the line is only certain if it is the same for every alternative.
        dead: reason why the currents that the user assigned carry no mains; empty if they do.
    """

    name: str
    samples: NDArray[np.float32]
    missing: tuple[str, ...]
    sources: Mapping[str, str]
    start_ns: int
    segments: tuple[Segment, ...]
    frequency_hz: float
    current_base: float
    voltage_base: float
    base_source: str
    channels_option: str = ""
    alternatives: tuple[RecordLine, ...] = ()
    dead: str = ""

    @property
    def paste_option(self) -> str:
        """Option that assigns the line's channels again, to paste into a shell."""
        return channels_argument([self.channels_option])


@dataclass(frozen=True, slots=True)
class ChannelSummary:
    """A channel of the file and its use."""

    number: int
    name: str
    unit: str
    phase: str
    role: str
    """The channel of a line, e.g. ``line/ia``; in parentheses the kind of an unused channel."""
    lowest: float
    highest: float
    rms: float
    missing: int


@dataclass(frozen=True, slots=True)
class Record:
    """A waveform record: its lines, its channels and the findings about it.

    Attributes:
        path: the file.
        format: format of the file, e.g. ``COMTRADE 2013 FLOAT32``.
        encoding: encoding of its text.
        station: name of the station in the header.
        device: name of the recording device in the header.
        start_ns, trigger_ns: Unix time of the first sample and of the trigger, if the file has one.
        header_hz: mains frequency stated in the header; None if it states none.
        frequency_hz: mains frequency estimated from the signal of the first line, or the header's if no line was found.
        channels: all channels of the file; their statistics are computed when they are read.
        lines: lines that were identified without doubt, or that the user defined.
        segments: segments of one rate each.
        findings: problems and peculiarities, and how each was handled.
        decisions: uses of the channels and the reasons for them.
        statements: statements of the recorder about the event.
        no_line: reason why ``lines`` is empty, with the remedy; empty if there are lines.
        source: values of the channels in their units, to draw them if ``lines`` is empty; None if there are lines.
    """

    path: Path
    format: str
    encoding: str
    station: str
    device: str
    start_ns: int
    trigger_ns: int | None
    header_hz: float | None
    frequency_hz: float
    channels: Sequence[ChannelSummary]
    lines: tuple[RecordLine, ...]
    segments: tuple[Segment, ...]
    findings: tuple[Finding, ...]
    decisions: tuple[Decision, ...] = ()
    statements: tuple[Statement, ...] = ()
    no_line: str = ""
    source: ChannelValues | None = None
