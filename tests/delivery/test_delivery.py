"""On Apache Kafka no record is lost, and a repeated event has the id of its first, whatever happens to the worker."""

from __future__ import annotations

import itertools
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AclOperation, ResourcePatternType, ResourceType

from benchmarks.kafka.properties import Security
from tests.conftest import Kafka
from tests.delivery.processes.harness import Load, Topics, WorkerProcess, wait_answered, wait_until
from tests.delivery.processes.marked import share
from tests.kafka_acls import grant

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

_numbers = itertools.count()


@pytest.fixture
def topics(kafka: Kafka) -> Topics:
    return Topics(kafka.bootstrap, f"delivery-{os.getpid()}-{next(_numbers)}").create()


@pytest.fixture
def start(topics: Topics, tmp_path: Path) -> Iterator[Callable[..., WorkerProcess]]:
    """Start workers on the test's topics and end those that are left."""
    started: list[WorkerProcess] = []

    def start_one(**environment: str) -> WorkerProcess:
        worker = WorkerProcess(topics, tmp_path / f"worker-{len(started)}.log", **environment)
        started.append(worker)
        return worker

    yield start_one
    for worker in started:
        worker.kill()


@dataclass
class Shadow(Topics):
    """Topics of a second group: the windows and the states are those of the first."""

    of: Topics = field(kw_only=True)

    @property
    def windows(self) -> str:
        return self.of.windows

    @property
    def states(self) -> str:
        return self.of.states

    @property
    def outputs(self) -> list[str]:
        return [self.classes, self.dead_letters, *self.faults]


def check_nothing_lost(topics: Topics, load: Load, deadline_s: float = 60.0) -> str:
    """Check that every record is answered or dead-lettered, every step published, and that repeats keep their ids."""
    found = wait_answered(topics, deadline_s)
    print(found.summary())
    assert not found.lost, found.summary()
    assert not found.foreign
    assert found.steps() == load.expected_steps()
    assert found.same_step_has_same_id()
    for event in found.events:
        if event["state"] == "onset":
            assert event["confidence"] == pytest.approx(confidence_of(event["sequence"]), abs=2e-6), event
    return found.summary()


def confidence_of(sequence: int) -> float:
    """Return the confidence of an onset whose line has been followed from its first window, without a break."""
    return sum(share(before) for before in range(sequence - 2, sequence + 1)) / 3


