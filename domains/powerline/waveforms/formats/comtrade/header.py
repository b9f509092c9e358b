"""Parse the header of a COMTRADE record (CFG) line by line, after IEEE C37.111 of 1991, 1999 and 2013.

The ``comtrade`` package is the reference of the tests but is not used as reader, for these reasons. Its version 0.2.0
allocates as much memory as a header claims. It fills a truncated file with zeros. Its errors name no line. It cannot
read a rate of 0 that the header announces as one rate, seconds without a fraction, station names with a comma, or a CFF
that is not UTF-8. It takes every −1 of a 1991 file for a missing value.
"""

from __future__ import annotations

import csv
import itertools
import math
import re
from dataclasses import dataclass, field
from pathlib import Path

from domains.powerline.waveforms.errors import RecordError
from domains.powerline.waveforms.formats.times import clock_findings, looks_like_stamp, stamp_ns, utc_offset_ns
from domains.powerline.waveforms.record import Finding, RawChannel

REVISIONS = ("1991", "1999", "2013")
FORMATS = ("ASCII", "BINARY", "BINARY32", "FLOAT32")
FORMAT_WORDS = {
    "ASC": "ASCII", "ASCII": "ASCII", "TEXT": "ASCII", "BIN": "BINARY", "BINARY": "BINARY", "BINARY16": "BINARY",
    "INT16": "BINARY", "BINARY32": "BINARY32", "INT32": "BINARY32", "FLOAT": "FLOAT32", "FLOAT32": "FLOAT32",
    "REAL32": "FLOAT32",
}  # fmt: skip
"""Words for the data format that recorders write, and those of the standard."""
MAX_SAMPLES = 2**40
"""Largest number of samples in a valid header; the file's size sets a much lower limit."""
LEAST_RATE_HZ = 1e-3
"""Rate below which the header states none."""
MOST_MULTIPLIER = 1e9
MOST_RATES = 1000
"""Number of sampling rates above which a header is damaged; the standard expects a few."""
END_OF_FILE = "\x1a"
"""Control-Z, with which old systems end text."""
LAST_FIELDS = 8
"""Number of fields of an analogue channel from the multiplier to the side P or S."""
NUMBER = re.compile(r"\s*[+-]?(\d+(\.\d*)?|\.\d+)([eEdD][+-]?\d+)?\s*$")
DASHES = str.maketrans("–—‒−", "----")
"""Dashes that word processors write for the minus sign."""
COMPACT_STAMP = re.compile(r"\s*(\d{6}|\d{8})\s*,\s*\d{6}(\.\d*)?\s*$")
"""Date and time without separators, which have the form of a sampling rate."""
SIDES = {"P": "P", "S": "S", "PRI": "P", "SEC": "S", "PRIM": "P", "PRIMARY": "P", "SECONDARY": "S"}


@dataclass(slots=True)
class ComtradeHeader:
    """Content of the header. ``gains`` and ``offsets`` convert stored numbers to the channels' units."""

    station: str = ""
    device: str = ""
    revision: str = "1991"
    unknown_revision: str = ""
    """Revision that the header states, if it is none of the standard."""
    channels: tuple[RawChannel, ...] = ()
    gains: list[float] = field(default_factory=list)
    offsets: list[float] = field(default_factory=list)
    status_count: int = 0
    frequency_hz: float | None = None
    rates: list[tuple[float, int]] = field(default_factory=list)
    """Sampling rate and number of the last sample of every segment; at a rate of 0 the time column gives the times.

    The last number is ``MAX_SAMPLES`` if the header does not state it.
    """
    start_ns: int | None = None
    trigger_ns: int | None = None
    data_format: str = "ASCII"
    """One of ``FORMATS``; empty if the header does not state it."""
    stamp_unit_s: float = 1e-6
    findings: list[Finding] = field(default_factory=list)

    def note(self, code: str, message: str) -> None:
        """Add a note: a peculiarity that was handled without doubt."""
        self.findings.append(Finding("note", code, message))

    def warn(self, code: str, message: str) -> None:
        """Add a warning: a problem that the user should check."""
        self.findings.append(Finding("warning", code, message))

    def settle_rates(self, count: int) -> None:
        """Drop rates without samples, once the number of samples is known.

        Some recorders write the number of samples at each rate instead of the number of the last one.
        """
        stops = [stop for _, stop in self.rates]
        if all(a < b for a, b in itertools.pairwise(stops)):
            return
        if sum(stops) == count:
            self.rates = [(rate, stop) for (rate, _), stop in zip(self.rates, itertools.accumulate(stops), strict=True)]
            self.note("rate-counts", "the header gives the number of samples at each rate instead of the last sample")
            return
        kept: list[tuple[float, int]] = []
        for number, (rate, stop) in enumerate(self.rates, 1):
            if kept and stop <= kept[-1][1]:
                self.warn(
                    "segment-without-samples",
                    f"sampling rate {number} ends at sample {stop}, before it begins: it is skipped",
                )
            else:
                kept.append((rate, stop))
        self.rates = kept


