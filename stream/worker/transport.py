"""Adapt Faust's consumer and producer so that they hand out whole fetched batches.

Stock Faust creates four tasks per record; one message per fetched partition batch avoids nearly all of them. The
transport keeps Faust's flow control, rebalance, generation checks and offset commits. Faust's own bookkeeping loses
records: it acknowledges skipped and failed messages, drops acknowledged offsets on revocation and commits past
unacknowledged offsets. This transport replaces it: only ``OffsetLedger.acknowledge`` moves a partition's position, see
``stream.worker.offsets``.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from typing import Any, ClassVar, cast

import aiokafka
import faust
import structlog
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.sensors import Monitor
from faust.serializers.schemas import Schema
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from mode.utils.futures import maybe_async

from stream.kafka.producing.producers import DedicatedProducer, stop_producer
from stream.kafka.reading.partition import Partition
from stream.kafka.reading.tolerant_parser import patch_aiokafka_parser
from stream.settings import Settings
from stream.worker.offsets import FetchedBatch, OffsetLedger

log = structlog.get_logger(__name__)

FAUST_LOGGER = logging.getLogger("faust")
"""Logger of the subclasses here: a service logs under its module's name, and these are still Faust's services."""

RETRY_FETCH_S = 0.01
"""Pause before a partition that was left out of a fetch because of its full buffer is fetched again."""


class BatchSchema(Schema):  # type: ignore[misc]
    """Schema that decodes nothing: the pipeline decodes and can separate invalid records."""

    def compile(self, app: Any, **_: Any) -> Callable[..., Awaitable[Any]]:
        """Return the function that makes an event from a message without decoding it."""
        create_event = app.create_event

        async def decode(message: Any, *, propagate: bool = False) -> Any:
            return create_event(None, message.value, None, message)

        return decode


class QuietMonitor(Monitor):  # type: ignore[misc]
    """Monitor whose frequently called methods do nothing: the worker updates its own metrics, per batch."""

    logger = FAUST_LOGGER

    def on_message_in(self, tp: TP, offset: int, message: Any) -> None:
        """Do nothing."""

    def on_stream_event_in(self, tp: TP, offset: int, stream: Any, event: Any) -> None:
        """Do nothing."""

    def on_stream_event_out(self, tp: TP, offset: int, stream: Any, event: Any, state: Any = None) -> None:
        """Do nothing."""

    def on_message_out(self, tp: TP, offset: int, message: Any) -> None:
        """Do nothing."""

    def on_commit_initiated(self, consumer: Any) -> None:
        """Do nothing."""

    def on_commit_completed(self, consumer: Any, state: Any) -> None:
        """Do nothing."""

    def on_send_initiated(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing."""

    def on_send_completed(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing."""


class _NoReadOffsets(dict[TP, None]):
    """Mapping that ignores the read offsets which Faust stores, so that no record counts as already read."""

    def __missing__(self, tp: TP) -> None:
        return None

    def __setitem__(self, tp: TP, offset: Any) -> None: ...

    def update(self, *args: Any, **kwargs: Any) -> None: ...


class AssignedRecords(dict[TP, list[Any]]):
    """Records of a fetch by partition, with the assignment whose positions the fetch moved."""

    assignment: object = None


class FetchService(driver.AIOKafkaConsumerThread):  # type: ignore[misc]
    """Faust's consumer thread as a service in the app's event loop.

    With a thread, two event loops woke each other for every fetch and competed for the interpreter lock: the median
    event came 6 ms later. In one loop the consumer's heartbeats also reflect the state of the worker: a worker whose
    loop is blocked loses its partitions to other workers.
    """

    logger = FAUST_LOGGER

    def __init__(self, consumer: Any, *, loop: asyncio.AbstractEventLoop, beacon: Any) -> None:
        super().__init__(consumer, loop=loop, thread_loop=loop, beacon=beacon)

    async def start(self) -> None:
        """Start a task where mode would start a thread; return when the consumer has started."""
        self._thread_started.set()
        self._thread_running = self.parent_loop.create_future()
        serving = self.parent_loop.create_task(self._serve(), name="fetch")
        # By then the service has reported a crash to the app. No code awaits the task, so its exception is read here.
        serving.add_done_callback(lambda task: task.cancelled() or task.exception())
        self._serving = serving  # the event loop keeps only weak references to tasks
        try:
            await self._thread_running
        finally:
            self._thread_running = None

    async def call_thread(self, fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call ``fun`` in this loop, since there is no thread."""
        return await maybe_async(fun(*args, **kwargs))

    async def _gather_remaining_tasks(self) -> None:
        """Cancel nothing: other tasks than the service's own run in this loop."""

    def _create_worker_consumer(self, transport: Any) -> aiokafka.AIOKafkaConsumer:
        patch_aiokafka_parser()
        consumer = super()._create_worker_consumer(transport)
        # Faust sets 1.5 s and has no setting for it.
        consumer._fetch_max_wait_ms = self.app.settings.fetch_max_wait_ms
        return consumer

    def assignment_token(self) -> object:
        """Return the identity of the current assignment; every rebalance makes a new one and reads positions again."""
        subscription = self._ensure_consumer()._subscription.subscription
        return None if subscription is None else subscription.assignment

    async def _fetch_records(self, *args: Any, **kwargs: Any) -> AssignedRecords:
        # There is no await between aiokafka's update of the positions and this read of the assignment.
        records = AssignedRecords(await super()._fetch_records(*args, **kwargs))
        records.assignment = self.assignment_token()
        return records

    def seek_back(self, tp: TP, offset: int, assignment: object) -> None:
        """Fetch again from ``offset``, unless the assignment, and so the position, has changed."""
        if self.assignment_token() is assignment:
            self._ensure_consumer().seek(TopicPartition(tp.topic, tp.partition), offset)

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """Commit offsets; on a failure return False, and the ledger offers the offsets again at the next commit."""
        wanted = {
            TopicPartition(tp.topic, tp.partition): OffsetAndMetadata(offset, "")
            for tp, offset in offsets.items()
            if tp in self.assignment()
        }
        if not wanted:
            return False
        try:
            await self._ensure_consumer().commit(wanted)
        except (CommitFailedError, IllegalStateError) as error:
            log.info(
                "commit-after-rebalance", error=str(error), then="the records are repeated; their events keep their ids"
            )
            return False
        except KafkaError as error:
            log.warning("commit-failed", error=repr(error), then="retried at the next commit interval")
            return False
        return True


class MicroBatchConsumer(driver.Consumer):  # type: ignore[misc]
    """Faust's consumer with one message per fetched partition batch, which commits from the app's ``OffsetLedger``."""

    logger = FAUST_LOGGER

    app: BatchApp

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Faust drops records below its read offset; after a seek back these are records not yet classified.
        self._read_offset = _NoReadOffsets()

    def _new_consumer_thread(self) -> FetchService:
        return FetchService(self, loop=self.loop, beacon=self.beacon)

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Any]]:  # noqa: ASYNC109 – Faust's signature
        """Yield one message per partition of a fetch; its value is a ``FetchedBatch``.

        A fetch that waits through a rebalance returns records of the new assignment, before flow resumes or after
        positions were set. Batches that cannot be handed out are fetched again; stock Faust drops and loses them.
        """
        fetched, active = await self._wait_next_records(timeout)
        if not fetched or self.should_stop:
            return
        arrived_s = time.monotonic()
        for number, (tp, records) in enumerate(fetched.items(), start=1):
            if fetched.assignment is not self._thread.assignment_token():
                break
            if self.flow_active and (tp in active or tp in self._buffered_partitions):
                last = number == len(fetched)
                batch = FetchedBatch(Partition(tp.topic, tp.partition), records, arrived_s, last=last)
                self.app.ledger.hand_out(batch)
                yield tp, self._batch_message(tp, batch)
            else:
                self._thread.seek_back(tp, records[0].offset, fetched.assignment)

    async def _wait_next_records(self, timeout: float) -> tuple[Any, Any]:  # noqa: ASYNC109 – Faust's signature
        """Wait for a fetch as Faust does, but only briefly while a partition is left out because its buffer was full.

        Faust fetches such a partition again only after the fetch that was started without it has returned; without any
        other partition it sleeps for a second. A short stall then lasted a second.
        """
        if self.flow_active and self._buffered_partitions:
            active = self._get_active_partitions()
            # Faust keeps a buffer marked as full when its partition is revoked.
            if left_out := (self._buffered_partitions - active) & self.assignment():
                timeout = RETRY_FETCH_S
            if left_out and not active:
                await asyncio.sleep(RETRY_FETCH_S)
                return None, None
        return cast(tuple[Any, Any], await super()._wait_next_records(timeout))

    def _batch_message(self, tp: TP, batch: FetchedBatch) -> Any:
        first = batch.records[0]
        return driver.ConsumerMessage(
            tp.topic,
            tp.partition,
            batch.first,
            first.timestamp / 1000.0,
            first.timestamp_type,
            None,
            None,
            batch,
            None,
            0,
            0,
            tp,
            generation_id=self.app.consumer_generation_id,
        )

    def ack(self, message: Any) -> bool:
        """Accept Faust's acknowledgement of a message, without moving a position.

        Faust's streams also acknowledge messages that they skipped or that failed. Only ``OffsetLedger.acknowledge``
        acknowledges a batch.
        """
        message.acked = True
        self._unacked_messages.discard(message)
        return True

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        return (
            tp
            for tp in (TP(*partition) for partition in self.app.ledger.committable())
            if topics is None or tp in topics or tp.topic in topics
        )

    def _new_offset(self, tp: TP) -> int | None:
        return self.app.ledger.committable().get(Partition(tp.topic, tp.partition))

    def _should_commit(self, tp: TP, offset: int) -> bool:
        return True

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Record nothing: the ledger counts batches, not offsets, so gaps need no entry."""

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        committed = await super()._commit(offsets)
        if committed:
            self.app.ledger.committed({Partition(tp.topic, tp.partition): offset for tp, offset in offsets.items()})
        return bool(committed)

    async def wait_empty(self) -> None:
        """Complete and commit all batches in flight; Faust calls this on every revocation."""
        await self.app.drain()
        await self.commit()

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Reset the ledger, since Faust now reads the positions from the committed offsets."""
        self.app.ledger.forget()
        self.app.on_new_assignment({Partition(tp.topic, tp.partition) for tp in assigned})
        await super().on_partitions_assigned(assigned, generation_id)

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Check nothing: Faust's check never triggers, and ``stream.telemetry.watchdog`` replaces it."""


