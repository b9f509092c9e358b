"""Traces through the pipeline: window → micro-batch → event, by OpenTelemetry's own exporter in memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest
import structlog
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import SpanContext, StatusCode

from stream.settings import Settings
from stream.telemetry.tracing import TRACEPARENT, Header, Tracing, open_tracing, read_context, trace_headers
from tests.delivery.processes.collector import Collector
from tests.stream.doubles import PromptBroker, RaisingClassifier, Sent, marked_record, until
from tests.stream.telemetry.contexts import GATEWAY, OTHER, UNSAMPLED, span_context
from tests.stream.worker.test_pipeline import ONSET, SPEC, Rig, rig

STAGES = {"gather", "decode", "classify", "publish", "commit"}


class Spans:
    """All spans, as they are exported."""

    def __init__(self, sample_ratio: float = 0.0) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider(sampler=ALWAYS_ON, shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracing = Tracing(provider, sample_ratio)

    @property
    def all(self) -> Sequence[ReadableSpan]:
        return self._exporter.get_finished_spans()

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.all if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        (span,) = self.named(name)
        return span


def trace_id(span: ReadableSpan) -> int:
    return span.context.trace_id


def links(span: ReadableSpan) -> set[int]:
    return {link.context.trace_id for link in span.links}


def onset(line: str, context: SpanContext | None, offset: int = 0, headers: Sequence[Header] = ()) -> Any:
    """Return a record whose windows make an onset, with the context that its sender gave it."""
    made = marked_record(line, ONSET, SPEC, offset=offset)
    given = [] if context is None else trace_headers(context)
    return type(made)(**{**vars(made), "headers": (*made.headers, *given, *headers)})


def faults(broker: PromptBroker) -> list[Sent]:
    return [sent for sent in broker.sent if sent.topic.startswith("faults.")]


async def through(made: Rig, *records: Any) -> None:
    await made.submit(*records)
    await until(lambda: made.acknowledged)
    # The spans end with the account, right after the batch is acknowledged.
    await made.pipeline.drain()


async def test_the_event_of_a_window_carries_on_its_trace() -> None:
    spans = Spans()
    async with rig(tracing=spans.tracing) as made:
        await through(made, onset("a", GATEWAY))
        (event,) = faults(made.broker)
        context = read_context(event.headers)
        judged = spans.one("process sensor-windows")
        assert judged.parent is not None
        assert judged.parent.span_id == GATEWAY.span_id
        assert trace_id(judged) == GATEWAY.trace_id
        assert context == span_context(f"{GATEWAY.trace_id:x}", f"{judged.context.span_id:x}", 1, "vendor=x")
        assert dict(event.headers)["ce_id"].decode() == made.events()[0]["event_id"]
        assert judged.attributes is not None
        assert judged.attributes["faultline.line"] == "a"
        assert [told.attributes for told in judged.events] == [{"faultline.event_id": made.events()[0]["event_id"]}]


async def test_a_micro_batch_has_a_span_for_each_stage_linked_to_its_sampled_messages() -> None:
    spans = Spans()
    async with rig(tracing=spans.tracing) as made:
        await through(made, onset("a", GATEWAY), onset("b", OTHER, 1), onset("c", UNSAMPLED, 2), onset("d", None, 3))
        whole = spans.one("micro-batch")
        assert whole.parent is None
        assert {span.name for span in spans.all} == {*STAGES, "micro-batch", "process sensor-windows"}
        for stage in STAGES:
            span = spans.one(stage)
            assert span.parent is not None
            assert span.parent.span_id == whole.context.span_id
            assert links(span) == {GATEWAY.trace_id, OTHER.trace_id}
            assert whole.start_time <= span.start_time <= span.end_time <= whole.end_time
        assert whole.attributes is not None
        assert whole.attributes["faultline.model_id"] == "model-a"
        assert whole.attributes["messaging.batch.message_count"] == 4
        assert all(links(span) == {trace_id(whole)} for span in spans.named("process sensor-windows"))


async def test_each_event_of_a_micro_batch_carries_the_trace_of_its_own_window() -> None:
    async with rig(tracing=Spans().tracing) as made:
        await through(made, onset("a", GATEWAY), onset("b", OTHER, 1), onset("c", UNSAMPLED, 2), onset("d", None, 3))
        contexts = {(sent.key or b"").decode(): read_context(sent.headers) for sent in faults(made.broker)}
        traces = {line: None if context is None else context.trace_id for line, context in contexts.items()}
        assert traces == {"a": GATEWAY.trace_id, "b": OTHER.trace_id, "c": UNSAMPLED.trace_id, "d": None}
        assert contexts["c"] == UNSAMPLED, "passed on as it came"


async def test_an_unsampled_window_makes_no_span() -> None:
    spans = Spans()
    async with rig(tracing=spans.tracing) as made:
        await through(made, onset("c", UNSAMPLED))
        assert spans.all == ()


@pytest.mark.parametrize("broken", [b"", b"\xff", b"00-nonsense", None, trace_headers(GATEWAY)[0][1] + b"0"])
async def test_a_broken_traceparent_is_as_none_and_costs_the_window_nothing(broken: bytes | None) -> None:
    spans = Spans()
    async with rig(tracing=spans.tracing) as made:
        await through(made, onset("a", None, headers=[(TRACEPARENT, broken)]))
        (event,) = faults(made.broker)
        assert TRACEPARENT not in dict(event.headers)
        assert spans.all == ()


async def test_a_micro_batch_is_traced_by_the_sample_ratio_although_no_window_asks_for_it() -> None:
    spans = Spans(sample_ratio=1.0)
    async with rig(tracing=spans.tracing) as made:
        await through(made, onset("a", None))
        (event,) = faults(made.broker)
        context = read_context(event.headers)
        assert context is not None
        assert context.trace_id == trace_id(spans.one("micro-batch"))
        assert {span.name for span in spans.all} == {*STAGES, "micro-batch", "process sensor-windows"}


async def test_the_classes_of_a_window_carry_on_its_trace_as_well() -> None:
    spans = Spans()
    async with rig(tracing=spans.tracing, window_classes=True) as made:
        await through(made, onset("a", GATEWAY))
        contexts = [read_context(sent.headers) for sent in made.broker.sent if sent.topic != "line-states"]
        assert len(contexts) == 2
        assert contexts[0] == contexts[1]
        assert contexts[0] is not None
        assert contexts[0].trace_id == GATEWAY.trace_id


async def test_without_tracing_headers_are_as_ever() -> None:
    async with rig(window_classes=True) as made:
        await through(made, onset("a", GATEWAY))
        assert len(made.broker.sent) == 3
        assert all(TRACEPARENT not in dict(sent.headers) for sent in made.broker.sent)


async def test_a_stage_that_fails_is_seen_in_the_trace() -> None:
    spans = Spans()
    async with rig(engine=RaisingClassifier(SPEC), tracing=spans.tracing) as made:
        await made.submit(onset("a", GATEWAY))
        await made.pipeline.failure
        whole = spans.one("micro-batch")
        assert (whole.status.status_code, whole.status.description) == (StatusCode.ERROR, "MemoryError")
        assert {span.name for span in spans.all} == {"gather", "decode", "classify", "micro-batch"}


async def test_the_log_tells_of_an_event_its_window_its_model_and_its_trace() -> None:
    with structlog.testing.capture_logs() as logged:
        async with rig(tracing=Spans().tracing) as made:
            await through(made, onset("a", GATEWAY, offset=7))
            (told,) = [line for line in logged if line["event"] == "fault-event"]
            (event,) = made.events()
    assert told["trace_id"] == f"{GATEWAY.trace_id:032x}"
    assert (told["source_partition"], told["source_offset"]) == (0, 7)
    for name in ("event_id", "episode_id", "line", "sequence", "model_id"):
        assert told[name] == event[name]


def test_off_is_the_default_and_builds_nothing() -> None:
    assert open_tracing(Settings(_env_file=None), "worker") is None


def test_opentelemetrys_own_variables_name_the_service_and_the_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    with Collector() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint.removesuffix("/v1/traces"))
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer hunter2")
        monkeypatch.setenv("OTEL_SERVICE_NAME", "substation-7")
        with structlog.testing.capture_logs() as logged:
            tracing = open_tracing(Settings(_env_file=None, tracing="otlp"), "worker")
        assert tracing is not None
        tracing.span("one").end()
        tracing.close()
    assert [(service, span.name) for service, span in collector.spans] == [("substation-7", "one")]
    assert [headers["authorization"] for _, headers in collector.requests] == ["Bearer hunter2"]
    assert [entry["event"] for entry in logged] == ["tracing-headers-in-the-clear", "tracing-enabled"]
    assert "hunter2" not in repr(logged)


@pytest.mark.slow
def test_a_worker_imports_no_opentelemetry_with_tracing_off() -> None:
    code = (
        "import sys; from stream.settings import Settings; from stream.telemetry.tracing import open_tracing; "
        "import stream.worker.main, stream.subscribe; "
        "assert open_tracing(Settings(_env_file=None), 'worker') is None; "
        "sys.exit('opentelemetry' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
