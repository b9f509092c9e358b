"""Read COMTRADE files: the pair of CFG and DAT, with suffixes in upper or lower case, and the single file CFF."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from pathlib import Path

from domains.powerline.waveforms.errors import RecordError
from domains.powerline.waveforms.formats.companions import statements_beside, statements_in
from domains.powerline.waveforms.formats.comtrade.data import open_data
from domains.powerline.waveforms.formats.comtrade.header import ComtradeHeader, parse_header
from domains.powerline.waveforms.formats.comtrade.stored_bytes import DataPart, StoredBytes
from domains.powerline.waveforms.formats.encodings import decode_text
from domains.powerline.waveforms.formats.file_size import check_size
from domains.powerline.waveforms.formats.segments import find_segments
from domains.powerline.waveforms.formats.signal_rate import Signal
from domains.powerline.waveforms.record import RawRecord, ReadOptions, Statement

MAX_HEADER_BYTES = 8 << 20
"""Size of the largest header that is read. A header of ten thousand channels has one megabyte."""
_SECTION = re.compile(
    rb"(?:\A|(?<=[\r\n])|(?<=\xef\xbb\xbf))[ \t]*-{2,}[ \t]*file[ \t_]*type[ \t]*:[ \t]*([a-z]+)"
    rb"([^\r\n]*?)-{2,}[ \t]*(?:\r?\n|\r|\Z)",
    re.IGNORECASE,
)
SUFFIXES = {".cfg", ".dat", ".cff"}
RATE_FINDINGS = {"rate-contradicts-times", "rate-implausible", "time-unit", "times-unusable"}
MAX_BEFORE_DATA = 4 * MAX_HEADER_BYTES
"""Number of bytes at the start of a CFF file among which its data must begin."""
PART_SUFFIX = re.compile(r"\.d\d\d", re.IGNORECASE)
"""Suffix of a part of the data, which old recorders divided among floppy disks."""
SHORTER = "cut the record into shorter ones"


@dataclass(frozen=True, slots=True)
class _Parts:
    """Bytes of the header, the place of the data, and what the file states of both."""

    header: bytes
    header_path: Path
    header_line: int
    data: DataPart
    data_format: str = ""
    statements: tuple[Statement, ...] = ()


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
    source, clock = open_data(header, parts.data)
    given = options.rate_hz is not None
    segments, findings = find_segments(clock, None if given else Signal(source, header.frequency_hz))
    if given:
        # The user has decided between the rates.
        findings = [finding for finding in findings if finding.code not in RATE_FINDINGS]
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
        statements=parts.statements,
        findings=[*header.findings, *findings],
    )


def _start_ns(header: ComtradeHeader, options: ReadOptions) -> int:
    if options.start_ns is not None:
        return options.start_ns
    if header.start_ns is None:
        if not any(finding.code == "start-time" and finding.level == "warning" for finding in header.findings):
            header.warn("no-start-time", "the header has no valid start time: times count from 1970")
        return 0
    return header.start_ns


def _pair_parts(path: Path, options: ReadOptions) -> _Parts:
    header = _sibling(path, ".cfg")
    check_size([header], MAX_HEADER_BYTES, "is this a COMTRADE header?", "a header is expected to be shorter")
    text = header.read_bytes()
    numbered = _numbered_parts(header)
    said = statements_beside(header, options.encoding)
    data = numbered[0] if numbered else _sibling(path, ".dat")
    stored = _joined(numbered, options) if numbered else _stored(data, options)
    return _Parts(text, header, 1, DataPart(stored, 0, stored.size, data), statements=said)


def _joined(parts: list[Path], options: ReadOptions) -> StoredBytes:
    """Return the bytes of the parts of the data, one after another."""
    check_size(parts, options.max_bytes, SHORTER)
    return StoredBytes(b"".join(part.read_bytes() for part in parts))


def _stored(path: Path, options: ReadOptions) -> StoredBytes:
    check_size([path], options.max_bytes, SHORTER)
    return StoredBytes(path)


def _numbered_parts(header: Path) -> list[Path]:
    """Return the parts .d00, .d01 … of the data."""
    parts = [other for other in header.parent.iterdir() if PART_SUFFIX.fullmatch(other.suffix)]
    own = [other for other in parts if other.stem.lower() == header.stem.lower() and other.is_file()]
    return sorted(own, key=lambda other: other.suffix)


def _sibling(path: Path, suffix: str) -> Path:
    """Return the file of the pair that has a suffix; case is ignored if there is no exact match."""
    if path.suffix.lower() == suffix and path.is_file():
        return path
    siblings = sorted(path.parent.iterdir())
    matches = [other for other in siblings if other.suffix.lower() == suffix and other.stem == path.stem]
    matches += [
        other for other in siblings if other.suffix.lower() == suffix and other.stem.lower() == path.stem.lower()
    ]
    if not matches:
        raise RecordError(
            f"{path.with_suffix(suffix)}: no such file: put the .cfg and the .dat of a COMTRADE record in one folder"
        )
    return matches[0]


def _cff_parts(path: Path, options: ReadOptions) -> _Parts:
    stored = _stored(path, options)
    if stored.read_at(2, 0) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        stored = StoredBytes(stored.read_at(stored.size, 0).decode("utf-16", "replace").encode())
    content = stored.read_at(MAX_BEFORE_DATA, 0)
    spans: dict[str, tuple[str, int, int]] = {}
    position, last = 0, ""
    while (found := _SECTION.search(content, position)) is not None:
        if last:
            spans[last] = (*spans[last][:2], found.start())
        last = found.group(1).decode().upper()
        spans[last] = (found.group(2).decode("ascii", "replace").upper(), found.end(), len(content))
        position = found.end()
        if last == "DAT":
            # The rest is data, in which the pattern of a section may occur by chance.
            break
    for kind in ("CFG", "DAT"):
        if kind not in spans:
            raise RecordError(
                f"{path}: the section '--- file type: {kind} ---' is missing: the file is not complete, copy it again"
            )
    _, header_begin, header_end = spans["CFG"]
    _check_header_size(path, header_end - header_begin)
    note, begin, _ = spans["DAT"]
    named = re.match(r"\s*(BINARY32|BINARY|FLOAT32|ASCII)?\s*(?::?\s*(\d{1,15}))?", note)
    data_format = (named and named.group(1)) or ""
    left = stored.size - begin
    size = min(left, int(named.group(2))) if named and named.group(2) else left
    line, data_line = (_lines_before(content, position) + 1 for position in (header_begin, begin))
    said = [
        statement
        for kind in ("HDR", "INF")
        if kind in spans
        for statement in statements_in(content[spans[kind][1] : spans[kind][2]], kind, path, options.encoding)
    ]
    data = DataPart(stored, begin, size, path, data_line)
    return _Parts(content[header_begin:header_end], path, line, data, data_format, tuple(said))


def _lines_before(content: bytes, position: int) -> int:
    return content.count(b"\n", 0, position) or content.count(b"\r", 0, position)


def _check_header_size(path: Path, size: int) -> None:
    if size > MAX_HEADER_BYTES:
        raise RecordError(f"{path}: its header has {size:,} bytes, and may have at most {MAX_HEADER_BYTES:,} bytes")