class IdempotentProducer(driver.Producer):  # type: ignore[misc]
    """Faust's producer with ``acks=all`` and idempotence, which Faust offers only for exactly-once, and a ``renew``."""

    logger = FAUST_LOGGER

    app: BatchApp
    _producer: aiokafka.AIOKafkaProducer | None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._retiring: set[asyncio.Task[None]] = set()

    def _settings_extra(self) -> Mapping[str, Any]:
        return {"acks": "all", "enable_idempotence": True}

    async def renew(self) -> None:
        """Replace the producer; the old one delivers its remaining records if it can, and stops.

        Raises:
            KafkaError: the new producer cannot connect to a broker; the old producer stays.
        """
        fresh = self._new_producer()
        await fresh.start()
        old, self._producer = self._producer, fresh
        if old is not None:
            stopping = stop_producer(old, self.app.settings.request_timeout_s)
            retiring = asyncio.create_task(stopping, name="retire-producer")
            self._retiring.add(retiring)
            retiring.add_done_callback(self._retiring.discard)
        log.info("producer-replaced")


class MicroBatchTransport(driver.Transport):  # type: ignore[misc]
    """Faust's aiokafka transport with ``MicroBatchConsumer`` and ``IdempotentProducer``."""

    Consumer: ClassVar[Any] = MicroBatchConsumer
    Producer: ClassVar[Any] = IdempotentProducer


