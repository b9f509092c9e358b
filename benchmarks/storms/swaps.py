"""Swap the model of the real worker and engine a hundred times under load on Apache Kafka, and check its answers.

    python -m benchmarks.storms.swaps --swaps 100

Simulated lines are replayed without pause. Models are published one after another between two periods of steady state.
Every answer is then computed again with the model that it names: an answer of another model, or of two models, counts
as mixed. A model with a memory is followed again from the records at which its warm-up began, which the worker logs, so
a window that was lost, repeated or out of order in a warm-up shows as a mixed answer, too. Latencies count from the
timestamp of a window record to the time at which the broker appended its output. The last line is JSON. The exit status
is 0 only if no answer is mixed, lost or repeated.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from confluent_kafka import Producer
from numpy.typing import NDArray

from benchmarks.kafka.server import KafkaServer
from model.artefact import Artefact, shipped
from model.engine import Engine
from model.spec import SignalSpec
from stream.detection.decode import DecodedBatch, decode_batch
from stream.detection.following import Following
from stream.detection.order import Positions
from tests.delivery.processes.harness import REPOSITORY, Topics, WorkerProcess, read_all, wait_answered, wait_until
from tests.stream.doubles import record as consumed

FAULTLINE = (sys.executable, "-m", "faultline")
SETTLED_S = 3.0
"""Time before steady state begins: after the worker is ready, and after the last swap."""
SWAPS = "faultline_model_swaps_total"
RECORDS = 512
"""Number of records that are computed again in one call."""
SHOWN = 5
"""Number of mixed answers that are printed."""
SAME = 3e-5
"""Answers of one model differ by less than this: another division into batches changes them by less than 1e-5."""


def say(text: str) -> None:
    """Print a line of progress on standard error."""
    print(text, file=sys.stderr, flush=True)


class TimedTopics(Topics):
    """Topics whose output records carry the time at which the broker appended them."""

    def config(self, name: str) -> dict[str, str]:
        """Return the configuration of a topic."""
        timed = {"message.timestamp.type": "LogAppendTime"} if name in (self.classes, *self.faults) else {}
        return super().config(name) | timed


def variants(count: int, *, recompile: bool = False) -> list[Artefact]:
    """Create models with the shipped model's architecture and nearly its classes; neighbours differ in confidence.

    With ``recompile``, each model has its own normalisation, so that no two can share compiled code.
    """
    champion = shipped("line")
    manifest = champion.manifest
    chance = np.random.default_rng(1)
    made = []
    for number in range(count):
        weights = {
            name: (tensor * (1 + 1e-3 * chance.standard_normal(tensor.shape))).astype(np.float32)
            for name, tensor in champion.weights.items()
        }
        scale = tuple(one * (1 + 1e-3 * (number + 1) * recompile) for one in manifest.normalisation.scale)
        made.append(
            Artefact.create(
                weights,
                spec=manifest.spec,
                architecture=manifest.architecture,
                normalisation=manifest.normalisation.model_copy(update={"scale": scale}),
                temperature=manifest.temperature * (0.6 if number % 2 else 2.0),
                rejection=manifest.rejection,
                provenance={"variant": number},
            )
        )
    return made


@dataclass
class Storm:
    """Times of the test in Unix ms, and its models."""

    models: dict[str, Artefact]
    steady_from: float = 0.0
    first_swap: float = 0.0
    last_swap: float = 0.0
    end: float = 0.0
    swaps: int = 0
    took_ms: list[float] = field(default_factory=list)
    """Times from reading a model's record to its use, from the worker's log."""
    built_ms: list[float] = field(default_factory=list)
    """Times from reading a model's record to the beginning of its warm-up."""
    cold_lines: int = 0
    """Number of lines that were not yet warm when a model took over, over all swaps."""
    followed_from: dict[str, dict[int, int]] = field(default_factory=dict)
    """Offset of the first record that a model followed, by model and partition."""

    def swapping(self, at_ms: float) -> bool:
        """Return True if a time lies between the first and the last swap."""
        return self.first_swap <= at_ms <= self.last_swap

    def steady(self, at_ms: float) -> bool:
        """Return True if a time lies in steady state."""
        return self.steady_from <= at_ms < self.first_swap or self.last_swap + SETTLED_S * 1000 < at_ms <= self.end


