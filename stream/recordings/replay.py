"""Replay a source on Kafka at a given pace; count every record as confirmed or not."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from stream.contract import NS_PER_MS, NS_PER_S
from stream.errors import RecordingError, TopicError
from stream.kafka.admin import admin_client, describe_topics
from stream.kafka.clients import check_reachable, producer_kwargs
from stream.kafka.errors import broker_errors
from stream.kafka.producing.raw_producer import send_any
from stream.kafka.reading.lag import GroupLag
from stream.kafka.topics import require_existing
from stream.recordings.pacing import Pacer, Punctuality
from stream.recordings.retime import PassSpan, moved, window_head
from stream.recordings.sources import RecordingSource, ReplayRecord, Source
from stream.settings import Settings

log = structlog.get_logger(__name__)

SHORTEST_WAIT_S = 0.001
"""Shortest precise sleep of an event loop; a record that is due earlier is sent at once."""
LAG_POLL_S = 0.2
PRODUCER_BATCH_BYTES = 256 * 1024
"""Batch size for a replay, which sends many records at once; aiokafka's default of 16 KiB holds five."""
CLOSE_DEADLINE_S = 5.0
"""Time limit for stopping the producer: unconfirmed records after a failed replay must not keep the process alive."""
READ_AHEAD = 256
"""Number of records that the reading thread reads at a time."""
YIELD_EVERY = 64
"""Number of records after which the replay yields to the producer's sender task if it has not waited otherwise."""


@dataclass(frozen=True)
class ReplayOptions:
    """Options of a replay.

    Attributes:
        topic: topic to send to; None sends every record to the topic that it names, or to ``default_topic``.
        default_topic: topic for records that name none.
        speed: factor of the recorded pace; None for as fast as possible.
        loop: True repeats the source until stopped, with each pass shifted in time and sequence.
        restamp: True shifts the windows' times so that the replay begins now, and stamps records when they are sent.
        keep_partitions: True sends every record to the partition on which it was recorded, regardless of its key.
        max_in_flight: maximum number of unconfirmed records at any time.
        max_lag: largest lag of the workers in records; None for no limit.
        confirm_timeout_s: time without any confirmation after which the replay fails.
    """

    topic: str | None = None
    default_topic: str = "sensor-windows"
    speed: float | None = 1.0
    loop: bool = False
    restamp: bool = False
    keep_partitions: bool = False
    max_in_flight: int = 2000
    max_lag: int | None = None
    confirm_timeout_s: float = 30.0


@dataclass(slots=True)
class ReplayCount:
    """Counts of records sent and confirmed."""

    records: int = 0
    windows: int = 0
    confirmed_records: int = 0
    confirmed_windows: int = 0
    passes: int = 0
    lag: int = 0
    late_s: float = 0.0
    """Current lateness of the replay in seconds."""
    punctuality: Punctuality | None = None
    """Lateness of the sent records; None without a pace."""
    failure: str | None = None
    """Reason why the replay ended early; None otherwise."""

    @property
    def complete(self) -> bool:
        """Return True if all sent records were confirmed and nothing failed."""
        return self.failure is None and self.records == self.confirmed_records


async def read_ahead(records: Iterator[ReplayRecord]) -> AsyncGenerator[ReplayRecord, None]:
    """Yield records that a thread reads ahead, so that a paced replay does not wait for the disk or decompression."""
    loop = asyncio.get_running_loop()
    chunk = loop.run_in_executor(None, _some, records)
    try:
        while some := await chunk:
            chunk = loop.run_in_executor(None, _some, records)
            for record in some:
                yield record
    finally:
        # The thread must finish with the file before the file is closed.
        await asyncio.wait([chunk])


def _some(records: Iterator[ReplayRecord]) -> list[ReplayRecord]:
    return list(itertools.islice(records, READ_AHEAD))


