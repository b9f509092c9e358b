"""Worker, trainer and replay together on Apache Kafka: a retraining changes the model, and no window is lost."""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest

from benchmarks.storms.swaps import replaying
from tests.conftest import Kafka
from tests.delivery.processes.harness import WorkerProcess, account, read_all, wait_answered, wait_until
from tests.delivery.processes.trainer_harness import TrainerProcess, TrainerTopics, command

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(900)]

READY_DEADLINE_S = 240.0
REAL_WORKER = (sys.executable, "-m", "faultline", "worker")


@dataclass
class Answers:
    """The model that answered each window, read from ``window-classes``."""

    windows: int = 0
    by_record: dict[tuple[int, int], list[str]] = field(default_factory=lambda: defaultdict(list))
    models: set[str] = field(default_factory=set)


def answers(topics: TrainerTopics) -> Answers:
    """Return every answer so far."""
    found = Answers()
    for message in read_all(topics.bootstrap, [topics.classes]):
        answer = msgspec.msgpack.decode(message.value())
        found.windows += answer["count"]
        found.models.add(answer["model_id"])
        found.by_record[answer["source"]["partition"], answer["source"]["offset"]].append(answer["model_id"])
    return found


def windows_sent(topics: TrainerTopics) -> int:
    return sum(msgspec.msgpack.decode(one.value())["count"] for one in read_all(topics.bootstrap, [topics.windows]))


def test_a_retraining_under_load_changes_the_model_and_every_window_is_answered_once(
    kafka: Kafka, tmp_path: Path
) -> None:
    topics = TrainerTopics(kafka.bootstrap, f"loop-{os.getpid()}", partitions=2).create()
    recording = tmp_path / "recording.parquet"
    made = command(topics, "simulate", "--lines", "4", "--seconds", "8", "--out", str(recording))
    assert made.returncode == 0, made.stderr
    worker = WorkerProcess(topics, tmp_path / "worker.log", command=REAL_WORKER)
    # The windows of `faultline simulate` stand for labelled windows of production, which a retraining trains on.
    trainer = TrainerProcess(topics, tmp_path, "tests.delivery.processes.fast_job", FAULTLINE_STORE_SIMULATED="true")
    try:
        for process in (worker, trainer):  # both take long to compile if other tests run at the same time
            wait_until(process.ready, "worker and trainer to be ready", READY_DEADLINE_S)
        with replaying(topics, recording, tmp_path / "replay.log"):
            wait_until(lambda: account(topics).events, "the first events")
            asked = command(topics, "retrain", "--wait")
            assert asked.returncode == 0, asked.stdout + asked.stderr
            (final,) = topics.final_reports()
            new, old = final.model_id, final.champion_id
            wait_until(
                lambda: any(event["model_id"] == new for event in account(topics).events), "events of the new model"
            )
        found = wait_answered(topics)
    finally:
        trainer.kill()
        worker.kill()
    answered = answers(topics)
    print(f"windows sent {windows_sent(topics)}, answered {answered.windows}; {found.summary()}")
    assert answered.models == {old, new}
    assert not found.lost, found.summary()
    # An event that changes the type is on two topics under one id, so events are not counted here.
    assert found.repeated == 0, found.summary()
    assert answered.windows == windows_sent(topics)
    assert all(len(models) == 1 for models in answered.by_record.values()), "no window is answered by both"
    for line in {event["line"] for event in found.events}:
        order = [
            event["model_id"] for event in sorted(found.events, key=lambda e: e["sequence"]) if event["line"] == line
        ]
        assert order == sorted(order, key=[old, new].index), "the old id before, the new one after"
