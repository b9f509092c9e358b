"""Sidecar processes on their own topics, and their records on these topics."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from confluent_kafka import Producer

from model.artefact import Artefact
from stream.contract import TERMINAL_STATES, RetrainOptions, RetrainRequest, TrainingReport
from tests.delivery.processes.harness import REPOSITORY, Topics, free_port, read_all, wait_until

RETRAINING_DEADLINE_S = 240.0

# A retraining of seconds: two epochs on a handful of episodes, one line of hold-out, no conditions.
TINY = {
    "FAULTLINE_RETRAIN_EPOCHS": "3",
    "FAULTLINE_RETRAIN_EPISODES": "100",
    "FAULTLINE_EVALUATION_LINES": "1",
    "FAULTLINE_EVALUATION_EPISODES": "0",
    "FAULTLINE_RETRAIN_ON_DRIFT": "false",
    "FAULTLINE_RETRAIN_NICE": "0",  # otherwise the whole test waits behind other processes
}
# No model with so little training could meet these limits, and its quality is not tested here.
LENIENT = {
    "FAULTLINE_GATE_HOLDOUT_FLOOR": "0",
    "FAULTLINE_GATE_HOLDOUT_MARGIN": "1",
    "FAULTLINE_GATE_CELL_MARGIN": "1",
    "FAULTLINE_GATE_ECE": "1",
    "FAULTLINE_GATE_MISSED": "1",
    "FAULTLINE_GATE_EVENT_MARGIN": "1",
    "FAULTLINE_GATE_FALSE_ALARMS_PER_LINE_HOUR": "100000",
    "FAULTLINE_GATE_FALSE_ALARM_MARGIN": "100000",
    "FAULTLINE_GATE_DELAY_CYCLES_P95": "100000",
    "FAULTLINE_GATE_DELAY_MARGIN_CYCLES": "100000",
}


@dataclass
class TrainerTopics(Topics):
    """The topics of a worker and of the sidecar that serves it."""

    @property
    def labels(self) -> str:
        return f"{self.prefix}-labels"

    @property
    def requests(self) -> str:
        return f"{self.prefix}-requests"

    @property
    def reports(self) -> str:
        return f"{self.prefix}-reports"

    def environment(self) -> dict[str, str]:
        return {
            **super().environment(),
            "FAULTLINE_TRAINER_GROUP": f"{self.prefix}-trainer",
            "FAULTLINE_TOPIC_LABELS": self.labels,
            "FAULTLINE_TOPIC_RETRAIN": self.requests,
            "FAULTLINE_TOPIC_REPORTS": self.reports,
        }

    def create(self) -> TrainerTopics:
        """Create all topics by Faultline's own command, as users do."""
        done = command(self, "topics", "create")
        assert done.returncode == 0, done.stderr
        return self

    # Records on the topics -----------------------------------------------------------------------------------------

    def reported(self) -> list[TrainingReport]:
        """Return every report so far."""
        return [TrainingReport.model_validate_json(one.value()) for one in read_all(self.bootstrap, [self.reports])]

    def final_reports(self) -> list[TrainingReport]:
        """Return the final report of every retraining, once."""
        return list({one.run_id: one for one in self.reported() if one.state in TERMINAL_STATES}.values())

    def wait_final_reports(self, count: int, deadline_s: float = RETRAINING_DEADLINE_S) -> list[TrainingReport]:
        """Wait until a number of retrainings have ended."""
        wait_until(lambda: len(self.final_reports()) >= count, f"{count} final reports", deadline_s, pause_s=0.3)
        return self.final_reports()

    def published(self) -> list[tuple[str, Artefact | None]]:
        """Return key and verified artefact of every record on the topic of models."""
        records = read_all(self.bootstrap, [self.models])
        return [
            (one.key().decode(), None if one.value() is None else Artefact.from_bytes(one.value())) for one in records
        ]

    def ask(self, name: str, headers: Sequence[tuple[str, bytes]] = (), **options: int) -> str:
        """Send a request and return its id."""
        asked = RetrainRequest(
            request_id=name,
            spec="line",
            reason="demand",
            by="test",
            at=datetime.now(UTC),
            options=RetrainOptions(**options),
        )
        self.send(self.requests, "line", asked.model_dump_json().encode(), headers)
        return name

    def stages(self) -> list[str]:
        """Return the stages reported so far."""
        return [one.stage for one in self.reported() if one.state == "progress"]

    def champions(self) -> list[str]:
        """Return the ids of all champions ever published, in their order."""
        return [artefact.model_id for key, artefact in self.published() if key == "line" and artefact is not None]

    def send(self, topic: str, key: str, value: bytes, headers: Sequence[tuple[str, bytes]] = ()) -> None:
        """Send one record."""
        producer = Producer({"bootstrap.servers": self.bootstrap, "log_level": 0})
        producer.produce(topic, value, key, headers=list(headers))
        assert producer.flush(20) == 0


