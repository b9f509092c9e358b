"""The micro-batch transport: Faust's own consumer and producer, handing out whole fetched batches.

Stock Faust builds four tasks for every record; one message per fetched partition batch removes nearly all of it.
What Faust promises is kept — flow control, rebalance, generation checks, offset commit — and where its bookkeeping
loses records (acknowledging skipped or failed messages, dropping acked offsets on revocation, passing an unfinished
offset) ours replaces it: only ``MicroBatchConsumer.finish`` moves a partition's position, see
``stream.worker.offsets``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from typing import Any, ClassVar, cast

import faust
from faust.sensors import Monitor
from faust.serializers.schemas import Schema
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from stream.kafka.producers import IdempotentProducer, SideProducer
from stream.settings import Settings
from stream.worker.fetching import FAUST_LOGGER, Fetch
from stream.worker.offsets import FetchedBatch, OffsetLedger, Partition

LEFT_OUT_S = 0.01
"""How long a partition whose buffer was full waits to be asked for again."""


class BatchSchema(Schema):  # type: ignore[misc]
    """Hands the fetched batch through: decoding is the agent's, where an invalid record can be singled out."""

    def compile(self, app: Any, **_: Any) -> Callable[..., Awaitable[Any]]:
        """Function from message to event, without any decoding."""
        create_event = app.create_event

        async def decode(message: Any, *, propagate: bool = False) -> Any:
            return create_event(None, message.value, None, message)

        return decode


class QuietMonitor(Monitor):  # type: ignore[misc]
    """A monitor whose hot methods do nothing: metrics are ours, per batch."""

    logger = FAUST_LOGGER

    def on_message_in(self, tp: TP, offset: int, message: Any) -> None: ...
    def on_stream_event_in(self, tp: TP, offset: int, stream: Any, event: Any) -> None: ...
    def on_stream_event_out(self, tp: TP, offset: int, stream: Any, event: Any, state: Any = None) -> None: ...
    def on_message_out(self, tp: TP, offset: int, message: Any) -> None: ...
    def on_commit_initiated(self, consumer: Any) -> None: ...
    def on_commit_completed(self, consumer: Any, state: Any) -> None: ...
    def on_send_initiated(self, *args: Any, **kwargs: Any) -> None: ...
    def on_send_completed(self, *args: Any, **kwargs: Any) -> None: ...


class _NothingRead(dict[TP, None]):
    """Forgets what it is told, so that nothing counts as read before."""

    def __missing__(self, tp: TP) -> None:
        return None

    def __setitem__(self, tp: TP, offset: Any) -> None: ...

    def update(self, *args: Any, **kwargs: Any) -> None: ...


class MicroBatchConsumer(driver.Consumer):  # type: ignore[misc]
    """Faust's consumer, one message per fetched partition batch, committing from an ``OffsetLedger``."""

    logger = FAUST_LOGGER

    app: BatchApp

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.ledger = OffsetLedger()
        # Faust drops records below what it has read; after a seek back that would be records not yet judged.
        self._read_offset = _NothingRead()

    def _new_consumer_thread(self) -> Fetch:
        return Fetch(self, loop=self.loop, beacon=self.beacon)

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Any]]:  # noqa: ASYNC109 – Faust's signature
        """Yield one message per partition of a fetch; its value is a ``FetchedBatch``.

        A fetch that waits through a rebalance returns records of the new assignment, before flow resumes or after
        positions were set. What cannot be handed out is fetched again: stock Faust drops it, and it is lost.
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
                self.ledger.hand_out(batch)
                yield tp, self._batch_message(tp, batch)
            else:
                self._thread.seek_back(tp, records[0].offset, fetched.assignment)

    async def _wait_next_records(self, timeout: float) -> tuple[Any, Any]:  # noqa: ASYNC109 – Faust's signature
        """Wait for a fetch as Faust does, but only briefly while a partition is left out because its buffer was full.

        Faust asks for it again no sooner than the fetch returns that was begun without it, and with none to ask for
        it sleeps for a second: a moment's stall became one of a second.
        """
        if self.flow_active and self._buffered_partitions:
            active = self._get_active_partitions()
            # Faust does not forget a full buffer when its partition is revoked.
            if left_out := (self._buffered_partitions - active) & self.assignment():
                timeout = LEFT_OUT_S
            if left_out and not active:
                await asyncio.sleep(LEFT_OUT_S)
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

    def finish(self, batch: FetchedBatch) -> bool:
        """Acknowledge a batch: everything that it caused is confirmed by the broker. The only way to commit it."""
        return self.ledger.finish(batch)

    def ack(self, message: Any) -> bool:
        """Faust's acknowledgement moves nothing: streams also call it for messages that they skipped or failed."""
        message.acked = True
        self._unacked_messages.discard(message)
        return True

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        return (
            tp
            for tp in (TP(*partition) for partition in self.ledger.committable())
            if topics is None or tp in topics or tp.topic in topics
        )

    def _new_offset(self, tp: TP) -> int | None:
        return self.ledger.committable().get(Partition(tp.topic, tp.partition))

    def _should_commit(self, tp: TP, offset: int) -> bool:
        return True

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Gaps need no account: the ledger counts batches, not offsets."""

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        committed = await super()._commit(offsets)
        if committed:
            self.ledger.committed({Partition(tp.topic, tp.partition): offset for tp, offset in offsets.items()})
        return bool(committed)

    async def wait_empty(self) -> None:
        """Before partitions go: finish what the worker has begun, then commit it. Called on every revocation."""
        await self.app.drain()
        await self.commit()

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Positions are read anew from what is committed, so the account starts over."""
        self.ledger.forget()
        self.app.on_new_assignment({Partition(tp.topic, tp.partition) for tp in assigned})
        await super().on_partitions_assigned(assigned, generation_id)

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Faust's check never fires; ``stream.telemetry.watchdog`` does this work."""


