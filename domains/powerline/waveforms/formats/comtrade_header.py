"""Parse the header of a COMTRADE record (CFG) line by line, after IEEE C37.111 of 1991, 1999 and 2013.

The ``comtrade`` package is the reference of the tests but is not used as reader, for these reasons. Its version 0.2.0
allocates as much memory as a header claims. It fills a truncated file with zeros. Its errors name no line. It cannot
read a rate of 0 that the header announces as one rate, seconds without a fraction, station names with a comma, or a CFF
that is not UTF-8. It takes every −1 of a 1991 file for a missing value.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from pathlib import Path

from domains.powerline.waveforms.errors import RecordError
from domains.powerline.waveforms.formats.times import clock_findings, stamp_ns, utc_offset_ns
from domains.powerline.waveforms.record import Finding, RawChannel

REVISIONS = ("1991", "1999", "2013")
FORMATS = ("ASCII", "BINARY", "BINARY32", "FLOAT32")
MAX_SAMPLES = 2**40
"""Largest number of samples in a valid header; the file's size sets a much lower limit."""
END_OF_FILE = "\x1a"
"""Control-Z, with which old systems end text."""


@dataclass(slots=True)
class ComtradeHeader:
    """Content of the header. ``gains`` and ``offsets`` convert stored numbers to the channels' units."""

    station: str = ""
    device: str = ""
    revision: str = "1991"
    channels: tuple[RawChannel, ...] = ()
    gains: list[float] = field(default_factory=list)
    offsets: list[float] = field(default_factory=list)
    status_count: int = 0
    frequency_hz: float | None = None
    rates: list[tuple[float, int]] = field(default_factory=list)
    """Sampling rate and number of the last sample of every segment; at a rate of 0 the time column gives the times."""
    start_ns: int | None = None
    trigger_ns: int | None = None
    data_format: str = "ASCII"
    stamp_unit_s: float = 1e-6
    findings: list[Finding] = field(default_factory=list)

    def note(self, code: str, message: str) -> None:
        """Add a note: a peculiarity that was handled without doubt."""
        self.findings.append(Finding("note", code, message))

    def warn(self, code: str, message: str) -> None:
        """Add a warning: a problem that the user should check."""
        self.findings.append(Finding("warning", code, message))


class _Lines:
    """Lines of the header, which are taken one by one; errors name the number of the last line taken."""

    def __init__(self, text: str, path: Path, first_line: int) -> None:
        self._lines = text.replace(END_OF_FILE, "").splitlines()
        self._path = path
        self._first_line = first_line
        self._taken = 0

    @property
    def left(self) -> int:
        return len(self._lines) - self._taken

    def take(self, what: str, default: str | None = None) -> str:
        """Return the next line, or the default after the last one.

        Raises:
            RecordError: no line is left, and there is no default.
        """
        if self._taken >= len(self._lines):
            if default is not None:
                return default
            self._taken += 1
            raise self.error(f"the header ends before the {what}: the file is not complete, copy it again")
        self._taken += 1
        return self._lines[self._taken - 1].strip()

    def error(self, message: str) -> RecordError:
        """Return an error that names the line taken last."""
        return RecordError.in_line(self._path, self._first_line + self._taken - 1, message)

    def number(self, text: str, what: str, default: float | None = None) -> float:
        """Parse a finite number from the line taken last."""
        if not text.strip() and default is not None:
            return default
        try:
            value = float(text)
        except ValueError:
            raise self.error(f"{what} must be a number, not {text.strip()[:40]!r}") from None
        if not math.isfinite(value):
            raise self.error(f"{what} must be finite, not {text.strip()[:40]!r}")
        return value

    def whole(self, text: str, what: str) -> int:
        """Parse a whole number from the line taken last."""
        if not re.fullmatch(r"\s*\+?\d{1,15}\s*", text):
            raise self.error(f"{what} must be a whole number, not {text.strip()[:40]!r}")
        return int(text)