def command(topics: Topics, *arguments: str, timeout_s: float = 600, **environment: str) -> Any:
    """Run a Faultline command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "faultline", *arguments],
        cwd=REPOSITORY,
        env={**os.environ, **topics.environment(), **environment},
        capture_output=True,
        text=True,
        timeout=timeout_s,
    )


class TrainerProcess:
    """A sidecar with its log file and its folder.

    Args:
        topics: topics of the sidecar.
        folder: folder for the working directory and the log; a sidecar on the same folder resumes an earlier one.
        job: module of the tests that runs instead of the real child process; None runs the real one.
        environment: settings that override those of a tiny retraining and a lenient gate; None removes a setting.
    """

    def __init__(self, topics: TrainerTopics, folder: Path, job: str | None = None, **environment: str | None) -> None:
        self.port = free_port()
        self.folder, self.log = folder / "trainer", folder / "trainer.log"
        given = {
            "FAULTLINE_TRAINER_FOLDER": str(self.folder),
            "FAULTLINE_TRAINER_WEB_PORT": str(self.port),
            **TINY,
            **LENIENT,
            **environment,
        }
        settings = {name: value for name, value in given.items() if value is not None}
        line: Sequence[str] = ("-m", "faultline", "trainer")
        if job is not None or "FAULTLINE_TEST_DIE" in environment:
            line = ("-m", "tests.delivery.processes.trainer_child", job or "training.sidecar.job.main")
        with self.log.open("ab") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, *line],
                cwd=REPOSITORY,
                env={**os.environ, **topics.environment(), **settings},
                stdout=stderr,
                stderr=stderr,
            )

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def page(self, path: str) -> str:
        """Return a page of its web server; empty if there is none yet."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=2) as answer:
                return str(answer.read().decode())
        except (urllib.error.URLError, OSError):
            return ""

    def ready(self) -> bool:
        if not self.alive:
            raise AssertionError(f"the trainer ended with {self.process.returncode}:\n{self.log.read_text()[-3000:]}")
        page = self.page("/readyz")
        return bool(page) and bool(json.loads(page)["ready"])

    def wait_ready(self) -> TrainerProcess:
        wait_until(self.ready, "the trainer to be ready")
        return self

    def metric(self, name: str) -> float:
        """Return a metric's value; the name includes its labels."""
        for line in self.page("/metrics").splitlines():
            if line.startswith(f"{name} "):
                return float(line.split()[-1])
        raise AssertionError(f"no metric {name}")

    def child(self) -> int | None:
        """Return the process id of the retraining's process; None if there is none."""
        try:
            text = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        except OSError:
            return None
        return int(text.split()[0]) if text.split() else None

    def kill(self) -> None:
        if self.alive:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def terminate(self, deadline_s: float = 40.0) -> int:
        if self.alive:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(deadline_s)
