"""Kill the real sidecar on Apache Kafka at random times, while it retrains every minute and on request.

    python -m benchmarks.storms.retraining_storm --kills 8

SIGKILL hits the trainer, the process of the training, or both; the trainer is restarted at once. The training itself is
a test double that takes a few seconds (``tests.delivery.processes.fast_job``), so that kills hit every step. At the end
every request must have a final report, every retraining must have published at most one model, and no partial file may
remain. The last line is JSON. The exit status is 0 only if all this holds.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.kafka.server import KafkaServer
from tests.delivery.processes.harness import DEADLINE_S, wait_until
from tests.delivery.processes.trainer_harness import TrainerProcess, TrainerTopics

SETTINGS = {
    "FAULTLINE_RETRAIN_SCHEDULE": "* * * * *",
    "FAULTLINE_RETRAIN_ATTEMPTS": "20",
    "FAULTLINE_TEST_TRAINING_S": "2",
    "FAULTLINE_TEST_JUDGING_S": "1",
}


def say(text: str) -> None:
    """Print a line of progress on standard error."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def running(topics: TrainerTopics, folder: Path) -> Iterator[list[TrainerProcess]]:
    """Yield a list with one trainer, to which the caller appends restarted ones; the last one is killed at the end."""
    trainers = [TrainerProcess(topics, folder, "tests.delivery.processes.fast_job", **SETTINGS)]
    try:
        yield trainers
    finally:
        trainers[-1].kill()


def kill_something(trainers: list[TrainerProcess], topics: TrainerTopics, folder: Path, chance: random.Random) -> str:
    """Kill the trainer, its child or both, restart the trainer if needed, and return what was killed."""
    trainer = trainers[-1]
    child = trainer.child()
    victim = chance.choice(["trainer", "both", "child"] if child is not None else ["trainer"])
    if child is not None and victim in ("child", "both"):
        try:
            os.kill(child, 9)
        except ProcessLookupError:
            victim = "child, gone already" if victim == "child" else "trainer"
    if victim in ("trainer", "both"):
        trainer.kill()
        trainers.append(TrainerProcess(topics, folder, "tests.delivery.processes.fast_job", **SETTINGS))
    return victim


def storm(topics: TrainerTopics, folder: Path, kills: int, chance: random.Random) -> dict[str, object]:
    """Alternate requests and kills, let the trainer finish, and count reports and models."""
    asked: set[str] = set()
    killed: Counter[str] = Counter()
    begun_s = time.monotonic()
    with running(topics, folder) as trainers:
        trainers[-1].wait_ready()
        for number in range(kills):
            asked.add(topics.ask(f"ask-{number}"))
            time.sleep(chance.uniform(0.5, 6.0))
            victim = kill_something(trainers, topics, folder, chance)
            killed[victim] += 1
            say(f"kill {number + 1} of {kills}: {victim}")

        def scheduled() -> set[str]:
            return {name for one in topics.final_reports() for name in one.request_ids if name.startswith("schedule-")}

        wait_until(lambda: len(scheduled()) >= 2, "the schedule to have fired twice", 240, pause_s=1.0)
        wait_until(lambda: asked <= served(topics), "every request to be served", DEADLINE_S, pause_s=1.0)
        wait_until(lambda: not (folder / "trainer" / "run").exists(), "the trainer to come to rest")
        fired = sorted(scheduled())
    finals = topics.final_reports()
    champions = topics.champions()
    promoted = {str(one.model_id) for one in finals if one.state == "promoted"}
    times = Counter(name for one in finals for name in one.request_ids)
    left = [str(path) for path in (folder / "trainer").rglob("*.partial")]
    return {
        "killed": dict(killed),
        "retrainings": dict(Counter(one.state for one in finals)),
        "failures": [one.note for one in finals if one.state == "failed"],
        "requests": len(times),
        "served_twice": sorted(name for name, count in times.items() if count > 1),
        "not_served": sorted(asked - set(times)),
        "schedule_fired": fired,
        "champions": len(champions),
        "published_twice": len(champions) - len(set(champions)),
        "promoted_and_not_published": sorted(promoted - {*champions}),
        "half_written": left,
        "seconds": round(time.monotonic() - begun_s, 1),
    }


def served(topics: TrainerTopics) -> set[str]:
    """Return the ids of the requests in final reports."""
    return {name for one in topics.final_reports() for name in one.request_ids}


def right(account: dict[str, object]) -> bool:
    """Return True if nothing is lost, duplicated or partially written."""
    none = ("failures", "served_twice", "not_served", "published_twice", "promoted_and_not_published", "half_written")
    return not any(account[name] for name in none) and len(account["schedule_fired"]) >= 2  # type: ignore[arg-type]


def main() -> int:
    """Run the stress test; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=8, help="number of kills")
    parser.add_argument("--seed", type=int, default=2026, help="seed of times and victims")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, KafkaServer(Path(name) / "kafka") as server:
        folder = Path(name) / "storm"
        folder.mkdir()
        topics = TrainerTopics(server.bootstrap, "storm", partitions=2).create()
        account = storm(topics, folder, options.kills, random.Random(options.seed))
        if not right(account):
            say((folder / "trainer.log").read_text()[-8000:])
    print(json.dumps(account))
    return 0 if right(account) else 1


if __name__ == "__main__":
    sys.exit(main())
