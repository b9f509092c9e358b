"""Read topics without a group, from a given start to their end or continuously, including new partitions.

A reader takes no partition from a group and moves no committed offset. It counts and logs the records that the broker's
retention deleted before they could be read.
"""

from __future__ import annotations

import asyncio
import fnmatch
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from stream.errors import SettingsError, TopicError
from stream.kafka.admin import admin_client, describe_topics, partitions_of
from stream.kafka.clients import check_reachable, consumer_kwargs
from stream.kafka.errors import broker_errors
from stream.kafka.reading.tolerant_parser import patch_aiokafka_parser
from stream.kafka.topics import require_existing
from stream.settings import Settings

log = structlog.get_logger(__name__)

POLL_MS = 200
"""Longest wait of a fetch that finds no record; a new record ends the wait at once."""
RECORD_WAIT_S = 10.0
"""Longest wait for one record that is known to exist; a fetch of the largest message takes far less."""

Fetched = Mapping[TopicPartition, list[Any]]
"""aiokafka's records per partition, in its order."""


@dataclass(frozen=True)
class StartAt:
    """Start of reading: ``earliest``, ``latest``, or a Unix time in ms."""

    where: str
    at_ms: int | None = None


def parse_start(text: str) -> StartAt:
    """Parse ``earliest``, ``latest`` or an ISO time (in this machine's time zone if it names none).

    Raises:
        SettingsError: the text is none of these.

    Example:
        >>> parse_start("2026-01-01T00:00:00Z").at_ms
        1767225600000
    """
    if text in ("earliest", "latest"):
        return StartAt(text)
    try:
        return StartAt("time", round(datetime.fromisoformat(text).timestamp() * 1000))
    except (ValueError, OverflowError):
        raise SettingsError(f"--from {text}: give earliest, latest or an ISO time, e.g. 2026-01-31T12:00:00") from None


