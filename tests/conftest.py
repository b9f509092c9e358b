"""Fixtures that many tests share: real brokers, the embedded broker, data kept outside the repository."""

from __future__ import annotations

import functools
import itertools
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest
from confluent_kafka.admin import AdminClient, NewTopic
from hypothesis import settings as hypothesis_settings

from benchmarks.kafka.jars import REPOSITORY, java_command, prepare_jars
from benchmarks.kafka.server import KafkaServer
from stream.errors import KafkaServerError
from stream.kafka.embedded import EmbeddedBroker

# No example has a deadline: a busy machine is slow, and no test asserts a time, not even by a library's default.
hypothesis_settings.register_profile("faultline", deadline=None)
hypothesis_settings.load_profile("faultline")

REQUIRED = os.environ.get("FAULTLINE_REQUIRE_KAFKA") == "1"
SKIPPED = "no Apache Kafka: "
KAFKA_FIXTURES = {"kafka", "kafka_server"}
BROKER_FIXTURES = {*KAFKA_FIXTURES, "embedded_broker"}
TRAINING_CODE = (
    "training.fitting.",
    "training.window_recipe.",
    *(f"training.sidecar.job.{name}." for name in ("main", "process", "train")),
    *(
        f"domains.powerline.recipes.{name}."
        for name in ("architecture_comparison", "cross_validation", "instant", "line")
    ),
    "faultline_machines.",
)
"""Modules that train."""
TOPIC_DEADLINE_S = 20.0

_topic_numbers = itertools.count()


class Kafka:
    """The parts of a running broker that a test needs."""

    def __init__(self, server: KafkaServer) -> None:
        self.server = server

    @property
    def bootstrap(self) -> str:
        return self.server.bootstrap

    def new_topic(self, name: str = "topic", partitions: int = 4, config: Mapping[str, str] | None = None) -> str:
        """Create a topic with a unique name (``name`` and a number) and return that name."""
        unique = f"{name}-{os.getpid()}-{next(_topic_numbers)}"
        self.create_topic(unique, partitions, config)
        return unique

    def create_topic(self, name: str, partitions: int = 4, config: Mapping[str, str] | None = None) -> None:
        """Create a topic of exactly this name and return when every partition has a leader."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        topic = NewTopic(name, partitions, 1, config=dict(config or {}))
        admin.create_topics([topic])[name].result(TOPIC_DEADLINE_S)
        end = time.monotonic() + TOPIC_DEADLINE_S
        while time.monotonic() < end:
            seen = admin.list_topics(name, timeout=TOPIC_DEADLINE_S).topics[name].partitions
            if len(seen) == partitions and all(partition.leader >= 0 for partition in seen.values()):
                return
            time.sleep(0.05)
        raise TimeoutError(f"{name} has no leaders after {TOPIC_DEADLINE_S:.0f} s")


@functools.cache
def why_no_kafka() -> str | None:
    """Return the reason why Apache Kafka cannot be started here; None if it can."""
    try:
        java_command()
        prepare_jars()
    except KafkaServerError as error:
        return str(error)
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests that need Apache Kafka, any broker, or training code, so that nobody has to mark them by hand.

    `make test-quick` leaves all of them out. A whole module is marked if it imports a class that starts brokers or any
    code that trains; a test of a small part of that code is therefore left out as well.
    """
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))  # with those that fixtures ask for
        imported = imports_of(item.module) if isinstance(item, pytest.Function) else Imports(False, False)
        if KAFKA_FIXTURES & fixtures:
            item.add_marker("kafka")
        if BROKER_FIXTURES & fixtures or imported.brokers or item.get_closest_marker("kafka") is not None:
            item.add_marker("broker")
        if imported.training:
            item.add_marker("training")


class Imports(NamedTuple):
    """The imports of a test module that decide its markers."""

    brokers: bool
    training: bool


@functools.cache
def imports_of(module: ModuleType) -> Imports:
    """Return two values: True if a test module imports classes that start brokers, and True if it imports training."""
    values = list(vars(module).values())
    homes = [str(getattr(value, "__name__" if isinstance(value, ModuleType) else "__module__", "")) for value in values]
    return Imports(
        brokers=any(value is EmbeddedBroker or value is KafkaServer or value is Kafka for value in values),
        training=any(f"{home}.".startswith(TRAINING_CODE) for home in homes),
    )


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("kafka") is None:
        return
    reason = why_no_kafka()
    if reason is not None and REQUIRED:
        pytest.fail(f"FAULTLINE_REQUIRE_KAFKA=1, but {reason}", pytrace=False)
    if reason is not None:
        pytest.skip(SKIPPED + reason)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = [text for report in skipped if SKIPPED in (text := str(report.longrepr))]
    if reasons:
        why = reasons[0].partition(SKIPPED)[2].rstrip("\"')")
        terminalreporter.write_line(f"{len(reasons)} kafka tests skipped: {why}", yellow=True)


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """Start one Apache Kafka for the whole run; use topics and groups of your own, and never stop it."""
    with KafkaServer(tmp_path_factory.mktemp("kafka")) as server:
        yield Kafka(server)


@pytest.fixture
def kafka_server(tmp_path: Path) -> Iterator[Callable[..., Kafka]]:
    """Return a factory of brokers that a test may kill and restart; it takes the keywords of ``KafkaServer``.

    Example: ``broker = kafka_server(); broker.server.restart(kill=True)``
    """
    started: list[KafkaServer] = []

    def start(**options: Any) -> Kafka:
        server = KafkaServer(tmp_path / f"kafka-{len(started)}", **options)
        started.append(server)
        server.start()
        return Kafka(server)

    yield start
    for server in started:
        server.kill()


@pytest.fixture
def embedded_broker() -> Iterator[EmbeddedBroker]:
    """Start an embedded broker (librdkafka's mock cluster) for this test alone; see its docstring for its limits."""
    with EmbeddedBroker() as broker:
        yield broker


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Return the folder of data that tests may read but that the repository must not contain."""
    given = os.environ.get("FAULTLINE_DATA")
    folder = Path(given) if given else REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no test data in {folder}: set FAULTLINE_DATA to the folder that has it")
    return folder
