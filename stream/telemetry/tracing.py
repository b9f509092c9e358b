"""Make OpenTelemetry spans from window to micro-batch to event, by the trace context in the records' headers.

A micro-batch belongs to many traces at once. It has its own trace: a span ``micro-batch`` with one child per stage,
linked to the contexts of its sampled messages. The records that result from a message (fault events, window classes)
continue the trace of that message: each such message has one span, a child of the sender's, whose context goes into the
headers. With tracing off no such object exists; only this module imports OpenTelemetry, and only with tracing on.

OpenTelemetry's own propagator reads and writes the contexts (https://www.w3.org/TR/trace-context/). An invalid context
is ignored and is never an error, since a trace matters less than a window.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import structlog

from stream.contract import NS_PER_S, Outgoing
from stream.detection.decode import DecodedBatch, IncomingRecord
from stream.settings import Settings
from stream.settings.tracing import otel_endpoint, otel_headers, otel_sample_ratio

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Link, Span, SpanContext
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

log = structlog.get_logger(__name__)

TRACEPARENT, TRACESTATE = "traceparent", "tracestate"
KNOWN_FLAGS = 0x03
"""Flags "sampled" and "random trace id"; other flags are unknown and must not be passed on."""
STATE_BYTES = 512
"""Longest tracestate; a longer one is dropped, since it is copied into every event that results from the message."""
EXPORT_TIMEOUT_S = 5.0
"""Timeout of an export, unless OTEL_EXPORTER_OTLP_TIMEOUT is set."""
CLOSE_S = 3.0
"""Longest wait for the last export: a hanging collector must not delay a shutdown, which may take 25 s in total."""
MOST_LINKS = 128
"""Maximum number of links per span: OpenTelemetry's own limit."""

Header = tuple[str, bytes | None]


@functools.cache
def _propagator() -> TraceContextTextMapPropagator:
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator()


def read_context(headers: Sequence[Header]) -> SpanContext | None:
    """Return the trace context of a record; None if it has none or an invalid one. Needs OpenTelemetry.

    If there are several traceparents, the last one is used, as Kafka's own clients do for headers of equal names.
    """
    fields: dict[str, list[str]] = {}
    for name, value in headers:
        known = name.lower()
        if known in (TRACEPARENT, TRACESTATE):
            fields.setdefault(known, []).append((value or b"").decode("latin-1"))
    if TRACEPARENT not in fields:
        return None
    fields[TRACEPARENT] = fields[TRACEPARENT][-1:]
    if len(",".join(fields.get(TRACESTATE, ()))) > STATE_BYTES:
        del fields[TRACESTATE]
    from opentelemetry.trace import SpanContext, TraceFlags, get_current_span

    found = get_current_span(_propagator().extract(fields)).get_span_context()
    if not found.is_valid:
        return None
    flags = found.trace_flags & KNOWN_FLAGS
    if flags == found.trace_flags:
        return found
    return SpanContext(found.trace_id, found.span_id, True, TraceFlags(flags), found.trace_state)


def trace_headers(context: SpanContext) -> list[tuple[str, bytes]]:
    """Return the headers for a record that results from a span."""
    fields: dict[str, str] = {}
    _propagator().inject(fields, _below(context))
    return [(name, text.encode()) for name, text in fields.items()]


class Tracing:
    """Factory of the spans of one process.

    Args:
        provider: exports spans; it samples every span, since sampling is decided here.
        sample_ratio: fraction of micro-batches that are traced without a sampled message.
        chance: returns a random number, uniform in [0, 1).
    """

    def __init__(
        self, provider: TracerProvider, sample_ratio: float, chance: Callable[[], float] = random.random
    ) -> None:
        self._provider = provider
        self._ratio = sample_ratio
        self._chance = chance
        self._tracer = provider.get_tracer("faultline")

    def batch(self) -> BatchTrace:
        """Return a new trace for a micro-batch."""
        return BatchTrace(self, chosen=self._chance() < self._ratio)

    def span(
        self,
        name: str,
        parent: Span | SpanContext | None = None,
        *,
        links: Sequence[Link] = (),
        start_ns: int | None = None,
        attributes: dict[str, Any] | None = None,
        consumer: bool = False,
    ) -> Span:
        """Start a span; without a parent it starts a new trace."""
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
        """Export the remaining spans, within ``CLOSE_S``."""
        # The export runs on a daemon thread that may be abandoned, since the provider waits up to half a minute.
        thread = threading.Thread(target=self._provider.shutdown, name="tracing-close", daemon=True)
        thread.start()
        thread.join(CLOSE_S)


