"""Fault events as they are published: one type, some, or all, topics that appear later included."""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Self

import msgspec
import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from pydantic import ValidationError

from stream.contract import FAULT_TYPES, EpisodeState, FaultEvent
from stream.errors import SettingsError
from stream.kafka.admin import admin_client, describe_topics, partitions_of
from stream.kafka.clients import check_reachable, consumer_kwargs
from stream.kafka.errors import broker_errors
from stream.kafka.reader import StartAt
from stream.settings import Settings

log = structlog.get_logger(__name__)

REFRESH_S = 3.0
"""New topics and partitions are looked for this often: soon enough for a person who waits for one."""
POLL_MS = 500
REMEMBERED_IDS = 10_000
"""A change of type is published on two topics under one id, within one batch of a worker; hours of events."""


def fault_topics(settings: Settings, types: Sequence[str]) -> frozenset[str] | None:
    """Topics of some fault types; None, for all there are, without types.

    Raises:
        SettingsError: an unknown type.
    """
    unknown = [name for name in types if name not in FAULT_TYPES]
    if unknown:
        raise SettingsError(f"no fault type {', '.join(unknown)}; there are {', '.join(FAULT_TYPES)}")
    return frozenset(settings.topic_faults(name) for name in types) or None


@dataclass(frozen=True)
class EventFilter:
    """Which events are wanted; an empty choice is all."""

    lines: Collection[str] = ()
    states: Collection[EpisodeState] = ()

    def wants(self, event: FaultEvent) -> bool:
        """Whether an event is of a chosen line and state."""
        return (not self.lines or event.line in self.lines) and (not self.states or event.state in self.states)


@dataclass(frozen=True, slots=True)
class Received:
    """One event, the bytes and headers it came in, and where it stood.

    Example: a subscriber's own span goes below
    ``stream.telemetry.trace_context.read_context(received.headers)``.
    """

    event: FaultEvent
    value: bytes
    topic: str
    partition: int
    offset: int
    headers: Sequence[tuple[str, bytes | None]] = ()


def decode_event(value: bytes | None) -> FaultEvent | None:
    """An event from its JSON; fields that a newer worker may have added are left out. None if it is no event."""
    try:
        body = msgspec.json.decode(value or b"")
        known = {name: body[name] for name in FaultEvent.model_fields if name in body}
        return FaultEvent.model_validate(known)
    except (msgspec.DecodeError, ValidationError, TypeError, UnicodeDecodeError):
        return None