class BatchApp(faust.App):  # type: ignore[misc]
    """Faust app on the micro-batch transport.

    ``ledger`` holds the batches handed out and decides which offsets are committed.

    Args:
        settings: Faultline's settings; ``faust_settings`` derives Faust's settings from them.
        drain: awaited on revocation; returns when every batch in flight is acknowledged.
        on_new_assignment: called with the partitions of every new assignment, before their first batch.
        faust_options: further Faust settings, e.g. ``broker_credentials``.
    """

    logger = FAUST_LOGGER

    def __init__(
        self,
        settings: Settings,
        *,
        drain: Callable[[], Awaitable[None]],
        on_new_assignment: Callable[[Iterable[Partition]], None],
        **faust_options: Any,
    ) -> None:
        self.settings = settings
        self.ledger = OffsetLedger()
        self.drain = drain
        self.on_new_assignment = on_new_assignment
        super().__init__(**{**faust_settings(settings), **faust_options})

    def _new_transport(self) -> MicroBatchTransport:
        return MicroBatchTransport(self.conf.broker_consumer, self)

    def _new_producer_transport(self) -> MicroBatchTransport:
        return MicroBatchTransport(self.conf.broker_producer, self)

    def _create_directories(self) -> None:
        """Create no directory: the worker stores nothing on disk, and the line states are on a topic."""

    async def renew_producer(self) -> None:
        """Replace the producer of events, see ``IdempotentProducer.renew``."""
        await cast(IdempotentProducer, self.producer).renew()

    def dedicated_producer(self) -> DedicatedProducer:
        """Return another producer with the settings of the events' producer."""
        return DedicatedProducer(
            lambda: cast(IdempotentProducer, self.producer)._new_producer(), self.settings.request_timeout_s
        )

    def initial_offset(self, partition: Partition) -> int | None:
        """Return the committed offset at the time of the partition's assignment; None if there was none."""
        offset = self.consumer._committed_offset.get(TP(*partition))
        return None if offset is None else int(offset)


