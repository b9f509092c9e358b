"""Trace retrainings from request to reports, by the trace context in the headers of their records.

The context of a request is kept in memory only, so that a retraining resumed after a kill continues in a new trace.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from stream.contract import TERMINAL_STATES, TrainingReport
from stream.telemetry.tracing import Header, Tracing, context_of, fail, links_to, read_context, trace_headers

if TYPE_CHECKING:
    from opentelemetry.trace import Span, SpanContext

MAX_REQUESTS = 500
"""Number of requests whose context is kept, far more than ever wait at the same time."""


class RetrainingTraces:
    """Spans of retrainings: one per retraining, a child of its first traced request, linked to the other requests.

    Args:
        tracing: creates spans; None if tracing is off, in which case reports get no trace headers.
    """

    def __init__(self, tracing: Tracing | None) -> None:
        self._tracing = tracing
        self._requests: dict[str, SpanContext] = {}
        self._runs: dict[str, Span] = {}

    def on_request(self, request_id: str, headers: Sequence[Header]) -> None:
        """Keep the trace context in the headers of a request's record."""
        context = None if self._tracing is None else read_context(headers)
        if context is not None:
            self._requests[request_id] = context
            for old in list(self._requests)[:-MAX_REQUESTS]:
                del self._requests[old]

    def headers(self, report: TrainingReport) -> list[tuple[str, bytes]]:
        """Return the trace headers of a report that is about to be published.

        The first report starts the span of the retraining, and the final report ends it. A final report that is
        published again after a kill gets the context of its requests.
        """
        if self._tracing is None:
            return []
        known = [context for name in report.request_ids if (context := self._requests.get(name)) is not None]
        wanted = not known or any(context.trace_flags.sampled for context in known)
        if report.state == "started" and wanted and report.run_id not in self._runs:
            parent = next((context for context in known if context.trace_flags.sampled), None)
            others = [context for context in known if context is not parent]
            self._runs[report.run_id] = self._tracing.span("retraining", parent, links=links_to(others), consumer=True)
        span = self._runs.get(report.run_id)
        # A report in state merged belongs to one request, not to the running retraining.
        context = context_of(span) if span is not None and report.state != "merged" else next(iter(known), None)
        if report.state in TERMINAL_STATES:
            self._end(report)
        return [] if context is None else trace_headers(context)

    def _end(self, report: TrainingReport) -> None:
        for name in report.request_ids:
            self._requests.pop(name, None)
        span = self._runs.pop(report.run_id, None)
        if span is None:
            return
        attributes = {
            "run_id": report.run_id,
            "request_ids": report.request_ids,
            "spec": report.spec,
            "reason": report.reason,
            "state": report.state,
            "model_id": report.model_id,
            "champion_id": report.champion_id,
            "failed_criteria": report.failed_criteria,
        }
        for name, value in attributes.items():
            if value:
                span.set_attribute(f"faultline.{name}", value)
        if report.state == "failed":
            fail(span, report.note)
        span.end()