def test_ten_kills_under_load_lose_nothing_and_repeats_keep_their_ids(
    topics: Topics, start: Callable[..., WorkerProcess]
) -> None:
    load = Load(topics)
    chance = random.Random(2026)
    for round_ in range(10):
        if round_ % 2:
            place = ("after-publish", "before-acknowledge", "before-publish")[round_ // 2 % 3]
            worker = start(FAULTLINE_TEST_DIE=f"{place}:{chance.randint(3, 8)}")
            while worker.alive:
                load.send(1)
                time.sleep(0.01)
            assert worker.wait_ended() == -9, "it died where the test wanted it to"
        else:
            worker = start().wait_ready()
            for _ in range(20):
                load.send(1)
            time.sleep(chance.uniform(0.0, 0.4))
            worker.kill()
    load.send(30)
    start().wait_ready()
    check_nothing_lost(topics, load)


def test_a_sigterm_in_mid_batch_finishes_it_and_leaves_no_duplicate(
    topics: Topics, start: Callable[..., WorkerProcess]
) -> None:
    load = Load(topics)
    for _ in range(3):
        # Every call of the engine takes a while, so that the signal finds batches in every stage.
        worker = start(FAULTLINE_TEST_DELAY_S="0.2").wait_ready()
        load.send(20)
        assert worker.terminate() == 0
    start().wait_ready()
    found = wait_answered(topics)
    assert not found.lost
    assert (found.repeated, found.repeated_events) == (0, 0), found.summary()
    assert found.steps() == load.expected_steps()


def test_a_raising_engine_ends_the_worker_and_commits_nothing_of_its_batch(
    topics: Topics, start: Callable[..., WorkerProcess]
) -> None:
    load = Load(topics)
    for _ in range(3):
        worker = start(FAULTLINE_TEST_RAISE_AT="4").wait_ready()
        while worker.alive:
            load.send(2)
            time.sleep(0.02)
        assert worker.wait_ended() == 1
        assert "the engine raises, as the test asked" in worker.log.read_text()
    start().wait_ready()
    check_nothing_lost(topics, load)


def test_a_second_worker_joins_and_leaves_under_load(topics: Topics, start: Callable[..., WorkerProcess]) -> None:
    load = Load(topics)
    running = threading.Event()

    def keep_sending() -> None:
        while not running.is_set():
            load.send(1)
            time.sleep(0.02)

    sender = threading.Thread(target=keep_sending)
    start().wait_ready()
    sender.start()
    try:
        for leave in ("terminate", "kill", "terminate"):
            second = start().wait_ready()
            time.sleep(2.0)
            getattr(second, leave)()
    finally:
        running.set()
        sender.join()
    check_nothing_lost(topics, load)


def test_a_worker_whose_loop_stands_still_loses_its_partitions(
    topics: Topics, start: Callable[..., WorkerProcess]
) -> None:
    load = Load(topics)
    # This number of windows is small enough to be classified in the event loop. Only a blocked loop may end membership.
    hung = start(
        FAULTLINE_TEST_DELAY_S="600", FAULTLINE_STUCK_TIMEOUT_S="600", FAULTLINE_REBALANCE_TIMEOUT_S="600"
    ).wait_ready()
    load.send(1)
    start().wait_ready()
    load.send(20)
    check_nothing_lost(topics, load)
    assert hung.alive


def state_is_written(topics: Topics) -> bool:
    consumer = Consumer({"bootstrap.servers": topics.bootstrap, "group.id": "watermarks"})
    try:
        return any(consumer.get_watermark_offsets(TopicPartition(topics.states, 0), timeout=10))
    finally:
        consumer.close()


def test_an_episode_open_at_a_kill_is_cleared_by_the_next_worker_under_its_own_id(
    topics: Topics, start: Callable[..., WorkerProcess]
) -> None:
    load = Load(topics, lines=1, windows_per_message=1)
    first = start().wait_ready()
    load.send(6)  # the fault begins with the first window and lasts ten
    wait_until(lambda: sum(wait_answered(topics).steps().values()) == 1, "the onset")
    wait_until(lambda: state_is_written(topics), "the state of the line, which is written once per commit")
    first.kill()
    load.send(20)
    start().wait_ready()
    check_nothing_lost(topics, load)
    onset, clear = sorted(wait_answered(topics).events, key=lambda event: event["sequence"])
    assert (onset["state"], clear["state"]) == ("onset", "clear")
    assert onset["episode_id"] == clear["episode_id"]


def test_a_second_group_on_the_same_windows_takes_nothing_from_the_first(
    topics: Topics, start: Callable[..., WorkerProcess]
) -> None:
    shadow = Shadow(topics.bootstrap, f"{topics.prefix}-shadow", of=topics).create_outputs()
    load = Load(topics, lines=2, windows_per_message=1)
    load.send(6)
    first = start().wait_ready()
    check_nothing_lost(topics, load)  # both lines are in the middle of an episode
    assert first.terminate() == 0
    load.send(40)
    # It runs ahead, and writes states of the same lines to the same topic.
    start(**shadow.environment()).wait_ready()
    check_nothing_lost(shadow, load)
    start().wait_ready()
    check_nothing_lost(topics, load)


def test_a_restarted_broker_is_waited_for(kafka_server: Callable[..., Kafka], tmp_path: Path) -> None:
    broker = kafka_server()
    topics = Topics(broker.bootstrap, "restart").create()
    load = Load(topics)
    worker = WorkerProcess(topics, tmp_path / "worker.log")
    try:
        worker.wait_ready()
        load.send(10)
        for end in (broker.server.kill, broker.server.stop):
            end()
            time.sleep(2.0)
            broker.server.start()
            load.send(10)
        check_nothing_lost(topics, load)
        assert worker.alive
        assert worker.terminate() == 0
    finally:
        worker.kill()


def test_a_worker_without_the_right_to_create_topics_works(kafka_server: Callable[..., Kafka], tmp_path: Path) -> None:
    broker = kafka_server(security=Security(users={"worker": "worker-secret"}, authorizer=True))
    topics = Topics(broker.bootstrap, "denied").create()
    prefixed = ResourcePatternType.PREFIXED
    read = (AclOperation.READ, AclOperation.DESCRIBE)
    grant(broker.bootstrap, "worker", "denied", (*read, AclOperation.WRITE), pattern=prefixed)
    grant(broker.bootstrap, "worker", "denied", read, ResourceType.GROUP, prefixed)
    load = Load(topics)
    worker = WorkerProcess(
        topics,
        tmp_path / "worker.log",
        FAULTLINE_BROKER=broker.server.sasl_bootstrap,
        FAULTLINE_SECURITY_PROTOCOL="SASL_PLAINTEXT",
        FAULTLINE_SASL_MECHANISM="PLAIN",
        FAULTLINE_SASL_USERNAME="worker",
        FAULTLINE_SASL_PASSWORD="worker-secret",
    )
    try:
        worker.wait_ready()
        load.send(20)
        check_nothing_lost(topics, load)
        assert "worker-secret" not in worker.log.read_text()
    finally:
        worker.kill()


def test_an_unreachable_dead_letter_topic_means_wait_never_drop(
    topics: Topics, kafka: Kafka, start: Callable[..., WorkerProcess]
) -> None:
    late = replace(topics, dead_letter_name="late-dlq")
    worker = start(FAULTLINE_TOPIC_DEAD_LETTERS=late.dead_letters, FAULTLINE_REQUEST_TIMEOUT_S="6").wait_ready()
    load = Load(topics)
    load.send(5)
    load.send_raw("line-00", b"poison")
    load.send(20)
    wait_until(lambda: not worker.ready(), "the worker to say that it waits", deadline_s=120)
    waiting = wait_answered(topics, 3.0)
    assert waiting.lost, "nothing beyond the poison is acknowledged while its dead letter cannot be written"
    kafka.create_topic(late.dead_letters, topics.partitions)
    wait_until(worker.ready, "the worker to be ready again", deadline_s=120)
    check_nothing_lost(late, load)
    assert wait_answered(late).dead_reasons == {"bad-bytes": 1}