class Replayer:
    """Replay of one source.

    Args:
        source: source to replay.
        producer: idempotent producer with acks=all, so that a line's records stay in order.
        options: options of the replay.
        lag: measures the workers' lag; needed for ``max_lag``.
        clock_s: returns monotonic seconds.
        now_ns: returns the Unix time in ns.
    """

    def __init__(
        self,
        source: Source,
        producer: AIOKafkaProducer,
        options: ReplayOptions,
        *,
        lag: Callable[[], Awaitable[int]] | None = None,
        clock_s: Callable[[], float] = time.monotonic,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._source = source
        self._producer = producer
        self._options = options
        self._lag = lag
        self._clock_s = clock_s
        self._now_ns = now_ns
        self._pacer = Pacer(options.speed, clock_s)
        self._span = PassSpan()
        self._in_flight = 0
        self._unchecked = 0
        self._changed = asyncio.Event()
        self._stopping = asyncio.Event()
        self.count = ReplayCount(punctuality=None if options.speed is None else Punctuality())

    def stop(self) -> None:
        """Send no more records; ``run`` returns when those in flight are confirmed."""
        self._stopping.set()
        self._changed.set()

    async def run(self) -> ReplayCount:
        """Replay to the end, or until ``stop`` or the first failure; then await the last confirmations."""
        restamp_ns: int | None = None
        while not self._stopping.is_set():
            pass_ns = self.count.passes * self._span.duration_ns
            before = self.count.records
            async with contextlib.aclosing(read_ahead(self._source.records())) as records:
                async for record in records:
                    if restamp_ns is None:
                        restamp_ns = self._now_ns() - record.due_ns if self._options.restamp else 0
                    await self._wait_for(record.due_ns + pass_ns)
                    if self._stopping.is_set():
                        break
                    self._note_lateness(record.due_ns + pass_ns)
                    await self._send(self._moved(record, restamp_ns, pass_ns))
            self.count.passes += 1
            if not self._options.loop or self.count.records == before:
                break
        await self._wait_until_in_flight(0)
        return self.count

    def _moved(self, record: ReplayRecord, restamp_ns: int, pass_ns: int) -> ReplayRecord:
        head = window_head(record.value) if self._options.loop or self._options.restamp else None
        if head is not None and self._options.loop and not self.count.passes:
            self._span.add(record.key, head)
        by_ns = restamp_ns + pass_ns
        timestamp_ms = record.timestamp_ms
        if timestamp_ms is not None:
            # A restamped record carries the time at which it is sent, at any pace.
            timestamp_ms = None if self._options.restamp else timestamp_ms + pass_ns // NS_PER_MS
        value = record.value
        if head is not None and value is not None and by_ns:
            value = moved(value, by_ns=by_ns, by_windows=self.count.passes * self._span.windows(record.key))
        return msgspec.structs.replace(record, value=value, timestamp_ms=timestamp_ms)

    # Waiting ------------------------------------------------------------------------------------------------------

    async def _wait_for(self, due_ns: int) -> None:
        """Wait until the record is due, and in-flight records and the workers' lag are within their limits."""
        wait_s = self._pacer.wait_s(due_ns)
        self.count.late_s = max(0.0, -wait_s)
        if wait_s > SHORTEST_WAIT_S:
            await self._pause(wait_s)
        elif self.count.records % YIELD_EVERY == 0:
            await asyncio.sleep(0)
        await self._wait_until_in_flight(self._options.max_in_flight - 1)
        if self._options.max_lag is not None and self._lag is not None:
            await self._wait_for_workers(self._options.max_lag, self._lag)

    def _note_lateness(self, due_ns: int) -> None:
        if self.count.punctuality is not None:
            self.count.punctuality.note(due_ns / NS_PER_S, -self._pacer.wait_s(due_ns))

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            pass

    async def _wait_until_in_flight(self, most: int) -> None:
        while self._in_flight > most:
            self._changed.clear()
            try:
                async with asyncio.timeout(self._options.confirm_timeout_s):
                    await self._changed.wait()
            except TimeoutError:
                self._fail(f"no confirmation for {self._options.confirm_timeout_s:.0f} s: check that the broker runs")
                return

    async def _wait_for_workers(self, most: int, measure: Callable[[], Awaitable[int]]) -> None:
        # The lag is measured again after half of the limit was sent, so it never exceeds 1.5 times the limit.
        if self._unchecked < max(1, most // 2):
            return
        while not self._stopping.is_set():
            try:
                self.count.lag = await measure()
            except (KafkaError, OSError) as error:
                log.warning("lag-unknown", error=repr(error))
                self.count.lag = most + 1
            if self.count.lag <= most:
                break
            await self._pause(LAG_POLL_S)
        self._unchecked = 0

    # Sending ------------------------------------------------------------------------------------------------------

    async def _send(self, record: ReplayRecord) -> None:
        topic = self._options.topic or record.topic or self._options.default_topic
        self.count.records += 1
        self.count.windows += record.windows
        self._unchecked += 1
        try:
            confirmation = await send_any(
                self._producer,
                topic,
                record.value,
                record.key,
                headers=record.headers,
                timestamp_ms=record.timestamp_ms,
                partition=record.partition if self._options.keep_partitions else None,
            )
        except KafkaError as error:
            self._fail(f"record {self.count.records} to {topic} was not sent: {error!r}")
            return
        self._in_flight += 1
        asyncio.ensure_future(confirmation).add_done_callback(functools.partial(self._done, record.windows, topic))

    def _done(self, windows: int, topic: str, confirmation: asyncio.Future[Any]) -> None:
        self._in_flight -= 1
        self._changed.set()
        if confirmation.cancelled():
            self._fail(f"a record to {topic} was not confirmed: the producer was stopped")
        elif (error := confirmation.exception()) is not None:
            self._fail(f"a record to {topic} was not confirmed: {error!r}")
        else:
            self.count.confirmed_records += 1
            self.count.confirmed_windows += windows

    def _refuse(self, reason: str) -> None:
        self.count.failure = self.count.failure or reason

    def _fail(self, reason: str) -> None:
        self._refuse(reason)
        self.stop()


@contextlib.asynccontextmanager
async def open_replayer(settings: Settings, source: Source, options: ReplayOptions) -> AsyncIterator[Replayer]:
    """Check that the topics exist, and yield a replayer with its own producer; the caller calls its ``run``.

    Args:
        settings: broker, credentials, and the workers' group, whose lag counts for ``max_lag``.
        source: source to replay.
        options: options of the replay.

    Yields:
        The replayer. Its ``count`` may be read while it runs, and ``stop`` may be called at any time.

    Raises:
        BrokerError: there is no broker, no right, or no such topic.
        RecordingError: ``keep_partitions`` is set, and the source is not a recording.
    """
    topics = _topics(source, options)
    broker = await check_reachable(settings)
    await _require(settings, topics, create=broker.embedded)
    if options.keep_partitions:
        await _require_partitions(settings, source, options)
    producer = AIOKafkaProducer(**{**producer_kwargs(settings), "max_batch_size": PRODUCER_BATCH_BYTES})
    with broker_errors(settings):
        await producer.start()
    try:
        async with _lag(settings, topics, options) as lag:
            yield Replayer(source, producer, options, lag=lag)
    finally:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_DEADLINE_S):
                await producer.stop()


def _topics(source: Source, options: ReplayOptions) -> list[str]:
    if options.topic is not None:
        return [options.topic]
    return sorted(source.topics) or [options.default_topic]


async def _require(settings: Settings, topics: list[str], *, create: bool) -> None:
    async with admin_client(settings) as admin:
        await require_existing(
            admin,
            settings,
            topics,
            create=create,
            operations=("Write", "Describe"),
            alternative="choose another one with --topic",
        )


async def _require_partitions(settings: Settings, source: Source, options: ReplayOptions) -> None:
    if not isinstance(source, RecordingSource):
        raise RecordingError("--keep-partitions needs an unchanged recording, since other sources have no partitions")
    wanted = dict(source.partitions)
    if options.topic is not None:
        wanted = {options.topic: max(wanted.values(), default=0)}
    async with admin_client(settings) as admin:
        seen = await describe_topics(admin, sorted(wanted))
    for name, count in wanted.items():
        there = len(seen[name]["partitions"])
        if there < count:
            raise TopicError(f"{name} has {there} partitions, the recording {count}: choose another topic with --topic")


@contextlib.asynccontextmanager
async def _lag(
    settings: Settings, topics: list[str], options: ReplayOptions
) -> AsyncIterator[Callable[[], Awaitable[int]] | None]:
    if options.max_lag is None:
        yield None
        return
    with broker_errors(settings):
        async with GroupLag(settings, settings.group, topics) as lag:
            yield lag.measure
