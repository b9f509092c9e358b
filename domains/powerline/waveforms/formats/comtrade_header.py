"""Header of a COMTRADE record (CFG): IEEE C37.111 of 1991, 1999 and 2013, line by line.

The ``comtrade`` package is not used for reading, but is the oracle of our tests: its version 0.2.0 allocates what a
header claims, fills what a cut file lacks with zeros, names no line in its errors, cannot read a rate of 0 that the
header announces as one rate, seconds without a fraction, station names with a comma or a CFF that is not UTF-8, and
takes every −1 of a 1991 file for a missing value.
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
"""More is no number of samples; the file's size decides long before."""
END_OF_FILE = "\x1a"
"""Old systems end text with Control-Z."""


@dataclass(slots=True)
class ComtradeHeader:
    """What the header says. ``gains`` and ``offsets`` turn stored numbers into the channels' units."""

    station: str = ""
    device: str = ""
    revision: str = "1991"
    channels: tuple[RawChannel, ...] = ()
    gains: list[float] = field(default_factory=list)
    offsets: list[float] = field(default_factory=list)
    status_count: int = 0
    frequency_hz: float | None = None
    rates: list[tuple[float, int]] = field(default_factory=list)
    """Samples per second and number of the last sample of every segment; a rate of 0 stands for the time column."""
    start_ns: int | None = None
    trigger_ns: int | None = None
    data_format: str = "ASCII"
    stamp_unit_s: float = 1e-6
    findings: list[Finding] = field(default_factory=list)

    def note(self, code: str, message: str) -> None:
        """Something odd that was dealt with."""
        self.findings.append(Finding("note", code, message))

    def warn(self, code: str, message: str) -> None:
        """Something odd that deserves a look."""
        self.findings.append(Finding("warning", code, message))


class _Lines:
    """Lines of the header, handed out one by one with their numbers."""

    def __init__(self, text: str, path: Path, first_line: int) -> None:
        self._lines = text.replace(END_OF_FILE, "").splitlines()
        self._path = path
        self._first_line = first_line
        self._taken = 0

    @property
    def left(self) -> int:
        return len(self._lines) - self._taken

    def take(self, what: str, default: str | None = None) -> str:
        """The next line. Raises RecordError where there is none and no default."""
        if self._taken >= len(self._lines):
            if default is not None:
                return default
            self._taken += 1
            raise self.error(f"the header ends before its {what}")
        self._taken += 1
        return self._lines[self._taken - 1].strip()

    def error(self, message: str) -> RecordError:
        """About the line last taken."""
        return RecordError.in_line(self._path, self._first_line + self._taken - 1, message)

    def number(self, text: str, what: str, default: float | None = None) -> float:
        """A finite number of the line last taken."""
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
        """A whole number of the line last taken."""
        if not re.fullmatch(r"\s*\+?\d{1,15}\s*", text):
            raise self.error(f"{what} must be a whole number, not {text.strip()[:40]!r}")
        return int(text)


def parse_header(text: str, path: Path, *, first_line: int = 1) -> ComtradeHeader:
    """Read a header.

    Args:
        text: of the CFG file, or of the CFG section of a CFF file.
        path: for messages.
        first_line: number of the text's first line in the file.

    Raises:
        RecordError: a line cannot be understood; it says which.
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
        said = parts.pop()
        if said in REVISIONS:
            header.revision = said
        else:
            year = int(said) if said.isdigit() else 1991
            header.revision = max((known for known in REVISIONS if int(known) <= year), default="1991")
            header.note("unknown-revision", f"revision {said[:20]!r} is none: read as {header.revision}")
    header.device = parts.pop() if len(parts) > 1 else ""
    header.station = ",".join(parts)
    if len(parts) > 1:
        header.note("comma-in-name", f"the station's name holds commas: {header.station[:60]!r}")


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
        raise lines.error("the record has no analogue channels: there are no waveforms in it")
    if counts["A"] + counts["D"] > lines.left:
        raise lines.error(f"{counts['A']} + {counts['D']} channels are claimed, but {lines.left} lines follow")
    total = lines.whole(parts[0], "the number of channels") if parts[0] else counts["A"] + counts["D"]
    if total != counts["A"] + counts["D"]:
        header.note("channel-counts", f"{total} channels are claimed, but {counts['A']} + {counts['D']} listed")
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
            header.note("comma-in-name", f"channel {number}'s name holds commas: {parts[1][:60]!r}")
    if len(parts) < 7:
        raise lines.error(f"an analogue channel has {expected} fields, this line has {len(parts)}")
    parts += [""] * (13 - len(parts))
    gain = lines.number(parts[5], "the multiplier a", 1.0)
    if gain == 0.0:
        header.warn("multiplier-zero", f"channel {number} ({parts[1]}) has the multiplier 0: it is all one value")
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
    )


def _rates(lines: _Lines, header: ComtradeHeader) -> None:
    count = lines.whole(lines.take("number of rates"), "the number of sampling rates")
    if count > lines.left:
        raise lines.error(f"{count} sampling rates are claimed, but {lines.left} lines follow")
    last = 0
    for number in range(1, max(count, 1) + 1):
        parts = lines.take(f"sampling rate {number}").split(",")
        if len(parts) < 2:
            raise lines.error("expected a sampling rate and the number of its last sample")
        rate = lines.number(parts[0], "the sampling rate", 0.0)
        stop = lines.whole(parts[1], "the number of the last sample")
        if rate < 0 or rate > 1e9:
            raise lines.error(f"a sampling rate lies between 0 and 1e9 Hz, not {rate:g}")
        if stop > MAX_SAMPLES:
            raise lines.error(f"{stop} is no number of samples")
        if stop <= last:
            header.warn("segment-without-samples", f"sampling rate {number} ends at sample {stop}: left out")
            continue
        header.rates.append((rate if count else 0.0, stop))
        last = stop
    if not header.rates:
        raise lines.error("no sampling rate has any samples")


def _stamps(lines: _Lines, header: ComtradeHeader) -> None:
    stamps: list[int | None] = []
    for what in ("start", "trigger"):
        date, _, time = lines.take(f"time of the {what}").partition(",")
        ns, fine, odd = stamp_ns(date, time, month_first=header.revision == "1991")
        for message in odd:
            header.warn(f"{what}-time", f"time of the {what}: {message}")
        if fine:
            header.stamp_unit_s = 1e-9
        stamps.append(ns)
    header.start_ns, header.trigger_ns = stamps


def _last_lines(lines: _Lines, header: ComtradeHeader) -> None:
    """Time multiplier (1999), time zone and quality (2013); what is left out has its default."""
    if header.revision == "1991":
        return
    text = lines.take("time multiplier", "")
    factor = lines.number(text, "the time multiplier", 1.0)
    if factor <= 0:
        header.warn("time-multiplier", f"the time multiplier {factor:g} is not above 0: taken as 1")
        factor = 1.0
    header.stamp_unit_s *= factor
    if header.revision != "2013":
        return
    code = lines.take("time code", "").split(",")[0].strip()
    offset = utc_offset_ns(code) if code else 0
    if offset is None:
        if code.lower() != "x":
            header.warn("time-zone", f"the time code {code[:20]!r} cannot be read: times are taken for UTC")
    elif offset:
        header.note("time-zone", f"times are {code} from UTC by the header: converted")
        header.start_ns = None if header.start_ns is None else max(0, header.start_ns - offset)
        header.trigger_ns = None if header.trigger_ns is None else max(0, header.trigger_ns - offset)
    quality, _, leap = lines.take("time quality", "").partition(",")
    header.findings += clock_findings(quality, leap)
