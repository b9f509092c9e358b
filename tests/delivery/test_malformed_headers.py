"""A record that aiokafka cannot even parse becomes one dead letter and harms no neighbour on any partition."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Kafka
from tests.delivery.processes.harness import REPOSITORY, Load, Topics, WorkerProcess, wait_answered

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

_numbers = itertools.count()
Send = Callable[[int, int, str], None]


@pytest.fixture
def topics(kafka: Kafka) -> Topics:
    return Topics(kafka.bootstrap, f"malformed-{os.getpid()}-{next(_numbers)}", partitions=3).create()


@pytest.fixture
def malformed(topics: Topics) -> tuple[Send, set[tuple[int, int]]]:
    """Return a function that sends a batch with malformed records, and the set of their positions."""
    places: set[tuple[int, int]] = set()

    def send(partition: int, sequence: int, pattern: str) -> None:
        command = [sys.executable, "-m", "tests.delivery.processes.malformed_headers", topics.bootstrap, topics.windows]
        said = subprocess.run(
            [*command, str(partition), str(sequence), pattern],
            cwd=REPOSITORY,
            env={**os.environ, "AIOKAFKA_NO_EXTENSIONS": "1"},
            check=True,
            capture_output=True,
            text=True,
        )
        places.update((partition, int(offset)) for offset in said.stdout.split())

    return send, places


@pytest.mark.parametrize("parser", ["C", "Python"])
def test_a_record_whose_header_name_is_not_utf_8_is_dead_lettered_once_and_costs_no_neighbour(
    topics: Topics, malformed: tuple[Send, set[tuple[int, int]]], tmp_path: Path, parser: str
) -> None:
    send, places = malformed
    load = Load(topics)
    # The backlog when the worker starts: malformed records first, in the middle, and on two partitions of one fetch.
    send(0, 0, "xggxxgg")
    load.send(30)
    send(1, 0, "g" * 20 + "x" + "g" * 20)
    load.send(30)
    environment = {"AIOKAFKA_NO_EXTENSIONS": "1"} if parser == "Python" else {}
    worker = WorkerProcess(topics, tmp_path / "worker.log", FAULTLINE_MAX_POLL_RECORDS="50", **environment)
    try:
        worker.wait_ready()
        load.send(30)
        for sequence in (100, 200, 300):
            send(2, sequence, "gx")
            load.send(10)
        found = wait_answered(topics)
        print(found.summary(), dict(found.dead_reasons))
        assert not found.lost, found.summary()
        assert dict(found.dead) == dict.fromkeys(places, 1), "these and no others, each once"
        assert dict(found.dead_reasons) == {"bad-headers": 3 + 1 + 3}
        assert found.repeated == 0
        assert found.steps() == load.expected_steps()
        assert worker.alive
        assert worker.terminate() == 0
    finally:
        worker.kill()
