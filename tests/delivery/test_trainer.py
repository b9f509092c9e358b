"""Retrainings on Apache Kafka, whether merged, killed or out of disk, publish one final report and no partial model."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from model.artefact import shipped
from stream.contract import WindowLabel
from stream.windowing import encode_windows
from tests.conftest import Kafka
from tests.delivery.processes.harness import wait_until
from tests.delivery.processes.marked import HOP_NS, RATE_HZ, SPEC, marked_windows
from tests.delivery.processes.trainer_harness import TrainerProcess, TrainerTopics, command

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(900)]

FAST, QUICK = "tests.delivery.processes.fast_job", "tests.delivery.processes.quick_job"
TRAINED, SHUFFLED = "tests.delivery.processes.trained_job", "tests.delivery.processes.shuffled_job"
STRICT = {"FAULTLINE_GATE_HOLDOUT_FLOOR": "0.8", "FAULTLINE_GATE_HOLDOUT_MARGIN": "0.1"}
START_NS = time.time_ns()
_numbers = itertools.count()


@pytest.fixture
def topics(kafka: Kafka) -> TrainerTopics:
    return TrainerTopics(kafka.bootstrap, f"trainer-{os.getpid()}-{next(_numbers)}", partitions=2).create()


@pytest.fixture
def start(topics: TrainerTopics, tmp_path: Path) -> Iterator[Callable[..., TrainerProcess]]:
    """Start trainers on the test's topics and folder and end those that are left."""
    started: list[TrainerProcess] = []

    def start_one(job: str | None = FAST, **environment: str) -> TrainerProcess:
        trainer = TrainerProcess(topics, tmp_path, job, **environment)
        started.append(trainer)
        return trainer

    yield start_one
    for trainer in started:
        trainer.kill()


@pytest.mark.long
def test_a_retraining_that_is_waited_for_ends_with_a_promoted_model_and_its_report(
    topics: TrainerTopics, start: Callable[..., TrainerProcess]
) -> None:
    trainer = start(QUICK).wait_ready()
    asked = command(topics, "retrain", "--wait", "--reason", "a test")
    assert asked.returncode == 0, asked.stdout + asked.stderr
    final = topics.wait_final_reports(1)[0]
    assert (final.state, final.note, final.reason) == ("promoted", "a test", "demand")
    assert topics.champions() == [final.model_id]
    assert final.report_path is not None
    assert {path.name for path in Path(final.report_path).iterdir()} >= {"report.json", "report.md", "report.html"}
    assert asked.stdout.splitlines()[-1] == final.report_path
    assert {one.state for one in topics.reported()} == {"started", "progress", "promoted"}
    assert trainer.metric('faultline_retrainings_total{verdict="promoted"}') == 1
    assert not (trainer.folder / "run").exists()
    assert trainer.terminate() == 0


def test_requests_that_arrive_meanwhile_are_merged_into_one_follow_up_and_reported_as_merged(
    topics: TrainerTopics, start: Callable[..., TrainerProcess]
) -> None:
    topics.ask("one")
    start(FAULTLINE_TEST_TRAINING_S="4").wait_ready()
    wait_until(lambda: topics.stages(), "the first retraining to run")
    for name in ("two", "three", "two"):
        topics.ask(name)
    finals = topics.wait_final_reports(2)
    assert [final.request_ids for final in finals] == [["one"], ["two", "three"]]
    merged = [one for one in topics.reported() if one.state == "merged"]
    assert [(one.request_ids, one.run_id) for one in merged] == [
        (["two"], finals[1].run_id),
        (["three"], finals[1].run_id),
    ]
    assert topics.champions() == [final.model_id for final in finals]


def test_killed_at_every_step_of_publishing_it_publishes_the_candidate_once(
    topics: TrainerTopics, start: Callable[..., TrainerProcess]
) -> None:
    topics.ask("one")
    for place in ("before-publish", "after-publish", "before-finish"):
        trainer = start(FAULTLINE_TEST_DIE=place)
        assert trainer.process.wait(120) == -9, place
    trainer = start().wait_ready()
    wait_until(lambda: not (trainer.folder / "run").exists(), "the rest to be cleared away")
    wait_until(lambda: trainer.metric('faultline_retrainings_total{verdict="promoted"}') == 1, "the final report")
    (final,) = topics.final_reports()
    assert topics.champions() == [final.model_id]
    assert {one.model_id for one in topics.reported() if one.state == "promoted"} == {final.model_id}
    assert trainer.log.read_text().count("job-started") == 1, "trained and evaluated once"
    topics.ask("two")
    assert [one.state for one in topics.wait_final_reports(2)] == ["promoted", "promoted"]
    assert len(set(topics.champions())) == 2