class _Lines:
    """Lines of the header that are not blank, which are taken one by one; errors name the line taken last."""

    def __init__(self, text: str, path: Path, first_line: int) -> None:
        lines = re.split(r"\r\n|\r|\n", text.replace(END_OF_FILE, "").replace("\0", "").replace("\ufeff", ""))
        self._lines = [(first_line + k, line.strip()) for k, line in enumerate(lines) if line.strip()]
        self._path = path
        self._taken = 0
        self._end = first_line + len(lines)
        counts = self._lines[1][1] if len(self._lines) > 1 else ""
        self._delimiter = next((mark for mark in ",;\t" if mark in counts), ",")

    @property
    def left(self) -> int:
        return len(self._lines) - self._taken

    def take(self, what: str) -> str:
        """Return the next line.

        Raises:
            RecordError: no line is left.
        """
        if not self.left:
            message = f"the header ends before the {what}: the file is not complete, copy it again"
            raise RecordError.in_line(self._path, self._end, message)
        self._taken += 1
        return self._lines[self._taken - 1][1]

    def next(self, ahead: int = 0) -> str:
        """Return a line that follows without taking it; empty after the last one."""
        return self._lines[self._taken + ahead][1] if ahead < self.left else ""

    def fields(self, text: str) -> list[str]:
        """Return the fields of a line, without blanks and quotes."""
        parts = text.split(self._delimiter)
        if '"' in text:
            try:
                quoted = next(csv.reader([text], delimiter=self._delimiter, skipinitialspace=True), [])
            except csv.Error:
                raise self.error("the line has a field that is too long: the header is damaged") from None
            parts = [part.strip('"') for part in parts] if text.count('"') % 2 else quoted
        return [part.strip() for part in parts]

    def error(self, message: str) -> RecordError:
        """Return an error that names the line taken last."""
        return RecordError.in_line(self._path, self._lines[max(self._taken - 1, 0)][0], message)

    def number(self, text: str, what: str, default: float | None = None) -> float:
        """Parse a finite number from the line taken last."""
        plain = text.strip().translate(DASHES)
        plain = plain.replace(",", ".") if self._delimiter != "," else plain
        if plain in ("", "-", "?") and default is not None:
            return default
        try:
            value = float(plain.upper().replace("D", "E") if NUMBER.match(plain) else plain)
        except ValueError:
            raise self.error(f"{what} must be a number, not {text.strip()[:40]!r}") from None
        if not math.isfinite(value):
            raise self.error(f"{what} must be finite, not {text.strip()[:40]!r}")
        return value

    def whole(self, text: str, what: str) -> int:
        """Parse a whole number from the line taken last."""
        found = re.fullmatch(r"\+?(\d{1,15})(\.0*)?", text.strip())
        if found is None:
            raise self.error(f"{what} must be a whole number, not {text.strip()[:40]!r}")
        return int(found.group(1))

    def is_rate(self, text: str) -> bool:
        """Return True if a line is a sampling rate and the number of its last sample."""
        parts = [part for part in self.fields(text) if part]
        return len(parts) == 2 and all(NUMBER.match(part.replace(",", ".")) for part in parts)

    def channel_lines(self) -> int | None:
        """Return the number of lines before the mains frequency, found by their form; None if it is not found."""
        for ahead in range(self.left):
            if not self.is_rate(self.next(ahead)) and not looks_like_stamp(self.next(ahead)):
                continue
            # The lines before are the frequency, which may be missing, and the number of rates.
            numbers = 0
            while numbers < min(2, ahead) and _is_alone(self.fields(self.next(ahead - numbers - 1))):
                numbers += 1
            if numbers:
                return ahead - numbers
        return None

    def rate_lines(self, ahead: int) -> int:
        """Return the number of lines with sampling rates that follow each other."""
        count = 0
        while count <= MOST_RATES and self.is_rate_next(ahead + count):
            count += 1
        return count

    def is_rate_next(self, ahead: int = 0) -> bool:
        """Return True if a line that follows is a sampling rate, and not a date and a time without separators."""
        return self.is_rate(self.next(ahead)) and not COMPACT_STAMP.match(self.next(ahead))


