"""OpenTelemetry spans of the record path: window → micro-batch → event, by the trace context in records' headers.

A micro-batch is of many traces at once. It gets a trace of its own — a span ``micro-batch`` with one below it per
stage — linked to the contexts of its sampled messages. What comes of a message (fault events, window classes) carries
on that message's trace: one span per such message, below the sender's, whose context goes into the headers.
With tracing off none of this is built; only this module imports OpenTelemetry, and only when it is switched on.
"""

from __future__ import annotations

import dataclasses
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import structlog

from stream.contract import Outgoing
from stream.detection.decode import DecodedBatch, IncomingRecord
from stream.settings import Settings
from stream.telemetry.trace_context import KNOWN_FLAGS, TraceContext, read_context

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Link, Span, SpanContext

log = structlog.get_logger(__name__)

EXPORT_TIMEOUT_S = 5.0
CLOSE_S = 3.0
"""A collector that hangs must not hold up a stop, which has 25 s for everything."""
MOST_LINKS = 128
"""OpenTelemetry's own limit per span."""
NS = 1_000_000_000


class Tracing:
    """Makes and exports the spans of one process.

    Args:
        provider: exports them; samples what it is given, since the choice is made here.
        sample_ratio: of micro-batches without a sampled message, the part that is traced all the same.
        chance: uniform in [0, 1).
    """

    def __init__(
        self, provider: TracerProvider, sample_ratio: float, chance: Callable[[], float] = random.random
    ) -> None:
        self._provider = provider
        self._ratio = sample_ratio
        self._chance = chance
        self._tracer = provider.get_tracer("faultline")

    def batch(self) -> BatchTrace:
        """Begin the trace of a micro-batch."""
        return BatchTrace(self, chosen=self._chance() < self._ratio)

    def span(
        self,
        name: str,
        parent: Span | TraceContext | None = None,
        *,
        links: Sequence[Link] = (),
        start_ns: int | None = None,
        attributes: dict[str, Any] | None = None,
        consumer: bool = False,
    ) -> Span:
        """Start a span; of a trace of its own where it has no parent."""
        from opentelemetry.trace import SpanKind

        return self._tracer.start_span(
            name,
            context=_below(parent),
            kind=SpanKind.CONSUMER if consumer else SpanKind.INTERNAL,
            attributes=attributes,
            links=links,
            start_time=start_ns,
        )

    def close(self) -> None:
        """Export what is left, for as long as a stop may take."""
        # A thread that may be left behind: the provider waits up to half a minute.
        thread = threading.Thread(target=self._provider.shutdown, name="tracing-close", daemon=True)
        thread.start()
        thread.join(CLOSE_S)


def open_tracing(settings: Settings, service: str) -> Tracing | None:
    """Spans as the settings say; None where they are off.

    Args:
        settings: ours.
        service: worker or trainer.
    """
    if settings.tracing == "off":
        return None
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ALWAYS_ON

    name = {"service.name": f"faultline-{service}", "service.namespace": settings.group}
    provider = TracerProvider(sampler=ALWAYS_ON, resource=Resource.create(name), shutdown_on_exit=False)
    exporter = OTLPSpanExporter(
        settings.tracing_endpoint, headers=settings.tracing_header_values or None, timeout=EXPORT_TIMEOUT_S
    )
    provider.add_span_processor(BatchSpanProcessor(exporter))
    if settings.tracing_headers is not None and settings.tracing_endpoint.startswith("http://"):
        log.warning("tracing-headers-in-the-clear", advice="set FAULTLINE_TRACING_ENDPOINT to an https:// address")
    log.info("tracing", endpoint=settings.tracing_endpoint, sample_ratio=settings.tracing_sample_ratio)
    return Tracing(provider, settings.tracing_sample_ratio)


def context_of(span: Span) -> TraceContext | None:
    """What records that come of a span carry; None where OpenTelemetry is disabled (OTEL_SDK_DISABLED)."""
    context = span.get_span_context()
    if not context.is_valid:
        return None
    return TraceContext(
        f"{context.trace_id:032x}",
        f"{context.span_id:016x}",
        int(context.trace_flags),
        context.trace_state.to_header(),
    )


def links_to(contexts: Sequence[TraceContext]) -> list[Link]:
    """Links of a span to others, as many as it may have."""
    from opentelemetry.trace import Link

    return [Link(_span_context(context)) for context in contexts[:MOST_LINKS]]


def fail(span: Span, reason: str) -> None:
    """Mark what a span stands for as failed."""
    from opentelemetry.trace import Status, StatusCode

    span.set_status(Status(StatusCode.ERROR, reason))


