"""Every contender of the benchmark does the complete job on Apache Kafka, with its real library, in its own process."""

from __future__ import annotations

import importlib.util
import time
from typing import Any

import msgspec
import numpy as np
import pytest

from benchmarks.contenders import BY_NAME, CONTENDERS, Contender
from benchmarks.contenders.quix_engine import FOLDER
from benchmarks.contenders.settings import ContenderSettings
from benchmarks.contenders.task import Record, Task
from benchmarks.harness.environment import Environment
from benchmarks.harness.processes import Measured
from tests.conftest import Kafka

PARTITIONS = 2
MESSAGES = 60
WINDOWS_PER_MESSAGE = 2
DEADLINE_S = 90.0

Place = tuple[int, int]
"""Partition and offset."""


@pytest.fixture(scope="module")
def environment(kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return Environment(kafka.bootstrap, tmp_path_factory.mktemp("bench"), partitions=PARTITIONS)


@pytest.fixture(scope="module")
def topics(environment: Environment) -> dict[bool, str]:
    """Create topics with the same windows, in MessagePack and (True) in JSON."""
    return {json_windows: loaded(environment, json_windows) for json_windows in (False, True)}


def loaded(environment: Environment, json_windows: bool) -> str:
    topic = environment.name("contended")
    environment.broker.create(topic, PARTITIONS)
    plan = environment.plan(topic, MESSAGES, WINDOWS_PER_MESSAGE, json_windows=json_windows, faults="often")
    with environment.load(plan) as load:
        load.wait_ended(DEADLINE_S)
    return topic


def expected_classes(environment: Environment, topic: str) -> dict[Place, bytes]:
    """Return the classes of every message of a topic by our engine, all at once, one byte per window."""
    settings = ContenderSettings(bootstrap="", group="", input_topic="", output_topic="")
    messages = sorted(environment.broker.read([topic]), key=lambda one: (one.partition(), one.offset()))
    records = [
        Record(topic, one.partition(), one.offset(), 0, one.key(), one.value(), one.headers() or ()) for one in messages
    ]
    task = Task(settings).with_engine()
    decoded = task.decode(records)
    classes = task.classify(decoded).argmax(axis=1).astype(np.uint8).tobytes()
    return {
        (entry.record.partition, entry.record.offset): classes[entry.first : entry.first + entry.count]
        for entry in decoded.records
    }


def wait_committed(environment: Environment, child: Measured, settings: ContenderSettings, records: int) -> None:
    end = time.monotonic() + DEADLINE_S
    while environment.broker.committed(settings.group, settings.input_topic, PARTITIONS) < records:
        child.check()
        assert time.monotonic() < end, f"not everything is committed: {child.log.read_text()[-2000:]}"
        time.sleep(0.05)


def skip_where_missing(contender: Contender) -> None:
    missing = contender.name == "quix_engine" and not FOLDER.is_dir() and not importlib.util.find_spec("quixstreams")
    if missing:
        pytest.skip("Quix Streams is not installed: make quix")


def in_suite(name: str) -> Any:
    """Return a contender as a test parameter; those that start or end slowly are left to ``make test-long``."""
    return pytest.param(name, marks=() if name.endswith(("_bare", "_batches")) else pytest.mark.long)


@pytest.mark.kafka
@pytest.mark.slow
@pytest.mark.parametrize("name", [in_suite(contender.name) for contender in CONTENDERS])
def test_a_contender_answers_every_message_with_the_classes_that_our_engine_gives(
    environment: Environment, topics: dict[bool, str], name: str
) -> None:
    contender = BY_NAME[name]
    skip_where_missing(contender)
    topic = topics[contender.json]
    expected = expected_classes(environment, topic)
    settings, _ = environment.settings(contender, topic, WINDOWS_PER_MESSAGE, publish="answers", commit_interval_s=0.2)
    with environment.contender(contender, settings) as child:
        child.wait_ready()
        wait_committed(environment, child, settings, len(expected))
    answers = [msgspec.msgpack.decode(record.value()) for record in environment.broker.read([settings.output_topic])]
    given = {(one["source"]["partition"], one["source"]["offset"]): one["classes"] for one in answers}
    assert given == expected
    assert child.process.returncode == 0, child.log.read_text()[-2000:]


def test_contenders_are_modules_that_can_be_run() -> None:
    for contender in CONTENDERS:
        assert importlib.util.find_spec(f"benchmarks.contenders.{contender.name}") is not None, contender.name
