"""Moves recorded windows to another time and sequence, so that a worker takes a replay for new windows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from stream.contract import NS_PER_S


class WindowHead(msgspec.Struct, frozen=True, gc=False):
    """The fields that place a message of windows on its line; the windows themselves are skipped."""

    sequence: int
    start_ns: int
    rate_hz: float
    count: int


_head_msgpack = msgspec.msgpack.Decoder(WindowHead).decode
_head_json = msgspec.json.Decoder(WindowHead).decode


def is_json(value: bytes) -> bool:
    """Return whether a message is JSON: a MessagePack map, the other choice, never starts with "{" or white space."""
    return value[:1] in b"{ \t\r\n"


def window_head(value: bytes | None) -> WindowHead | None:
    """Return the head of a window message in MessagePack or JSON; None for whatever else a record holds.

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
    """Return a window message with time and sequence moved and every other field kept, unknown ones included.

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
    """Learns in the first pass of a looped replay how far every later pass must be moved.

    The hop is not in a message, so it is learned from two messages of a line: (Δ start) / (Δ sequence).
    """

    def __init__(self) -> None:
        self._lines: dict[bytes | None, _LineSpan] = {}

    def learn(self, key: bytes | None, head: WindowHead) -> None:
        """Take the head of a message of the first pass."""
        span = self._lines.get(key)
        if span is None:
            self._lines[key] = _LineSpan(head, head)
            return
        if head.sequence > span.last.sequence and head.start_ns > span.last.start_ns:
            span.hop_ns = (head.start_ns - span.last.start_ns) / (head.sequence - span.last.sequence)
            span.last = head

    def windows(self, key: bytes | None) -> int:
        """Return the sequence numbers that one pass uses up on a line."""
        span = self._lines.get(key)
        return 0 if span is None else span.last.sequence + span.last.count - span.first.sequence

    @property
    def duration_ns(self) -> int:
        """Return the time of one pass, from the earliest window to where the next one of the last line would start."""
        if not self._lines:
            return NS_PER_S
        spans = self._lines.values()
        longest = max(span.hop_ns for span in spans)
        # Integers: a float holds Unix nanoseconds only to 256 ns.
        ends = [span.last.start_ns + round(span.last.count * (span.hop_ns or longest)) for span in spans]
        duration = max(ends) - min(span.first.start_ns for span in spans)
        return duration if duration > 0 else NS_PER_S
