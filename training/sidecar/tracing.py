"""Traces of retrainings: request → retraining → reports, by the trace context in their records' headers.

What a request came of is kept in memory: of a retraining that goes on after a kill, the rest is a trace of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from stream.contract import TrainingReport
from stream.telemetry.trace_context import Header, TraceContext, read_context
from stream.telemetry.tracing import Tracing, context_of, fail, links_to
from training.sidecar.requests.reports import LAST_WORDS

if TYPE_CHECKING:
    from opentelemetry.trace import Span

REMEMBERED = 500
"""Requests whose context is kept: far more than ever wait."""


class RetrainingTraces:
    """One span per retraining, below the first of its requests that has a trace, linked to the others.

    Args:
        tracing: makes spans; None: tracing is off, and reports are as ever.
    """

    def __init__(self, tracing: Tracing | None) -> None:
        self._tracing = tracing
        self._requests: dict[str, TraceContext] = {}
        self._runs: dict[str, Span] = {}

    def requested(self, request_id: str, headers: Sequence[Header]) -> None:
        """A request has come in a record with these headers."""
        context = None if self._tracing is None else read_context(headers)
        if context is not None:
            self._requests[request_id] = context
            for old in list(self._requests)[:-REMEMBERED]:
                del self._requests[old]

    def headers(self, report: TrainingReport) -> list[tuple[str, bytes]]:
        """Headers of a report that is about to be told; begins the retraining's span at the first, ends it at the last.

        Told again after a kill, a last word is told with the requests' own context.
        """
        if self._tracing is None:
            return []
        known = [context for name in report.request_ids if (context := self._requests.get(name)) is not None]
        wanted = not known or any(context.sampled for context in known)
        if report.state == "started" and wanted and report.run_id not in self._runs:
            parent = next((context for context in known if context.sampled), None)
            others = [context for context in known if context is not parent]
            self._runs[report.run_id] = self._tracing.span("retraining", parent, links=links_to(others), consumer=True)
        span = self._runs.get(report.run_id)
        # Merged: about one request, whatever the retraining that runs.
        context = context_of(span) if span is not None and report.state != "merged" else next(iter(known), None)
        if report.state in LAST_WORDS:
            self._end(report)
        return [] if context is None else context.headers()

    def _end(self, report: TrainingReport) -> None:
        for name in report.request_ids:
            self._requests.pop(name, None)
        span = self._runs.pop(report.run_id, None)
        if span is None:
            return
        told = {
            "run_id": report.run_id,
            "request_ids": report.request_ids,
            "spec": report.spec,
            "reason": report.reason,
            "state": report.state,
            "model_id": report.model_id,
            "champion_id": report.champion_id,
            "failed_criteria": report.failed_criteria,
        }
        for name, value in told.items():
            if value:
                span.set_attribute(f"faultline.{name}", value)
        if report.state == "failed":
            fail(span, report.note)
        span.end()
