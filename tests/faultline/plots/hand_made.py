"""Records made by hand, without a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from domains.powerline.waveforms import Finding, Record, RecordLine, Segment
from domains.powerline.waveforms.record import ChannelSummary, Decision, Statement

RATE_HZ, SECONDS = 4800.0, 0.5
EVENT_S = 0.2


def waves(*, fault: bool = False) -> NDArray[np.float32]:
    """Return the samples of a line in per unit, float32 (t, 6); a BG fault begins at ``EVENT_S``."""
    t = np.arange(int(RATE_HZ * SECONDS)) / RATE_HZ
    turns = 2 * np.pi * (50 * t[:, None] - np.arange(3) / 3)
    samples = np.concatenate([0.5 * np.cos(turns - 0.3), np.cos(turns)], axis=1)
    if fault:
        late = t >= EVENT_S
        samples[late, 1] = 8 * np.cos(turns[late, 1] - 1.4)
        samples[late, 4] *= 0.3
    return samples.astype(np.float32)


def line(
    name: str = "record",
    samples: NDArray[np.float32] | None = None,
    *,
    first_channel: int = 1,
    missing: Sequence[str] = (),
    alternatives: tuple[RecordLine, ...] = (),
) -> RecordLine:
    """Return a line whose six channels have consecutive numbers."""
    samples = waves(fault=True) if samples is None else samples
    roles = [role for role in ("ia", "ib", "ic", "va", "vb", "vc") if role not in missing]
    numbers = {role: first_channel + k for k, role in enumerate(roles)}
    return RecordLine(
        name=name,
        samples=samples,
        missing=tuple(missing),
        sources={role: f"{number} {role.upper()}" for role, number in numbers.items()},
        start_ns=0,
        segments=(Segment(0, len(samples), RATE_HZ, 0.0),),
        frequency_hz=50.0,
        current_base=565.7,
        voltage_base=89814.6,
        base_source="voltage base 89814.6 V peak (VT rating); current base 400 A (CT rating) times √2",
        channels_option=f"{name.rpartition('/')[2]}: " + " ".join(f"{role}={at}" for role, at in numbers.items()),
        alternatives=alternatives,
    )


def summary(number: int, name: str, role: str = "(no waveform)") -> ChannelSummary:
    """Return a channel of the file."""
    return ChannelSummary(number, name, "A", "", role, -1.0, 1.0, 0.7, 0)


def record(
    *lines: RecordLine,
    path: str = "record.cfg",
    channels: tuple[ChannelSummary, ...] = (),
    decisions: tuple[Decision, ...] = (),
    statements: tuple[Statement, ...] = (),
    findings: tuple[Finding, ...] = (),
    no_line: str = "",
    trigger_ns: int | None = None,
) -> Record:
    """Return a record of lines."""
    return Record(
        path=Path(path),
        format="COMTRADE 1999 BINARY",
        encoding="utf-8",
        station="",
        device="",
        start_ns=0,
        trigger_ns=trigger_ns,
        header_hz=50.0,
        frequency_hz=50.0,
        channels=channels,
        lines=lines,
        segments=lines[0].segments if lines else (),
        findings=findings,
        decisions=decisions,
        statements=statements,
        no_line=no_line,
    )
