"""Shift recorded windows in time and sequence, so that a worker treats a replay as new windows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from stream.contract import NS_PER_S


class WindowHead(msgspec.Struct, frozen=True, gc=False):
    """Fields that give a window message its position on the line; the windows themselves are skipped."""

    sequence: int
    start_ns: int
    rate_hz: float
    count: int


_head_msgpack = msgspec.msgpack.Decoder(WindowHead).decode
_head_json = msgspec.json.Decoder(WindowHead).decode


def is_json(value: bytes) -> bool:
    """Return True if a message is JSON and not a MessagePack map, which never starts with "{" or white space."""
    return value[:1] in b"{ \t\r\n"


def window_head(value: bytes | None) -> WindowHead | None:
    """Return the head of a window message in MessagePack or JSON; None for any other value.

    Example:
        >>> window_head(b'{"sequence": 8, "start_ns": 5, "rate_hz": 1600, "count": 4, "data": ""}').count
        4
        >>> window_head(b"not windows") is None
        True
    """
    if not value:
        return None
    try:
        return _head_json(value) if is_json(value) else _head_msgpack(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def moved(value: bytes, *, by_ns: int, by_windows: int) -> bytes:
    """Return a window message with shifted time and sequence; every other field is kept, including unknown ones.

    Example:
        >>> moved(b'{"sequence":8,"start_ns":5,"more":1}', by_ns=10, by_windows=4)
        b'{"sequence":12,"start_ns":15,"more":1}'
    """
    as_json = is_json(value)
    body: dict[Any, Any] = msgspec.json.decode(value) if as_json else msgspec.msgpack.decode(value)
    body["start_ns"] += by_ns
    body["sequence"] += by_windows
    return msgspec.json.encode(body) if as_json else msgspec.msgpack.encode(body)


@dataclass(slots=True)
class _LineSpan:
    first: WindowHead
    last: WindowHead
    hop_ns: float = 0.0


class PassSpan:
    """Measure the first pass of a looped replay, to find the shift that every later pass needs.

    Messages do not contain the hop, so it is computed from two messages of a line: (Δ start) / (Δ sequence).
    """

    def __init__(self) -> None:
        self._lines: dict[bytes | None, _LineSpan] = {}

    def add(self, key: bytes | None, head: WindowHead) -> None:
        """Add the head of a message of the first pass."""
        span = self._lines.get(key)
        if span is None:
            self._lines[key] = _LineSpan(head, head)
            return
        if head.sequence > span.last.sequence and head.start_ns > span.last.start_ns:
            span.hop_ns = (head.start_ns - span.last.start_ns) / (head.sequence - span.last.sequence)
            span.last = head

    def windows(self, key: bytes | None) -> int:
        """Return the number of sequence numbers that one pass uses on a line."""
        span = self._lines.get(key)
        return 0 if span is None else span.last.sequence + span.last.count - span.first.sequence

    @property
    def duration_ns(self) -> int:
        """Return the duration of one pass: from the earliest window to the start of the last line's next window."""
        if not self._lines:
            return NS_PER_S
        spans = self._lines.values()
        longest = max(span.hop_ns for span in spans)
        # Integers, since a float represents Unix nanoseconds only to 256 ns.
        ends = [span.last.start_ns + round(span.last.count * (span.hop_ns or longest)) for span in spans]
        duration = max(ends) - min(span.first.start_ns for span in spans)
        return duration if duration > 0 else NS_PER_S
