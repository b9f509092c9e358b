"""Convert time stamps of recorders to Unix nanoseconds."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

from domains.powerline.waveforms.record import Finding
from stream.contract import NS_PER_S

_DATE = re.compile(r"(\d{1,4})(?:\s*[/.\-]\s*|\s+)(\d{1,2})(?:\s*[/.\-]\s*|\s+)(\d{1,4})")
_NAMED = re.compile(r"(\d{1,4})[\s/.\-]*([^\W\d_]{3,12})[\s/.,\-]*(\d{1,4})")
_NAME_FIRST = re.compile(r"([^\W\d_]{3,12})[\s/.\-]*(\d{1,2})[\s/.,\-]+(\d{4})")
_COMPACT_DATE = re.compile(r"(\d{2})(\d{2})(\d{2})(\d{2})|(\d{2})(\d{2})(\d{2})")
_TIME = re.compile(
    r"(\d{1,2})\s*[:.hH\-]\s*(\d{1,2})(?:\s*[:.m\-]\s*(\d{1,2})\s*(?:[.,:]\s*(\d{1,15})|[.,])?)?\s*s?\s*([AaPp][Mm])?"
)
_COMPACT_TIME = re.compile(r"(\d{2})(\d{2})(\d{2})(?:[.,:](\d{1,15}))?()")
_BOTH = re.compile(r"(\d{4}-\d{1,2}-\d{1,2}|\d{1,2}[/.\-]\d{1,2}[/.\-]\d{2,4}|\d{8})[Tt\s]+(\d.*)")
_ZONE = re.compile(r"(\d.*?)\s*(?:[Zz]|UTC|GMT|([+-])(\d{2}):?(\d{2}))")
_STAMP_LINE = re.compile(
    r"""[\s"']*(\w{1,9}\s*[/.\-]\s*\w{1,9}\s*[/.\-]\s*\d{1,4}(?!\d)|\d{1,4}\s*[^\W\d_]{3,12}\s*\d{2,4}\s*,\s*\d)"""
)
_OFFSET = re.compile(r"([+-]?)(\d{1,2})(?:h(\d{2}))?$", re.IGNORECASE)
MOST_LETTERS = 80
"""Letters of a date or a time that are read."""
CENTURY_BREAK = 70
"""First two-digit year that belongs to the twentieth century."""
MONTHS = (
    ("jan", "янв", "ene", "gen"), ("feb", "фев", "fév", "fev"), ("mar", "мар", "mär", "mrz"),
    ("apr", "апр", "avr", "abr"), ("may", "май", "мая", "mai", "mag"), ("jun", "июн", "juin", "giu"),
    ("jul", "июл", "juil", "lug"), ("aug", "авг", "aoû", "aou", "ago"), ("sep", "сен", "set"),
    ("oct", "окт", "okt", "ott", "out"), ("nov", "ноя"), ("dec", "дек", "dez", "déc", "dic"),
)  # fmt: skip
"""First letters of the months' names, in the languages of recorders."""


def stamp_ns(date: str, time: str, *, month_first: bool) -> tuple[int | None, bool, list[str]]:
    """Return the Unix time of a stamp read as UTC, True if it has nanoseconds, and messages about peculiarities.

    Args:
        date: day, month and year; a year of four digits may come first. The time may follow, as in ISO 8601.
        time: hours, minutes, seconds with a fraction.
        month_first: True if the month precedes the day, as in revision 1991.

    Example:
        >>> stamp_ns("09/04/2023", "21:23:00.5", month_first=False)[0]
        1681075380500000000
        >>> stamp_ns("2023-04-09T24:00:00", "", month_first=False)[0]
        1681084800000000000
    """
    date, time = (" ".join(text.strip().strip("\"'").split())[:MOST_LETTERS] for text in (date, time))
    if not date and not time:
        return None, False, ["it is empty, so times count from 1970"]
    both = _BOTH.fullmatch(date)
    if both is not None and not time:
        date, time = both.group(1), both.group(2)
    unreadable = f"{date[:20]!r}, {time[:24]!r} cannot be read, so times count from 1970"
    zone = _ZONE.fullmatch(time)
    offset = timedelta()
    if zone is not None:
        time = zone.group(1)
        if zone.group(2):
            offset = timedelta(hours=int(zone.group(3)), minutes=int(zone.group(4)))
            offset = -offset if zone.group(2) == "-" else offset
    messages: list[str] = []
    found_date = _date(date, messages, month_first=month_first)
    found_time = _time(time)
    if found_date is None or found_time is None:
        return None, False, [unreadable]
    (year, month, day), (hour, minute, seconds, fraction) = found_date, found_time
    carry = timedelta()
    if seconds == 60:
        seconds, carry = 59, timedelta(seconds=1)
        messages.append("it lies in a leap second, which Unix time does not have: the next second is used")
    if (hour, minute, seconds) == (24, 0, 0):
        hour, carry = 0, timedelta(days=1)
    try:
        moment = datetime(year, month, day, hour, minute, seconds, tzinfo=timezone(offset)) + carry
    except (ValueError, OverflowError):
        return None, False, [f"{date[:20]} {time[:24]} is not a valid date and time, so times count from 1970"]
    ns = int(moment.astimezone(UTC).timestamp()) * NS_PER_S + int(fraction[:9].ljust(9, "0"))
    if ns < 0:
        return None, False, [f"{date[:20]} is before 1970, so times count from 1970"]
    return ns, len(fraction) > 6, messages


