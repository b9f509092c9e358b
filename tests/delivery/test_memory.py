"""On Apache Kafka the shipped model with its memory gives the events of an undisturbed worker, whatever happens."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from benchmarks.storms.swaps import simulated
from stream.recordings.recording import RecordedMessage, read_recording
from tests.conftest import Kafka
from tests.delivery.processes.harness import Account, SecondGroup, Topics, WorkerProcess, wait_answered

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

LINES = 10
SECONDS = 8
PAUSE_S = 0.02
_numbers = itertools.count()


class Replay:
    """Sender of the messages of a recording, a few at a time."""

    def __init__(self, topics: Topics, messages: Sequence[RecordedMessage]) -> None:
        self._topic = topics.windows
        self._messages = iter(messages)
        self._producer = Producer(
            {"bootstrap.servers": topics.bootstrap, "enable.idempotence": True, "linger.ms": 5, "log_level": 0}
        )
        self.sent = 0

    def send(self, count: int) -> None:
        """Send the next messages, as far as there are any, and wait for the broker's acknowledgements."""
        for message in itertools.islice(self._messages, count):
            headers: Any = list(message.headers)
            self._producer.produce(self._topic, message.value, message.key, headers=headers)
            self.sent += 1
        left = self._producer.flush(120)
        assert left == 0, f"{left} messages are not sent"


@pytest.fixture(scope="module")
def messages(tmp_path_factory: pytest.TempPathFactory) -> list[RecordedMessage]:
    return list(read_recording(simulated(tmp_path_factory.mktemp("memory"), LINES, SECONDS, seed=7)))


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., WorkerProcess]]:
    """Start workers with the shipped model and end those that are left."""
    started: list[WorkerProcess] = []

    def start_one(topics: Topics, **environment: str) -> WorkerProcess:
        log = tmp_path / f"worker-{len(started)}.log"
        # Small batches, so that a worker that is killed has some behind it and some before it.
        settings = {"FAULTLINE_TEST_ENGINE": "shipped", "FAULTLINE_BATCH_WINDOWS": "128", **environment}
        started.append(WorkerProcess(topics, log, **settings))
        return started[-1]

    yield start_one
    for worker in started:
        worker.kill()


def check_same(found: Account, undisturbed: Account, messages: Sequence[RecordedMessage]) -> None:
    """Check that nothing is lost and that the events are those of the undisturbed worker, of which there are some."""
    for one in (found, undisturbed):
        assert len(one.sent) == len(messages)
        assert not one.lost, one.summary()
        assert not one.foreign
    assert undisturbed.repeated_events == 0
    assert {"onset", "clear"} <= {event["state"] for event in undisturbed.events}
    assert found.differs_from(undisturbed) == []


def test_kills_a_rebalance_and_a_broker_restart_change_no_event(
    kafka_server: Callable[..., Kafka], start: Callable[..., WorkerProcess], messages: list[RecordedMessage]
) -> None:
    broker = kafka_server()
    topics = Topics(broker.bootstrap, "memory").create()
    replay = Replay(topics, messages)
    # The events are published and the memories are not written; then memories are written and offsets not committed.
    for quarters, place in enumerate(("after-publish:6", "before-acknowledge:4"), start=1):
        worker = start(topics, FAULTLINE_TEST_DIE=place).wait_ready()
        # A slow worker dies of these messages, too, and half of the load is left for the rest of the test.
        while worker.alive and replay.sent < quarters * len(messages) / 4:
            replay.send(20)
            time.sleep(PAUSE_S)
        assert worker.wait_ended() == -9, "it died where the test wanted it to"

    pair = [start(topics), start(topics)]
    for worker in pair:
        worker.wait_ready()
    rest = len(messages) - replay.sent

    def send_rest() -> None:
        for _ in range(-(-rest // 20)):
            replay.send(20)
            time.sleep(PAUSE_S)

    sender = threading.Thread(target=send_rest)
    sender.start()
    time.sleep(0.5)
    broker.server.restart(kill=True)
    time.sleep(0.5)
    pair[0].kill()
    sender.join()
    found = wait_answered(topics)

    calm = SecondGroup(broker.bootstrap, "calm", of=topics).create_outputs()
    start(calm).wait_ready()
    check_same(found, wait_answered(calm), messages)


def test_workers_with_different_batch_sizes_publish_the_same_events(
    kafka: Kafka, start: Callable[..., WorkerProcess], messages: list[RecordedMessage]
) -> None:
    topics = Topics(kafka.bootstrap, f"sizes-{os.getpid()}-{next(_numbers)}").create()
    other = SecondGroup(kafka.bootstrap, f"{topics.prefix}-small", of=topics).create_outputs()
    Replay(topics, messages).send(len(messages))
    workers = [
        start(topics, FAULTLINE_BATCH_WINDOWS="4096"),
        start(other, FAULTLINE_BATCH_WINDOWS="7", FAULTLINE_MAX_POLL_RECORDS="3"),
    ]
    for worker in workers:
        worker.wait_ready()
    large, small = wait_answered(topics), wait_answered(other)
    assert (large.repeated, small.repeated) == (0, 0)
    check_same(small, large, messages)
