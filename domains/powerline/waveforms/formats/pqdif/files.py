"""Read the waveforms of PQDIF files (IEEE 1159.3), the exchange format of power quality meters.

A file holds any number of observations. Those of the same channels at different times become segments of one record;
channels of one meter that are in several observations of the same time are put together first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from domains.powerline.waveforms.errors import RecordError
from domains.powerline.waveforms.formats.encodings import decode_text
from domains.powerline.waveforms.formats.file_size import check_size
from domains.powerline.waveforms.formats.pqdif import tags
from domains.powerline.waveforms.formats.pqdif.captures import (
    Capture,
    CapturedValues,
    ChannelDefinition,
    chosen,
    put_together,
)
from domains.powerline.waveforms.formats.pqdif.observations import (
    DataSource,
    Observation,
    Settings,
    read_data_source,
    read_settings,
)
from domains.powerline.waveforms.formats.pqdif.records import SIGNATURE, Body, RecordChain
from domains.powerline.waveforms.record import Finding, RawChannel, RawRecord, ReadOptions, Segment, Statement
from stream.contract import NS_PER_S

SUFFIXES = {".pqd", ".pqdif"}
TRIGGER_MARGIN_NS = 3600 * NS_PER_S
"""Largest distance of a trigger from the waveforms; meters without a trigger time write dates of another era."""
LETTERS = {"V": "V", "A": "I"}
"""Letter of the quantity by its unit, for names."""
MAX_NAMED = 6
"""Largest number of observations that a message names."""
MAX_STATED = 50
"""Largest number of observations whose statements are shown."""
MAX_TEXT = 200
"""Largest length of a name."""


def is_pqdif(path: Path) -> bool:
    """Return True if a file has a suffix or the first bytes of PQDIF."""
    if path.suffix.lower() in SUFFIXES:
        return True
    try:
        with path.open("rb") as file:
            return file.read(len(SIGNATURE)) == SIGNATURE
    except OSError:
        return False


@dataclass(slots=True)
class _Content:
    """Waveforms of a file, and what was found on the way."""

    captures: list[Capture] = field(default_factory=list)
    sources: list[DataSource] = field(default_factory=list)
    skipped: set[ChannelDefinition] = field(default_factory=set)
    failures: list[tuple[bytes, RecordError]] = field(default_factory=list)
    """Names of what could not be read, and why."""
    findings: list[Finding] = field(default_factory=list)
    version: str = ""


class _Texts:
    """Decoder of the texts of a file, which have one encoding.

    Args:
        texts: texts by which the encoding is detected.
        encoding: encoding to use; None to detect it.
        path: the file, for messages.
    """

    def __init__(self, texts: Iterable[bytes], encoding: str | None, path: Path) -> None:
        # Four zero bytes are valid in every encoding: they only show that a given one exists.
        self.encoding = decode_text(b"\n".join(texts) if encoding is None else bytes(4), encoding, path)[1]

    def __call__(self, stored: bytes) -> str:
        """Return a text in one line, without control characters."""
        words = stored.decode(self.encoding, "replace").split()
        return "".join(char for char in " ".join(words) if char.isprintable())[:MAX_TEXT]


def read_pqdif(path: Path, options: ReadOptions) -> RawRecord:
    """Read the waveforms of a PQDIF file.

    Args:
        path: the file.
        options: values that replace those in the file.

    Returns:
        The channels in their own units; every observation that is read is one or more segments.

    Raises:
        RecordError: the file is damaged or holds no waveforms; the message names the position.
    """
    chain = RecordChain(path, _stored(path, options), options.max_bytes)
    content = _read_content(chain, options)
    texts = _Texts(_stored_texts(content), options.encoding, path)
    if not content.captures:
        raise _no_waveforms(chain, content, texts)
    kept, left = chosen(put_together(content.captures))
    channels = list(dict.fromkeys(definition for capture in kept for definition in capture.channels))
    findings = [*chain.findings, *content.findings, *_report_failures(content, path, texts)]
    findings += _report_choice(kept, left, content.skipped, texts)
    if kept[0].start_ns is None and options.start_ns is None:
        message = "the observation has no valid start time: times count from 1970"
        findings.append(Finding("warning", "no-start-time", message))
    source = next(one for one in content.sources if channels[0] in one.channels)
    name, location = texts(source.name), texts(source.location)
    station = location if location.strip(" /").upper() not in ("", "NA", "N/A") else name
    return RawRecord(
        path=path,
        format=" ".join(filter(None, ("PQDIF", content.version, "compressed" if chain.compressed else ""))),
        channels=_raw_channels(channels, kept[0], texts),
        source=CapturedValues(kept, channels),
        segments=_segments(kept),
        start_ns=(kept[0].start_ns or 0) if options.start_ns is None else options.start_ns,
        trigger_ns=_trigger_ns(kept),
        header_hz=next((capture.frequency_hz for capture in kept if capture.frequency_hz is not None), None),
        encoding=texts.encoding,
        station=station,
        device="" if station == name else name,
        statements=_statements(kept, texts),
        findings=list(dict.fromkeys(findings)),
    )


def _stored(path: Path, options: ReadOptions) -> NDArray[np.uint8]:
    check_size([path], options.max_bytes, "export fewer observations")
    # Values are read later, when a mapped file may have been cut off by its writer: that ends the process.
    return np.frombuffer(path.read_bytes(), np.uint8)


def _read_content(chain: RecordChain, options: ReadOptions) -> _Content:
    """Read all records. An observation follows the data source and the settings that apply to it."""
    content = _Content(version=_version(chain))
    settings = Settings()
    for record in chain.records:
        try:
            if record.tag == tags.DATA_SOURCE:
                content.sources.append(read_data_source(chain.body(record)))
                settings = Settings()
            elif record.tag == tags.MONITOR_SETTINGS:
                settings = read_settings(chain.body(record))
            elif record.tag == tags.OBSERVATION and content.sources:
                _read_observation(chain.body(record), settings, options, content)
        except RecordError as error:
            # The traceback would keep the body in memory.
            content.failures.append((f"the record at byte {record.position}".encode(), error.with_traceback(None)))
    return content


def _version(chain: RecordChain) -> str:
    """Return the version of the format in the container, the first record.

    Raises:
        RecordError: the file is compressed as a whole or by PKZIP.
    """
    container = chain.records[0]
    if container.tag != tags.CONTAINER:
        return ""
    root = chain.body(container).root
    total = root.whole(tags.COMPRESSION_STYLE) == tags.TOTAL_FILE
    if total or root.whole(tags.COMPRESSION_ALGORITHM) == tags.PKZIP:
        message = "it is compressed in a way that the standard has withdrawn: export it with zlib by record, or without"
        raise RecordError.at_byte(chain.path, container.start, message)
    version = root.vector(tags.VERSION_INFO)
    return "" if version is None or len(version[0]) < 2 else ".".join(str(part) for part in version[0][:2].tolist())


def _read_observation(body: Body, settings: Settings, options: ReadOptions, content: _Content) -> None:
    observation = Observation(body, content.sources[-1], settings, options)
    content.captures += observation.captures()
    content.failures += [(b"channel " + definition.name, error) for definition, error in observation.failures]
    content.findings += observation.findings
    content.skipped |= observation.skipped


def _stored_texts(content: _Content) -> list[bytes]:
    """Return the texts that decide the encoding, each once."""
    channels = [channel for source in content.sources for channel in source.channels]
    sources = [text for source in content.sources for text in (source.name, source.location)]
    names = [text for channel in channels for text in (channel.name, channel.group)]
    return list(dict.fromkeys([*names, *sources, *(capture.observation for capture in content.captures)]))


def _no_waveforms(chain: RecordChain, content: _Content, texts: _Texts) -> RecordError:
    """Return the error that says why a file has no waveforms."""
    path = chain.path
    damage = f"; {chain.findings[0].message}" if chain.findings else ""
    if content.failures:
        where, error = content.failures[0]
        found = RecordError(f"{path}: {_failure(where, error, path, texts)}{damage}")
        found.offset = error.offset
        return found
    if content.skipped:
        count = len(content.skipped)
        what = f"the observations of its {count} channels are logs, phasors, spectra or statistics"
        return RecordError(f"{path} holds no waveforms: {what}; export the waveforms of the event{damage}")
    return RecordError(f"{path} holds no waveforms: it has no observation of a defined channel{damage}")


def _failure(where: bytes, error: RecordError, path: Path, texts: _Texts) -> str:
    return f"{texts(where)} cannot be read: {str(error).removeprefix(f'{path}, ')}"


def _report_failures(content: _Content, path: Path, texts: _Texts) -> list[Finding]:
    if not content.failures:
        return []
    message = _failure(*content.failures[0], path, texts)
    if len(content.failures) > 1:
        message += f"; {len(content.failures) - 1} more cannot be read either"
    return [Finding("warning", "not-read", message)]


def _report_choice(
    kept: Sequence[Capture], left: Sequence[Capture], skipped: set[ChannelDefinition], texts: _Texts
) -> list[Finding]:
    """Report which observations are read and which are not."""
    findings = []
    if len(kept) > 1:
        message = f"the record has {len(kept)} observations of the same channels: each is a stretch of its own"
        findings.append(Finding("note", "observations", message))
    if left:
        names = [f"{texts(one.observation) or 'unnamed'} ({len(one.channels)} channels)" for one in left]
        shown = ", ".join(names[:MAX_NAMED]) + (" …" if len(names) > MAX_NAMED else "")
        message = (
            f"observations of other channels, or of the same ones at the same time, are not read: {shown}; export them "
            "to files of their own"
        )
        findings.append(Finding("warning", "observations-not-read", message))
    if skipped:
        message = f"{len(skipped)} channels are not read: they hold logs, phasors, spectra or statistics, no waveforms"
        findings.append(Finding("note", "no-waveforms", message))
    return findings


def _segments(kept: Sequence[Capture]) -> tuple[Segment, ...]:
    """Return the segments of all captures, with times after the first sample of the record."""
    placed: list[Segment] = []
    rows = 0
    for capture in kept:
        after_s = ((capture.start_ns or 0) - (kept[0].start_ns or 0)) / NS_PER_S
        placed += [
            replace(one, first=rows + one.first, stop=rows + one.stop, start_s=after_s + one.start_s)
            for one in capture.segments
        ]
        rows += capture.rows
    return tuple(placed)


def _trigger_ns(kept: Sequence[Capture]) -> int | None:
    for capture in kept:
        if capture.start_ns is not None and capture.trigger_ns is not None:
            end_ns = capture.start_ns + round(capture.end_s * NS_PER_S)
            if capture.start_ns - TRIGGER_MARGIN_NS <= capture.trigger_ns <= end_ns + TRIGGER_MARGIN_NS:
                return capture.trigger_ns
    return None


def _raw_channels(channels: Sequence[ChannelDefinition], capture: Capture, texts: _Texts) -> tuple[RawChannel, ...]:
    several_sources = len({channel.source for channel in channels}) > 1
    names = [texts(channel.name) for channel in channels]
    repeated = Counter(names)
    raw = []
    for number, (channel, name) in enumerate(zip(channels, names, strict=True), 1):
        series, unit, phase = capture.channels[channel], _unit(channel), _phase(channel)
        if repeated[name] > 1 or not name:
            # Some meters give all channels one name: quantity and phase distinguish them.
            name = f"{name} {LETTERS.get(unit, '')}{phase}".strip()
        raw.append(
            RawChannel(
                number=number,
                name=name,
                unit=unit,
                phase=phase,
                circuit=texts(channel.group) or (texts(channel.source) if several_sources else ""),
                primary=series.primary,
                secondary=series.secondary,
                side="P" if series.primary != series.secondary else "",
                step=series.step,
            )
        )
    return tuple(raw)


def _unit(channel: ChannelDefinition) -> str:
    """Return the unit of a channel's values, or that of its quantity if the values have none."""
    stored = tags.UNIT_NAMES.get(channel.series[channel.value or 0].unit, "")
    if stored:
        return stored
    return {0: "", tags.VOLTAGE: "V", tags.CURRENT: "A"}.get(channel.quantity, "other")


def _phase(channel: ChannelDefinition) -> str:
    """Return the phase for the phase field; N is the sum of the phases or, of currents, that in the neutral."""
    phase = tags.PHASE_NAMES.get(channel.phase, "")
    if phase == "RES" or (phase == "NG" and channel.quantity == tags.CURRENT):
        return "N"
    return phase


def _statements(kept: Sequence[Capture], texts: _Texts) -> tuple[Statement, ...]:
    """Return what the observations say of the event."""
    said = []
    for number, capture in enumerate(kept[:MAX_STATED], 1):
        source = "observation" if len(kept) == 1 else f"observation {number}"
        parts = [texts(capture.observation), *(f"{label}: {texts(text)}" for label, text in capture.statements)]
        if text := "; ".join(part for part in parts if part):
            said.append(Statement(source, text))
    return tuple(said)
