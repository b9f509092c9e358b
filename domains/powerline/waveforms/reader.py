"""Read a waveform file into lines in per unit. Each step uses the results of the steps before it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from domains.powerline.waveforms.batch import folder_message
from domains.powerline.waveforms.channels.liveness import set_states
from domains.powerline.waveforms.channels.loading import LoadedChannels
from domains.powerline.waveforms.channels.mapping import (
    PAIRS,
    Bay,
    Layout,
    bays_of_user,
    bounded_name,
    channel_roles,
    channels_option,
    lines_of,
    no_line_message,
)
from domains.powerline.waveforms.channels.naming import Kind, PhaseSet, phase_sets
from domains.powerline.waveforms.errors import RecordError
from domains.powerline.waveforms.formats.archive import is_archive
from domains.powerline.waveforms.formats.comtrade.files import is_comtrade
from domains.powerline.waveforms.formats.registry import FORMATS, read_record
from domains.powerline.waveforms.record import (
    CHANNELS,
    Decision,
    Finding,
    RawChannel,
    RawRecord,
    ReadOptions,
    Record,
    RecordLine,
    Segment,
    Statement,
)
from domains.powerline.waveforms.signal.assembly import OPPOSITE, assembled
from domains.powerline.waveforms.signal.assumed_voltages import assume_voltages
from domains.powerline.waveforms.signal.frequency import FrequencyEstimate, PhaseWaves, line_frequency, mains_frequency
from domains.powerline.waveforms.signal.per_unit import scaled
from domains.powerline.waveforms.signal.quality import channel_findings
from domains.powerline.waveforms.signal.resample import FEW_PER_CYCLE, FEWEST_PER_CYCLE
from domains.powerline.waveforms.signal.rotation import without_opposed_voltages
from domains.powerline.waveforms.summaries import ChannelSummaries

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]+")
"""Control characters, separators of lines, marks that reverse the direction of writing, halves of characters."""

Text = TypeVar("Text", RawChannel, Statement, Finding)


def is_record(path: Path) -> bool:
    """Return True if ``open_waveforms`` reads a file of this kind, by its name and first bytes."""
    return any(kind.recognises(path) for kind in FORMATS)


def open_waveforms(path: Path | str, *, options: ReadOptions | None = None) -> Record:
    """Read a record of waveforms and find the lines in it.

    Args:
        path: COMTRADE (either file of the pair, or CFF), an event report of an SEL relay, PQDIF, output of PSCAD,
            MATLAB, a table of text or Parquet, or a .zip of one record; ``a.zip/folder/b.cfg`` names one of several.
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
    if path.is_dir():
        raise RecordError(folder_message(path))
    if not path.is_file() and not is_comtrade(path) and not is_archive(path):
        raise RecordError(f"{path}: no such file")
    try:
        return _record(read_record(path, options), options)
    except OSError as error:
        raise RecordError(f"{error.filename or path}: cannot be read: {error.strerror or error}") from error
    except MemoryError as error:
        raise RecordError(f"{path}: reading it needs more memory than there is: cut it into shorter ones") from error


def _record(raw: RawRecord, options: ReadOptions) -> Record:
    _clean_texts(raw)
    given = bays_of_user(raw, options)
    sets, unused = phase_sets(raw.channels) if given is None else (_given_sets(given), {})
    members = {index for found in sets for index in (*found.channels, found.residual) if index is not None}
    loaded = LoadedChannels(raw, members.union(index for bay in given or () for index in bay.roles.values()))
    raw.segments = loaded.segments
    mains = mains_frequency(_phase_waves(sets, loaded), raw.header_hz, options.frequency_hz)
    if given is None:
        states = set_states(sets, loaded, mains.hz)
        layout = lines_of(states, unused, raw)
        no_line = "" if layout.bays else no_line_message(raw, states)
    else:
        layout, no_line = Layout(given), ""
    if no_line:
        raw.findings.append(Finding("warning", "no-line", no_line))
    else:
        raw.findings += mains.findings
    raw.findings += layout.findings
    raw.findings += loaded.findings_of(index for bay in layout.bays for index in bay.roles.values())
    lines = [_line(raw, bay, loaded, mains, options, alone=len(layout.bays) == 1) for bay in layout.bays]
    if given is not None and not raw.segments_are_lines:
        lines = [
            replace(line, dead=_dead_currents(bay, loaded, mains.hz)) for bay, line in zip(given, lines, strict=True)
        ]
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
        frequency_hz=mains.hz,
        channels=ChannelSummaries(raw.channels, channel_roles(raw, layout.bays), raw.source),
        lines=tuple(lines),
        segments=raw.segments,
        findings=tuple(dict.fromkeys(raw.findings)),
        decisions=(
            *layout.decisions,
            Decision("", f"mains frequency {mains.hz:g} Hz", mains.why),
            *(
                Decision("", f"{bay.name}: per unit", line.base_source)
                for bay, line in zip(layout.bays, lines, strict=False)
            ),
        ),
        statements=raw.statements,
        no_line=no_line,
        source=None if lines else raw.source,
    )


def _clean_texts(raw: RawRecord) -> None:
    """Replace control characters in the texts of a file, which a terminal would obey, by spaces."""
    raw.channels = tuple(_cleaned(channel, "name", "unit", "phase", "circuit") for channel in raw.channels)
    raw.statements = tuple(_cleaned(statement, "text") for statement in raw.statements)
    raw.findings = [_cleaned(finding, "message", "where") for finding in raw.findings]
    raw.station, raw.device = (CONTROL.sub(" ", text) for text in (raw.station, raw.device))


def _cleaned(item: Text, *names: str) -> Text:
    texts: dict[str, Any] = {name: CONTROL.sub(" ", getattr(item, name)) for name in names}
    return replace(item, **texts)


