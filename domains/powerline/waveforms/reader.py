"""Read a waveform file into lines in per unit. Each step uses the results of the steps before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from domains.powerline.waveforms.assembly import assembled
from domains.powerline.waveforms.errors import RecordError
from domains.powerline.waveforms.formats.comtrade import is_comtrade
from domains.powerline.waveforms.formats.registry import FORMATS
from domains.powerline.waveforms.frequency import frequency_of
from domains.powerline.waveforms.liveness import set_states
from domains.powerline.waveforms.loading import LoadedChannels
from domains.powerline.waveforms.mapping import (
    Bay,
    Layout,
    bays_of_user,
    channel_roles,
    channels_option,
    lines_of,
    no_line_message,
)
from domains.powerline.waveforms.naming import phase_sets
from domains.powerline.waveforms.per_unit import scaled
from domains.powerline.waveforms.quality import channel_findings
from domains.powerline.waveforms.record import (
    CHANNELS,
    ChannelSummary,
    Finding,
    RawChannel,
    RawRecord,
    ReadOptions,
    Record,
    RecordLine,
    Segment,
)
from domains.powerline.waveforms.resample import FEWEST_PER_CYCLE

DEFAULT_HZ = 50.0
HEADER_TOLERANCE_HZ = 2.0
"""Largest deviation of a grid's frequency from nominal."""


def is_record(path: Path) -> bool:
    """Return True if ``open_waveforms`` reads a file of this kind, by its name and first bytes."""
    return any(kind.recognises(path) for kind in FORMATS)


def open_waveforms(path: Path | str, *, options: ReadOptions | None = None) -> Record:
    """Read a record of waveforms and find the lines in it.

    Args:
        path: COMTRADE (either file of the pair, or CFF), CSV, or Parquet.
        options: values that replace those in the file.

    Returns:
        The record. If no line can be identified without doubt, ``lines`` is empty and ``findings`` gives the reason.

    Raises:
        RecordError: the file is missing, damaged or of an unknown kind; the message is one line and names the
            position in the file.

    Example:
        >>> record = open_waveforms("fault.cfg", options=ReadOptions(encoding="gbk"))  # doctest: +SKIP
        >>> [line.name for line in record.lines], record.frequency_hz  # doctest: +SKIP
        (['fault/SBUS'], 60.0)
    """
    path, options = Path(path), options or ReadOptions()
    if not path.is_file() and not is_comtrade(path):
        raise RecordError(f"{path}: no such file")
    for kind in FORMATS:
        if kind.recognises(path):
            return _record(kind.read(path, options), options)
    known = ", ".join(kind.name for kind in FORMATS)
    raise RecordError(f"{path}: unknown kind of file; give one of these kinds: {known}")


def _record(raw: RawRecord, options: ReadOptions) -> Record:
    given = bays_of_user(raw, options)
    if given is not None:
        layout, no_line = Layout(given), ""
        loaded = LoadedChannels(raw, (index for bay in given for index in bay.roles.values()))
    else:
        layout, loaded, no_line = _found_lines(raw, options)
    raw.segments = loaded.segments
    raw.findings += layout.findings
    raw.findings += loaded.findings_of(index for bay in layout.bays for index in bay.roles.values())
    lines = [_line(raw, bay, loaded, options, alone=len(layout.bays) == 1) for bay in layout.bays]
    if raw.segments_are_lines:
        lines = [
            replace(line, name=f"{line.name.lower()}-{number}", segments=(segment,))
            for line in lines
            for number, segment in enumerate(raw.segments, 1)
        ]
    return Record(
        path=raw.path,
        format=raw.format,
        encoding=raw.encoding,
        station=raw.station,
        device=raw.device,
        start_ns=raw.start_ns,
        trigger_ns=raw.trigger_ns,
        header_hz=raw.header_hz,
        frequency_hz=lines[0].frequency_hz if lines else options.frequency_hz or raw.header_hz or DEFAULT_HZ,
        channels=_summaries(raw, layout.bays),
        lines=tuple(lines),
        segments=raw.segments,
        findings=tuple(dict.fromkeys(raw.findings)),
        decisions=layout.decisions,
        statements=raw.statements,
        no_line=no_line,
    )


def _found_lines(raw: RawRecord, options: ReadOptions) -> tuple[Layout, LoadedChannels, str]:
    """Return the lines found in a record, the channels of all its sets, and the reason if there is no line."""
    sets, unused = phase_sets(raw.channels)
    members = {index for found in sets for index in (*found.channels, found.residual) if index is not None}
    loaded = LoadedChannels(raw, members)
    frequency = options.frequency_hz or raw.header_hz or DEFAULT_HZ
    states = set_states(sets, loaded, frequency)
    layout = lines_of(states, unused, raw)
    if layout.bays:
        return layout, loaded, ""
    message = no_line_message(raw, states)
    raw.findings.append(Finding("warning", "no-line", message))
    return layout, loaded, message


