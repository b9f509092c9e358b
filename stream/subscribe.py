"""Read fault events: follow them as they are published, or find one event and the rest of its episode.

A feed follows one, several or all fault types, including topics that are created later.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from typing import Any, Self

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition

from stream.contract import EpisodeState, FaultEvent
from stream.detection.events import decode_event
from stream.errors import EventNotFoundError, SettingsError
from stream.kafka.admin import admin_client, describe_topics, partitions_of
from stream.kafka.clients import check_reachable, consumer_kwargs
from stream.kafka.errors import broker_errors
from stream.kafka.reading.reader import Fetched, PartitionReader, StartAt, TopicReader
from stream.kafka.reading.tolerant_parser import patch_aiokafka_parser
from stream.settings import Settings

log = structlog.get_logger(__name__)

REFRESH_S = 3.0
"""Interval of the search for new topics and partitions, short enough for a person who waits for one."""
POLL_MS = 500
MOST_LOOKED_THROUGH = 2_000_000
"""Maximum number of records of one look-up, about a minute of reading; with more records, search a shorter period."""
REMEMBERED_IDS = 10_000
"""Number of event ids kept for deduplication, those of hours: a change of type is on two topics under one id."""


def fault_topics(settings: Settings, types: Sequence[str]) -> frozenset[str] | None:
    """Return the topics of some fault types; without types return None, which stands for all topics.

    Raises:
        SettingsError: the spec does not have one of the types.
        SpecError: there is no such spec.
    """
    known = settings.fault_types if types else ()
    unknown = [name for name in types if name not in known]
    if unknown:
        raise SettingsError(f"no fault type {', '.join(unknown)}; there are {', '.join(known)} (of FAULTLINE_SPEC)")
    return frozenset(settings.topic_faults(name) for name in types) or None


@dataclass(frozen=True)
class EventFilter:
    """Filter of events by line and state; an empty collection matches all."""

    lines: Collection[str] = ()
    states: Collection[EpisodeState] = ()

    def wants(self, event: FaultEvent) -> bool:
        """Return True if an event matches the filter."""
        return (not self.lines or event.line in self.lines) and (not self.states or event.state in self.states)


@dataclass(frozen=True, slots=True)
class Received:
    """One event, its bytes and headers as received, and its position.

    Example: make ``stream.telemetry.tracing.read_context(received.headers)`` the parent of a subscriber's own span;
    this needs the extra otel.
    """

    event: FaultEvent
    value: bytes
    topic: str
    partition: int
    offset: int
    headers: Sequence[tuple[str, bytes | None]] = ()


class EventFeed:
    """Feed of the events of some topics; each event comes once.

    Without a group every partition is read from ``start``; a topic or partition that is created later is read from its
    beginning, so no event is missed. (aiokafka's own pattern subscription without a group forgets its positions when
    a topic appears.) With a group its members share the partitions, and ``commit`` stores their positions; ``start``
    then applies only to partitions without a committed offset.

    Example: ``async with EventFeed(settings, None, StartAt("latest")) as feed: async for received in feed: …``
    """

    def __init__(
        self, settings: Settings, topics: frozenset[str] | None, start: StartAt, *, group: str | None = None
    ) -> None:
        if group is not None and start.at_ms is not None:
            raise SettingsError(
                "--from with a time cannot be combined with --group: a group resumes at its committed offsets"
            )
        self._settings = settings
        self._topics = topics
        self._start = start
        self._group = group
        self._reader = PartitionReader(settings, poll_ms=POLL_MS, metadata_max_age_ms=int(REFRESH_S * 1000))
        """Reader that is used without a group."""
        self._refreshed_s = float("-inf")
        self._taken: dict[TopicPartition, int] = {}
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._resources = AsyncExitStack()
        self._consumer: Any = None
        """Consumer that is used with a group, since a reader cannot share partitions."""
        self._admin: Any = None
        self._embedded = False
        self.started = asyncio.Event()
        """Set once every event published from now on will be read."""

    async def __aenter__(self) -> Self:
        self._embedded = (await check_reachable(self._settings)).embedded
        try:
            with broker_errors(self._settings):
                if self._group is None:
                    self._admin = await self._resources.enter_async_context(admin_client(self._settings))
                    await self._resources.enter_async_context(self._reader)
                else:
                    await self._join(self._group)
        except BaseException:
            await self._resources.aclose()
            raise
        return self

    async def _join(self, group: str) -> None:
        patch_aiokafka_parser()
        self._consumer = AIOKafkaConsumer(
            **{
                **consumer_kwargs(self._settings, group=group),
                "auto_offset_reset": "earliest" if self._start.where == "earliest" else "latest",
                "metadata_max_age_ms": int(REFRESH_S * 1000),
            }
        )
        self._resources.push_async_callback(self._consumer.stop)
        if self._topics is not None:
            self._consumer.subscribe(topics=sorted(self._topics))
        else:
            self._consumer.subscribe(pattern=self._pattern)
        await self._consumer.start()

    async def __aexit__(self, *_: object) -> None:
        await self._resources.aclose()

    @property
    def _pattern(self) -> str:
        return "^" + re.escape(self._settings.topic_faults_prefix) + ".+"

    async def __aiter__(self) -> AsyncIterator[Received]:
        with broker_errors(self._settings):
            async for record in self._records():
                received = self._receive(record)
                if received is not None:
                    yield received
                self._taken[TopicPartition(record.topic, record.partition)] = record.offset + 1

    async def commit(self) -> None:
        """Commit the positions of the group after the events yielded so far."""
        if self._group is not None and self._taken:
            taken, self._taken = self._taken, {}
            await self._consumer.commit({tp: at for tp, at in taken.items() if tp in self._consumer.assignment()})

    def _receive(self, record: Any) -> Received | None:
        # The broker finds offsets by time per partition, and an embedded broker does not answer such a request.
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
        fetch = self._fetch if self._group is None else self._fetch_share
        while True:
            fetched = await fetch()
            # Partitions are merged by time within one fetch.
            for record in sorted((r for part in fetched.values() for r in part), key=lambda r: r.timestamp):
                yield record
            if fetched:
                await self.commit()

    async def _fetch_share(self) -> Fetched:
        """Fetch from the partitions that the group has assigned to this member."""
        self.started.set()
        if not self._consumer.assignment():
            await asyncio.sleep(POLL_MS / 1000)
            return {}
        fetched: Fetched = await self._consumer.getmany(timeout_ms=POLL_MS)
        return fetched

    # Without a group ----------------------------------------------------------------------------------------------

    async def _fetch(self) -> Fetched:
        """Fetch from all partitions, including new ones."""
        now_s = asyncio.get_running_loop().time()
        if now_s - self._refreshed_s >= REFRESH_S:
            await self._refresh()
            self._refreshed_s = now_s
        self.started.set()
        if not self._reader.positions:
            await asyncio.sleep(POLL_MS / 1000)
            return {}
        return await self._reader.fetch()

    async def _refresh(self) -> None:
        """Start reading new partitions."""
        there = await self._admin.list_topics()
        pattern = re.compile(self._pattern)
        wanted = [name for name in there if (name in self._topics if self._topics else pattern.match(name))]
        described = await describe_topics(self._admin, wanted) if wanted else {}
        new = set(partitions_of(described)) - set(self._reader.positions)
        if not new:
            if not self._reader.positions and not self.started.is_set():
                log.info("no-fault-topic-yet", then="a topic that appears later is read from its beginning")
            return
        # An embedded broker does not find offsets by time.
        all_of_it = self.started.is_set() or (self._embedded and self._start.at_ms is not None)
        start = StartAt("earliest") if all_of_it else self._start
        self._reader.assign(self._reader.positions | await self._reader.offsets(sorted(new), start))


async def find_episode(
    settings: Settings,
    event_id: str,
    *,
    since_s: float,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Received]:
    """Return the event with an id, followed by all others of its episode in order of detection.

    Args:
        settings: broker and topics.
        event_id: id as printed by ``faultline subscribe --json``; an episode's id is accepted as well.
        since_s: length of the searched period before now, by the records' timestamps. An embedded broker does not find
            offsets by time, so all records are read there.
        on_progress: called with the numbers of records read and of records to read.

    Raises:
        EventNotFoundError: there is no such event in the period.
        BrokerError: there is no connection, or no right to read.
    """
    start = StartAt("time", round((time.time() - since_s) * 1000))
    # The episode is only known once the event is found. Two passes avoid keeping all records in memory.
    found = [one async for one in _events_with(settings, event_id, start, on_progress)]
    wanted = [one for one in found if one.event.event_id == event_id]
    wanted = wanted or [one for one in found if one.event.episode_id == event_id]
    if not wanted:
        raise EventNotFoundError(
            f"no event {event_id} on {settings.topic_faults_prefix}* in the last {since_s / 86_400:g} days;"
            " `faultline subscribe --from earliest --json` prints their ids, --days looks back further"
        )
    first = wanted[0].event
    episode = [one async for one in _events_with(settings, first.episode_id, start, on_progress)]
    of_it = (one for one in episode if one.event.episode_id == first.episode_id and one.event != first)
    others = {one.event.event_id: one for one in of_it}
    return [wanted[0], *sorted(others.values(), key=lambda one: one.event.detection_ns)]


async def _events_with(
    settings: Settings, text: str, start: StartAt, on_progress: Callable[[int, int], None]
) -> AsyncGenerator[Received]:
    """Yield the events whose record contains ``text``; other records are not decoded."""
    wanted = text.encode()
    names = settings.fault_topics
    async with TopicReader(settings, names, start, optional=True) as reader:
        total, done = min(await reader.unread(), MOST_LOOKED_THROUGH), 0
        async with aclosing(reader.read_to_end()) as parts:
            async for fetched in parts:
                for record in itertools.chain(*fetched.values()):
                    done += 1
                    if wanted in (record.value or b"") and (event := decode_event(record.value)) is not None:
                        place = record.topic, record.partition, record.offset
                        yield Received(event, record.value, *place, record.headers)
                on_progress(min(done, total), total)
                if done >= MOST_LOOKED_THROUGH:
                    return