def open_tracing(settings: Settings, service: str) -> Tracing | None:
    """Return the factory of spans; None with tracing off.

    OpenTelemetry reads its own variables: OTEL_EXPORTER_OTLP_*, OTEL_BSP_*, OTEL_SERVICE_NAME and so on.

    Args:
        settings: the switch, and the group, which is the service's namespace.
        service: worker or trainer.
    """
    if settings.tracing == "off":
        return None
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ALWAYS_ON

    ours = {"service.name": f"faultline-{service}", "service.namespace": settings.group}
    # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES take precedence.
    resource = Resource.create({**ours, **OTELResourceDetector().detect().attributes})
    provider = TracerProvider(sampler=ALWAYS_ON, resource=resource, shutdown_on_exit=False)
    its_own = {"OTEL_EXPORTER_OTLP_TIMEOUT", "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT"} & os.environ.keys()
    exporter = OTLPSpanExporter(timeout=None if its_own else EXPORT_TIMEOUT_S)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    endpoint, ratio = otel_endpoint(), otel_sample_ratio()
    if otel_headers() and endpoint.startswith("http://"):
        log.warning("tracing-headers-in-the-clear", advice="set OTEL_EXPORTER_OTLP_ENDPOINT to an https:// address")
    log.info("tracing-enabled", endpoint=endpoint, sample_ratio=ratio)
    return Tracing(provider, ratio)


def context_of(span: Span) -> SpanContext | None:
    """Return the context of a span for records; None if OpenTelemetry is disabled (OTEL_SDK_DISABLED)."""
    context = span.get_span_context()
    return context if context.is_valid else None


def links_to(contexts: Sequence[SpanContext]) -> list[Link]:
    """Return links to spans, at most ``MOST_LINKS``."""
    from opentelemetry.trace import Link

    return [Link(context) for context in contexts[:MOST_LINKS]]


def fail(span: Span, reason: str) -> None:
    """Set the status of a span to failed."""
    from opentelemetry.trace import Status, StatusCode

    span.set_status(Status(StatusCode.ERROR, reason))


class BatchTrace:
    """Trace of one micro-batch; its spans exist only if it is sampled."""

    def __init__(self, tracing: Tracing, *, chosen: bool) -> None:
        self._tracing = tracing
        self._chosen = chosen
        self._contexts: dict[tuple[int, int], SpanContext] = {}
        """Context of every message that has one, by partition and offset."""
        self._root: Span | None = None
        self._links: list[Link] = []
        self._messages: dict[tuple[int, int], Span] = {}
        """Spans of messages that resulted in an event or classes, by partition and offset."""
        self._stages: dict[str, tuple[int, int, int]] = {}
        """Time of the first begin and of the last end, and the time spent, in ns, by stage."""

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure the time spent in a stage. A stage entered again lasts from its first begin to its last end."""
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
        """Record that the micro-batch is closed; its messages decide whether it is traced.

        Args:
            decoded: messages of the micro-batch.
            waited_s: time since the oldest of them arrived.
        """
        now = time.time_ns()
        began = now - round(waited_s * NS_PER_S)
        self._note("gather", began, now)
        for part in decoded:
            for entry in part.records:
                context = read_context(entry.record.headers)
                if context is not None:
                    self._contexts[_place(entry.record)] = context
        sampled = [context for context in self._contexts.values() if context.trace_flags.sampled]
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
        """Return the records that result from a message, with the context of its trace in their headers."""
        context = self._context_beyond(record, outgoing)
        if context is None:
            return outgoing
        headers = trace_headers(context)
        return [dataclasses.replace(one, headers=[*one.headers, *headers]) for one in outgoing]

    def _context_beyond(self, record: IncomingRecord, outgoing: list[Outgoing]) -> SpanContext | None:
        known = self._contexts.get(_place(record))
        if known is not None and not known.trace_flags.sampled:
            return known
        if not outgoing or self._root is None or (known is None and not self._chosen):
            return None
        span = self._messages.get(_place(record))
        if span is None:
            span = self._messages[_place(record)] = self._message(record, known)
        for value in dict.fromkeys(value for one in outgoing for name, value in one.headers if name == "ce_id"):
            span.add_event("fault event", {"faultline.event_id": (value or b"").decode()})
        return context_of(span)

    def _message(self, record: IncomingRecord, known: SpanContext | None) -> Span:
        assert self._root is not None
        batch = context_of(self._root)
        return self._tracing.span(
            # OpenTelemetry's name for consumer spans: operation and destination.
            f"process {record.topic}",
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
        """Return ``trace_id`` for the log line of an event that results from a message; empty without a trace."""
        span = self._messages.get((partition, offset))
        context = None if span is None else context_of(span)
        return {} if context is None else {"trace_id": f"{context.trace_id:032x}"}

    def end(self, model_id: str = "", error: Exception | None = None) -> None:
        """End the spans, after all stages or after a failure."""
        if self._root is None:
            return
        for name, (began, ended, spent) in self._stages.items():
            stage = self._tracing.span(name, self._root, links=self._links, start_ns=began)
            stage.set_attribute("faultline.busy_s", spent / NS_PER_S)
            stage.end(ended)
        self._root.set_attribute("faultline.model_id", model_id)
        for span in (*self._messages.values(), self._root):
            if error is not None:
                fail(span, type(error).__name__)
            span.end()
        self._root = None


def _place(record: IncomingRecord) -> tuple[int, int]:
    return record.partition, record.offset


def _below(parent: Span | SpanContext | None) -> Context:
    from opentelemetry.context import Context
    from opentelemetry.trace import NonRecordingSpan, SpanContext, set_span_in_context

    if parent is None:
        # The context is empty, since the process's current span is unrelated.
        return Context()
    return set_span_in_context(NonRecordingSpan(parent) if isinstance(parent, SpanContext) else parent, Context())