def _is_alone(fields: list[str]) -> bool:
    """Return True if a line has one number, with or without a unit."""
    return len([part for part in fields if part]) == 1 and NUMBER.match(_without_unit(fields[0])) is not None


def _without_unit(text: str) -> str:
    text = text.strip()
    return text[:-2].rstrip() if text[-2:].lower() == "hz" else text


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
    stated = _station(lines, header)
    analog = _counts(lines, header)
    status = header.status_count
    listed = lines.channel_lines()
    if listed == analog + status + 1 and len(lines.fields(lines.next(listed - 1))) < 3:
        # A line that is no channel is the mains frequency, written wrongly.
        listed -= 1
    if listed is not None:
        analog, status = _listed(lines, header, listed, analog)
    if analog == 0:
        raise lines.error("the record has no analogue channels, so it holds no waveforms")
    if listed is None and analog + status > lines.left:
        raise lines.error(
            f"{analog} + {status} channels are announced, but only {lines.left} lines follow: "
            "the header is damaged or incomplete"
        )
    channels = [_analog_channel(lines, header, number) for number in range(1, analog + 1)]
    header.channels = tuple(channels)
    if (not stated or header.unknown_revision) and any(channel.side for channel in channels):
        header.revision = max(header.revision, "1999")
    if header.unknown_revision:
        message = f"revision {header.unknown_revision!r} is unknown: the file is read as {header.revision}"
        header.note("unknown-revision", message)
    elif not stated and header.revision == "1999":
        header.note("unknown-revision", "the header states no revision: its channels have the form of 1999")
    for _ in range(status):
        lines.take("status channels")
    _rates(lines, header, _frequency(lines, header))
    _stamps(lines, header)
    _data_format(lines, header)
    _last_lines(lines, header)
    return header


def _station(lines: _Lines, header: ComtradeHeader) -> bool:
    """Read the first line; return True if it states a revision, also that of 1991, which has no field for it."""
    if _count_fields(lines.fields(lines.next())) is not None:
        header.note("no-station", "the header has no line with station and device")
        return False
    parts = lines.fields(lines.take("first line"))
    while len(parts) > 1 and not parts[-1]:
        parts.pop()
    if len(parts) < 2 and _count_fields(lines.fields(lines.next())) is None:
        raise lines.error("expected station, device and revision, separated by commas; is this a COMTRADE header?")
    revision = parts[-1] if re.fullmatch(r"\d{4}", parts[-1]) else None
    if len(parts) > 1 and (revision is not None or len(parts) == 3):
        stated = parts.pop()
        if stated in REVISIONS:
            header.revision = stated
        else:
            year = int(stated) if re.fullmatch(r"[0-9]{1,4}", stated) else 1991
            header.revision = max((known for known in REVISIONS if int(known) <= year), default="1991")
            header.unknown_revision = stated[:20]
    header.device = parts.pop() if len(parts) > 1 else ""
    header.station = ",".join(parts)
    if len(parts) > 1:
        header.note("comma-in-name", f"the station's name contains commas: {header.station[:60]!r}")
    return revision is not None


def _count_fields(fields: list[str]) -> tuple[int | None, int, int] | None:
    """Return the total, analogue and status channels that a line announces; None if it is no such line."""
    counts: dict[str, int] = {}
    plain = []
    for part in fields:
        found = re.fullmatch(r"(\d{1,9})\s*([AD])|([AD])\s*(\d{1,9})", part.upper())
        if found is not None:
            counts[found.group(2) or found.group(3)] = int(found.group(1) or found.group(4))
        elif re.fullmatch(r"\d{1,9}", part):
            plain.append(int(part))
        elif part:
            return None
    if not counts and len(plain) == 3 and plain[0] == plain[1] + plain[2]:
        return plain[0], plain[1], plain[2]
    return (plain[0] if plain else None, counts.get("A", 0), counts.get("D", 0)) if counts and len(plain) < 2 else None


def _counts(lines: _Lines, header: ComtradeHeader) -> int:
    text = lines.take("channel counts")
    found = _count_fields(lines.fields(text))
    if found is None:
        raise lines.error(f"expected counts of channels such as '15,15A,0D', not {text[:40]!r}")
    total, analog, header.status_count = found
    if total is not None and total != analog + header.status_count:
        header.note(
            "channel-counts",
            f"{total} channels are announced, but {analog} analogue + {header.status_count} status channels are listed",
        )
    return analog


