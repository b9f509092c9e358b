"""Takes requests from ``retrain-requests``; one counts as taken when the journal has it, and is committed then."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError
from pydantic import ValidationError

from stream.contract import RetrainRequest, TrainingReport, TrainingState
from stream.kafka.admin import admin_client, describe_topics, partitions_of
from stream.kafka.clients import consumer_kwargs
from stream.settings import Settings
from stream.telemetry.trace_context import Header
from training.sidecar.metrics import TrainerMetrics
from training.sidecar.requests.queue import Run
from training.sidecar.requests.reports import LAST_WORDS, Announcer
from training.sidecar.workdir import Journal, TrainerFolder

log = structlog.get_logger(__name__)

POLL_MS = 500
REASON_LENGTH = 500


def report_on(run: Run, state: TrainingState, *, note: str = "", progress: float = 0.0) -> TrainingReport:
    """A report on a retraining of which there is no model yet."""
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


class RequestDesk:
    """Keeps the journal: what runs, what waits, what the last word was.

    Args:
        settings: ours.
        spec: name of the spec that this trainer is for; requests for others are left to theirs.
        folder: with the journal.
        announcer: tells who asked that they must wait.
        metrics: requests are counted here.
        requested: told of every request's id and its record's headers.
    """

    def __init__(
        self,
        settings: Settings,
        spec: str,
        folder: TrainerFolder,
        announcer: Announcer,
        metrics: TrainerMetrics,
        requested: Callable[[str, Sequence[Header]], None] = lambda *_: None,
    ) -> None:
        self._settings, self._spec = settings, spec
        self._requested = requested
        self._folder, self._announcer, self._metrics = folder, announcer, metrics
        self.journal = folder.read_journal()
        self.wanted = asyncio.Event()
        """Set while something runs or waits."""
        self.assigned = False
        self._note_wanted()

    def _note_wanted(self) -> None:
        desk = self.journal.desk
        (self.wanted.set if desk.running or desk.waiting else self.wanted.clear)()

    def _keep(self, journal: Journal) -> None:
        """Write the journal, then go by it.

        Raises:
            OSError: it cannot be written, and nothing changed.
        """
        self._folder.write_journal(journal)
        self.journal = journal
        self._note_wanted()

    # Requests -----------------------------------------------------------------------------------------------------

    async def receive(self, request: RetrainRequest) -> None:
        """Take a request, or say on the topic why it cannot be taken."""
        desk, run, answer = self.journal.desk.receive(request, uuid.uuid4().hex)
        if run is None:
            log.info("request-repeated", request_id=request.request_id)
            return
        try:
            self._keep(self.journal.model_copy(update={"desk": desk}))
        except OSError as error:
            alone = Run(run_id=uuid.uuid4().hex, requests=(request,))
            await self._announcer.report(report_on(alone, "failed", note=f"not taken: {self._folder.path}: {error}"))
            return
        self._metrics.requests.labels(request.reason).inc()
        log.info(
            "request-taken",
            request_id=request.request_id,
            run_id=run.run_id,
            reason=request.reason,
            by=request.by,
            answer=answer,
        )
        if answer == "merged":
            when = "with the retraining under way" if run == desk.running else "after the one that runs, with others"
            alone = Run(run_id=run.run_id, requests=(request,))
            await self._announcer.report(report_on(alone, "merged", note=f"served {when}"))

    async def consume(self) -> None:
        """Take requests for ever.

        The folder's lock makes this the only reader of its spec, so partitions are taken, not asked for: a group
        remembers members that were killed while they joined, and lets their successor wait for minutes.
        """
        settings = self._settings
        consumer = AIOKafkaConsumer(
            **{
                **consumer_kwargs(settings, group=f"{settings.trainer_group}-requests-{self._spec}"),
                "auto_offset_reset": "earliest",  # nobody's request is passed over
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
                if len(known) > len(consumer.assignment()):  # some were added
                    consumer.assign([TopicPartition(settings.topic_retrain, partition) for partition in known])
                fetched = await consumer.getmany(timeout_ms=POLL_MS)
                for record in (record for records in fetched.values() for record in records):
                    request = read_request(record.value)
                    if request is not None and request.spec == self._spec:
                        self._requested(request.request_id, record.headers)
                        await self.receive(request)
                if fetched:
                    await commit(consumer)
        finally:
            await consumer.stop()

    # What runs ----------------------------------------------------------------------------------------------------

    def begin(self) -> Run | None:
        """Return the retraining to run: the one that ran before a restart, else the one that waits.

        Raises:
            OSError: the journal cannot be written.
        """
        desk = self.journal.desk
        if desk.running is None and desk.waiting is not None:
            self._keep(self.journal.model_copy(update={"desk": desk.begin()}))
        return self.journal.desk.running

    def end(self, report: TrainingReport) -> None:
        """Note the last word on what runs. It is told afterwards, and again after a kill in between."""
        assert report.state in LAST_WORDS
        last = {**self.journal.last, report.state: report.at}
        self._keep_or_remember(self.journal.model_copy(update={"ended": report, "last": last}))

    def finish(self) -> None:
        """The last word is told: nothing runs any more."""
        desk = self.journal.desk.finish()
        self._keep_or_remember(self.journal.model_copy(update={"desk": desk, "ended": None}))

    def _keep_or_remember(self, journal: Journal) -> None:
        """With a full disk what is done is still done; after a restart it is done and told again."""
        try:
            self._keep(journal)
        except OSError as error:
            log.error("journal-not-kept", error=str(error), then="free some space in the trainer's folder")
            self.journal = journal
            self._note_wanted()


def read_request(value: bytes | None) -> RetrainRequest | None:
    """Read a request; None, and a line in the log, for what is none."""
    try:
        return RetrainRequest.model_validate_json(value or b"")
    except ValidationError as error:
        reason = "; ".join(
            f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors(include_input=False)
        )
        log.warning("request-not-understood", error=reason[:REASON_LENGTH], then="it is passed over")
        return None


async def commit(consumer: AIOKafkaConsumer, on_trouble: Callable[[], None] = lambda: None) -> None:
    """Commit what was taken; where that fails, it is taken again, which changes nothing."""
    try:
        await consumer.commit()
    except (CommitFailedError, IllegalStateError, KafkaError) as error:
        log.warning("commit-failed", error=repr(error), then="what was taken is taken again")
        on_trouble()
