"""Traces of retrainings: request → retraining → reports; and one id in all log lines on a retraining."""

from __future__ import annotations

from opentelemetry.trace import SpanContext, StatusCode

from stream.contract import TrainingState
from stream.telemetry.tracing import read_context, trace_headers
from tests.stream.telemetry.contexts import GATEWAY, OTHER, UNSAMPLED, span_context
from tests.stream.telemetry.test_tracing import Spans, trace_id
from tests.training.sidecar.sidecar_samples import request, run_of
from training.sidecar.requests.consumer import new_report
from training.sidecar.requests.queue import Run
from training.sidecar.tracing import RetrainingTraces

RUN = run_of("run-1")
TWO = RUN.with_request(request("two"))


def published_contexts(traces: RetrainingTraces, run: Run, *states: TrainingState) -> list[SpanContext | None]:
    """Return the trace contexts that the reports of these states carry, in turn."""
    return [read_context(traces.headers(new_report(run, state))) for state in states]


def test_all_reports_carry_on_the_trace_of_the_request() -> None:
    spans = Spans()
    traces = RetrainingTraces(spans.tracing)
    traces.on_request("one", trace_headers(GATEWAY))
    contexts = published_contexts(traces, RUN, "started", "progress", "promoted")
    span = spans.one("retraining")
    assert span.parent is not None
    assert span.parent.span_id == GATEWAY.span_id
    assert contexts == [span_context(f"{GATEWAY.trace_id:x}", f"{span.context.span_id:x}", 1, "vendor=x")] * 3
    assert span.attributes is not None
    assert span.attributes["faultline.run_id"] == "run-1"
    assert span.attributes["faultline.state"] == "promoted"


def test_requests_that_were_merged_are_linked_and_each_is_reported_in_its_own_trace() -> None:
    spans = Spans()
    traces = RetrainingTraces(spans.tracing)
    traces.on_request("one", trace_headers(GATEWAY))
    traces.on_request("two", trace_headers(OTHER))
    alone = Run(run_id="run-1", requests=(request("two"),))
    assert published_contexts(traces, alone, "merged") == [OTHER]
    published_contexts(traces, TWO, "started", "refused")
    assert [link.context.trace_id for link in spans.one("retraining").links] == [OTHER.trace_id]


def test_a_retraining_that_nobody_traces_is_a_trace_of_its_own() -> None:
    spans = Spans()
    contexts = published_contexts(RetrainingTraces(spans.tracing), RUN, "started", "failed")
    span = spans.one("retraining")
    assert {context.trace_id for context in contexts if context is not None} == {trace_id(span)}
    assert span.status.status_code is StatusCode.ERROR


def test_an_unsampled_request_makes_no_span_and_is_passed_on() -> None:
    spans = Spans()
    traces = RetrainingTraces(spans.tracing)
    traces.on_request("one", trace_headers(UNSAMPLED))
    assert published_contexts(traces, RUN, "started", "promoted") == [UNSAMPLED, UNSAMPLED]
    assert spans.all == ()


def test_a_final_report_that_is_repeated_ends_nothing_twice() -> None:
    spans = Spans()
    traces = RetrainingTraces(spans.tracing)
    assert published_contexts(traces, RUN, "started", "promoted")[1] is not None
    assert published_contexts(traces, RUN, "promoted") == [None]
    assert len(spans.all) == 1


def test_with_tracing_off_reports_are_as_ever() -> None:
    traces = RetrainingTraces(None)
    traces.on_request("one", trace_headers(GATEWAY))
    assert published_contexts(traces, RUN, "started", "promoted") == [None, None]