@pytest.mark.long
@pytest.mark.parametrize("victim", ["child", "trainer"])
def test_killed_while_it_trains_it_goes_on_and_ends_with_one_model(
    topics: TrainerTopics, start: Callable[..., TrainerProcess], victim: str
) -> None:
    trainer = start(TRAINED).wait_ready()
    topics.ask("one")
    wait_until(lambda: any(stage.startswith("epoch") for stage in topics.stages()), "an epoch")
    child = trainer.child()
    assert child is not None
    if victim == "child":
        os.kill(child, signal.SIGKILL)
    else:
        trainer.kill()
        wait_until(lambda: not Path(f"/proc/{child}").exists(), "the child to end with its trainer")
        assert topics.published() == []
        start(TRAINED)
    (final,) = topics.wait_final_reports(1)
    assert final.state == "promoted"
    assert topics.champions() == [final.model_id]
    assert final.report_path is not None
    assert (Path(final.report_path) / "report.html").exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of 24 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(disk)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"a small tmpfs cannot be mounted here: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def fill(disk: Path, left: int) -> Path:
    """Fill a disk except for a number of bytes."""
    filler = disk / "filler"
    free = shutil.disk_usage(disk).free
    with filler.open("wb") as file:
        file.write(bytes(max(0, free - left)))
    return filler


@pytest.mark.parametrize(("left", "reason"), [(200_000, "No space left on device"), (0, "not accepted")])
def test_a_full_disk_fails_the_retraining_with_its_reason_and_the_next_one_succeeds(
    topics: TrainerTopics, start: Callable[..., TrainerProcess], small_disk: Path, left: int, reason: str
) -> None:
    trainer = start(FAULTLINE_TRAINER_FOLDER=str(small_disk / "trainer")).wait_ready()
    filler = fill(small_disk, left)
    topics.ask("one")
    (final,) = topics.wait_final_reports(1)
    assert final.state == "failed"
    assert reason in final.note
    assert "No space left on device" in final.note
    assert topics.published() == []
    assert not list((small_disk / "trainer").rglob("*.partial"))
    assert not list((small_disk / "trainer").rglob("report.html"))
    filler.unlink()
    topics.ask("two")
    assert [one.state for one in topics.wait_final_reports(2)] == ["failed", "promoted"]
    assert topics.champions() == [topics.final_reports()[1].model_id]
    assert trainer.alive


@pytest.mark.long
def test_a_candidate_of_shuffled_labels_is_refused_by_a_named_criterion_and_the_champion_stays(
    topics: TrainerTopics, start: Callable[..., TrainerProcess], tmp_path: Path
) -> None:
    good = tmp_path / "good.safetensors"
    shipped("line").save(good)
    promoted = command(topics, "models", "promote", str(good))
    assert promoted.returncode == 0, promoted.stderr
    champion = topics.champions()
    trainer = start(SHUFFLED, **STRICT).wait_ready()
    asked = command(topics, "retrain", "--wait", "--epochs", "3", "--episodes", "100")
    assert asked.returncode == 1, asked.stdout + asked.stderr
    assert "not met: hold-out score:" in asked.stdout
    (final,) = topics.final_reports()
    assert (final.state, final.champion_id) == ("refused", champion[0])
    assert any(text.startswith("hold-out score") for text in final.failed_criteria)
    assert topics.champions() == champion
    assert final.model_id is not None
    kept = trainer.folder / "refused" / final.model_id
    assert {path.name for path in kept.iterdir()} == {"candidate.safetensors", "report", "outcome.json"}
    assert trainer.metric('faultline_retrainings_total{verdict="refused"}') == 1


def test_windows_and_labels_are_kept_over_a_kill_and_counted_once(
    topics: TrainerTopics, start: Callable[..., TrainerProcess]
) -> None:
    def labelled() -> float:
        return trainer.metric('faultline_store_windows{labelled="true"}')

    trainer = start().wait_ready()
    send_windows(topics, 0, labels=[0] * 6)
    wait_until(lambda: labelled() == 6, "six windows with labels")
    trainer.kill()
    send_windows(topics, 6, labels=None)
    trainer = start().wait_ready()
    wait_until(lambda: trainer.metric('faultline_store_windows{labelled="false"}') == 6, "six windows without")
    label = WindowLabel(
        label_id="v-1",
        line="feeder-7",
        spec="line",
        fault_class="AG",
        first_ns=START_NS + 6 * HOP_NS,
        last_ns=START_NS + 8 * HOP_NS,
        by="test",
        at=datetime.now(UTC),
    )
    for _ in range(2):
        topics.send(topics.labels, "feeder-7", label.model_dump_json().encode())
    wait_until(lambda: labelled() == 9, "three of them to get the label")
    assert trainer.terminate() == 0
    trainer = start().wait_ready()
    wait_until(lambda: labelled() == 9, "the same windows after a restart")


def send_windows(topics: TrainerTopics, sequence: int, labels: list[int] | None) -> None:
    """Send six windows of one line."""
    body = encode_windows(
        marked_windows([0] * 6),
        SPEC,
        sequence=sequence,
        start_ns=START_NS + sequence * HOP_NS,
        rate_hz=RATE_HZ,
        labels=labels,
    )
    topics.send(topics.windows, "feeder-7", body)
