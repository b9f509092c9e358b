"""Looks back through the fault topics for one event and the other events of its episode."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from aiokafka import AIOKafkaConsumer, TopicPartition

from stream.contract import FAULT_TYPES, FaultEvent
from stream.errors import EventNotFoundError
from stream.kafka.admin import admin_client, describe_topics
from stream.kafka.clients import consumer_kwargs
from stream.settings import Settings
from stream.subscribe import decode_event

POLL_MS = 500
MOST_RECORDS = 2_000_000  # a minute of reading; whoever has more says since when

Told = Callable[[int, int], None]


async def find_episode(
    settings: Settings, event_id: str, *, since_s: float, embedded: bool, told: Told = lambda done, total: None
) -> list[FaultEvent]:
    """Return the event with that id, first, and all others of its episode by time of detection.

    Args:
        settings: broker and topics.
        event_id: as ``faultline subscribe --json`` prints it; an episode's id will do as well.
        since_s: how far to look back, by the time of the records.
        embedded: an embedded broker looks up no times: all is read there.
        told: called with records read and records there are.

    Raises:
        EventNotFoundError: no such event in that time.
        BrokerError: no connection, or no right to read.
    """
    begin_ms = None if embedded else round((time.time() - since_s) * 1000)
    # Where the event is not known, neither is its episode: two passes need no memory for all that lies between.
    found = [event async for event in _with_text(settings, event_id, begin_ms, told)]
    wanted = [e for e in found if e.event_id == event_id] or [e for e in found if e.episode_id == event_id]
    if not wanted:
        raise EventNotFoundError(
            f"no event {event_id} on {settings.topic_faults_prefix}* in the last {since_s / 86_400:g} days;"
            " `faultline subscribe --from earliest --json` prints their ids, --days looks back further"
        )
    episode = [event async for event in _with_text(settings, wanted[0].episode_id, begin_ms, told)]
    others = {e.event_id: e for e in episode if e.episode_id == wanted[0].episode_id and e != wanted[0]}
    return [wanted[0], *sorted(others.values(), key=lambda event: event.detection_ns)]


async def _with_text(settings: Settings, text: str, begin_ms: int | None, told: Told) -> AsyncGenerator[FaultEvent]:
    """Events whose record holds ``text``, found without decoding the others."""
    wanted = text.encode()
    async with aclosing(_values(settings, begin_ms, told)) as values:
        async for value in values:
            if wanted in value and (event := decode_event(value)) is not None:
                yield event


async def _values(settings: Settings, begin_ms: int | None, told: Told) -> AsyncGenerator[bytes]:
    """Values of all fault topics from a time on, up to what is there now."""
    async with AIOKafkaConsumer(**consumer_kwargs(settings)) as consumer:
        partitions = await _partitions(settings)
        if not partitions:
            return
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        places = dict(await consumer.beginning_offsets(partitions))
        if begin_ms is not None:
            for partition, at in (await consumer.offsets_for_times(dict.fromkeys(partitions, begin_ms))).items():
                places[partition] = ends[partition] if at is None else at.offset
        for partition, place in places.items():
            consumer.seek(partition, place)
        total, done = min(sum(ends[p] - places[p] for p in partitions), MOST_RECORDS), 0
        unread = {p for p in partitions if places[p] < ends[p]}
        while unread and done < MOST_RECORDS:
            for records in (await consumer.getmany(*unread, timeout_ms=POLL_MS)).values():
                done += len(records)
                for record in records:
                    if record.value is not None:
                        yield record.value
            told(min(done, total), total)
            # Offsets have gaps: what counts is how far the consumer is.
            unread = {p for p in unread if await consumer.position(p) < ends[p]}


async def _partitions(settings: Settings) -> list[TopicPartition]:
    names = [settings.topic_faults(kind) for kind in FAULT_TYPES]
    async with admin_client(settings) as admin:
        described = await describe_topics(admin, names)
    return sorted(TopicPartition(name, p["partition"]) for name in names for p in described[name]["partitions"])
