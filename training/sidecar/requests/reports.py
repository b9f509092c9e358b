"""Build reports on retrainings, and publish them and the sidecar's own requests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import structlog
from aiokafka import AIOKafkaProducer

from stream.contract import HEADER_CONTENT_TYPE, JSON, Outgoing, RetrainRequest, TrainingReport, TrainingState
from stream.kafka.clients import producer_kwargs
from stream.kafka.producing.producers import DedicatedProducer
from stream.kafka.producing.publisher import Publisher
from stream.settings import Settings
from training.sidecar.requests.queue import Run

log = structlog.get_logger(__name__)

HEADERS = [(HEADER_CONTENT_TYPE, JSON.encode())]


def new_report(run: Run, state: TrainingState, *, note: str = "", progress: float = 0.0) -> TrainingReport:
    """Return a report on a retraining that has no candidate yet."""
    return TrainingReport(
        run_id=run.run_id,
        request_ids=run.request_ids,
        spec=run.spec,
        reason=run.reason,
        state=state,
        at=datetime.now(UTC),
        progress=progress,
        note=note,
    )


def report_record(
    report: TrainingReport, settings: Settings, more_headers: Sequence[tuple[str, bytes]] = ()
) -> Outgoing:
    """Return the record of a report; its key is the id of the model, of a request, or of the retraining."""
    key = report.model_id or (report.request_ids[0] if report.request_ids else report.run_id)
    return Outgoing(settings.topic_reports, key.encode(), report.model_dump_json().encode(), [*HEADERS, *more_headers])


def request_record(request: RetrainRequest, settings: Settings) -> Outgoing:
    """Return the record of a request; its key is the name of the spec."""
    return Outgoing(settings.topic_retrain, request.spec.encode(), request.model_dump_json().encode(), HEADERS)


class ReportPublisher:
    """Publish reports and requests in order, and retry until the broker has acknowledged them.

    A progress report is published only if no other record is waiting, since old progress is useless once the broker is
    back.

    Args:
        settings: broker and topics.
        headers: returns additional headers for the record of a report; called once for every report, in order.
    """

    def __init__(
        self, settings: Settings, headers: Callable[[TrainingReport], list[tuple[str, bytes]]] = lambda _: []
    ) -> None:
        self._settings = settings
        self._headers = headers
        self._producer = DedicatedProducer(
            lambda: AIOKafkaProducer(**producer_kwargs(settings)), settings.request_timeout_s
        )
        self._publisher = Publisher(
            lambda: self._producer,
            renew=self._producer.renew,
            retry_s=settings.publish_retry_s,
            timeout_s=settings.publish_timeout_s,
        )

    @property
    def waiting(self) -> bool:
        """Return True while a record cannot be published."""
        return self._publisher.waiting > 0

    async def report(self, report: TrainingReport) -> None:
        """Publish a report, return once it is acknowledged, and drop progress while the broker is unreachable."""
        if report.state == "progress" and self.waiting:
            return
        level = log.debug if report.state == "progress" else log.info
        level(
            "training-report",
            state=report.state,
            run_id=report.run_id,
            reason=report.reason,
            request_ids=report.request_ids,
            model_id=report.model_id,
            champion_id=report.champion_id,
            failed_criteria=report.failed_criteria,
            note=report.note,
        )
        await self._publisher.publish([report_record(report, self._settings, self._headers(report))])

    async def request(self, request: RetrainRequest) -> None:
        """Publish a request and return once it is acknowledged."""
        await self._publisher.publish([request_record(request, self._settings)])

    async def stop(self) -> None:
        """Stop the producer."""
        await self._producer.stop()