def _given_sets(bays: Sequence[Bay]) -> list[PhaseSet]:
    """Return the sets of channels that the user assigned, for the measurement of the frequency."""
    kinds: tuple[tuple[Kind, tuple[str, ...], bool], ...] = (
        ("voltage", CHANNELS[3:], False),
        ("voltage", PAIRS, True),
        ("voltage", tuple(OPPOSITE), True),
        ("current", CHANNELS[:3], False),
    )
    sets = []
    for bay in bays:
        for kind, (one, two, three), pairs in kinds:
            channels = (bay.roles.get(one), bay.roles.get(two), bay.roles.get(three))
            if any(index is not None for index in channels):
                sets.append(PhaseSet(kind, bay.name, "", channels, pairs))
    return sets


def _dead_currents(bay: Bay, loaded: LoadedChannels, frequency_hz: float) -> str:
    """Return the reason why the currents that the user assigned are dead; empty if they are live or missing."""
    currents = [found for found in _given_sets([bay]) if found.kind == "current"]
    return next((state.dead for state in set_states(currents, loaded, frequency_hz)), "")


def _phase_waves(sets: Sequence[PhaseSet], loaded: LoadedChannels) -> Iterator[PhaseWaves]:
    """Yield the waveforms of every set: voltages first, then currents, and those of the widest range first."""
    ranges = {id(found): max(float(np.ptp(loaded[k])) for k in found.channels if k is not None) for found in sets}
    for found in sorted(sets, key=lambda found: (found.kind != "voltage", -ranges[id(found)])):
        if ranges[id(found)] > 0:
            waves = np.stack([loaded[k] for k in found.channels if k is not None], axis=1)
            yield PhaseWaves(waves, loaded.segments, found.label)


def _line(
    raw: RawRecord, bay: Bay, loaded: LoadedChannels, mains: FrequencyEstimate, options: ReadOptions, *, alone: bool
) -> RecordLine:
    waves = {role: loaded[index] for role, index in bay.roles.items()}
    segments = _prefault_segments(raw, waves)
    line = assembled(waves, loaded.rows, bay.name, segments, mains.hz)
    samples = line.samples
    frequency = line_frequency([PhaseWaves(part, segments) for part in (samples[:, 3:], samples[:, :3])], mains)
    if frequency != mains.hz:
        message = f"the line has a frequency of its own, {frequency:g} Hz, at which it is judged"
        raw.findings.append(Finding("note", "frequency-of-line", message, bay.name))
    reported = {finding.code for finding in raw.findings if finding.where in ("", bay.name)}
    absent = {f"no-{'currents' if channel[0] == 'i' else 'voltages'}" for channel in line.missing}
    raw.findings += [
        finding
        for finding in channel_findings(samples, line.missing, bay.name)
        if finding.code != "missing-channel" or not absent <= reported
    ]
    line = without_opposed_voltages(line, segments, frequency, bay.name)
    raw.findings += line.findings
    channels = _channels_behind(raw, bay)
    result = scaled(samples, channels, segments, frequency, options, bay.name)
    raw.findings += result.findings
    if line.missing == CHANNELS[3:]:
        raw.findings += assume_voltages(samples, segments, frequency, bay.name)
    raw.findings.append(Finding("note", "bases", result.source, bay.name))
    if options.flip and result.reversed_currents:
        samples[:, list(result.reversed_currents)] *= -1
        inverted = ", ".join(CHANNELS[k] for k in result.reversed_currents)
        raw.findings.append(Finding("note", "flipped", f"polarity inverted as requested: {inverted}", bay.name))
    _report_slow_segments(raw, frequency)
    stem = bounded_name(raw.path.stem)
    return RecordLine(
        name=stem if alone else f"{stem}/{bay.name}",
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
            _line(replace(raw, findings=[]), Bay(bay.name, roles), loaded, mains, options, alone=alone)
            for roles in bay.alternatives
        ),
    )


def _channels_behind(raw: RawRecord, bay: Bay) -> tuple[RawChannel | None, ...]:
    """Return the channel from which each of the six waveforms is taken or computed, for its ratings."""
    instead = dict(zip(CHANNELS[3:], zip(PAIRS, OPPOSITE, strict=True), strict=True))
    indices = [
        next((bay.roles[role] for role in (name, *instead.get(name, ())) if role in bay.roles), None)
        for name in CHANNELS
    ]
    return tuple(None if index is None else raw.channels[index] for index in indices)


def _prefault_segments(raw: RawRecord, waves: Mapping[str, NDArray[np.float32]]) -> tuple[Segment, ...]:
    """Return the segments that start with the pre-fault state; for separate waveforms, the one with most voltage."""
    if not raw.segments_are_lines:
        return raw.segments

    def level(segment: Segment) -> float:
        part = slice(segment.first, segment.stop)
        return sum(float(np.abs(wave[part]).mean()) for role, wave in waves.items() if role.startswith("v"))

    return (max(raw.segments, key=level),)


def _report_slow_segments(raw: RawRecord, frequency: float) -> None:
    for segment in raw.segments:
        if segment.rate_hz < FEWEST_PER_CYCLE * frequency:
            message = (
                f"samples {segment.first + 1} to {segment.stop} have {segment.rate_hz / frequency:.1f} samples per "
                "cycle, too few for a waveform: they are skipped"
            )
            raw.findings.append(Finding("warning", "segment-too-slow", message))
        elif segment.rate_hz < FEW_PER_CYCLE * frequency:
            message = (
                f"samples {segment.first + 1} to {segment.stop} have {segment.rate_hz / frequency:.1f} samples per "
                "cycle: harmonics and fast transients are lost, and times are known to about half a cycle"
            )
            raw.findings.append(Finding("note", "few-samples", message))
