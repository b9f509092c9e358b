"""Read COMTRADE files: the pair of CFG and DAT, with suffixes in upper or lower case, and the single file CFF."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from domains.powerline.waveforms.channel_values import ChannelValues
from domains.powerline.waveforms.errors import RecordError
from domains.powerline.waveforms.formats.comtrade_data import open_data
from domains.powerline.waveforms.formats.comtrade_header import ComtradeHeader, parse_header
from domains.powerline.waveforms.formats.encodings import decode_text
from domains.powerline.waveforms.formats.segments import Signal, find_segments
from domains.powerline.waveforms.record import Finding, RawRecord, ReadOptions

MAX_HEADER_BYTES = 8 << 20
"""Size of the largest header that is read. A header of ten thousand channels has one megabyte."""
_SECTION = re.compile(
    rb"^[ \t]*---[ \t]*file type:[ \t]*([a-z]+)([^\r\n]*?)---[ \t]*\r?$", re.IGNORECASE | re.MULTILINE
)
SUFFIXES = {".cfg", ".dat", ".cff"}
TOO_LARGE = "reading it would need too much memory; cut the record into shorter ones: max_bytes allows"


@dataclass(frozen=True, slots=True)
class _Parts:
    """Bytes of header and data, and their positions in the files."""

    header: bytes
    header_path: Path
    header_line: int
    data: NDArray[np.uint8]
    data_path: Path
    data_byte: int
    data_line: int = 1
    data_format: str = ""


def is_comtrade(path: Path) -> bool:
    """Return True if a file has a suffix of COMTRADE."""
    return path.suffix.lower() in SUFFIXES


def read_comtrade(path: Path, options: ReadOptions) -> RawRecord:
    """Read a COMTRADE record.

    Args:
        path: any file of the record.
        options: values that replace those in the file.

    Returns:
        The channels of the record in their own units.

    Raises:
        RecordError: a file is missing or broken; the message names the position.
    """
    parts = _cff_parts(path, options) if path.suffix.lower() == ".cff" else _pair_parts(path, options)
    text, encoding = decode_text(parts.header, options.encoding, parts.header_path)
    header = parse_header(text, parts.header_path, first_line=parts.header_line)
    if parts.data_format and parts.data_format != header.data_format:
        header.warn(
            "format-contradicts-header",
            f"the data section states the format {parts.data_format}, the header {header.data_format}: "
            f"the data are read as {parts.data_format}",
        )
        header.data_format = parts.data_format
    if options.rate_hz is not None:
        header.rates = [(options.rate_hz, max(stop for _, stop in header.rates))]
    source, clock = open_data(header, parts.data, parts.data_path, parts.data_byte, parts.data_line)
    signal = None
    if options.rate_hz is None:
        signal = Signal(lambda: cycles_per_sample(source), header.frequency_hz)
    segments, findings = find_segments(clock, signal)
    if not segments:
        raise RecordError(f"{path}: neither the header nor the time column gives a sampling rate: set it with --rate")
    return RawRecord(
        path=path,
        format=f"COMTRADE {header.revision} {header.data_format}",
        channels=header.channels,
        source=source,
        segments=segments,
        start_ns=_start_ns(header, options),
        trigger_ns=header.trigger_ns,
        header_hz=header.frequency_hz,
        encoding=encoding,
        station=header.station,
        device=header.device,
        findings=[*header.findings, *findings],
    )


def _start_ns(header: ComtradeHeader, options: ReadOptions) -> int:
    if options.start_ns is not None:
        return options.start_ns
    if header.start_ns is None:
        header.findings.append(
            Finding("warning", "no-start-time", "the header has no valid start time: times count from 1970")
        )
        return 0
    return header.start_ns


def _pair_parts(path: Path, options: ReadOptions) -> _Parts:
    header, data = (_sibling(path, suffix) for suffix in (".cfg", ".dat"))
    _check_size(header, MAX_HEADER_BYTES, "is this a COMTRADE header? It may have")
    _check_size(data, options.max_bytes, TOO_LARGE)
    try:
        text = header.read_bytes()
        size = data.stat().st_size
        stored = np.memmap(data, np.uint8, "r") if size else np.empty(0, np.uint8)
    except OSError as error:
        raise RecordError(f"{error.filename or path}: cannot be read: {error.strerror or error}") from error
    return _Parts(text, header, 1, stored, data, 0)


def _sibling(path: Path, suffix: str) -> Path:
    """Return the file of the pair that has a suffix; case is ignored if there is no exact match."""
    if path.suffix.lower() == suffix and path.is_file():
        return path
    try:
        siblings = sorted(path.parent.iterdir())
    except OSError as error:
        raise RecordError(f"{path.parent}: cannot be read: {error.strerror or error}") from error
    matches = [other for other in siblings if other.suffix.lower() == suffix and other.stem == path.stem]
    matches += [
        other for other in siblings if other.suffix.lower() == suffix and other.stem.lower() == path.stem.lower()
    ]
    if not matches:
        raise RecordError(
            f"{path.with_suffix(suffix)}: no such file: put the .cfg and the .dat of a COMTRADE record in one folder"
        )
    return matches[0]


def _check_size(path: Path, limit: int, why: str) -> None:
    try:
        size = path.stat().st_size
    except OSError as error:
        raise RecordError(f"{path}: cannot be read: {error.strerror or error}") from error
    if size > limit:
        raise RecordError(f"{path} has {size:,} bytes: {why} at most {limit:,} bytes")


def _cff_parts(path: Path, options: ReadOptions) -> _Parts:
    _check_size(path, options.max_bytes, TOO_LARGE)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RecordError(f"{path}: cannot be read: {error.strerror or error}") from error
    sections: list[tuple[str, str, int, int]] = []
    position = 0
    while (found := _SECTION.search(content, position)) is not None:
        kind = found.group(1).decode().upper()
        note = found.group(2).decode("ascii", "replace").upper()
        sections.append((kind, note, found.start(), found.end() + 1))
        position = found.end()
        if kind == "DAT":
            # The rest is data, in which the pattern of a section may occur by chance.
            break
    starts = [start for _, _, start, _ in sections] + [len(content)]
    spans = {kind: (note, begin, starts[k + 1]) for k, (kind, note, _, begin) in enumerate(sections)}
    for kind in ("CFG", "DAT"):
        if kind not in spans:
            raise RecordError(
                f"{path}: the section '--- file type: {kind} ---' is missing: the file is not complete, copy it again"
            )
    _, header_begin, header_end = spans["CFG"]
    note, begin, _ = spans["DAT"]
    named = re.match(r"\s*(BINARY32|BINARY|FLOAT32|ASCII)?\s*(?::\s*(\d{1,15}))?", note)
    data_format = (named and named.group(1)) or ""
    size = int(named.group(2)) if named and named.group(2) else len(content) - begin
    data = np.frombuffer(content, np.uint8)[begin : begin + max(0, min(size, len(content) - begin))]
    line = content.count(b"\n", 0, header_begin) + 1
    data_line = content.count(b"\n", 0, begin) + 1
    return _Parts(content[header_begin:header_end], path, line, data, path, begin, data_line, data_format)