def _listed(lines: _Lines, header: ComtradeHeader, listed: int, announced: int) -> tuple[int, int]:
    """Return the number of analogue and status lines in the header; its counts may be wrong."""
    status = header.status_count
    fields = [lines.fields(lines.next(k)) for k in range(listed)]
    analog = next((k for k, parts in enumerate(fields) if not _is_analog(parts)), listed)
    if analog == announced:
        # Status channels that are announced but not listed still have their bits in the data.
        if listed - analog != status:
            header.note("channel-counts", f"{status} status channels are announced, but {listed - analog} are listed")
        return analog, listed - analog
    if analog < announced and not all(_is_status(parts) for parts in fields[analog:announced]):
        # A damaged line, which its own error names.
        return announced, max(0, listed - announced)
    if listed > analog:
        header.status_count = listed - analog
    header.warn(
        "channel-counts",
        f"{announced} analogue channels are announced, but {analog} are listed: the listed ones are read",
    )
    return analog, listed - analog


def _is_status(parts: list[str]) -> bool:
    return 2 <= len(parts) <= 6 and parts[-1] in ("0", "1")


def _is_analog(parts: list[str]) -> bool:
    return _side_index(parts) is not None or (
        len(parts) >= 7 and all(NUMBER.match(part.replace(",", ".")) or part in ("", "-") for part in parts[5:7])
    )


def _side_index(parts: list[str]) -> int | None:
    """Return the position of the field P or S, before which there are seven numbers; None if there is none."""
    for k in range(len(parts) - 1, LAST_FIELDS, -1):
        numbers = parts[k - LAST_FIELDS + 1 : k]
        if parts[k].upper() in SIDES and all(not part or NUMBER.match(part.replace(",", ".")) for part in numbers):
            return k
    return None


def _analog_channel(lines: _Lines, header: ComtradeHeader, number: int) -> RawChannel:
    parts = lines.fields(lines.take(f"analogue channel {number}"))
    side_at = _side_index(parts)
    expected = 10 if header.revision == "1991" and len(parts) < 13 else 13
    if side_at is not None:
        # Counted from the side, so that a missing field or a comma before the numbers moves nothing.
        front, numbers = parts[: side_at - LAST_FIELDS + 1], parts[side_at - LAST_FIELDS + 1 : side_at + 1]
        front = [*front[:-1], *[""] * (5 - len(front)), front[-1]] if len(front) < 5 else front
        parts = [*front, *numbers]
    extra = len(parts) - expected
    if extra > 0:
        if parts[-extra:] == [""] * extra:
            parts = parts[:expected]
        else:
            parts[1 : 2 + extra] = [",".join(parts[1 : 2 + extra])]
            header.note("comma-in-name", f"the name of channel {number} contains commas: {parts[1][:60]!r}")
    if len(parts) < 7:
        raise lines.error(
            f"an analogue channel has {expected} fields, this line has {len(parts)}: its scale is not known"
        )
    parts += [""] * (13 - len(parts))
    gain = lines.number(parts[5], "the multiplier a", 1.0)
    if gain == 0.0:
        header.warn("multiplier-zero", f"channel {number} ({parts[1]}) has the multiplier 0, so it is constant")
    header.gains.append(gain)
    header.offsets.append(lines.number(parts[6], "the offset b", 0.0))
    side = SIDES.get(parts[12].upper(), parts[12].upper()[:1])
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


def _frequency(lines: _Lines, header: ComtradeHeader) -> int | None:
    """Read the mains frequency; return the number of rates if the header lacks one of the two lines."""
    listed = lines.rate_lines(1) if _is_alone(lines.fields(lines.next())) else 0
    if listed and float(_without_unit(lines.fields(lines.next())[0]).replace(",", ".")) <= listed:
        header.note("no-frequency", "the header has no line with the mains frequency")
        return None
    text = _without_unit(lines.fields(lines.take("mains frequency"))[0])
    frequency = lines.number(text, "the mains frequency", 0.0)
    header.frequency_hz = frequency if frequency > 0 else None
    if listed:
        header.note("rate-lines", f"the header has no line with the number of sampling rates, and lists {listed}")
    return listed or None