class PartitionReader:
    """Reader of given partitions that keeps a position in each.

    Args:
        settings: broker.
        poll_ms: longest wait in ms of a fetch that finds no record.
        options: options of ``AIOKafkaConsumer`` that replace those of ``consumer_kwargs``.
    """

    def __init__(self, settings: Settings, *, poll_ms: int = POLL_MS, **options: Any) -> None:
        self._settings = settings
        self._poll_ms = poll_ms
        self._options = options
        self._consumer: AIOKafkaConsumer | None = None
        self.positions: dict[TopicPartition, int] = {}
        """Offset of the next record of every partition."""
        self.deleted = 0
        """Number of records that the broker's retention deleted before they could be read."""

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def start(self) -> None:
        """Connect unless connected; after ``close`` reading resumes at the kept positions.

        Raises:
            KafkaError: the login was refused.
            OSError: there is no broker.
        """
        if self._consumer is not None:
            return
        # A header name that is not UTF-8 would make every fetch raise.
        patch_aiokafka_parser()
        # "none" makes the consumer report records that retention deleted, instead of skipping them silently.
        options = {**consumer_kwargs(self._settings), **self._options, "auto_offset_reset": "none"}
        # The consumer is stored before it is started, because one that fails to start must be stopped as well.
        self._consumer = AIOKafkaConsumer(**options)
        try:
            await self._consumer.start()
            # A consumer that is stopped before its tasks have run raises CancelledError.
            await asyncio.sleep(0)
        except BaseException:
            await self.close()
            raise
        if self.positions:
            self.assign(self.positions)

    async def close(self) -> None:
        """Disconnect; positions are kept."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await consumer.stop()

    @property
    def consumer(self) -> AIOKafkaConsumer:
        """Return the consumer; call ``start`` before."""
        assert self._consumer is not None
        return self._consumer

    # Positions ----------------------------------------------------------------------------------------------------

    async def offsets(self, partitions: Collection[TopicPartition], start: StartAt) -> dict[TopicPartition, int]:
        """Return the offsets of ``start``: for a time, the first record at or after it, or the end if there is none."""
        if not partitions:
            return {}
        if start.where == "latest":
            return dict(await self.consumer.end_offsets(partitions))
        if start.at_ms is None:
            return dict(await self.consumer.beginning_offsets(partitions))
        found = await self.consumer.offsets_for_times(dict.fromkeys(partitions, start.at_ms))
        ends = await self.consumer.end_offsets(partitions)
        return {partition: ends[partition] if at is None else at.offset for partition, at in found.items()}

    def assign(self, positions: Mapping[TopicPartition, int]) -> None:
        """Read only these partitions, from these offsets on."""
        self.positions = dict(positions)
        self.consumer.assign(list(self.positions))
        for partition, offset in self.positions.items():
            self.consumer.seek(partition, offset)

    def release(self) -> None:
        """Read no partition: a consumer with partitions keeps fetching, and later requests wait behind its fetch."""
        self.positions = {}
        self.consumer.unsubscribe()

    async def unread(self) -> int:
        """Return the number of offsets from the positions to the current ends of all partitions."""
        ends = await self.offsets(list(self.positions), StartAt("latest"))
        return sum(max(0, ends[partition] - offset) for partition, offset in self.positions.items())

    # Records ------------------------------------------------------------------------------------------------------

    async def fetch(self, full: Collection[TopicPartition] = ()) -> Fetched:
        """Fetch once; wait at most ``poll_ms`` for a record.

        Args:
            full: partitions to leave out of this fetch; records prefetched from them are still returned.

        Raises:
            KafkaError: a request failed in a way that aiokafka does not retry.
        """
        consumer = self.consumer
        consumer.pause(*full)
        try:
            fetched: Fetched = await consumer.getmany(timeout_ms=self._poll_ms)
        except OffsetOutOfRangeError as error:
            await self._skip_deleted(error.args[0])
            return {}
        finally:
            consumer.resume(*full)
        for partition in self.positions:
            # The consumer's position also passes the control records of transactions, which it never returns.
            self.positions[partition] = await consumer.position(partition)
        return fetched

    async def read_to_end(self) -> AsyncGenerator[Fetched]:
        """Yield the records up to the current ends, fetch by fetch; the positions are then at these ends.

        Offsets have gaps, so the consumer's position decides when to end, not the number of records.
        """
        ends = await self.offsets(list(self.positions), StartAt("latest"))
        beyond: dict[TopicPartition, int] = {}
        while unfinished := [partition for partition, end in ends.items() if self.positions[partition] < end]:
            fetched = await self.fetch([partition for partition in ends if partition not in unfinished])
            wanted = {}
            for partition, records in fetched.items():
                wanted[partition] = [record for record in records if record.offset < ends[partition]]
                if len(wanted[partition]) < len(records):
                    beyond.setdefault(partition, records[len(wanted[partition])].offset)
            yield wanted
        for partition, offset in beyond.items():
            self.positions[partition] = offset
            self.consumer.seek(partition, offset)

    async def _skip_deleted(self, wanted: Mapping[TopicPartition, int]) -> None:
        begins = await self.consumer.beginning_offsets(list(wanted))
        for partition, offset in wanted.items():
            place = {"topic": partition.topic, "partition": partition.partition}
            deleted = begins[partition] - offset
            if deleted > 0:
                self.deleted += deleted
                log.warning("deleted-before-read", **place, records=deleted)
            else:
                # The topic was deleted and recreated, or lost its newest records with a leader.
                log.warning(
                    "read-from-the-beginning", **place, reason="the partition ends before the offset", offset=offset
                )
            self.positions[partition] = begins[partition]
            self.consumer.seek(partition, begins[partition])


class TopicReader(PartitionReader):
    """Reader of all partitions of some topics that knows the end of each.

    Args:
        settings: broker.
        topics: names, or patterns with ``*`` that are matched once, at the start.
        start: earliest, latest (from now on), or a time of the records.
        optional: True leaves out missing topics instead of raising.

    Raises:
        TopicError: there is no such topic.
        BrokerError: there is no broker, or no right to read.

    Example: ``async with TopicReader(settings, ["faults.*"], StartAt("earliest")) as reader: await reader.fetch()``
    """

    def __init__(self, settings: Settings, topics: Sequence[str], start: StartAt, *, optional: bool = False) -> None:
        super().__init__(settings)
        self._wanted = topics
        self._start = start
        self._optional = optional
        self._resources = AsyncExitStack()
        self._admin: Any = None
        self._embedded = False
        self._ends: dict[TopicPartition, int] = {}
        """Known end offsets."""
        self.final = False
        """True once ``fix_ends`` was called: no record beyond the ends is returned."""
        self.topics: tuple[str, ...] = ()
        """Names of the topics that are read."""

    async def __aenter__(self) -> Self:
        try:
            await self._open()
        except BaseException:
            await self._resources.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._resources.aclose()

    async def _open(self) -> None:
        self._embedded = (await check_reachable(self._settings)).embedded
        self._admin = await self._resources.enter_async_context(admin_client(self._settings))
        self.topics = await self._existing()
        with broker_errors(self._settings):
            self._resources.push_async_callback(self.close)
            await self.start()
            await self._take_partitions(self._start)

    async def _existing(self) -> tuple[str, ...]:
        there = await self._admin.list_topics()
        names: dict[str, None] = {}
        for wanted in self._wanted:
            found = fnmatch.filter(there, wanted) if "*" in wanted else [wanted]
            if not found and not self._optional:
                raise TopicError(f"no topic matches {wanted!r}: run faultline topics check, which lists the topics")
            names |= dict.fromkeys(sorted(found))
        if self._optional:
            names = {name: None for name in names if name in there}
        await require_existing(
            self._admin, self._settings, list(names), create=self._embedded, alternative="record another"
        )
        return tuple(names)

    # Partitions ---------------------------------------------------------------------------------------------------

    async def _take_partitions(self, start: StartAt) -> None:
        """Start reading new partitions, from ``start``."""
        there = partitions_of(await describe_topics(self._admin, list(self.topics))) if self.topics else []
        new = [partition for partition in there if partition not in self.positions]
        if not new:
            return
        offsets = await self.offsets(new, start)
        self._ends |= await self.consumer.end_offsets(new)
        self.assign(self.positions | offsets)

    async def offsets(self, partitions: Collection[TopicPartition], start: StartAt) -> dict[TopicPartition, int]:
        """Return the offsets of ``start``; for a time on an embedded broker, the beginning."""
        # An embedded broker finds no offset for any time; callers filter its records by their timestamps.
        by_time = start.at_ms is not None and self._embedded
        return await super().offsets(partitions, StartAt("earliest") if by_time else start)

    @property
    def partitions(self) -> int:
        """Return the number of partitions."""
        return len(self.positions)

    async def refresh(self) -> None:
        """Read new partitions from their beginning, so that no record is missed."""
        try:
            await self._take_partitions(StartAt("earliest"))
        except (KafkaError, OSError) as error:
            # A broker outage must not end a recording: the consumer resumes when the broker is back.
            log.warning("partitions-unknown", error=repr(error), then="retried at the next refresh")

    async def fix_ends(self, before_ms: int | None = None) -> None:
        """Fix the ends: the current ends of the topics, or the first record at or after ``before_ms``."""
        partitions = list(self.positions)
        by_time = before_ms is not None and not self._embedded
        self._ends = await self.offsets(partitions, StartAt("time", before_ms) if by_time else StartAt("latest"))
        self.final = True

    def behind(self) -> list[TopicPartition]:
        """Return the partitions with records still to fetch."""
        return [partition for partition, at in self.positions.items() if at < self._ends[partition]]

    async def fetch(self, full: Collection[TopicPartition] = ()) -> Fetched:
        """Fetch once as ``PartitionReader.fetch`` does; return no record beyond fixed ends."""
        fetched = await super().fetch(full)
        if self.final:
            return {tp: [record for record in part if record.offset < self._ends[tp]] for tp, part in fetched.items()}
        for partition in self.positions:
            highwater = self.consumer.highwater(partition) or 0
            self._ends[partition] = max(self._ends[partition], highwater)
        return fetched


async def read_record(settings: Settings, topic: str, partition: int, offset: int) -> Any | None:
    """Return one record; None if there is no record at the offset, or no such partition.

    Raises:
        BrokerError: there is no broker, the login was refused, or there is no right to read.
    """
    place = TopicPartition(topic, partition)
    async with admin_client(settings) as admin:
        if place not in partitions_of(await describe_topics(admin, [topic])):
            return None
    with broker_errors(settings):
        async with PartitionReader(settings, poll_ms=int(RECORD_WAIT_S * 1000), max_poll_records=1) as reader:
            begin = (await reader.offsets([place], StartAt("earliest")))[place]
            end = (await reader.offsets([place], StartAt("latest")))[place]
            if not begin <= offset < end:
                return None
            reader.assign({place: offset})
            fetched = await reader.fetch()
    found = next(iter(fetched.get(place, ())), None)
    return found if found is not None and found.offset == offset else None
