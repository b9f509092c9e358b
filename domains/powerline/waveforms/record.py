"""What a record is: the lines found in a file, per unit, with everything that was found odd about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from model.frozen import FrozenModel

CHANNELS = ("ia", "ib", "ic", "va", "vb", "vc")
"""Of a line, in the order of its samples' columns."""
MIN_HZ, MAX_HZ = 10.0, 80.0
"""Mains frequencies that are looked for: railways at 16.7 Hz, grids at 50 and 60 Hz, and machines that run up."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something odd about a record, and what was done about it."""

    level: Literal["note", "warning"]
    """A note was dealt with for certain; a warning may change what is found and deserves a look."""
    code: str
    """Stable name of the kind, e.g. ``frequency-contradicts-header``."""
    message: str
    where: str = ""
    """Line or channel that it is about; empty for the whole record."""

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" if self.where else self.message


class ReadOptions(FrozenModel):
    """What a reader may be told instead of finding it out.

    Example:
        >>> ReadOptions(channels="feeder: ia=4 ib=5 ic=6 va=1 vb=2 vc=3", encoding="gbk").flip
        False
    """

    encoding: str | None = Field(None, description="Of the text; found by its content when unset.")
    channels: str | None = Field(
        None,
        description="Which channel is what: 'ia=4 ib=5 …', by number or name; 'name: … ; name: …' for several lines.",
    )
    mapping: Path | None = Field(None, description="TOML file that says the same and how a table gives its times.")
    flip: bool = Field(False, description="Turn currents round that were found reversed.")
    frequency_hz: float | None = Field(None, ge=MIN_HZ, le=MAX_HZ, description="Of the mains; estimated when unset.")
    rate_hz: float | None = Field(None, gt=0, le=1e9, description="Samples per second, where the file does not say.")
    current_base: float | None = Field(
        None, gt=0, description="Peak ampere (of the file's side) that are one per unit."
    )
    voltage_base: float | None = Field(None, gt=0, description="Peak volt, phase to ground, that are one per unit.")
    start_ns: int | None = Field(None, ge=0, description="Unix time of the first sample, ns; the file's when unset.")
    max_bytes: int = Field(1 << 30, gt=0, description="A larger file is refused: memory is a small multiple of it.")


@dataclass(frozen=True, slots=True)
class RawChannel:
    """An analogue channel as its file describes it."""

    number: int
    """Position in the file, from 1."""
    name: str
    unit: str = ""
    phase: str = ""
    circuit: str = ""
    primary: float = 1.0
    secondary: float = 1.0
    side: Literal["P", "S", ""] = ""
    """Whether values are those of the primary or the secondary side."""
    skew_us: float = 0.0


@dataclass(frozen=True, slots=True)
class Segment:
    """Samples ``first … stop`` that follow each other at one rate, without a gap."""

    first: int
    stop: int
    rate_hz: float
    start_s: float
    """Of its first sample, seconds after the record's first sample."""

    def __len__(self) -> int:
        return self.stop - self.first

    @property
    def next_s(self) -> float:
        """When a sample after its last one would be due."""
        return self.start_s + len(self) / self.rate_hz


@dataclass(slots=True)
class RawRecord:
    """A file as it is: channels in their own units, before anything is known of lines and phases."""

    path: Path
    format: str
    channels: tuple[RawChannel, ...]
    values: NDArray[np.float32]
    """(channels, t), in the channels' units; NaN where the file says that a value is missing."""
    segments: tuple[Segment, ...]
    start_ns: int = 0
    trigger_ns: int | None = None
    header_hz: float | None = None
    encoding: str = ""
    station: str = ""
    device: str = ""
    in_order: tuple[int, ...] | None = None
    """Channels that are ia, ib, ic, va, vb, vc of one line by the format's own rules, as indices."""
    apart: bool = False
    """Whether every segment is a line of its own."""
    missing: tuple[int, ...] = ()
    """How many values of every channel are missing."""
    findings: list[Finding] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class RecordLine:
    """One line (a bay, a feeder) of a record.

    Attributes:
        name: unique in the record; the line's id on a topic.
        samples: float32 (t, 6), ia ib ic va vb vc, per unit of nominal peak values; zeros where missing.
        missing: names of the channels that the record does not have.
        sources: which channel of the file is which, e.g. ``{"ia": "4 IL1"}``.
        start_ns: Unix time of the first sample.
        segments: stretches of one rate each, in time order.
        frequency_hz: of the mains, estimated from the signal.
        current_base, voltage_base: peak values in A and V of the primary side (or what the file takes for it) that
            are one per unit.
        base_source: how the bases were chosen.
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


@dataclass(frozen=True, slots=True)
class ChannelSummary:
    """A channel of the file and what was made of it."""

    number: int
    name: str
    unit: str
    phase: str
    role: str
    """``line/ia`` or why it is none."""
    lowest: float
    highest: float
    rms: float
    missing: int


@dataclass(frozen=True, slots=True)
class Record:
    """A record: its lines and what was found.

    Attributes:
        path: of the file.
        format: e.g. ``COMTRADE 2013 FLOAT32``.
        encoding: of its text.
        start_ns, trigger_ns: Unix time of the first sample and of the trigger, where the file has one.
        header_hz: mains frequency as the header claims; None where it says nothing.
        frequency_hz: as estimated from the signal of the first line (or of the header where there is none).
        channels: every channel of the file.
        lines: lines that were found without doubt, or as told.
        segments: stretches of one rate each.
        findings: everything that was odd, and what was done about it.
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
    channels: tuple[ChannelSummary, ...]
    lines: tuple[RecordLine, ...]
    segments: tuple[Segment, ...]
    findings: tuple[Finding, ...]
