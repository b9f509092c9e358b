"""Run one whole retraining with real components on Apache Kafka: worker, trainer, replay, training, gate, model swap.

    python -m benchmarks.storms.loop

``faultline worker`` and ``faultline trainer`` run while lines are replayed without pause. ``faultline retrain --wait
--from-champion`` requests a retraining with few episodes. The gate uses its default thresholds, on fewer records per
condition than a trainer's default. Regardless of the gate's verdict, every window must be answered once, by one model.
The last line is JSON. The exit status is 0 if all windows were answered correctly and the verdict took effect (promoted
or refused).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.kafka.server import KafkaServer
from benchmarks.storms.swaps import FAULTLINE, replaying, simulated
from tests.delivery.processes.harness import WorkerProcess, account, read_all, wait_answered, wait_until
from tests.delivery.processes.trainer_harness import LENIENT, TINY, TrainerProcess, TrainerTopics, command

READY_DEADLINE_S = 300.0


def say(text: str) -> None:
    """Print a line of progress on standard error."""
    print(text, file=sys.stderr, flush=True)


def strict(options: argparse.Namespace) -> dict[str, str | None]:
    """Return a trainer's settings with the gate's default thresholds, instead of the lenient ones of other tests."""
    return {
        **dict.fromkeys(TINY | LENIENT),
        "FAULTLINE_RETRAIN_ON_DRIFT": "false",
        "FAULTLINE_RETRAIN_NICE": "5",
        "FAULTLINE_STORE_SIMULATED": "true",  # labelled windows, as production has them
        "FAULTLINE_EVALUATION_EPISODES": str(options.records),
        "FAULTLINE_EVALUATION_LINES": str(options.lines),
    }


def answers(topics: TrainerTopics) -> tuple[int, dict[tuple[int, int], list[str]]]:
    """Return the number of answered windows, and the models that answered each record."""
    windows = 0
    models: dict[tuple[int, int], list[str]] = defaultdict(list)
    for message in read_all(topics.bootstrap, [topics.classes]):
        answer = msgspec.msgpack.decode(message.value())
        windows += answer["count"]
        models[answer["source"]["partition"], answer["source"]["offset"]].append(answer["model_id"])
    return windows, models


def loop(topics: TrainerTopics, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Run all components, request a retraining, and wait for its verdict and, if promoted, events of the new model."""
    recording = simulated(folder, 6, 30, options.seed)
    worker = WorkerProcess(topics, folder / "worker.log", command=(*FAULTLINE, "worker"))
    trainer = TrainerProcess(topics, folder, None, **strict(options))
    try:
        for process in (worker, trainer):
            wait_until(process.ready, "worker and trainer to be ready", READY_DEADLINE_S)
        with replaying(topics, recording, folder / "replay.log"):
            wait_until(lambda: account(topics).events, "the first events")
            asked_s = time.monotonic()
            asked = command(
                topics, "retrain", "--wait", "--from-champion", "--reason", "the loop",
                "--episodes", str(options.episodes), "--epochs", str(options.epochs), timeout_s=3600,
            )  # fmt: skip
            took_s = time.monotonic() - asked_s
            say(asked.stdout)
            (final,) = topics.final_reports()
            if final.state == "promoted":
                wait_until(lambda: by_model(topics)[str(final.model_id)] > 0, "events of the new model")
        found = wait_answered(topics)
        assert worker.terminate() == 0
    finally:
        trainer.kill()
        worker.kill()
    windows, models = answers(topics)
    events = by_model(topics)
    sent = sum(msgspec.msgpack.decode(one.value())["count"] for one in read_all(topics.bootstrap, [topics.windows]))
    return {
        "verdict": final.state,
        "exit_status": asked.returncode,
        "old": final.champion_id,
        "new": final.model_id,
        "retraining_s": round(took_s, 1),
        "windows_sent": sent,
        "windows_answered": windows,
        "records_lost": len(found.lost),
        "answered_by_both_or_twice": sum(len(named) > 1 for named in models.values()),
        "events_old": events[str(final.champion_id)],
        "events_new": events[str(final.model_id)],
        "failed_criteria": final.failed_criteria,
        "metrics": final.metrics,
        "note": final.note,
    }


def by_model(topics: TrainerTopics) -> Counter[str]:
    """Return the number of events by model."""
    return Counter(event["model_id"] for event in account(topics).events)


def right(result: dict[str, Any]) -> bool:
    """Return True if every window was answered once and the verdict took effect."""
    promoted = result["verdict"] == "promoted"
    return (
        result["verdict"] in ("promoted", "refused")
        and result["exit_status"] == (0 if promoted else 1)
        and result["windows_sent"] == result["windows_answered"]
        and not result["records_lost"]
        and not result["answered_by_both_or_twice"]
        and result["events_old"] > 0
        and (result["events_new"] > 0) == promoted
    )


def main() -> int:
    """Run the stress test; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--episodes",
        type=int,
        default=12_000,
        help="simulated episodes of the training; with 2000 the model loses accuracy, and the gate refuses it",
    )
    parser.add_argument("--epochs", type=int, default=2, help="epochs of the training")
    parser.add_argument("--records", type=int, default=24, help="records per condition and level, for the gate")
    parser.add_argument("--lines", type=int, default=30, help="lines of the hold-out, 64 s each")
    parser.add_argument("--seed", type=int, default=7, help="seed of the lines that are replayed")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, KafkaServer(Path(name) / "kafka") as kafka:
        topics = TrainerTopics(kafka.bootstrap, "loop", partitions=2).create()
        result = loop(topics, Path(name), options)
    print(json.dumps(result))
    return 0 if right(result) else 1


if __name__ == "__main__":
    sys.exit(main())