def _line(raw: RawRecord, bay: Bay, loaded: LoadedChannels, options: ReadOptions, *, alone: bool) -> RecordLine:
    line = assembled({role: loaded[index] for role, index in bay.roles.items()}, loaded.rows, bay.name)
    samples = line.samples
    raw.findings += line.findings
    channels = _channels_behind(raw, bay)
    frequency = _frequency(raw, samples, options, bay.name)
    raw.findings += channel_findings(samples, line.missing, bay.name)
    result = scaled(samples, channels, _prefault_segments(raw, samples), frequency, options, bay.name)
    raw.findings += result.findings
    raw.findings.append(Finding("note", "bases", result.source, bay.name))
    if options.flip and result.reversed_currents:
        samples[:, list(result.reversed_currents)] *= -1
        inverted = ", ".join(CHANNELS[k] for k in result.reversed_currents)
        raw.findings.append(Finding("note", "flipped", f"polarity inverted as requested: {inverted}", bay.name))
    _report_slow_segments(raw, frequency)
    return RecordLine(
        name=raw.path.stem if alone else f"{raw.path.stem}/{bay.name}",
        samples=samples,
        missing=line.missing,
        sources={role: f"{raw.channels[index].number} {raw.channels[index].name}" for role, index in bay.roles.items()},
        start_ns=raw.start_ns,
        segments=raw.segments,
        frequency_hz=frequency,
        current_base=result.current_base,
        voltage_base=result.voltage_base,
        base_source=result.source,
        channels_option=channels_option(bay, raw.channels),
        alternatives=tuple(
            # Findings about the other voltages would read as findings about the line.
            _line(replace(raw, findings=[]), Bay(bay.name, roles), loaded, options, alone=alone)
            for roles in bay.alternatives
        ),
    )


def _channels_behind(raw: RawRecord, bay: Bay) -> tuple[RawChannel | None, ...]:
    """Return the channel from which each of the six waveforms is taken or computed, for its ratings."""
    instead = {"va": "vab", "vb": "vbc", "vc": "vca"}
    indices = [bay.roles.get(name, bay.roles.get(instead.get(name, ""))) for name in CHANNELS]
    return tuple(None if index is None else raw.channels[index] for index in indices)


def _prefault_segments(raw: RawRecord, samples: NDArray[np.float32]) -> tuple[Segment, ...]:
    """Return the segments that start with the pre-fault state; for separate waveforms, the one with most voltage."""
    if not raw.segments_are_lines:
        return raw.segments
    return (max(raw.segments, key=lambda segment: float(np.abs(samples[segment.first : segment.stop, 3:]).mean())),)


def _frequency(raw: RawRecord, samples: NDArray[np.float32], options: ReadOptions, name: str) -> float:
    if options.frequency_hz is not None:
        return options.frequency_hz
    usable = [segment for segment in raw.segments if segment.rate_hz >= FEWEST_PER_CYCLE * DEFAULT_HZ / 4]
    longest = max(usable or raw.segments, key=lambda segment: len(segment) / segment.rate_hz)
    part = samples[longest.first : longest.stop]
    found = frequency_of((part[:, 3:], part[:, :3]), longest.rate_hz)
    # The estimate is less exact than three digits. Rounding makes the same waveform in two formats give equal windows.
    found = None if found is None else round(found, 3)
    header = raw.header_hz
    if found is None:
        taken = header if header is not None and 10 <= header <= 80 else DEFAULT_HZ
        message = f"no mains frequency was found in the signal: the header's {taken:g} Hz is used"
        if taken != header:
            message = (
                f"no mains frequency was found in the signal or the header: {taken:g} Hz is assumed "
                "(--frequency sets another)"
            )
        raw.findings.append(Finding("warning", "frequency-unknown", message, name))
        return taken
    if header is not None and abs(found - header) > HEADER_TOLERANCE_HZ:
        message = f"the header states {header:g} Hz, the signal has {found:.3f} Hz: the signal's frequency is used"
        raw.findings.append(Finding("warning", "frequency-contradicts-header", message, name))
    return found


def _report_slow_segments(raw: RawRecord, frequency: float) -> None:
    for segment in raw.segments:
        if segment.rate_hz < FEWEST_PER_CYCLE * frequency:
            message = (
                f"samples {segment.first + 1} to {segment.stop} were taken at a rate of "
                f"{segment.rate_hz / frequency:.1f} per cycle, too slow for a waveform: they are skipped"
            )
            raw.findings.append(Finding("warning", "segment-too-slow", message))


def _summaries(raw: RawRecord, bays: Sequence[Bay]) -> tuple[ChannelSummary, ...]:
    roles, statistics = channel_roles(raw, bays), raw.source.statistics()
    return tuple(
        ChannelSummary(
            number=channel.number,
            name=channel.name,
            unit=channel.unit,
            phase=channel.phase,
            role=roles[k],
            lowest=float(statistics.lowest[k]),
            highest=float(statistics.highest[k]),
            rms=float(statistics.rms[k]),
            missing=int(statistics.missing[k]),
        )
        for k, channel in enumerate(raw.channels)
    )
