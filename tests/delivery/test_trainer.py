"""Retrainings on Apache Kafka: asked for, merged, killed, out of disk; one verdict each, never half a model."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import Kafka
from tests.delivery.trainer_harness import TrainerProcess, TrainerTopics, command

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

QUICK = "tests.delivery.quick_attempt"
_numbers = itertools.count()


@pytest.fixture
def topics(kafka: Kafka) -> TrainerTopics:
    return TrainerTopics(kafka.bootstrap, f"trainer-{os.getpid()}-{next(_numbers)}", partitions=2).create()


@pytest.fixture
def start(topics: TrainerTopics, tmp_path: Path) -> Iterator[Callable[..., TrainerProcess]]:
    """Starts trainers on the test's topics and folder and ends what is left of them."""
    started: list[TrainerProcess] = []

    def start_one(attempt: str | None = QUICK, **environment: str) -> TrainerProcess:
        trainer = TrainerProcess(topics, tmp_path, attempt, **environment)
        started.append(trainer)
        return trainer

    yield start_one
    for trainer in started:
        trainer.kill()


def test_a_retraining_that_is_waited_for_ends_with_a_promoted_model_and_its_report(
    topics: TrainerTopics, start: Callable[..., TrainerProcess]
) -> None:
    trainer = start().wait_ready()
    asked = command(topics, "retrain", "--wait", "--reason", "a test")
    assert asked.returncode == 0, asked.stdout + asked.stderr
    word = topics.wait_last_words(1)[0]
    assert (word.state, word.note, word.reason) == ("promoted", "a test", "demand")
    assert topics.champions() == [word.model_id]
    assert word.report_path is not None
    assert {path.name for path in Path(word.report_path).iterdir()} >= {"report.json", "report.md", "report.html"}
    assert asked.stdout.splitlines()[-1] == word.report_path
    assert {one.state for one in topics.reported()} == {"started", "progress", "promoted"}
    assert trainer.metric('faultline_retrainings_total{verdict="promoted"}') == 1
    assert not (trainer.folder / "run").exists()
    assert trainer.terminate() == 0
