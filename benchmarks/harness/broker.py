"""The broker of a benchmark: topics, committed offsets, records and their append times."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec
from numpy.typing import NDArray

from benchmarks.contenders.faultline_worker import fault_topics
from benchmarks.kafka.server import KafkaServer
from model.errors import FaultlineError

TIMEOUT_S = 30.0
PROPERTIES = {
    # Records carry the broker's time of appending, in all topics.
    "log.message.timestamp.type": "LogAppendTime",
    "auto.create.topics.enable": "false",
}


class BenchError(FaultlineError):
    """A run of a benchmark failed and has no figures."""


def new_server(folder: Path) -> KafkaServer:
    """Return an Apache Kafka server whose records carry the time at which they were appended."""
    return KafkaServer(folder, properties=PROPERTIES)


@dataclass(frozen=True)
class Appended:
    """Output records: position of the input record that each one answers, and its append time (Unix ms)."""

    partition: NDArray[np.int64]
    offset: NDArray[np.int64]
    appended_ms: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offset)


class Broker:
    """Administration client of one broker."""

    def __init__(self, bootstrap: str) -> None:
        """Create the client; ``bootstrap`` is the broker's address."""
        self.bootstrap = bootstrap
        self._admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})

    def create(self, name: str, partitions: int, *, compacted: bool = False) -> None:
        """Create a topic, and wait until its partitions have leaders."""
        config = {"cleanup.policy": "compact"} if compacted else {}
        self._admin.create_topics([NewTopic(name, partitions, 1, config=config)])[name].result(TIMEOUT_S)
        end = time.monotonic() + TIMEOUT_S
        while time.monotonic() < end:
            seen = self._admin.list_topics(name, timeout=TIMEOUT_S).topics[name].partitions
            if len(seen) == partitions and all(one.leader >= 0 for one in seen.values()):
                return
            time.sleep(0.02)
        raise BenchError(f"the topic {name} has no leaders after {TIMEOUT_S:.0f} s: read the broker's log")

    def create_outputs(self, output_topic: str, partitions: int, *, ours: bool) -> list[str]:
        """Create the output topics of a contender, and return those that hold answers or events."""
        self.create(output_topic, partitions)
        if not ours:
            return [output_topic]
        self.create(f"{output_topic}.dlq", partitions)
        self.create(f"{output_topic}.states", partitions, compacted=True)
        self.create(f"{output_topic}.models", 1, compacted=True)
        for name in fault_topics(output_topic):
            self.create(name, partitions)
        return [output_topic, *fault_topics(output_topic)]

    def delete(self, names: Iterable[str]) -> None:
        """Delete topics, so that records of one run do not fill the disk of the next."""
        for future in self._admin.delete_topics(list(names)).values():
            future.result(TIMEOUT_S)

    def ends(self, topic: str, partitions: int) -> int:
        """Return the number of records appended to a topic, over all partitions."""
        wanted = {TopicPartition(topic, number): OffsetSpec.latest() for number in range(partitions)}
        futures = self._admin.list_offsets(wanted).values()
        return sum(int(future.result(TIMEOUT_S).offset) for future in futures)

    def committed(self, group: str, topic: str, partitions: int) -> int:
        """Return the number of a topic's records that a group has committed, over all partitions."""
        request = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, number) for number in range(partitions)])
        try:
            answer = self._admin.list_consumer_group_offsets([request])[group].result(TIMEOUT_S)
        except KafkaException:
            return 0  # the group does not exist yet, or its coordinator is moving
        return sum(max(0, one.offset) for one in answer.topic_partitions)

    def read(self, topics: Iterable[str]) -> list[Any]:
        """Read all records of some topics up to their present ends."""
        consumer = Consumer(
            {
                "bootstrap.servers": self.bootstrap,
                "group.id": "bench-account",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 20,
                "log_level": 0,
            }
        )
        try:
            partitions = [
                TopicPartition(name, number, 0)
                for name in topics
                for number in consumer.list_topics(name, timeout=TIMEOUT_S).topics[name].partitions
            ]
            consumer.assign(partitions)
            unread = {(partition.topic, partition.partition) for partition in partitions}
            records: list[Any] = []
            last_s = time.monotonic()
            while unread:
                for record in consumer.consume(5000, 0.1):
                    last_s = time.monotonic()
                    if record.error() is None:
                        records.append(record)
                    elif record.error().name() == "_PARTITION_EOF":
                        unread.discard((record.topic(), record.partition()))
                if time.monotonic() - last_s > TIMEOUT_S:
                    missing = ", ".join(f"{topic} [{number}]" for topic, number in sorted(unread))
                    raise BenchError(f"{missing} cannot be read to the end: read the broker's log")
            return records
        finally:
            consumer.close()

    def appended(self, topics: Iterable[str]) -> Appended:
        """Read the output records of some topics with their append times."""
        places, times = [], []
        for record in self.read(topics):
            source = _source(record.value())
            places.append((source["partition"], source["offset"]))
            times.append(record.timestamp()[1])
        table = np.array(places, np.int64).reshape(-1, 2)
        return Appended(table[:, 0], table[:, 1], np.array(times, np.int64))

    def append_times(self, topic: str, partitions: int) -> list[NDArray[np.int64]]:
        """Read the append times of a topic's records (Unix ms), by partition and offset."""
        times: list[dict[int, int]] = [{} for _ in range(partitions)]
        for record in self.read([topic]):
            times[record.partition()][record.offset()] = record.timestamp()[1]
        return [np.array([found[offset] for offset in sorted(found)], np.int64) for found in times]


def _source(value: bytes) -> dict[str, int]:
    body = json.loads(value) if value[:1] == b"{" else msgspec.msgpack.decode(value)
    source: dict[str, int] = body["source"]
    return source
