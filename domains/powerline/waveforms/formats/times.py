"""Convert time stamps of recorders to Unix nanoseconds."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from domains.powerline.waveforms.record import Finding
from stream.contract import NS_PER_S

_DATE = re.compile(r"\s*(\d{1,4})\s*[/.\-]\s*(\d{1,2})\s*[/.\-]\s*(\d{1,4})\s*$")
_TIME = re.compile(r"\s*(\d{1,2})\s*:\s*(\d{1,2})\s*:\s*(\d{1,2})(?:[.,](\d{1,15}))?\s*$")
_OFFSET = re.compile(r"([+-]?)(\d{1,2})(?:h(\d{2}))?$", re.IGNORECASE)
CENTURY_BREAK = 70
"""First two-digit year that belongs to the twentieth century."""


def stamp_ns(date: str, time: str, *, month_first: bool) -> tuple[int | None, bool, list[str]]:
    """Return the Unix time of a stamp read as UTC, True if it has nanoseconds, and messages about peculiarities.

    Args:
        date: day, month and year; a year of four digits may come first.
        time: hours, minutes, seconds with a fraction.
        month_first: True if the month precedes the day, as in revision 1991.

    Example:
        >>> stamp_ns("09/04/2023", "21:23:00.5", month_first=False)[0]
        1681075380500000000
    """
    found_date, found_time = _DATE.match(date), _TIME.match(time)
    if found_date is None or found_time is None:
        return None, False, [f"the time stamp {date.strip()[:20]!r}, {time.strip()[:24]!r} cannot be read"]
    messages: list[str] = []
    first, second, third = (int(part) for part in found_date.groups())
    if len(found_date.group(1)) == 4:
        year, month, day = first, second, third
    else:
        month, day, year = (first, second, third) if month_first else (second, first, third)
        if month > 12 and day <= 12:
            month, day = day, month
            messages.append(f"day and month of the date {date.strip()} are exchanged")
    if year < 100:
        year += 1900 if year >= CENTURY_BREAK else 2000
    hour, minute, seconds = (int(part) for part in found_time.groups()[:3])
    fraction = found_time.group(4) or ""
    leap = seconds == 60
    if leap:
        messages.append("the time stamp lies in a leap second, which Unix time does not have: the next second is used")
    try:
        moment = datetime(year, month, day, hour, minute, 59 if leap else seconds, tzinfo=UTC)
    except ValueError:
        return None, False, [f"{date.strip()[:20]} {time.strip()[:24]} is not a valid date and time"]
    ns = (int(moment.timestamp()) + leap) * NS_PER_S + int(fraction[:9].ljust(9, "0"))
    return (ns, len(fraction) > 6, messages) if ns >= 0 else (None, False, [f"{date.strip()} is before 1970"])


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
