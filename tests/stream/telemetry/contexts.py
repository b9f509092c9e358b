"""Trace contexts as a sender of records has them."""

from __future__ import annotations

from opentelemetry.trace import SpanContext, TraceFlags, TraceState


def span_context(trace_id: str, span_id: str, flags: int = 1, state: str = "") -> SpanContext:
    """Return the context of a remote span, by its ids in hexadecimal digits."""
    members = TraceState.from_header([state])
    return SpanContext(int(trace_id, 16), int(span_id, 16), True, TraceFlags(flags), members)


GATEWAY = span_context("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", 1, "vendor=x")
OTHER = span_context("1bf7651916cd43dd8448eb211c80319c", "c7ad6b7169203331")
UNSAMPLED = span_context("2cf7651916cd43dd8448eb211c80319c", "d7ad6b7169203331", 0)
