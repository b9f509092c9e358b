"""The trace context in records' headers: whatever the bytes, it is read or absent, and never an error."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.trace import SpanContext

from stream.telemetry.tracing import STATE_BYTES, TRACEPARENT, TRACESTATE, read_context, trace_headers
from tests.stream.telemetry.contexts import span_context

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
GOOD = f"00-{TRACE}-{SPAN}-01".encode()


def digits(count: int) -> st.SearchStrategy[str]:
    return st.text("0123456789abcdef", min_size=count, max_size=count)


def some_id(count: int) -> st.SearchStrategy[str]:
    return digits(count).filter(lambda text: text.strip("0") != "")


KEYS = st.from_regex(r"[a-z][a-z0-9_*/-]{0,9}|[a-z0-9][a-z0-9_*/-]{0,9}@[a-z][a-z0-9]{0,5}", fullmatch=True)
VALUES = st.from_regex(r"[ -+\--<>-~]{0,9}[!-+\--<>-~]", fullmatch=True)
STATES = st.dictionaries(KEYS, VALUES, max_size=8).map(lambda pairs: ",".join(f"{k}={v}" for k, v in pairs.items()))
CONTEXTS = st.builds(span_context, some_id(32), some_id(16), st.sampled_from([0, 1, 2, 3]), STATES)

near_misses = st.one_of(
    st.binary(max_size=80),
    st.builds(lambda *parts: "-".join(parts).encode(), digits(2), digits(32), digits(16), digits(2)),
    # A valid one with one byte changed, removed or inserted.
    st.builds(
        lambda at, cut, put: GOOD[:at] + put + GOOD[at + cut :],
        st.integers(0, len(GOOD)),
        st.integers(0, 1),
        st.binary(max_size=1),
    ),
    st.builds(lambda version, rest: version + GOOD[2:] + rest, st.binary(max_size=2), st.binary(max_size=6)),
)
names = st.sampled_from([TRACEPARENT, TRACESTATE, "Traceparent", "content-type"]) | st.text(max_size=12)


@given(st.lists(st.tuples(names, st.none() | near_misses), max_size=6))
def test_whatever_the_headers_hold_is_a_context_that_can_be_passed_on_or_none(
    headers: Sequence[tuple[str, bytes | None]],
) -> None:
    found = read_context(headers)
    if found is not None:
        assert found.trace_id
        assert found.span_id
        assert read_context(trace_headers(found)) == found
        assert len(trace_headers(found)[-1][1]) <= STATE_BYTES


@given(CONTEXTS)
def test_what_is_written_is_read_again(context: SpanContext) -> None:
    assert read_context([("content-type", b"x"), *trace_headers(context)]) == context


@pytest.mark.parametrize(
    "parent",
    [
        b"",
        GOOD[:-1],
        GOOD + b"0",
        GOOD + b"-more",
        GOOD.upper(),
        b"ff" + GOOD[2:],
        GOOD.replace(TRACE.encode(), b"0" * 32),
        GOOD.replace(SPAN.encode(), b"0" * 16),
        None,
        b"\xff\xfe",
    ],
)
def test_a_broken_traceparent_counts_as_none(parent: bytes | None) -> None:
    assert read_context([(TRACEPARENT, parent), (TRACESTATE, b"a=1")]) is None


def test_a_version_to_come_is_read_as_far_as_it_is_known() -> None:
    found = read_context([(TRACEPARENT, b"01" + GOOD[2:-2] + b"f1-more")])
    assert found is not None
    assert found.trace_flags.sampled
    assert trace_headers(found) == [(TRACEPARENT, GOOD)]


def test_the_last_traceparent_counts() -> None:
    other = GOOD.replace(b"b7", b"c8")
    found = read_context([(TRACEPARENT, GOOD), ("x", b""), (TRACEPARENT, other)])
    assert found is not None
    assert trace_headers(found) == [(TRACEPARENT, other)]


@pytest.mark.parametrize(
    ("states", "kept"),
    [
        ([b"a=1", b"b=2"], "a=1,b=2"),
        ([b" a=1 ,, b=2\t"], "a=1,b=2"),
        ([b"a=1,a=2"], ""),
        ([b"a"], ""),
        ([b"A=1"], ""),
        ([b"a=\xff"], ""),
        ([b"a=1\r\nb: c"], ""),
        ([b",".join(b"k%d=1" % number for number in range(33))], ""),
        ([b"a=" + b"x" * 255, b"b=" + b"x" * 256], ""),
    ],
)
def test_a_tracestate_is_kept_whole_or_not_at_all(states: list[bytes], kept: str) -> None:
    found = read_context([(TRACEPARENT, GOOD), *((TRACESTATE, state) for state in states)])
    assert found is not None
    assert found.trace_state.to_header() == kept
