"""Kill the real worker (shipped model, real engine) ten times under load on Apache Kafka, and check its events.

    python -m benchmarks.storms.storm --rounds 10

Simulated lines are replayed without pause while one worker after another is killed by SIGKILL. Afterwards an
undisturbed worker processes the same windows with separate output topics: both must have published the same event ids.
The last line is JSON. The exit status is 0 only if nothing was lost, repeated events kept their ids and the events
agree.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.kafka.server import KafkaServer
from tests.delivery.processes.harness import REPOSITORY, Account, Topics, WorkerProcess, wait_answered

FAULTLINE = (sys.executable, "-m", "faultline")


def say(text: str) -> None:
    """Print a line of progress on standard error."""
    print(text, file=sys.stderr, flush=True)


def storm(topics: Topics, recording: Path, folder: Path, rounds: int, seed: int) -> None:
    """Kill ``rounds`` workers, one after another, while the recording is replayed in a loop."""
    chance = random.Random(seed)
    environment = {**os.environ, **topics.environment()}
    replay = [*FAULTLINE, "replay", str(recording), "--topic", topics.windows, "--pace", "1", "--loop", "--restamp"]
    with (folder / "replay.log").open("wb") as log:
        load = subprocess.Popen(replay, cwd=REPOSITORY, env=environment, stdout=log, stderr=log)
    try:
        for number in range(rounds):
            worker = WorkerProcess(topics, folder / f"worker-{number}.log", command=(*FAULTLINE, "worker"))
            worker.wait_ready()
            time.sleep(chance.uniform(0.5, 4.0))
            worker.kill()
            say(f"round {number + 1} of {rounds}: killed")
    finally:
        load.send_signal(signal.SIGINT)
        load.wait(60)


def finished_by_one_worker(topics: Topics, log: Path, deadline_s: float) -> Account:
    """Let a worker process all remaining windows of the topic, from its group's offsets, and return the account."""
    worker = WorkerProcess(topics, log, command=(*FAULTLINE, "worker")).wait_ready()
    try:
        return wait_answered(topics, deadline_s)
    finally:
        worker.terminate()


class Undisturbed(Topics):
    """Separate output topics for a second pass over the same windows."""

    @property
    def windows(self) -> str:
        """The input topic of the first pass."""
        return "storm-windows"


def main() -> int:
    """Run the stress test; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10, help="number of kills")
    parser.add_argument("--lines", type=int, default=24, help="number of simulated lines")
    parser.add_argument("--seed", type=int, default=7, help="seed of lines and times")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, KafkaServer(Path(name) / "kafka") as kafka:
        folder = Path(name)
        recording = folder / "storm.parquet"
        simulate = [*FAULTLINE, "simulate", "--lines", str(options.lines), "--seconds", "60", "--out", str(recording)]
        subprocess.run([*simulate, "--seed", str(options.seed)], cwd=REPOSITORY, check=True, stdout=sys.stderr)
        topics = Topics(kafka.bootstrap, "storm").create()
        storm(topics, recording, folder, options.rounds, options.seed)
        found = finished_by_one_worker(topics, folder / "last.log", 180)
        say(found.summary())
        calm = Undisturbed(kafka.bootstrap, "calm")
        calm.create_outputs()
        reference = finished_by_one_worker(calm, folder / "calm.log", 180)
        say(reference.summary())
    ids = {event["event_id"] for event in found.events}
    expected = {event["event_id"] for event in reference.events}
    result = {
        "kills": options.rounds,
        "records": len(found.sent),
        "lost": len(found.lost),
        "repeated_answers": found.repeated,
        "events": len(ids),
        "repeated_events": found.repeated_events,
        "repeats_keep_ids": found.same_step_has_same_id(),
        "missing_events": len(expected - ids),
        "extra_events": len(ids - expected),
    }
    print(json.dumps(result))
    right = not found.lost and result["repeats_keep_ids"] and ids == expected and bool(ids)
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