class MicroBatchTransport(driver.Transport):  # type: ignore[misc]
    """Faust's aiokafka transport with the two classes above."""

    Consumer: ClassVar[Any] = MicroBatchConsumer
    Producer: ClassVar[Any] = IdempotentProducer


class BatchApp(faust.App):  # type: ignore[misc]
    """A Faust app on the micro-batch transport.

    Args:
        settings: ours; Faust's are derived from them, each with its reason below.
        drain: awaited on revocation; returns when everything begun is finished.
        on_new_assignment: told the partitions of every new assignment, before their first batch.
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
        self.drain = drain
        self.on_new_assignment = on_new_assignment
        super().__init__(**{**faust_settings(settings), **faust_options})

    def _new_transport(self) -> MicroBatchTransport:
        return MicroBatchTransport(self.conf.broker_consumer, self)

    def _new_producer_transport(self) -> MicroBatchTransport:
        return MicroBatchTransport(self.conf.broker_producer, self)

    def _create_directories(self) -> None:
        """Nothing is kept on disk: the per-line state lives in its topic."""

    async def renew_producer(self) -> None:
        """See ``IdempotentProducer.renew``."""
        await cast(IdempotentProducer, self.producer).renew()

    def side_producer(self) -> SideProducer:
        """A producer with the settings of the events' producer."""
        return SideProducer(
            lambda: cast(IdempotentProducer, self.producer)._new_producer(), self.settings.request_timeout_s
        )

    @property
    def batch_consumer(self) -> MicroBatchConsumer:
        """The consumer, as what it is."""
        return cast(MicroBatchConsumer, self.consumer)


def faust_settings(settings: Settings) -> dict[str, Any]:
    """Faust's settings for ours."""
    return {
        "id": settings.group,
        "broker": [f"aiokafka://{server}" for server in settings.bootstrap_servers],
        "broker_client_id": settings.client_id,
        "consumer_group_instance_id": settings.instance_id,
        # Unprefixed environment variables (BROKER_URL, TIMEZONE …) would override what is said here.
        "env_prefix": "FAULTLINE_FAUST_",
        "autodiscover": False,
        "Monitor": QuietMonitor,
        # Health and metrics are ours; Faust's pages always answer OK, on 0.0.0.0.
        "web_enabled": False,
        # Workers run without the right to create topics.
        "topic_allow_declare": False,
        "topic_disable_leader": True,
        # Exactly-once sends outside its transaction and swallows errors; ids are deterministic instead.
        "processing_guarantee": "at_least_once",
        # No tables, so no standbys: Kafka's own round-robin assignor.
        "table_standby_replicas": 0,
        "stream_recovery_delay": 0,
        # Batches, not records: 64 of at most a megabyte each (a full queue blocks all partitions).
        "stream_buffer_maxsize": 64,
        "stream_wait_empty": True,
        "consumer_auto_offset_reset": settings.offset_reset,
        "broker_max_poll_records": settings.max_poll_records,
        "broker_commit_interval": settings.commit_interval_s,
        # The count is of messages, which are batches here: the interval alone decides.
        "broker_commit_every": 1_000_000,
        "broker_session_timeout": settings.session_timeout_s,
        "broker_heartbeat_interval": settings.heartbeat_interval_s,
        "broker_rebalance_timeout": settings.rebalance_timeout_s,
        "broker_request_timeout": settings.request_timeout_s,
        "producer_linger": settings.linger_ms / 1000,
        "producer_compression_type": None if settings.compression == "none" else settings.compression,
        # Faust's default is below what a topic takes, and a dead letter is a little larger than its record.
        "producer_max_request_size": 1_048_576,
        "producer_request_timeout": settings.request_timeout_s,
    }
