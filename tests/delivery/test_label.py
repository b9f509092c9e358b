"""``faultline label`` on Apache Kafka: events are looked up by time, over several partitions."""

from __future__ import annotations

import asyncio
import time

import pytest
from aiokafka import AIOKafkaProducer

from model.spec import load_spec
from stream.errors import EventNotFoundError, TopicError
from stream.kafka.clients import producer_kwargs
from stream.settings import Settings, load_settings
from tests.conftest import Kafka
from tests.faultline.cli.test_label_command import CLEAR, ONSET, OTHER, labels
from training.sidecar.label_client import OperatorLabel, label_event

DAY_MS = 86_400_000


@pytest.fixture
def settings(kafka: Kafka) -> Settings:
    """Return fault topics of this test alone; there is no topic of labels yet."""
    prefix = kafka.new_topic("faults") + "."
    for kind in load_spec("line").fault_types:
        kafka.create_topic(prefix + kind, partitions=3)
    return load_settings(broker=kafka.bootstrap, topic_faults_prefix=prefix, topic_labels=prefix + "labels")


def publish(settings: Settings, days_ago: float) -> None:
    at_ms = round(time.time() * 1000 - days_ago * DAY_MS)

    async def send() -> None:
        async with AIOKafkaProducer(**producer_kwargs(settings)) as producer:
            for number in range(200):  # of other lines, before and after
                for event in (OTHER, ONSET, CLEAR) if number == 100 else (OTHER,):
                    line = f"{event.line}-{number}"
                    value = event.model_copy(update={"line": line}).model_dump_json().encode()
                    topic = settings.topic_faults(event.fault_type)
                    await producer.send(topic, value, line.encode(), timestamp_ms=at_ms)
            await producer.flush()

    asyncio.run(send())


@pytest.mark.kafka
def test_an_event_is_found_by_time_and_its_label_published(kafka: Kafka, settings: Settings) -> None:
    publish(settings, days_ago=10)
    with pytest.raises(TopicError, match="faultline topics create"):
        asyncio.run(label_event(settings, "event-1", OperatorLabel("none"), days=30))
    kafka.create_topic(settings.topic_labels, partitions=3)
    with pytest.raises(EventNotFoundError, match="in the last 5 days"):
        asyncio.run(label_event(settings, "event-1", OperatorLabel("none"), days=5))
    asyncio.run(label_event(settings, "event-1", OperatorLabel("none"), days=30))
    ((key, label),) = labels(settings)
    assert (key, label.line, label.event_id) == ("feeder-7-100", "feeder-7-100", "event-1")
    assert label.last_ns == ONSET.inception_ns + 100_000_000 - 1
