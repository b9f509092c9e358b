"""W3C trace context in the headers of records (https://www.w3.org/TR/trace-context/). Pure; needs no OpenTelemetry.

What is broken counts as absent, never as an error: a trace is worth less than a window.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

TRACEPARENT, TRACESTATE = "traceparent", "tracestate"
SAMPLED = 0x01
KNOWN_FLAGS = 0x03
"""Sampled, and that the trace's id is random: others are unknown and must not be passed on."""
STATE_BYTES, STATE_MEMBERS = 512, 32
"""Beyond these a tracestate is dropped: it is copied into every event that comes of the message."""

_PARENT = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.{0,200})?", re.DOTALL)
_MEMBER = re.compile(
    rb"(?:[a-z][a-z0-9_*/-]{0,255}|[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13})"
    rb"=[ -+\--<>-~]{0,255}[!-+\--<>-~]"
)

Header = tuple[str, bytes | None]


@dataclass(frozen=True, slots=True)
class TraceContext:
    """Which span of which trace a record comes of."""

    trace_id: str
    """32 hexadecimal digits, not all 0."""
    span_id: str
    """16 hexadecimal digits, not all 0."""
    flags: int
    state: str = ""
    """What tracing systems add, as ``tracestate`` has it."""

    @property
    def sampled(self) -> bool:
        """Whether spans of this trace are wanted."""
        return bool(self.flags & SAMPLED)

    def headers(self) -> list[tuple[str, bytes]]:
        """Headers of a record that comes of this span.

        Example:
            >>> TraceContext("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", 1).headers()
            [('traceparent', b'00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01')]
        """
        parent = f"00-{self.trace_id}-{self.span_id}-{self.flags & KNOWN_FLAGS:02x}".encode()
        state = [(TRACESTATE, self.state.encode())] if self.state else []
        return [(TRACEPARENT, parent), *state]


def read_context(headers: Sequence[Header]) -> TraceContext | None:
    """The trace context of a record; None where it has none, or one that is broken.

    Of several traceparents the last counts, as a record's last header of a name does in Kafka's own clients.
    """
    parent: bytes | None = None
    states: list[bytes] = []
    for name, value in headers:
        known = name.lower()
        if known == TRACEPARENT:
            parent = value
        elif known == TRACESTATE and value:
            states.append(value)
    if parent is None:
        return None
    match = _PARENT.fullmatch(parent)
    if match is None:
        return None
    version, trace_id, span_id, flags, rest = match.groups()
    if version == b"ff" or (version == b"00" and rest is not None):
        return None
    if not trace_id.strip(b"0") or not span_id.strip(b"0"):
        return None
    return TraceContext(trace_id.decode(), span_id.decode(), int(flags, 16), _state(states) if states else "")


def _state(headers: Sequence[bytes]) -> str:
    """Several headers as one; empty where any of it is broken, as the standard has it."""
    text = b",".join(headers)
    if len(text) > STATE_BYTES:
        return ""
    members = [member for part in text.split(b",") if (member := part.strip(b" \t"))]
    keys = {member.partition(b"=")[0] for member in members}
    if len(members) > STATE_MEMBERS or len(keys) < len(members):
        return ""
    if not all(_MEMBER.fullmatch(member) for member in members):
        return ""
    return b",".join(members).decode("ascii")
