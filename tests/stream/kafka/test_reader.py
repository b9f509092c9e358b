"""Readers without a group read exactly to the end, continue from there, and report what retention deleted."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from confluent_kafka import TopicPartition as Offset
from confluent_kafka.admin import AdminClient
from structlog.testing import capture_logs

from stream.errors import TopicError
from stream.kafka.clients import producer_kwargs
from stream.kafka.embedded import EmbeddedBroker
from stream.kafka.reading.reader import PartitionReader, StartAt, TopicReader, read_record
from stream.settings import Settings, load_settings
from tests.conftest import Kafka

FIRST, SECOND = TopicPartition("numbers", 0), TopicPartition("numbers", 1)


@pytest.fixture
async def settings(embedded_broker: EmbeddedBroker) -> Settings:
    """Create a topic whose partition 0 holds 0 to 4 and partition 1 holds 5 to 9."""
    made = load_settings(broker=embedded_broker.bootstrap)
    await send(made, range(5), partition=0)
    await send(made, range(5, 10), partition=1)
    return made


async def send(settings: Settings, numbers: range, partition: int, topic: str = "numbers") -> None:
    async with AIOKafkaProducer(**producer_kwargs(settings)) as producer:
        for number in numbers:
            await producer.send_and_wait(topic, str(number).encode(), partition=partition, timestamp_ms=1000 + number)


@pytest.fixture
async def reader(settings: Settings) -> AsyncIterator[PartitionReader]:
    async with PartitionReader(settings) as made:
        yield made


async def rest(reader: PartitionReader) -> list[int]:
    return [int(one.value) async for fetched in reader.read_to_end() for part in fetched.values() for one in part]


async def test_reading_to_the_end_gives_every_record_once_and_stands_at_the_end(reader: PartitionReader) -> None:
    reader.assign(await reader.offsets([FIRST, SECOND], StartAt("earliest")))
    assert await reader.unread() == 10
    assert sorted(await rest(reader)) == list(range(10))
    assert reader.positions == {FIRST: 5, SECOND: 5}
    assert await reader.unread() == 0
    assert await rest(reader) == []


async def test_what_comes_while_reading_is_left_for_the_next_time(settings: Settings, reader: PartitionReader) -> None:
    reader.assign({FIRST: 0, SECOND: 5})
    read: list[int] = []
    async for fetched in reader.read_to_end():
        if not read:
            await send(settings, range(20, 23), partition=0)
            await send(settings, range(30, 33), partition=1)
        read += [int(record.value) for part in fetched.values() for record in part]
    assert read == [0, 1, 2, 3, 4]
    assert sorted(await rest(reader)) == [20, 21, 22, 30, 31, 32]


async def test_a_reader_that_was_closed_goes_on_where_it_ended(settings: Settings, reader: PartitionReader) -> None:
    reader.assign({FIRST: 3})
    assert await rest(reader) == [3, 4]
    await reader.close()
    await send(settings, range(20, 22), partition=0)
    await reader.start()
    assert await rest(reader) == [20, 21]


async def test_a_reader_takes_up_other_partitions_after_it_released_its_own(reader: PartitionReader) -> None:
    reader.assign({FIRST: 0})
    await rest(reader)
    reader.release()
    assert await rest(reader) == []
    reader.assign({SECOND: 3})
    assert await rest(reader) == [8, 9]


async def test_a_position_beyond_the_end_begins_again_and_counts_as_no_deletion(reader: PartitionReader) -> None:
    reader.assign({FIRST: 99})
    with capture_logs() as logs:
        assert await reader.fetch() == {}
    assert [entry["event"] for entry in logs] == ["read-from-the-beginning"]
    assert (reader.deleted, reader.positions) == (0, {FIRST: 0})


async def test_one_record_is_read_at_its_place_and_none_where_there_is_none(settings: Settings) -> None:
    found = await read_record(settings, "numbers", 1, 2)
    assert found is not None
    assert found.value == b"7"
    for partition, offset in ((1, 5), (1, -1), (9, 0)):
        assert await read_record(settings, "numbers", partition, offset) is None


async def test_optional_topics_that_are_missing_are_left_out(settings: Settings) -> None:
    async with TopicReader(settings, ["nobodys", "nothing.*", "numbers"], StartAt("earliest"), optional=True) as reader:
        assert reader.topics == ("numbers",)
        assert sorted(await rest(reader)) == list(range(10))
    async with TopicReader(settings, ["nobodys"], StartAt("earliest"), optional=True) as reader:
        assert (await reader.unread(), await rest(reader)) == (0, [])
    with pytest.raises(TopicError, match="no topic matches"):
        async with TopicReader(settings, ["nothing.*"], StartAt("earliest")):
            pass


@pytest.mark.kafka
async def test_what_retention_deleted_is_counted_and_logged(kafka: Kafka) -> None:
    settings = load_settings(broker=kafka.bootstrap)
    topic = "deleted-numbers"
    kafka.create_topic(topic, 1)
    await send(settings, range(10), partition=0, topic=topic)
    async with PartitionReader(settings) as reader:
        place = TopicPartition(topic, 0)
        reader.assign({place: 2})
        client = AdminClient({"bootstrap.servers": kafka.bootstrap})
        for future in client.delete_records([Offset(topic, 0, 7)]).values():
            future.result(20)
        with capture_logs() as logs:
            assert await rest(reader) == [7, 8, 9]
        assert reader.deleted == 5
        assert [(entry["event"], entry["records"]) for entry in logs] == [("deleted-before-read", 5)]
    assert await read_record(settings, topic, 0, 3) is None