def parse_header(text: str, path: Path, *, first_line: int = 1) -> ComtradeHeader:
    """Parse a header.

    Args:
        text: text of the CFG file, or of the CFG section of a CFF file.
        path: the file, for messages.
        first_line: number of the text's first line in the file.

    Returns:
        The header, with findings about its peculiarities.

    Raises:
        RecordError: a line is invalid; the message names it.
    """
    lines = _Lines(text, path, first_line)
    header = ComtradeHeader()
    _station(lines, header)
    analog = _counts(lines, header)
    channels = [_analog_channel(lines, header, number) for number in range(1, analog + 1)]
    header.channels = tuple(channels)
    for _ in range(header.status_count):
        lines.take("status channels")
    frequency = lines.number(lines.take("mains frequency"), "the mains frequency", 0.0)
    header.frequency_hz = frequency if frequency > 0 else None
    _rates(lines, header)
    _stamps(lines, header)
    data_format = lines.take("data format").strip().upper()
    if data_format not in FORMATS:
        raise lines.error(f"the data format must be one of {', '.join(FORMATS)}, not {data_format[:40]!r}")
    header.data_format = data_format
    _last_lines(lines, header)
    return header


def _station(lines: _Lines, header: ComtradeHeader) -> None:
    parts = [part.strip() for part in lines.take("first line").split(",")]
    if len(parts) < 2:
        raise lines.error("expected station, device and revision, separated by commas; is this a COMTRADE header?")
    revision = parts[-1] if re.fullmatch(r"\d{4}", parts[-1]) else None
    if len(parts) > 2 and (revision is not None or len(parts) == 3):
        stated = parts.pop()
        if stated in REVISIONS:
            header.revision = stated
        else:
            year = int(stated) if stated.isdigit() else 1991
            header.revision = max((known for known in REVISIONS if int(known) <= year), default="1991")
            header.note(
                "unknown-revision", f"revision {stated[:20]!r} is unknown: the file is read as {header.revision}"
            )
    header.device = parts.pop() if len(parts) > 1 else ""
    header.station = ",".join(parts)
    if len(parts) > 1:
        header.note("comma-in-name", f"the station's name contains commas: {header.station[:60]!r}")


def _counts(lines: _Lines, header: ComtradeHeader) -> int:
    text = lines.take("channel counts")
    counts = {"A": 0, "D": 0}
    parts = [part.strip().upper() for part in text.split(",")]
    for part in parts[1:]:
        found = re.fullmatch(r"(\d{1,9})\s*([AD])", part)
        if found is None:
            raise lines.error(f"expected counts of channels such as '15,15A,0D', not {text[:40]!r}")
        counts[found.group(2)] = int(found.group(1))
    if len(parts) < 2:
        raise lines.error(f"expected counts of channels such as '15,15A,0D', not {text[:40]!r}")
    if counts["A"] == 0:
        raise lines.error("the record has no analogue channels, so it holds no waveforms")
    if counts["A"] + counts["D"] > lines.left:
        raise lines.error(
            f"{counts['A']} + {counts['D']} channels are announced, but only {lines.left} lines follow: "
            "the header is damaged or incomplete"
        )
    total = lines.whole(parts[0], "the number of channels") if parts[0] else counts["A"] + counts["D"]
    if total != counts["A"] + counts["D"]:
        header.note(
            "channel-counts",
            f"{total} channels are announced, but {counts['A']} analogue + {counts['D']} status channels are listed",
        )
    header.status_count = counts["D"]
    return counts["A"]


