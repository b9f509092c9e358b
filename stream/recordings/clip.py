"""Select a time range of a source, by clock times or by seconds from its beginning."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from math import isfinite

from stream.contract import NS_PER_S
from stream.errors import SettingsError

EARLIEST_NS, LATEST_NS = -(2**63), 2**63 - 1


@dataclass(frozen=True)
class Moment:
    """Point in time: seconds from the beginning of a source, or a Unix time in ns."""

    seconds: float | None = None
    unix_ns: int | None = None

    def at_ns(self, begin_ns: int) -> int:
        """Return the time in Unix ns for a source that begins at ``begin_ns``."""
        return begin_ns + round((self.seconds or 0.0) * NS_PER_S) if self.unix_ns is None else self.unix_ns


def parse_moment(option: str, text: str | None) -> Moment | None:
    """Parse seconds or an ISO time (in this machine's time zone if it names none).

    Raises:
        SettingsError: the text is neither.

    Example:
        >>> parse_moment("--from", "2.5"), parse_moment("--to", "1970-01-01T00:00:01Z")
        (Moment(seconds=2.5, unix_ns=None), Moment(seconds=None, unix_ns=1000000000))
    """
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        pass
    else:
        if isfinite(seconds):
            return Moment(seconds=seconds)
    try:
        # The time is rounded to ms, because a float cannot represent today's Unix times to the nanosecond.
        return Moment(unix_ns=round(datetime.fromisoformat(text).timestamp() * 1000) * (NS_PER_S // 1000))
    except (ValueError, OverflowError):
        raise SettingsError(
            f"{option} {text}: give seconds from the beginning, or an ISO time, e.g. 2026-01-31T12:00:00"
        ) from None


@dataclass(frozen=True)
class Clip:
    """Time range from ``first`` to ``end`` (exclusive)."""

    first: Moment | None = None
    end: Moment | None = None

    def __bool__(self) -> bool:
        return self.first is not None or self.end is not None

    def bounds_ns(self, begin_ns: int) -> tuple[int, int]:
        """Return first and end in Unix ns for a source that begins at ``begin_ns``."""
        first = EARLIEST_NS if self.first is None else self.first.at_ns(begin_ns)
        return first, LATEST_NS if self.end is None else self.end.at_ns(begin_ns)