def _date(text: str, messages: list[str], *, month_first: bool) -> tuple[int, int, int] | None:
    """Return year, month and day; None if the text cannot be read without doubt."""
    named = _NAMED.fullmatch(text)
    if named is not None:
        first, name, last = named.groups()
        day, year = (last, first) if len(first) == 4 else (first, last)
    else:
        named = _NAME_FIRST.fullmatch(text)
        name, day, year = named.groups() if named is not None else ("", "", "")
    if named is not None:
        month = next((k for k, starts in enumerate(MONTHS, 1) if name.lower().startswith(starts)), None)
        return None if month is None else (_full_year(int(year)), month, int(day))
    found = _DATE.fullmatch(text)
    if found is None:
        return _compact_date(text, messages, month_first=month_first)
    first, second, third = found.groups()
    if len(first) == 4:
        return int(first), int(second), int(third)
    if len(first) == 3 or len(third) in (1, 3):
        return None
    return _ordered(text, int(first), int(second), int(third), messages, month_first=month_first)


def _ordered(
    text: str, first: int, second: int, year: int, messages: list[str], *, month_first: bool
) -> tuple[int, int, int]:
    month, day = (first, second) if month_first else (second, first)
    if month > 12 and day <= 12:
        month, day = day, month
        messages.append(f"day and month of the date {text} are exchanged")
    return _full_year(year), month, day


def _compact_date(text: str, messages: list[str], *, month_first: bool) -> tuple[int, int, int] | None:
    """Return year, month and day of a date without separators; None if two readings of it are possible."""
    found = _COMPACT_DATE.fullmatch(text)
    if found is None:
        return None
    if found.group(5) is not None:
        first, second, year = (int(part) for part in found.groups()[4:])
        return _ordered(text, first, second, year, messages, month_first=month_first)
    a, b, c, d = (int(part) for part in found.groups()[:4])
    year_first = a in (19, 20) and 1 <= c <= 12 and 1 <= d <= 31
    year_last = c in (19, 20) and 1 <= min(a, b) <= 12 and 1 <= max(a, b) <= 31
    if year_first == year_last:
        return None
    if year_first:
        return 100 * a + b, c, d
    return _ordered(text, a, b, 100 * c + d, messages, month_first=month_first)


def _full_year(year: int) -> int:
    if year >= 100:
        return year
    return year + (1900 if year >= CENTURY_BREAK else 2000)


def _time(text: str) -> tuple[int, int, int, str] | None:
    """Return hour, minute, second and the digits of the fraction; None if the text cannot be read."""
    found = _TIME.fullmatch(text) or _COMPACT_TIME.fullmatch(text)
    if found is None:
        return None
    hour, minute, second, fraction, half = found.groups()
    hours = int(hour)
    if half:
        if not 1 <= hours <= 12:
            return None
        hours = hours % 12 + 12 * (half.lower() == "pm")
    return hours, int(minute), int(second or 0), fraction or ""


def looks_like_stamp(line: str) -> bool:
    """Return True if a line has the form of a date with a time.

    Example:
        >>> looks_like_stamp("01/02/2024,03:04:05.0"), looks_like_stamp("4800,960")
        (True, False)
    """
    return _STAMP_LINE.match(line) is not None


def utc_offset_ns(code: str) -> int | None:
    """Return the offset from UTC in nanoseconds of a time code of revision 2013 (``-5h30``, ``0``); None if invalid.

    Example:
        >>> utc_offset_ns("-5h30") // NS_PER_S
        -19800
    """
    found = _OFFSET.match(code.strip())
    if found is None:
        return None
    sign = -1 if found.group(1) == "-" else 1
    return sign * (int(found.group(2)) * 3600 + int(found.group(3) or 0) * 60) * NS_PER_S


def clock_findings(quality: str, leap: str) -> list[Finding]:
    """Return findings about the time quality and the leap second indicator of revision 2013."""
    findings = []
    if quality.strip().upper() == "F":
        findings.append(Finding("warning", "clock-failed", "the recorder's clock had failed: times are unreliable"))
    elif quality.strip().upper() in {"8", "9", "A", "B"}:
        slack = {"8": "10 ms", "9": "100 ms", "A": "1 s", "B": "10 s"}[quality.strip().upper()]
        message = f"the recorder's clock was not synchronised: times may be wrong by {slack}"
        findings.append(Finding("warning", "clock-unlocked", message))
    if leap.strip() in {"1", "2"}:
        kind = "inserted" if leap.strip() == "1" else "removed"
        message = f"a leap second was {kind} during the record; times continue without it"
        findings.append(Finding("note", "leap-second", message))
    return findings