class BatchTrace:
    """The trace of one micro-batch; no span of it exists unless it is sampled."""

    def __init__(self, tracing: Tracing, *, chosen: bool) -> None:
        self._tracing = tracing
        self._chosen = chosen
        self._contexts: dict[tuple[int, int], TraceContext] = {}
        """Of messages, by partition and offset."""
        self._root: Span | None = None
        self._links: list[Link] = []
        self._messages: dict[tuple[int, int], Span] = {}
        """Of messages that something came of."""
        self._stages: dict[str, tuple[int, int, int]] = {}
        """First begin, last end, and time spent in between, ns."""

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time spent on a stage. One that is entered again lasts from its first begin to its last end."""
        began = time.time_ns()
        try:
            yield
        except Exception as error:
            self._note(name, began, time.time_ns())
            self.end(error=error)
            raise
        self._note(name, began, time.time_ns())

    def _note(self, name: str, began: int, ended: int) -> None:
        first, _, spent = self._stages.get(name, (began, 0, 0))
        self._stages[name] = (first, ended, spent + ended - began)

    def gathered(self, decoded: Sequence[DecodedBatch], *, waited_s: float) -> None:
        """The micro-batch is closed: its messages say whether it is traced.

        Args:
            decoded: its messages.
            waited_s: since the oldest of them arrived.
        """
        now = time.time_ns()
        began = now - round(waited_s * NS)
        self._note("gather", began, now)
        for part in decoded:
            for entry in part.records:
                context = read_context(entry.record.headers)
                if context is not None:
                    self._contexts[_place(entry.record)] = context
        sampled = [context for context in self._contexts.values() if context.sampled]
        if self._chosen or sampled:
            self._links = links_to(sampled)
            attributes = {
                "messaging.system": "kafka",
                "messaging.batch.message_count": sum(len(part.records) for part in decoded),
                "faultline.windows": sum(len(part.windows) for part in decoded),
                "faultline.messages.sampled": len(sampled),
            }
            self._root = self._tracing.span("micro-batch", links=self._links, start_ns=began, attributes=attributes)

    def carried(self, outgoing: list[Outgoing], record: IncomingRecord) -> list[Outgoing]:
        """What comes of a message, with the context of its trace in the headers."""
        context = self._context_beyond(record, outgoing)
        if context is None:
            return outgoing
        headers = context.headers()
        return [dataclasses.replace(one, headers=[*one.headers, *headers]) for one in outgoing]

    def _context_beyond(self, record: IncomingRecord, outgoing: list[Outgoing]) -> TraceContext | None:
        known = self._contexts.get(_place(record))
        if known is not None and not known.sampled:
            return known
        if not outgoing or self._root is None or (known is None and not self._chosen):
            return None
        span = self._messages.get(_place(record))
        if span is None:
            span = self._messages[_place(record)] = self._message(record, known)
        for value in dict.fromkeys(value for one in outgoing for name, value in one.headers if name == "ce_id"):
            span.add_event("fault event", {"faultline.event_id": (value or b"").decode()})
        return context_of(span)

    def _message(self, record: IncomingRecord, known: TraceContext | None) -> Span:
        assert self._root is not None
        batch = context_of(self._root)
        return self._tracing.span(
            f"judge {record.topic}",
            self._root if known is None else known,
            links=[] if known is None or batch is None else links_to([batch]),
            start_ns=self._stages["gather"][0],
            attributes={
                "messaging.system": "kafka",
                "messaging.destination.name": record.topic,
                "messaging.destination.partition.id": str(record.partition),
                "messaging.kafka.offset": record.offset,
                "faultline.line": (record.key or b"").decode("utf-8", "replace"),
            },
            consumer=True,
        )

    def ids(self, partition: int, offset: int) -> dict[str, str]:
        """``trace_id`` for a line of the log about what came of a message; empty where it is not traced."""
        span = self._messages.get((partition, offset))
        context = None if span is None else context_of(span)
        return {} if context is None else {"trace_id": context.trace_id}

    def end(self, model_id: str = "", error: Exception | None = None) -> None:
        """All stages are through, or one failed."""
        if self._root is None:
            return
        for name, (began, ended, spent) in self._stages.items():
            stage = self._tracing.span(name, self._root, links=self._links, start_ns=began)
            stage.set_attribute("faultline.busy_s", spent / NS)
            stage.end(ended)
        self._root.set_attribute("faultline.model_id", model_id)
        for span in (*self._messages.values(), self._root):
            if error is not None:
                fail(span, type(error).__name__)
            span.end()
        self._root = None


def _place(record: IncomingRecord) -> tuple[int, int]:
    return record.partition, record.offset


def _below(parent: Span | TraceContext | None) -> Context:
    from opentelemetry.context import Context
    from opentelemetry.trace import NonRecordingSpan, set_span_in_context

    if parent is None:
        # An empty one: whatever span the process may be in is not ours.
        return Context()
    span = NonRecordingSpan(_span_context(parent)) if isinstance(parent, TraceContext) else parent
    return set_span_in_context(span, Context())


def _span_context(context: TraceContext) -> SpanContext:
    from opentelemetry.trace import SpanContext, TraceFlags, TraceState

    pairs = [(key, value) for key, _, value in (member.partition("=") for member in context.state.split(",")) if key]
    return SpanContext(
        int(context.trace_id, 16),
        int(context.span_id, 16),
        is_remote=True,
        trace_flags=TraceFlags(context.flags & KNOWN_FLAGS),
        trace_state=TraceState(pairs),
    )