def _rates(lines: _Lines, header: ComtradeHeader, count: int | None) -> None:
    if count is None:
        count = lines.whole(lines.fields(lines.take("number of rates"))[0], "the number of sampling rates")
    if count > lines.left:
        raise lines.error(
            f"{count} sampling rates are announced, but only {lines.left} lines follow: "
            "the header is damaged or incomplete"
        )
    number = 0
    while number < max(count, 1) or (lines.is_rate_next() and _is_further_rate(lines.fields(lines.next()), header)):
        if number == MOST_RATES:
            raise lines.error(f"the header lists more than {MOST_RATES:,} sampling rates: it is damaged")
        if looks_like_stamp(lines.next()):
            break
        number += 1
        parts = lines.fields(lines.take(f"sampling rate {number}"))
        rate = lines.number(_without_unit(parts[0]), "the sampling rate", 0.0)
        stop = lines.whole(parts[1], "the number of the last sample") if len(parts) > 1 and parts[1] else 0
        if rate < 0 or rate > 1e9:
            raise lines.error(f"the sampling rate must be between 0 and 1e9 Hz, not {rate:g} Hz")
        if stop > MAX_SAMPLES:
            raise lines.error(f"the number of the last sample must be at most {MAX_SAMPLES}, not {stop}")
        header.rates.append((rate if count and rate >= LEAST_RATE_HZ else 0.0, stop))
    if number != max(count, 1):
        header.note("rate-lines", f"the header announces {count} sampling rates, but lists {number}")
    if not header.rates:
        header.rates = [(0.0, MAX_SAMPLES)]
    if header.rates[-1][1] == 0:
        # Recorders that do not know the length of the record write 0.
        header.rates[-1] = (header.rates[-1][0], MAX_SAMPLES)


def _is_further_rate(fields: list[str], header: ComtradeHeader) -> bool:
    """Return True if a line beyond the announced rates is one of them, and not a date and a time without separators."""
    plausible = (
        re.fullmatch(r"\d{1,7}(\.\d*)?", fields[0]) is not None and re.fullmatch(r"\d{1,12}", fields[1]) is not None
    )
    return plausible and int(fields[1]) > header.rates[-1][1]


def _stamps(lines: _Lines, header: ComtradeHeader) -> None:
    stamps: list[int | None] = []
    for what in ("start", "trigger"):
        if not lines.left or _format_of(lines.next()) is not None:
            header.note(f"{what}-time", f"the header has no time of the {what}")
            stamps.append(None)
            continue
        date, *time = lines.fields(lines.take(f"time of the {what}"))
        if len(time) > 1 and re.search(r"[^\W\d_]{3}", date) and re.fullmatch(r"\d{4}", time[0]):
            # A comma precedes the year, as in "February 1, 2024".
            date, time = f"{date}, {time[0]}", time[1:]
        ns, fine, messages = stamp_ns(date, ",".join(time), month_first=header.revision == "1991")
        for message in messages:
            # The time of the trigger decides nothing.
            (header.warn if ns is None and what == "start" else header.note)(
                f"{what}-time", f"time of the {what}: {message}"
            )
        if fine:
            header.stamp_unit_s = 1e-9
        stamps.append(ns)
    header.start_ns, header.trigger_ns = stamps


def _format_of(text: str) -> str | None:
    """Return the data format that a line names; None if it names none."""
    words = re.findall(r"[A-Z0-9]+", text.upper())
    return FORMAT_WORDS.get("".join(words), FORMAT_WORDS.get(words[0])) if words else None


def _data_format(lines: _Lines, header: ComtradeHeader) -> None:
    if not lines.left:
        header.note("no-format", "the header ends before the data format: it is found from the data")
        header.data_format = ""
        return
    text = lines.take("data format")
    data_format = _format_of(text)
    if data_format is None:
        raise lines.error(f"the data format must be one of {', '.join(FORMATS)}, not {text[:40].upper()!r}")
    header.data_format = data_format


def _last_lines(lines: _Lines, header: ComtradeHeader) -> None:
    """Read the time multiplier (1999), time zone and time quality (2013); missing lines have defaults."""
    if header.revision == "1991":
        return
    if lines.left and len([part for part in lines.fields(lines.next()) if part]) == 1:
        text = lines.fields(lines.take("time multiplier"))[0]
        factor = lines.number(text, "the time multiplier", 1.0)
        if not 1 / MOST_MULTIPLIER <= factor <= MOST_MULTIPLIER:
            header.warn("time-multiplier", f"the time multiplier {factor:g} is no plausible one: it is taken as 1")
            factor = 1.0
        header.stamp_unit_s *= factor
    if header.revision != "2013" or not lines.left:
        return
    code = lines.fields(lines.take("time code"))[0]
    offset = utc_offset_ns(code) if code else 0
    if offset is None:
        if code.lower() not in ("x", "na", "n/a"):
            header.warn("time-zone", f"the time code {code[:20]!r} cannot be read: times are taken as UTC")
    elif offset:
        header.note("time-zone", f"the header's times have the offset {code} from UTC: they are converted to UTC")
        header.start_ns = None if header.start_ns is None else max(0, header.start_ns - offset)
        header.trigger_ns = None if header.trigger_ns is None else max(0, header.trigger_ns - offset)
    if lines.left:
        quality, *leap = lines.fields(lines.take("time quality"))
        header.findings += clock_findings(quality, leap[0] if leap else "")
