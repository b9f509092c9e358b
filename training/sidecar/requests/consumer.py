"""Consume ``retrain-requests``: write each request to the journal, and commit its offset after that."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Sequence

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError
from pydantic import ValidationError

from stream.contract import TERMINAL_STATES, RetrainRequest, TrainingReport
from stream.kafka.admin import admin_client, describe_topics, partitions_of
from stream.kafka.clients import consumer_kwargs
from stream.settings import Settings
from stream.telemetry.tracing import Header
from training.sidecar.metrics import SidecarMetrics
from training.sidecar.requests.journal import Journal, JournalFile
from training.sidecar.requests.queue import Run
from training.sidecar.requests.reports import ReportPublisher, new_report

log = structlog.get_logger(__name__)

POLL_MS = 500
# Length at which a list of validation errors is cut; its beginning is enough to find the mistake.
MAX_ERROR_CHARACTERS = 500


class RequestConsumer:
    """Consumer of requests, which keeps the journal of running and waiting requests and of outcomes.

    Args:
        settings: broker, topics, consumer group.
        spec: name of the spec that this sidecar trains; requests for other specs are left to other sidecars.
        journal_file: journal file on disk.
        reports: publishes that a request was merged or could not be accepted.
        metrics: counts requests.
        on_request: called with the id of every request and the headers of its record.
    """

    def __init__(
        self,
        settings: Settings,
        spec: str,
        journal_file: JournalFile,
        reports: ReportPublisher,
        metrics: SidecarMetrics,
        on_request: Callable[[str, Sequence[Header]], None] = lambda *_: None,
    ) -> None:
        self._settings, self._spec = settings, spec
        self._on_request = on_request
        self._journal_file, self._reports, self._metrics = journal_file, reports, metrics
        self.journal = journal_file.read()
        self.pending = asyncio.Event()
        """Set while a retraining runs or waits."""
        self.assigned = False
        self._update_pending()

    def _update_pending(self) -> None:
        queue = self.journal.queue
        (self.pending.set if queue.running or queue.waiting else self.pending.clear)()

    def _write(self, journal: Journal) -> None:
        """Write the journal, then use it.

        Raises:
            OSError: if it cannot be written; the journal in use is then unchanged.
        """
        self._journal_file.write(journal)
        self.journal = journal
        self._update_pending()

    # Requests -----------------------------------------------------------------------------------------------------

    async def receive(self, request: RetrainRequest) -> None:
        """Accept a request, or publish a report with the reason why it cannot be accepted."""
        queue, run, answer = self.journal.queue.receive(request, uuid.uuid4().hex)
        if run is None:
            log.info("request-repeated", request_id=request.request_id)
            return
        try:
            self._write(self.journal.model_copy(update={"queue": queue}))
        except OSError as error:
            alone = Run(run_id=uuid.uuid4().hex, requests=(request,))
            note = f"request not accepted: {self._journal_file.path.parent}: {error}"
            await self._reports.report(new_report(alone, "failed", note=note))
            return
        self._metrics.requests.labels(request.reason).inc()
        log.info(
            "request-accepted",
            request_id=request.request_id,
            run_id=run.run_id,
            reason=request.reason,
            by=request.by,
            answer=answer,
        )
        if answer == "merged":
            when = "the running retraining" if run == queue.running else "the next retraining, with other requests"
            alone = Run(run_id=run.run_id, requests=(request,))
            await self._reports.report(new_report(alone, "merged", note=f"served by {when}"))

    async def consume(self) -> None:
        """Accept requests until cancelled.

        The lock of the working directory makes this the only consumer for its spec, so partitions are assigned
        directly. A group would remember members that were killed while they joined, and the next sidecar would have to
        wait for minutes.
        """
        settings = self._settings
        consumer = AIOKafkaConsumer(
            **{
                **consumer_kwargs(settings, group=f"{settings.trainer_group}-requests-{self._spec}"),
                "auto_offset_reset": "earliest",  # no request is skipped
                "group_instance_id": None,
            },
        )
        await consumer.start()
        try:
            async with admin_client(settings) as admin:
                consumer.assign(partitions_of(await describe_topics(admin, [settings.topic_retrain])))
            self.assigned = True
            while True:
                known = consumer.partitions_for_topic(settings.topic_retrain) or set()
                if len(known) > len(consumer.assignment()):  # partitions were added
                    consumer.assign([TopicPartition(settings.topic_retrain, partition) for partition in known])
                fetched = await consumer.getmany(timeout_ms=POLL_MS)
                for record in (record for records in fetched.values() for record in records):
                    request = read_request(record.value)
                    if request is not None and request.spec == self._spec:
                        self._on_request(request.request_id, record.headers)
                        await self.receive(request)
                if fetched:
                    await commit(consumer)
        finally:
            await consumer.stop()

    # Retrainings --------------------------------------------------------------------------------------------------

    def begin(self) -> Run | None:
        """Return the retraining to run: the one that was running before a restart, or else the waiting one.

        Raises:
            OSError: if the journal cannot be written.
        """
        queue = self.journal.queue
        if queue.running is None and queue.waiting is not None:
            self._write(self.journal.model_copy(update={"queue": queue.begin()}))
        return self.journal.queue.running

    def end(self, report: TrainingReport) -> None:
        """Write the final report on the running retraining to the journal, so that a kill cannot lose it."""
        assert report.state in TERMINAL_STATES
        last = {**self.journal.last, report.state: report.at}
        self._write_or_keep_in_memory(self.journal.model_copy(update={"ended": report, "last": last}))

    def finish(self) -> None:
        """Remove the running retraining; call it once its final report is published."""
        queue = self.journal.queue.finish()
        self._write_or_keep_in_memory(self.journal.model_copy(update={"queue": queue, "ended": None}))

    def _write_or_keep_in_memory(self, journal: Journal) -> None:
        """Write the journal; if the disk is full, continue with it in memory, and repeat the step after a restart."""
        try:
            self._write(journal)
        except OSError as error:
            log.error("journal-not-written", error=str(error), then="free some space in the sidecar's folder")
            self.journal = journal
            self._update_pending()


def read_request(value: bytes | None) -> RetrainRequest | None:
    """Return the request in the value of a record; if it is invalid, log a warning and return None."""
    try:
        return RetrainRequest.model_validate_json(value or b"")
    except ValidationError as error:
        reason = "; ".join(
            f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors(include_input=False)
        )
        log.warning("request-invalid", error=reason[:MAX_ERROR_CHARACTERS], then="it is skipped")
        return None


async def commit(consumer: AIOKafkaConsumer) -> None:
    """Commit the offsets that were read; if that fails, the records are read again, which changes nothing."""
    try:
        await consumer.commit()
    except (CommitFailedError, IllegalStateError, KafkaError) as error:
        log.warning("commit-failed", error=repr(error), then="the records are read again")