def _analog_channel(lines: _Lines, header: ComtradeHeader, number: int) -> RawChannel:
    parts = [part.strip() for part in lines.take(f"analogue channel {number}").split(",")]
    expected = 10 if header.revision == "1991" and len(parts) < 13 else 13
    if len(parts) > expected:
        extra = len(parts) - expected
        if parts[-extra:] == [""] * extra:
            parts = parts[:expected]
        else:
            parts[1 : 2 + extra] = [",".join(parts[1 : 2 + extra])]
            header.note("comma-in-name", f"the name of channel {number} contains commas: {parts[1][:60]!r}")
    if len(parts) < 7:
        raise lines.error(f"an analogue channel has {expected} fields, this line has {len(parts)}")
    parts += [""] * (13 - len(parts))
    gain = lines.number(parts[5], "the multiplier a", 1.0)
    if gain == 0.0:
        header.warn("multiplier-zero", f"channel {number} ({parts[1]}) has the multiplier 0, so it is constant")
    header.gains.append(gain)
    header.offsets.append(lines.number(parts[6], "the offset b", 0.0))
    side = parts[12].upper()[:1]
    return RawChannel(
        number=number,
        name=parts[1],
        unit=parts[4],
        phase=parts[2],
        circuit=parts[3],
        primary=abs(lines.number(parts[10], "the primary factor", 1.0)) or 1.0,
        secondary=abs(lines.number(parts[11], "the secondary factor", 1.0)) or 1.0,
        side="P" if side == "P" else "S" if side == "S" else "",
        skew_us=lines.number(parts[7], "the skew", 0.0),
        step=abs(gain),
    )


def _rates(lines: _Lines, header: ComtradeHeader) -> None:
    count = lines.whole(lines.take("number of rates"), "the number of sampling rates")
    if count > lines.left:
        raise lines.error(
            f"{count} sampling rates are announced, but only {lines.left} lines follow: "
            "the header is damaged or incomplete"
        )
    last = 0
    for number in range(1, max(count, 1) + 1):
        parts = lines.take(f"sampling rate {number}").split(",")
        if len(parts) < 2:
            raise lines.error("expected a sampling rate and the number of its last sample")
        rate = lines.number(parts[0], "the sampling rate", 0.0)
        stop = lines.whole(parts[1], "the number of the last sample")
        if rate < 0 or rate > 1e9:
            raise lines.error(f"the sampling rate must be between 0 and 1e9 Hz, not {rate:g} Hz")
        if stop > MAX_SAMPLES:
            raise lines.error(f"the number of the last sample must be at most {MAX_SAMPLES}, not {stop}")
        if stop <= last:
            header.warn(
                "segment-without-samples",
                f"sampling rate {number} ends at sample {stop}, before it begins: it is skipped",
            )
            continue
        header.rates.append((rate if count else 0.0, stop))
        last = stop
    if not header.rates:
        raise lines.error("no sampling rate has any samples")


def _stamps(lines: _Lines, header: ComtradeHeader) -> None:
    stamps: list[int | None] = []
    for what in ("start", "trigger"):
        date, _, time = lines.take(f"time of the {what}").partition(",")
        ns, fine, messages = stamp_ns(date, time, month_first=header.revision == "1991")
        for message in messages:
            header.warn(f"{what}-time", f"time of the {what}: {message}")
        if fine:
            header.stamp_unit_s = 1e-9
        stamps.append(ns)
    header.start_ns, header.trigger_ns = stamps


def _last_lines(lines: _Lines, header: ComtradeHeader) -> None:
    """Read the time multiplier (1999), time zone and time quality (2013); missing lines have defaults."""
    if header.revision == "1991":
        return
    text = lines.take("time multiplier", "")
    factor = lines.number(text, "the time multiplier", 1.0)
    if factor <= 0:
        header.warn("time-multiplier", f"the time multiplier {factor:g} is not above 0: it is taken as 1")
        factor = 1.0
    header.stamp_unit_s *= factor
    if header.revision != "2013":
        return
    code = lines.take("time code", "").split(",")[0].strip()
    offset = utc_offset_ns(code) if code else 0
    if offset is None:
        if code.lower() != "x":
            header.warn("time-zone", f"the time code {code[:20]!r} cannot be read: times are taken as UTC")
    elif offset:
        header.note("time-zone", f"the header's times have the offset {code} from UTC: they are converted to UTC")
        header.start_ns = None if header.start_ns is None else max(0, header.start_ns - offset)
        header.trigger_ns = None if header.trigger_ns is None else max(0, header.trigger_ns - offset)
    quality, _, leap = lines.take("time quality", "").partition(",")
    header.findings += clock_findings(quality, leap)