class EventFeed:
    """Events of some topics, each once.

    Without a group every partition is read from ``start``; a topic or partition that appears later is read from its
    beginning, so nothing is missed. (aiokafka's own pattern subscription without a group forgets its positions when
    a topic appears.) With a group its members share the partitions, and ``commit`` remembers what was taken;
    ``start`` then counts only where the group has committed nothing.

    Example: ``async with EventFeed(settings, None, StartAt("latest")) as feed: async for received in feed: …``
    """

    def __init__(
        self, settings: Settings, topics: frozenset[str] | None, start: StartAt, *, group: str | None = None
    ) -> None:
        if group is not None and start.at_ms is not None:
            raise SettingsError("--from with a time needs to be without --group: a group goes on where it committed")
        self._settings = settings
        self._topics = topics
        self._start = start
        self._group = group
        self._positions: dict[TopicPartition, int] = {}
        self._taken: dict[TopicPartition, int] = {}
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._resources = AsyncExitStack()
        self._consumer: Any = None
        self._admin: Any = None
        self._embedded = False
        self.started = asyncio.Event()
        """Set when every event published from now on will be seen."""

    async def __aenter__(self) -> Self:
        broker = await check_reachable(self._settings)
        self._embedded = broker.embedded
        options = {
            **consumer_kwargs(self._settings, group=self._group),
            "auto_offset_reset": "earliest" if self._group is None or self._start.where == "earliest" else "latest",
            "metadata_max_age_ms": int(REFRESH_S * 1000),
        }
        with broker_errors(self._settings):
            self._consumer = AIOKafkaConsumer(**options)
            if self._group is not None:
                self._subscribe()
            await self._consumer.start()
            self._resources.push_async_callback(self._consumer.stop)
            self._admin = await self._resources.enter_async_context(admin_client(self._settings))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._resources.aclose()

    def _subscribe(self) -> None:
        if self._topics is not None:
            self._consumer.subscribe(topics=sorted(self._topics))
        else:
            self._consumer.subscribe(pattern=self._pattern)

    @property
    def _pattern(self) -> str:
        return "^" + re.escape(self._settings.topic_faults_prefix) + ".+"

    async def __aiter__(self) -> AsyncIterator[Received]:
        with broker_errors(self._settings):
            async for record in self._records():
                partition = TopicPartition(record.topic, record.partition)
                self._positions[partition] = record.offset + 1
                received = self._receive(record)
                if received is not None:
                    yield received
                self._taken[partition] = record.offset + 1

    async def commit(self) -> None:
        """Remember for the group what was taken so far."""
        if self._group is not None and self._taken:
            taken, self._taken = self._taken, {}
            await self._consumer.commit({tp: at for tp, at in taken.items() if tp in self._consumer.assignment()})

    def _receive(self, record: Any) -> Received | None:
        # Lookup by time is per partition and, on an embedded broker, not answered.
        if self._start.at_ms is not None and record.timestamp < self._start.at_ms:
            return None
        event = decode_event(record.value)
        if event is None:
            log.warning("not-an-event", topic=record.topic, partition=record.partition, offset=record.offset)
            return None
        if event.event_id in self._seen:
            return None
        self._seen[event.event_id] = None
        if len(self._seen) > REMEMBERED_IDS:
            self._seen.popitem(last=False)
        return Received(event, record.value, record.topic, record.partition, record.offset, record.headers)

    async def _records(self) -> AsyncIterator[Any]:
        loop = asyncio.get_running_loop()
        refreshed_s = -REFRESH_S
        while True:
            if self._group is None and loop.time() - refreshed_s >= REFRESH_S:
                await self._refresh()
                refreshed_s = loop.time()
            if not self._consumer.assignment():
                self.started.set()
                await asyncio.sleep(POLL_MS / 1000)
                continue
            self.started.set()
            fetched = await self._consumer.getmany(timeout_ms=POLL_MS)
            # Partitions are merged by time, as far as one fetch goes.
            for record in sorted((r for part in fetched.values() for r in part), key=lambda r: r.timestamp):
                yield record
            if fetched:
                await self.commit()

    # Without a group ----------------------------------------------------------------------------------------------

    async def _refresh(self) -> None:
        """Read partitions that have appeared."""
        there = await self._admin.list_topics()
        pattern = re.compile(self._pattern)
        wanted = [name for name in there if (name in self._topics if self._topics else pattern.match(name))]
        described = await describe_topics(self._admin, wanted) if wanted else {}
        new = set(partitions_of(described)) - set(self._positions)
        if not new:
            if not self._positions and not self.started.is_set():
                log.info("no-fault-topic-yet", then="it is read from its beginning when it appears")
            return
        known_before = self.started.is_set()
        self._positions |= await self._begin(sorted(new), StartAt("earliest") if known_before else self._start)
        self._consumer.assign(sorted(self._positions))
        for partition, offset in self._positions.items():
            self._consumer.seek(partition, offset)

    async def _begin(self, partitions: Sequence[TopicPartition], start: StartAt) -> dict[TopicPartition, int]:
        consumer = self._consumer
        if start.where == "latest":
            return dict(await consumer.end_offsets(partitions))
        if start.at_ms is None or self._embedded:
            return dict(await consumer.beginning_offsets(partitions))
        at = await consumer.offsets_for_times(dict.fromkeys(partitions, start.at_ms))
        ends = await consumer.end_offsets(partitions)
        return {tp: ends[tp] if found is None else found.offset for tp, found in at.items()}
