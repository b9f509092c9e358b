"""Subscribers receive every event once, whatever happens on the topics."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from domains.powerline.events import PowerLineFaultEvent
from stream.contract import EpisodeState, FaultEvent, SourceRecord
from stream.detection.events import decode_event
from stream.errors import SettingsError
from stream.kafka.clients import producer_kwargs
from stream.kafka.embedded import EmbeddedBroker
from stream.kafka.reading.reader import StartAt, parse_start
from stream.settings import Settings, load_settings
from stream.subscribe import EventFeed, EventFilter, fault_topics
from stream.telemetry.tracing import read_context, trace_headers
from tests.stream.telemetry.contexts import GATEWAY


def event(event_id: str, *, line: str = "l", state: EpisodeState = "onset") -> FaultEvent:
    return PowerLineFaultEvent(
        event_id=event_id,
        episode_id="e",
        line=line,
        state=state,
        fault_class="AG",
        fault_type="lg",
        phases="A",
        ground=True,
        ground_probability=0.9,
        confidence=0.9,
        probabilities={"AG": 0.9},
        inception_ns=1,
        detection_ns=2,
        spec="line",
        model_id="m",
        sequence=1,
        source=SourceRecord(topic="sensor-windows", partition=0, offset=0),
    )


@pytest.fixture
def settings(embedded_broker: EmbeddedBroker) -> Settings:
    return load_settings(broker=embedded_broker.bootstrap)


@pytest.fixture
async def producer(settings: Settings) -> AsyncIterator[AIOKafkaProducer]:
    async with AIOKafkaProducer(**producer_kwargs(settings)) as started:
        yield started


async def publish(producer: AIOKafkaProducer, topic: str, event_id: str, timestamp_ms: int | None = None) -> None:
    await producer.send_and_wait(
        topic, event(event_id).model_dump_json().encode(), key=event_id.encode(), timestamp_ms=timestamp_ms
    )


async def take(feed: EventFeed, count: int) -> list[str]:
    found: list[str] = []
    async with asyncio.timeout(20):
        async for received in feed:
            found.append(received.event.event_id)
            if len(found) == count:
                break
    return found


async def test_all_types_from_the_earliest_each_event_once(settings: Settings, producer: AIOKafkaProducer) -> None:
    for topic, event_id in (("faults.lg", "1"), ("faults.llg", "2"), ("faults.lg", "2"), ("faults.lll", "3")):
        await publish(producer, topic, event_id)
    await publish(producer, "faultless", "other")
    async with EventFeed(settings, None, StartAt("earliest")) as feed:
        assert sorted(await take(feed, 3)) == ["1", "2", "3"]


async def test_a_subscriber_sees_the_trace_that_an_event_carries(
    settings: Settings, producer: AIOKafkaProducer
) -> None:
    await producer.send_and_wait("faults.lg", event("1").model_dump_json().encode(), headers=trace_headers(GATEWAY))
    async with EventFeed(settings, None, StartAt("earliest")) as feed, asyncio.timeout(20):
        async for received in feed:
            assert read_context(received.headers) == GATEWAY
            break


async def test_one_type_is_only_that_type(settings: Settings, producer: AIOKafkaProducer) -> None:
    await publish(producer, "faults.ll", "no")
    await publish(producer, "faults.lg", "yes")
    await publish(producer, "faults.lg", "again")
    async with EventFeed(settings, fault_topics(settings, ["lg"]), StartAt("earliest")) as feed:
        assert sorted(await take(feed, 2)) == ["again", "yes"]


async def test_latest_sees_only_what_comes_after(settings: Settings, producer: AIOKafkaProducer) -> None:
    await publish(producer, "faults.lg", "before")
    async with EventFeed(settings, None, StartAt("latest")) as feed:
        taking = asyncio.create_task(take(feed, 1))
        await feed.started.wait()
        await publish(producer, "faults.lg", "after")
        assert await taking == ["after"]


async def test_a_topic_that_appears_later_is_read_from_its_beginning_and_others_go_on(
    settings: Settings, producer: AIOKafkaProducer
) -> None:
    await publish(producer, "faults.lg", "before")
    async with EventFeed(settings, None, StartAt("latest")) as feed:
        taking = asyncio.create_task(take(feed, 3))
        await feed.started.wait()
        await publish(producer, "faults.lg", "a")
        await publish(producer, "faults.lllg", "b")
        await publish(producer, "faults.lg", "c")
        assert sorted(await taking) == ["a", "b", "c"]


async def test_a_time_leaves_out_what_is_older(settings: Settings, producer: AIOKafkaProducer) -> None:
    for at_s in (100, 200, 300):
        await publish(producer, "faults.lg", str(at_s), timestamp_ms=at_s * 1000)
    async with EventFeed(settings, None, StartAt("time", 200_000)) as feed:
        assert sorted(await take(feed, 2)) == ["200", "300"]


async def test_what_is_no_event_is_passed_over(settings: Settings, producer: AIOKafkaProducer) -> None:
    await producer.send_and_wait("faults.lg", b"not json", partition=0)
    await producer.send_and_wait("faults.lg", None, key=b"tombstone", partition=0)
    await producer.send_and_wait("faults.lg", event("good").model_dump_json().encode(), partition=0)
    async with EventFeed(settings, None, StartAt("earliest")) as feed:
        assert await take(feed, 1) == ["good"]


@pytest.mark.slow
async def test_a_group_goes_on_after_what_it_committed(settings: Settings, producer: AIOKafkaProducer) -> None:
    for number in range(4):
        await producer.send_and_wait("faults.lg", event(str(number)).model_dump_json().encode(), partition=0)
    topics = fault_topics(settings, ["lg"])
    async with EventFeed(settings, topics, StartAt("earliest"), group="g") as feed:
        stream = aiter(feed)
        first = [(await anext(stream)).event.event_id for _ in range(3)]
        await feed.commit()
    async with EventFeed(settings, topics, StartAt("earliest"), group="g") as feed:
        second = await take(feed, 2)
    # The third was delivered but not yet processed when the first member ended.
    assert (first, second) == (["0", "1", "2"], ["2", "3"])


@pytest.mark.kafka
async def test_a_time_is_looked_up_per_partition_on_kafka(kafka: Any) -> None:
    settings = load_settings(broker=kafka.bootstrap, topic_faults_prefix=f"{kafka.new_topic('at')}.")
    topic = settings.topic_faults("lg")
    kafka.create_topic(topic, partitions=2)
    now_ms = time.time_ns() // 10**6
    async with AIOKafkaProducer(**producer_kwargs(settings)) as producer:
        for number in range(6):
            at_ms = now_ms - 60_000 + number * 10_000
            await producer.send_and_wait(
                topic, event(str(number)).model_dump_json().encode(), partition=number % 2, timestamp_ms=at_ms
            )
    async with EventFeed(settings, None, StartAt("time", now_ms - 30_000)) as feed:
        assert sorted(await take(feed, 3)) == ["3", "4", "5"]


def test_an_event_with_fields_of_a_newer_worker_is_understood() -> None:
    value = event("1").model_dump_json().encode()
    assert decode_event(value[:-1] + b',"colour":"blue"}') == event("1")
    assert decode_event(b"[]") is None
    assert decode_event(b"{}") is None
    assert decode_event(None) is None


def test_a_filter_wants_chosen_lines_and_states() -> None:
    chosen = EventFilter(lines={"a"}, states={"onset"})
    assert chosen.wants(event("1", line="a"))
    assert not chosen.wants(event("1", line="b"))
    assert not chosen.wants(event("1", line="a", state="clear"))
    assert EventFilter().wants(event("1"))


def test_an_unknown_type_names_those_there_are() -> None:
    with pytest.raises(SettingsError, match="no fault type xyz; there are lg, ll, llg, lll, lllg "):
        fault_topics(load_settings(), ["lg", "xyz"])


@pytest.mark.parametrize("text", ["yesterday", "", "2026-13-01"])
def test_a_start_that_is_no_time_says_what_is_one(text: str) -> None:
    with pytest.raises(SettingsError, match="earliest, latest or an ISO time"):
        parse_start(text)


def test_a_group_cannot_start_at_a_time() -> None:
    with pytest.raises(SettingsError, match="combined with --group"):
        EventFeed(load_settings(), None, StartAt("time", 1), group="g")