def faust_settings(settings: Settings) -> dict[str, Any]:
    """Return the settings of Faust that follow from Faultline's."""
    return {
        "id": settings.group,
        "broker": [f"aiokafka://{server}" for server in settings.bootstrap_servers],
        "broker_client_id": settings.client_id,
        "consumer_group_instance_id": settings.instance_id,
        # Unprefixed environment variables (BROKER_URL, TIMEZONE …) would override the values here.
        "env_prefix": "FAULTLINE_FAUST_",
        "autodiscover": False,
        "Monitor": QuietMonitor,
        # The worker serves its own health and metrics; Faust's pages always answer OK, on 0.0.0.0.
        "web_enabled": False,
        # Workers run without the right to create topics.
        "topic_allow_declare": False,
        "topic_disable_leader": True,
        # Faust's exactly-once mode sends outside its transaction and hides errors; deterministic ids replace it.
        "processing_guarantee": "at_least_once",
        # Without tables no standbys are needed, and Kafka's own round-robin assignor is used.
        "table_standby_replicas": 0,
        "stream_recovery_delay": 0,
        # The unit is batches, not records: 64 of at most a megabyte each (a full queue blocks all partitions).
        "stream_buffer_maxsize": 64,
        "stream_wait_empty": True,
        "consumer_auto_offset_reset": settings.offset_reset,
        "broker_max_poll_records": settings.max_poll_records,
        "broker_commit_interval": settings.commit_interval_s,
        # Faust counts messages, which are batches here; only the interval triggers a commit.
        "broker_commit_every": 1_000_000,
        "broker_session_timeout": settings.session_timeout_s,
        "broker_heartbeat_interval": settings.heartbeat_interval_s,
        "broker_rebalance_timeout": settings.rebalance_timeout_s,
        "broker_request_timeout": settings.request_timeout_s,
        "producer_linger": settings.linger_ms / 1000,
        "producer_compression_type": None if settings.compression == "none" else settings.compression,
        # Faust's default is below the size that a topic accepts, and a dead letter is slightly larger than its record.
        "producer_max_request_size": 1_048_576,
        "producer_request_timeout": settings.request_timeout_s,
    }
