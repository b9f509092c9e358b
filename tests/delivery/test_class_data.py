"""Real input, real broker: classData.csv through Apache Kafka into a worker on a model trained from it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import msgspec
import numpy as np
import pytest

from model.spec import load_spec
from tests.conftest import Kafka
from tests.delivery.processes.harness import REPOSITORY, Topics, WorkerProcess, read_all, wait_answered

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

FAULTLINE = (sys.executable, "-m", "faultline")
ROWS = 7861


def run(*arguments: str, **environment: str) -> str:
    done = subprocess.run(
        [*FAULTLINE, *arguments],
        cwd=REPOSITORY,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=800,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def labels_and_answers(topics: Topics) -> tuple[list[int], list[int]]:
    """Return true and predicted class of every row, matched by the record that carried it."""
    sent = {
        (message.partition(), message.offset()): msgspec.msgpack.decode(message.value())
        for message in read_all(topics.bootstrap, [topics.windows])
    }
    answers: dict[tuple[int, int], dict[int, int]] = defaultdict(dict)
    for message in read_all(topics.bootstrap, [topics.classes]):
        body = msgspec.msgpack.decode(message.value())
        place = body["source"]["partition"], body["source"]["offset"]
        for index, found in enumerate(body["classes"]):
            answers[place][body["sequence"] + index] = found
    truth, predicted = [], []
    for place, body in sent.items():
        assert len(answers[place]) == body["count"], "every row of the record is answered, once"
        truth += body["labels"]
        predicted += [answers[place][body["sequence"] + index] for index in range(body["count"])]
    return truth, predicted


@pytest.mark.timeout(900)  # it trains, and the machine may be busy with other processes
def test_every_row_of_class_data_is_answered_by_a_model_trained_from_it(
    kafka: Kafka, data_dir: Path, tmp_path: Path
) -> None:
    csv = data_dir / "electrical-faults" / "classData.csv"
    model = tmp_path / "instant.safetensors"
    epochs = os.environ.get("FAULTLINE_TEST_EPOCHS", "6")
    print(run("train", "--spec", "instant", "--data", str(csv), "--out", str(model), "--epochs", epochs, "--quiet"))
    topics = Topics(kafka.bootstrap, f"class-data-{os.getpid()}").create()
    worker = WorkerProcess(
        topics,
        tmp_path / "worker.log",
        command=(*FAULTLINE, "worker", "--model", str(model), "--spec", "instant"),
    ).wait_ready()
    try:
        settings = {**topics.environment(), "FAULTLINE_SPEC": "instant"}
        said = run("replay", str(csv), "--pace", "max", **settings)
        assert re.search(rf"\b{ROWS:,}\b|\b{ROWS}\b", said), said
        found = wait_answered(topics)
        print(found.summary())
        assert not found.lost
        assert not found.dead
    finally:
        worker.terminate()
    truth, predicted = labels_and_answers(topics)
    spec = load_spec("instant")
    merged = np.asarray(spec.equivalent_indices())
    right = np.asarray(truth) == np.asarray(predicted)
    right_merged = merged[truth] == merged[predicted]
    print(f"rows {len(truth)}, accuracy {right.mean():.4f}, with LLL and LLLG as one {right_merged.mean():.4f}")
    assert len(truth) == ROWS
    assert right_merged.mean() > 0.8, "far above the share of the commonest class, .30"
