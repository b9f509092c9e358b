"""Read fault events: follow them as they are published, or find one and the others of its episode.

What is followed is one type, some, or all; topics that appear later are included.
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
"""New topics and partitions are looked for this often: soon enough for a person who waits for one."""
POLL_MS = 500
MOST_LOOKED_THROUGH = 2_000_000
"""Records of one look-up: a minute of reading. Whoever has more gives a shorter time."""
REMEMBERED_IDS = 10_000
"""A change of type is published on two topics under one id, within one batch of a worker; hours of events."""


def fault_topics(settings: Settings, types: Sequence[str]) -> frozenset[str] | None:
    """Return the topics of some fault types; None, for all there are, without types.

    Raises:
        SettingsError: a type that the spec does not have.
        SpecError: there is no such spec.
    """
    known = settings.fault_types if types else ()
    unknown = [name for name in types if name not in known]
    if unknown:
        raise SettingsError(f"no fault type {', '.join(unknown)}; there are {', '.join(known)} (of FAULTLINE_SPEC)")
    return frozenset(settings.topic_faults(name) for name in types) or None


@dataclass(frozen=True)
class EventFilter:
    """A choice of events; an empty choice is all."""

    lines: Collection[str] = ()
    states: Collection[EpisodeState] = ()

    def wants(self, event: FaultEvent) -> bool:
        """Return True if an event is of a chosen line and state."""
        return (not self.lines or event.line in self.lines) and (not self.states or event.state in self.states)


@dataclass(frozen=True, slots=True)
class Received:
    """One event, the bytes and headers it came in, and where it stood.

    Example: a subscriber's own span goes below
    ``stream.telemetry.tracing.read_context(received.headers)``, which needs the extra otel.
    """

    event: FaultEvent
    value: bytes
    topic: str
    partition: int
    offset: int
    headers: Sequence[tuple[str, bytes | None]] = ()


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
        self._reader = PartitionReader(settings, poll_ms=POLL_MS, metadata_max_age_ms=int(REFRESH_S * 1000))
        """Without a group."""
        self._refreshed_s = float("-inf")
        self._taken: dict[TopicPartition, int] = {}
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._resources = AsyncExitStack()
        self._consumer: Any = None
        """With a group; it shares partitions, which no reader does."""
        self._admin: Any = None
        self._embedded = False
        self.started = asyncio.Event()
        """Set when every event published from now on will be seen."""

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
        fetch = self._fetch if self._group is None else self._fetch_share
        while True:
            fetched = await fetch()
            # Partitions are merged by time, as far as one fetch goes.
            for record in sorted((r for part in fetched.values() for r in part), key=lambda r: r.timestamp):
                yield record
            if fetched:
                await self.commit()

    async def _fetch_share(self) -> Fetched:
        """Fetch the group's share of this member."""
        self.started.set()
        if not self._consumer.assignment():
            await asyncio.sleep(POLL_MS / 1000)
            return {}
        fetched: Fetched = await self._consumer.getmany(timeout_ms=POLL_MS)
        return fetched

    # Without a group ----------------------------------------------------------------------------------------------

    async def _fetch(self) -> Fetched:
        """Fetch from all partitions, those that have appeared included."""
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
        """Read partitions that have appeared."""
        there = await self._admin.list_topics()
        pattern = re.compile(self._pattern)
        wanted = [name for name in there if (name in self._topics if self._topics else pattern.match(name))]
        described = await describe_topics(self._admin, wanted) if wanted else {}
        new = set(partitions_of(described)) - set(self._reader.positions)
        if not new:
            if not self._reader.positions and not self.started.is_set():
                log.info("no-fault-topic-yet", then="it is read from its beginning when it appears")
            return
        # An embedded broker looks up no times.
        all_of_it = self.started.is_set() or (self._embedded and self._start.at_ms is not None)
        start = StartAt("earliest") if all_of_it else self._start
        self._reader.assign(self._reader.positions | await self._reader.offsets(sorted(new), start))


async def find_episode(
    settings: Settings,
    event_id: str,
    *,
    since_s: float,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[FaultEvent]:
    """Return the event with that id, first, and all others of its episode by time of detection.

    Args:
        settings: broker and topics.
        event_id: as ``faultline subscribe --json`` prints it; an episode's id will do as well.
        since_s: how far to look back, by the time of the records; an embedded broker looks up no times, so that all
            is read there.
        on_progress: called with the numbers of records read and of records to read.

    Raises:
        EventNotFoundError: no such event in that time.
        BrokerError: no connection, or no right to read.
    """
    start = StartAt("time", round((time.time() - since_s) * 1000))
    # Where the event is not known, neither is its episode: two passes need no memory for all that lies between.
    found = [event async for event in _events_with(settings, event_id, start, on_progress)]
    wanted = [e for e in found if e.event_id == event_id] or [e for e in found if e.episode_id == event_id]
    if not wanted:
        raise EventNotFoundError(
            f"no event {event_id} on {settings.topic_faults_prefix}* in the last {since_s / 86_400:g} days;"
            " `faultline subscribe --from earliest --json` prints their ids, --days looks back further"
        )
    episode = [event async for event in _events_with(settings, wanted[0].episode_id, start, on_progress)]
    others = {e.event_id: e for e in episode if e.episode_id == wanted[0].episode_id and e != wanted[0]}
    return [wanted[0], *sorted(others.values(), key=lambda event: event.detection_ns)]


async def _events_with(
    settings: Settings, text: str, start: StartAt, on_progress: Callable[[int, int], None]
) -> AsyncGenerator[FaultEvent]:
    """Yield the events whose record holds ``text``, found without decoding the others."""
    wanted = text.encode()
    names = settings.fault_topics
    async with TopicReader(settings, names, start, optional=True) as reader:
        total, done = min(await reader.unread(), MOST_LOOKED_THROUGH), 0
        async with aclosing(reader.read_to_end()) as parts:
            async for fetched in parts:
                for record in itertools.chain(*fetched.values()):
                    done += 1
                    if wanted in (record.value or b"") and (event := decode_event(record.value)) is not None:
                        yield event
                on_progress(min(done, total), total)
                if done >= MOST_LOOKED_THROUGH:
                    return