@contextmanager
def replaying(topics: Topics, recording: Path, log: Path) -> Iterator[None]:
    """Replay a recording in a loop in real time."""
    command = [*FAULTLINE, "replay", str(recording), "--topic", topics.windows, "--pace", "1", "--loop", "--restamp"]
    environment = {**os.environ, **topics.environment()}
    with log.open("wb") as output:
        load = subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=output, stderr=output)
    try:
        yield
    finally:
        load.send_signal(signal.SIGINT)
        load.wait(60)


def put(topics: Topics, producer: Producer, key: str, value: bytes | None, headers: Any = None) -> None:
    """Write a record to the topic of models, as any authorised client may."""
    producer.produce(topics.models, value, key, headers=headers or [])
    assert producer.flush(20) == 0


def metric(worker: WorkerProcess, name: str) -> float:
    """Return the value of one metric of a worker, with labels in its name; 0 if it does not exist."""
    with urllib.request.urlopen(f"http://127.0.0.1:{worker.port}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    return float(found.group(1)) if found else 0.0


def storm(
    topics: Topics, recording: Path, folder: Path, made: Sequence[Artefact], *, steady_s: float, pause_s: float
) -> Storm:
    """Run one worker under one load through steady state, swaps and steady state."""
    swaps = len(made)
    found = Storm({artefact.model_id: artefact for artefact in (shipped("line"), *made)})
    producer = Producer({"bootstrap.servers": topics.bootstrap, "linger.ms": 0, "log_level": 0})
    values = [artefact.to_bytes() for artefact in made]
    worker = WorkerProcess(topics, folder / "worker.log", command=(*FAULTLINE, "worker")).wait_ready()
    try:
        with replaying(topics, recording, folder / "replay.log"):
            wait_until(lambda: metric(worker, "faultline_records_total") > 0, "the first answers")
            time.sleep(SETTLED_S)
            found.steady_from = time.time() * 1000
            time.sleep(steady_s)
            found.first_swap = time.time() * 1000
            for number, value in enumerate(values, start=1):
                put(topics, producer, "line", value)
                time.sleep(pause_s)
                # If models arrive faster than swaps are made, only the newest is used.
                wait_until(lambda number=number: metric(worker, SWAPS) >= number, "the swap")
                if number % 10 == 0:
                    say(f"{number} of {swaps} models in use")
            found.last_swap = time.time() * 1000
            time.sleep(SETTLED_S + steady_s)
            found.end = time.time() * 1000
        wait_answered(topics)
        found.swaps = int(metric(worker, SWAPS))
        assert worker.terminate() == 0
    finally:
        worker.kill()
    read_log(found, worker.log)
    return found


def read_log(found: Storm, log: Path) -> None:
    """Add what a worker's log tells about the swaps."""
    for text in log.read_text().splitlines():
        if '"model-warming"' in text:
            found.built_ms.append(json.loads(text)["took_ms"])
        if '"model-swapped"' in text:
            line = json.loads(text)
            found.took_ms.append(line["took_ms"])
            found.cold_lines += line["cold_lines"]
            found.followed_from[line["model_id"]] = {
                int(partition): offset for partition, offset in line["followed_from"].items()
            }


@dataclass
class Answers:
    """Content of the topics, by the position of the input record."""

    sent_ms: dict[tuple[int, int], int]
    windows: dict[tuple[int, int], Any]
    models: dict[tuple[int, int], list[str]]
    probabilities: dict[tuple[int, int], NDArray[np.float32]]
    latency_ms: dict[tuple[int, int], int]
    events: list[tuple[dict[str, Any], int]]
    """Events with their latency in ms."""


def gather(topics: Topics, artefact: Artefact) -> Answers:
    """Read all topics to their ends and join their records."""
    found = Answers({}, {}, defaultdict(list), {}, {}, [])
    for message in read_all(topics.bootstrap, [topics.windows]):
        place = (message.partition(), message.offset())
        found.sent_ms[place] = message.timestamp()[1]
        found.windows[place] = message
    classes = len(artefact.manifest.spec.classes)
    for message in read_all(topics.bootstrap, [topics.classes]):
        answer = msgspec.msgpack.decode(message.value())
        place = (answer["source"]["partition"], answer["source"]["offset"])
        found.models[place].append(answer["model_id"])
        found.probabilities[place] = np.frombuffer(answer["probabilities"], "<f4").reshape(-1, classes)
        found.latency_ms[place] = message.timestamp()[1] - found.sent_ms[place]
    for message in read_all(topics.bootstrap, topics.faults):
        event = json.loads(message.value())
        source = (event["source"]["partition"], event["source"]["offset"])
        found.events.append((event, message.timestamp()[1] - found.sent_ms[source]))
    return found


class Mixed(NamedTuple):
    """Records whose answer is not that of the model it names."""

    records: int
    largest: float
    """Largest difference of a probability from that of the named model, over all records."""
    told_apart: float
    """Share of the records where the next model's answer differs, so that a mixed answer would be detected."""


def mixed_answers(found: Answers, happened: Storm) -> Mixed:
    """Compute every answer again, with the model that it names and with the next one, and compare."""
    models = happened.models
    order = list(models)
    mixed = seen = 0
    largest = 0.0
    with Engine(models[order[0]]) as first:
        for number, model_id in enumerate(order):
            places = [place for place, named in found.models.items() if named[0] == model_id]
            answers = []
            for artefact in (models[model_id], models[order[(number + 1) % len(order)]]):
                with Engine(artefact, like=first) as engine:
                    answers.append(recompute(found, places, happened.followed_from.get(model_id, {}), engine))
            for place in places:
                own, other = (one[place] for one in answers)
                difference = _difference(own, found.probabilities[place])
                largest = max(largest, difference)
                if difference > SAME:
                    mixed += 1
                    if mixed <= SHOWN:
                        say(f"record {place} of model {number}: {found.probabilities[place]}, not {own}; next {other}")
                seen += _difference(own, other) > SAME
    return Mixed(mixed, largest, seen / max(1, len(found.models)))


def _difference(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    return float(np.abs(one - other).max()) if one.shape == other.shape else 1.0


def recompute(
    found: Answers, places: Sequence[tuple[int, int]], followed_from: dict[int, int], engine: Engine
) -> dict[tuple[int, int], NDArray[np.float32]]:
    """Compute the answers of one model again, and those to the records that it followed before.

    Args:
        found: content of the topics.
        places: partitions and offsets of the records that the model answered.
        followed_from: offset of the first record that the model followed, by partition; it begins with its first answer
            elsewhere.
        engine: the model.

    Returns:
        Probabilities float32 (n, classes) by partition and offset.
    """
    spec = engine.spec
    answers: dict[tuple[int, int], NDArray[np.float32]] = {}
    for partition in {partition for partition, _ in places}:
        offsets = [offset for one, offset in places if one == partition]
        begin, end = min(followed_from.get(partition, offsets[0]), *offsets), max(offsets)
        stretch = sorted(place for place in found.windows if place[0] == partition and begin <= place[1] <= end)
        positions, following = Positions(spec), Following(engine, spec.none_index, len(spec.classes))
        for first in range(0, len(stretch), RECORDS):
            batch = _decoded(found, stretch[first : first + RECORDS], spec)
            (probabilities,) = following.follow(batch, positions.order(batch, {})).probabilities
            for entry in batch.records:
                answers[partition, entry.record.offset] = probabilities[entry.first : entry.first + entry.count]
    return answers


def _decoded(found: Answers, places: Sequence[tuple[int, int]], spec: SignalSpec) -> DecodedBatch:
    messages = [found.windows[place] for place in places]
    records = [
        consumed(message.key(), message.value(), headers=message.headers(), partition=partition, offset=offset)
        for message, (partition, offset) in zip(messages, places, strict=True)
    ]
    return decode_batch(records, spec, max_bytes=1 << 30)


def out_of_order(found: Answers, models: dict[str, Artefact]) -> int:
    """Count the answers of a partition by a model that had been replaced before."""
    order = {model_id: number for number, model_id in enumerate(models)}
    latest: dict[int, int] = {}
    wrong = 0
    for (partition, _), named in sorted(found.models.items()):
        number = order[named[0]]
        wrong += number < latest.get(partition, 0)
        latest[partition] = max(number, latest.get(partition, 0))
    return wrong


def percentile(latencies: list[int], share: float) -> float | None:
    """Return a percentile; None of no values."""
    return round(float(np.percentile(latencies, share)), 1) if latencies else None


def result_of(found: Answers, happened: Storm) -> dict[str, Any]:
    """Return the figures of the test."""
    mixed = mixed_answers(found, happened)
    times = Counter(len(named) for named in found.models.values())
    event_ids = Counter(event["event_id"] for event, _ in found.events)
    result: dict[str, Any] = {
        "swaps": happened.swaps,
        "models_that_answered": len({named[0] for named in found.models.values()}),
        "records": len(found.sent_ms),
        "lost": len(set(found.sent_ms) - set(found.models)),
        "answered_twice": sum(times.values()) - times[1],
        "mixed": mixed.records,
        "mixed_largest": mixed.largest,
        "mixed_would_be_seen": round(mixed.told_apart, 4),
        "out_of_order": out_of_order(found, happened.models),
        "events": len(event_ids),
        "swap_ms_median": percentile(sorted(int(took) for took in happened.took_ms), 50),
        "swap_ms_max": max(happened.took_ms, default=None),
        "build_ms_median": percentile(sorted(int(took) for took in happened.built_ms), 50),
        "cold_lines": happened.cold_lines,
    }
    parts = {"swaps": happened.swapping, "steady": happened.steady}
    kinds = {
        "answer": [(found.sent_ms[place], took) for place, took in found.latency_ms.items()],
        "event": [(found.sent_ms[_source(event)], took) for event, took in found.events],
    }
    for kind, pairs in kinds.items():
        for name, within in parts.items():
            chosen = [took for at, took in pairs if within(at)]
            result[f"{kind}_{name}_n"] = len(chosen)
            for share in (50, 99):
                result[f"{kind}_{name}_p{share}_ms"] = percentile(chosen, share)
        during, steady = result[f"{kind}_swaps_p99_ms"], result[f"{kind}_steady_p99_ms"]
        result[f"{kind}_p99_ratio"] = round(during / steady, 2) if during and steady else None
    return result


def _source(event: dict[str, Any]) -> tuple[int, int]:
    return event["source"]["partition"], event["source"]["offset"]


def simulated(folder: Path, lines: int, seconds: int, seed: int) -> Path:
    """Simulate lines, and return the path of their recording."""
    recording = folder / "swaps.parquet"
    command = [*FAULTLINE, "simulate", "--lines", str(lines), "--seconds", str(seconds), "--out", str(recording)]
    subprocess.run([*command, "--seed", str(seed)], cwd=REPOSITORY, check=True, stdout=sys.stderr)
    return recording


def right(result: dict[str, Any], swaps: int) -> bool:
    """Return True if no answer was mixed, lost or repeated, and every model was in use."""
    wrong = (result["mixed"], result["lost"], result["answered_twice"], result["out_of_order"])
    return not any(wrong) and result["swaps"] == swaps and result["mixed_would_be_seen"] > 0.7


def main() -> int:
    """Run the stress test; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--swaps", type=int, default=100, help="number of swaps")
    parser.add_argument("--lines", type=int, default=24, help="number of simulated lines")
    parser.add_argument("--steady", type=float, default=25.0, help="seconds of steady state before and after the swaps")
    parser.add_argument("--pause", type=float, default=0.5, help="seconds between two swaps")
    parser.add_argument("--recompile", action="store_true", help="use models that share no compiled code")
    parser.add_argument("--seed", type=int, default=7, help="seed of the lines")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, KafkaServer(Path(name) / "kafka") as kafka:
        folder = Path(name)
        recording = simulated(folder, options.lines, 60, options.seed)
        topics = TimedTopics(kafka.bootstrap, "swaps").create()
        made = variants(options.swaps, recompile=options.recompile)
        happened = storm(topics, recording, folder, made, steady_s=options.steady, pause_s=options.pause)
        result = result_of(gather(topics, shipped("line")), happened)
    print(json.dumps(result))
    return 0 if right(result, options.swaps) else 1


if __name__ == "__main__":
    sys.exit(main())
