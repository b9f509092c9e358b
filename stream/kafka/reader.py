"""Reads topics from end to end beside everybody else: in no group, every partition, new ones included."""

from __future__ import annotations

import fnmatch
from collections.abc import Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from stream.errors import AccessDeniedError, SettingsError, TopicError
from stream.kafka.acls import grant_advice
from stream.kafka.admin import DENIED_CODE, UNKNOWN_CODE, admin_client, describe_topics, partitions_of
from stream.kafka.clients import check_reachable, consumer_kwargs
from stream.kafka.errors import broker_errors
from stream.kafka.tolerant_parser import patch_aiokafka_parser
from stream.settings import Settings

log = structlog.get_logger(__name__)

POLL_MS = 200


@dataclass(frozen=True)
class StartAt:
    """Where to begin: ``earliest``, ``latest``, or at a Unix time in ms."""

    where: str
    at_ms: int | None = None


def parse_start(text: str) -> StartAt:
    """Read ``earliest``, ``latest`` or an ISO time (of this machine's time zone where it names none).

    Raises:
        SettingsError: none of these.

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


class TopicReader:
    """Fetches the records of some topics, and knows where each partition stands and how far it goes.

    In no group it takes no partition from anybody and moves no committed offset.

    Args:
        settings: broker.
        topics: names, or patterns with ``*``, of which those count that exist at the beginning.
        start: earliest, latest (from now on), or a time of the records.

    Raises:
        TopicError: there is no such topic.
        BrokerError: no broker, or no right to read.

    Example: ``async with TopicReader(settings, ["faults.*"], StartAt("earliest")) as reader: await reader.fetch()``
    """

    def __init__(self, settings: Settings, topics: Sequence[str], start: StartAt) -> None:
        self._settings = settings
        self._wanted = topics
        self._start = start
        self._resources = AsyncExitStack()
        self._consumer: Any = None
        self._admin: Any = None
        self._embedded = False
        self._positions: dict[TopicPartition, int] = {}
        self._ends: dict[TopicPartition, int] = {}
        """What is known to be there to read."""
        self.final = False
        """Whether nothing is read that is not there yet."""
        self.topics: tuple[str, ...] = ()
        """What is read."""
        self.deleted = 0
        """Records that the broker's retention had deleted before they could be read."""

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
        patch_aiokafka_parser()
        # "none": a jump over what retention deleted must not go unseen.
        options = {**consumer_kwargs(self._settings), "auto_offset_reset": "none"}
        with broker_errors(self._settings):
            self._consumer = AIOKafkaConsumer(**options)
            self._resources.push_async_callback(self._consumer.stop)
            await self._consumer.start()
            await self._take_partitions(self._start)

    async def _existing(self) -> tuple[str, ...]:
        there = await self._admin.list_topics()
        names: dict[str, None] = {}
        for wanted in self._wanted:
            found = fnmatch.filter(there, wanted) if "*" in wanted else [wanted]
            if not found:
                raise TopicError(f"no topic matches {wanted!r}: faultline topics check says what there is")
            names |= dict.fromkeys(sorted(found))
        described = await describe_topics(self._admin, list(names), create=self._embedded)
        missing = [name for name, topic in described.items() if topic["error_code"] == UNKNOWN_CODE]
        if missing:
            raise TopicError(f"missing topics {', '.join(missing)}: faultline topics create, or record another")
        denied = [name for name, topic in described.items() if topic["error_code"] == DENIED_CODE]
        if denied:
            raise AccessDeniedError(grant_advice(self._settings, denied, "Read", "Describe"))
        return tuple(names)

    # Partitions ---------------------------------------------------------------------------------------------------

    async def _take_partitions(self, start: StartAt) -> None:
        """Read partitions that are not read yet, from ``start``."""
        there = partitions_of(await describe_topics(self._admin, list(self.topics)))
        new = [partition for partition in there if partition not in self._positions]
        if not new:
            return
        offsets = await self._offsets(new, start)
        self._ends |= await self._consumer.end_offsets(new)
        self._positions |= offsets
        self._consumer.assign(list(self._positions))
        for partition, offset in self._positions.items():
            self._consumer.seek(partition, offset)

    async def _offsets(self, partitions: Sequence[TopicPartition], start: StartAt) -> dict[TopicPartition, int]:
        if start.where == "latest":
            return dict(await self._consumer.end_offsets(partitions))
        # An embedded broker does not look up times: its records are read and left out one by one.
        if start.at_ms is None or self._embedded:
            return dict(await self._consumer.beginning_offsets(partitions))
        return await self._at_time(partitions, start.at_ms)

    async def _at_time(self, partitions: Sequence[TopicPartition], at_ms: int) -> dict[TopicPartition, int]:
        """Offset of the first record at or after a time, or the end."""
        found = await self._consumer.offsets_for_times(dict.fromkeys(partitions, at_ms))
        ends = await self._consumer.end_offsets(partitions)
        return {tp: ends[tp] if at is None else at.offset for tp, at in found.items()}

    @property
    def partitions(self) -> int:
        """How many are read."""
        return len(self._positions)

    async def refresh(self) -> None:
        """Read partitions that have appeared, from their beginning, so that nothing is missed."""
        try:
            await self._take_partitions(StartAt("earliest"))
        except (KafkaError, OSError) as error:
            # A broker that is away for a while ends no recording: the consumer goes on when it is back.
            log.warning("partitions-unknown", error=repr(error), then="looked for again")

    async def fix_ends(self, before_ms: int | None = None) -> None:
        """End where the topics end now, or before the first record of a time."""
        partitions = list(self._positions)
        if before_ms is None or self._embedded:
            self._ends = dict(await self._consumer.end_offsets(partitions))
        else:
            self._ends = await self._at_time(partitions, before_ms)
        self.final = True

    def behind(self) -> list[TopicPartition]:
        """Partitions of which there is more to fetch."""
        return [partition for partition, at in self._positions.items() if at < self._ends[partition]]

    async def fetch(self, full: Collection[TopicPartition] = ()) -> Mapping[TopicPartition, list[Any]]:
        """Fetch once, not longer than ``POLL_MS`` without a record.

        Args:
            full: partitions to leave alone this time.

        Returns:
            aiokafka's records per partition, in its order, none beyond where it ends.
        """
        self._consumer.pause(*full)
        try:
            fetched: Mapping[TopicPartition, list[Any]] = await self._consumer.getmany(timeout_ms=POLL_MS)
        except OffsetOutOfRangeError as error:
            await self._skip_deleted(error.args[0])
            return {}
        finally:
            self._consumer.resume(*full)
        for partition in self._positions:
            # Beyond control records of transactions too, which are never handed out.
            self._positions[partition] = await self._consumer.position(partition)
            if not self.final:
                highwater = self._consumer.highwater(partition) or 0
                self._ends[partition] = max(self._ends[partition], highwater)
        if not self.final:
            return fetched
        return {tp: [record for record in part if record.offset < self._ends[tp]] for tp, part in fetched.items()}

    async def _skip_deleted(self, wanted: Mapping[TopicPartition, int]) -> None:
        begins = await self._consumer.beginning_offsets(list(wanted))
        for partition, offset in wanted.items():
            deleted = max(0, begins[partition] - offset)
            self.deleted += deleted
            self._positions[partition] = begins[partition]
            self._consumer.seek(partition, begins[partition])
            log.warning("deleted-before-read", topic=partition.topic, partition=partition.partition, records=deleted)
