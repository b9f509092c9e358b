"""Measure Faultline's behaviour on fixed seeds as plain JSON values; ``expected/`` holds the values to compare with.

``python -m tests.golden.capture`` writes ``expected/`` anew, which only an intended change of behaviour justifies.
Values that depend on a clock, a processor, a library's version or a path are omitted.
"""

from __future__ import annotations

import csv
import hashlib
import heapq
import io
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np
from aiokafka.structs import ConsumerRecord
from numpy.typing import NDArray

from domains.powerline.data.scenario import scenario
from domains.powerline.events import PowerLineFaultEvent
from domains.powerline.recipes.thresholds import LineThresholds
from domains.powerline.waveforms import open_waveforms
from faultline.file_detection import answer_line
from model.artefact import Artefact, shipped
from model.engine import Engine
from model.spec import SignalSpec, load_spec
from stream.asyncapi import documents
from stream.contract import Outgoing
from stream.dead_letters.publish import dead_letter
from stream.detection.classify import Classifier, with_rejection
from stream.detection.decode import decode_batch
from stream.detection.episodes import EpisodeTracker
from stream.detection.following import Following
from stream.detection.order import Slots
from stream.detection.scoring import METRICS, EventScore, detect_episodes, published_episodes, score_events
from stream.detection.truth import InjectedFault, Truth, injected_faults
from stream.kafka.reading.partition import Partition
from stream.settings import Settings
from stream.windowing import MSGPACK_HEADERS, cut_windows, encode_windows, window_messages
from stream.worker.micro_batch import ClassifiedPart, TrackedBatch
from stream.worker.offsets import FetchedBatch
from stream.worker.state_store import PartitionStates, state_records
from stream.worker.tracking import WindowTracker
from training.data.episodes import Scenario
from training.evaluation.classifier import classify_record
from training.evaluation.conditions.paired import standard_errors
from training.evaluation.conditions.results import RobustnessResult
from training.evaluation.robustness import evaluate
from training.gate.gate import HOLDOUT, GateScores, gate
from training.recipe import recipe_of
from training.report.collect import ReportOptions, collect
from training.report.schema import PATH, schema_text

FOLDER = Path(__file__).with_name("expected")
SPEC = load_spec("line")
INSTANT = load_spec("instant")
RATE_HZ, START_NS = 1600.0, 1_767_225_600_000_000_000
PARTITIONS, WINDOWS_PER_MESSAGE, FETCHED_RECORDS = 2, 25, 16
MAX_BYTES = 1 << 20
# Noise causes mistakes, a lost channel many, and non-faults contain no fault.
CONDITIONS = ("noise", "lost_channel", "non_faults")
RECORDS = 8  # of every cell
# Fields of a report that describe the machine and the time of its creation.
OF_THE_MACHINE = {
    "generated_at": None,
    "latency": None,
    "architecture_notes": None,  # these state the latency
    "identity": {"trained_with": None, "evaluated_with": None, "processor": None, "cores": None, "memory_gib": None},
}
PEAK = np.array([400.0 * np.sqrt(2)] * 3 + [110_000.0 * np.sqrt(2 / 3)] * 3)  # ampere, volt


# Models and lines ----------------------------------------------------------------------------------------------------


@cache
def models() -> dict[str, Artefact]:
    """Return the shipped `line` model, and a worse one of the same network whose weights are disturbed."""
    known = shipped("line")
    rng = np.random.default_rng(11)
    disturbed = {
        # Rounded, because the sum behind a deviation differs by processor, and the model's id with it.
        name: (tensor + round(0.5 * float(tensor.std()), 4) * rng.standard_normal(tensor.shape)).astype(np.float32)
        for name, tensor in known.weights.items()
    }
    manifest = known.manifest
    worse = Artefact.create(
        disturbed,
        spec=manifest.spec,
        architecture=manifest.architecture,
        normalisation=manifest.normalisation,
        temperature=manifest.temperature,
        rejection=manifest.rejection,
        provenance={"seed": 1},
    )
    return {"shipped": known, "disturbed": worse}


@cache
def engine(name: str) -> Engine:
    """Return the engine of a model with one thread, so that batches are cut in the same way on every machine."""
    return Engine(models()[name], threads=1, buckets=(256, 4096))


@cache
def lines() -> Scenario:
    """Simulate three lines with seven faults between them, two of which evolve into another type."""
    return scenario(3, 12.8, seed=5)


class ClassReader:
    """A classifier of `instant` windows that reads the class from the first value of the window."""

    model_id = "instant-reader"
    memory_units = 0

    def classify(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return probability .94 for the class that is read, and .01 for each other one."""
        answer = np.full((len(windows), len(INSTANT.classes)), 0.01, np.float32)
        answer[np.arange(len(windows)), windows[:, 0, 0].astype(int)] = 0.94
        return answer

    def follow(
        self, windows: NDArray[np.float32], line: NDArray[np.intp], memory: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the probabilities, and the memory of no values as it is."""
        return self.classify(windows), memory

    def is_ood(self, windows: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Return that windows with a large last value are out of distribution."""
        return np.asarray(windows[:, 0, 5] > 100)


# The contract --------------------------------------------------------------------------------------------------------


def contract() -> dict[str, Any]:
    """Hash the documents of the contract without their prose, and name the artefact that ships."""
    known = models()["shipped"]
    return {
        "documents": {path: _hash_without_prose(text) for path, text in sorted(documents().items())},
        "report_schema": {PATH: _hash_without_prose(schema_text())},
        "artefacts": {
            "line": {
                "model_id": known.model_id,
                "file_sha256": _sha256(known.to_bytes()),
                "manifest_sha256": _sha256(known.manifest_json.encode()),
                "weights_sha256": known.manifest.weights_sha256,
                "spec_digest": known.manifest.spec.digest,
            }
        },
        "specs": {spec.name: spec.digest for spec in (SPEC, INSTANT)},
        "settings": sorted(Settings.model_fields),
    }


def _hash_without_prose(document: str) -> str:
    """Hash a JSON document without its titles, summaries and descriptions, which may be worded anew."""
    return _sha256(json.dumps(without_prose(json.loads(document)), sort_keys=True).encode())


def without_prose(value: Any) -> Any:
    """Return a JSON value without the texts that only people read."""
    if isinstance(value, list):
        return [without_prose(item) for item in value]
    if not isinstance(value, dict):
        return value
    prose = {"title", "summary", "description"}
    return {key: without_prose(item) for key, item in value.items() if not (key in prose and isinstance(item, str))}


# From records to events ----------------------------------------------------------------------------------------------


def line_stream() -> dict[str, Any]:
    """Send the simulated lines, and some invalid records, through the worker's own path."""
    return classified_stream(_line_records(), engine("shipped"), SPEC)


def instant_stream() -> dict[str, Any]:
    """Send instants that carry their class through the same path."""
    return classified_stream(_instant_records(), ClassReader(), INSTANT)


def classified_stream(records: Sequence[Any], classifier: Classifier, spec: SignalSpec) -> dict[str, Any]:
    """Decode, classify, reject, track and publish records as a worker does, fetch by fetch.

    Returns:
        The bodies of all events in order, the records of every topic with key and headers, the dead letters, the final
        line states on their topic, and the outcome of the windows.
    """
    settings = Settings(_env_file=None, window_classes=True)  # type: ignore[call-arg]
    tracker, batch = WindowTracker(settings, EpisodeTracker(spec)), TrackedBatch([], classifier.model_id, Counter())
    written: list[Outgoing] = []
    slots, following = Slots(), Following(classifier, spec.none_index, len(spec.classes))
    states = {number: PartitionStates("faultline", spec=spec, slots=slots) for number in range(PARTITIONS)}
    for number, first in ((n, k) for k in range(0, len(records), FETCHED_RECORDS) for n in range(PARTITIONS)):
        fetched = [one for one in records[first : first + FETCHED_RECORDS] if one.partition == number]
        if not fetched:
            continue
        decoded = decode_batch(fetched, spec, max_bytes=MAX_BYTES)
        ordered = states[number].positions.order(decoded, states[number].lines)
        followed = following.follow(decoded, ordered)
        batch.outcomes += followed.outcomes
        whole = FetchedBatch(Partition(settings.topic_windows, number), fetched)
        answers_of = followed.probabilities[0], followed.memories[0]
        tracker.process(batch, ClassifiedPart(whole, decoded, states[number], ordered, *answers_of))
        unwritten = batch.states.pop(number)
        written += state_records(unwritten, "faultline", settings.topic_line_states, number)
    answers = [one for one in batch.outgoing if one.topic == settings.topic_window_classes]
    told = [one for one in batch.outgoing if one.topic != settings.topic_window_classes]
    last_states = {(one.partition, one.key): one.value for one in written}
    return {
        "events": [event.model_dump(mode="json") for event, _ in batch.events],
        "topics": [
            {"topic": one.topic, "key": _text(one.key), "headers": {name: _text(value) for name, value in one.headers}}
            for one in told
        ],
        "bodies_are_those_of_the_events": _bodies(told) <= {event.model_dump_json() for event, _ in batch.events},
        "answers": {
            "records": len(answers),
            "classes_sha256": _sha256(b"".join(_answer(one.value)["classes"] for one in answers)),
            "keys": sorted(_answer(answers[0].value)),
        },
        "dead_letters": [
            {"key": _text(one.key), "headers": {name: _cause(_text(value)) for name, value in one.headers}}
            for one in (dead_letter(dead, settings.topic_dead_letters) for dead in batch.dead)
        ],
        "states_written": len(written),
        "states": {
            f"{partition} {_text(key)}": _state(value) for (partition, key), value in sorted(last_states.items())
        },
        "outcomes": dict(sorted(batch.outcomes.items())),
    }


def _line_records() -> list[Any]:
    """Return messages of all lines by their time, among them poison, a repeat, a late line, noise and NaN."""
    samples, labels = lines().samples, lines().labels
    by_line = [
        window_messages(
            f"feeder-{k}",
            samples[k],
            SPEC,
            rate_hz=RATE_HZ,
            start_ns=START_NS,
            windows_per_message=WINDOWS_PER_MESSAGE,
            labels=labels[k],
        )
        for k in range(len(samples))
    ]
    sent: list[tuple[bytes | None, bytes | None, int]] = [
        (message.line.encode(), message.value, message.end_ns)
        for message in heapq.merge(*by_line, key=lambda message: message.end_ns)
    ]
    noise = np.random.default_rng(3).normal(0, 3, (40, *SPEC.window_shape)).astype(np.float32)
    broken = noise.copy()
    broken[7, 3, 2] = np.nan
    foreign = [
        encode_windows(windows, SPEC, sequence=0, start_ns=START_NS, rate_hz=RATE_HZ) for windows in (noise, broken)
    ]
    late = encode_windows(
        cut_windows(samples[0, :960], SPEC), SPEC, sequence=9_000_000, start_ns=START_NS, rate_hz=RATE_HZ
    )
    time_ns = sent[150][2]
    sent[150:150] = [
        (b"feeder-0", b"\xc1 is no MessagePack", time_ns),
        (b"feeder-1", None, time_ns),
        (None, sent[0][1], time_ns),
        sent[149],
        (b"noise", foreign[0], time_ns),
        (b"noise", foreign[1], time_ns),
        (b"feeder-2", late, time_ns),
    ]
    return _consumed(sent)


def _instant_records() -> list[Any]:
    """Return messages of two lines, at 20 kHz, whose windows carry their class."""
    runs = {
        "bay-a": ((0, 40), (1, 9), (0, 1), (1, 20), (4, 30), (0, 60), (5, 25), (6, 25), (0, 50), (2, 2), (0, 30)),
        "bay-b": ((0, 25), (3, 30), (0, 10), (3, 4), (0, 40), (6, 12)),
    }
    sent: list[tuple[bytes | None, bytes | None, int]] = []
    for line, parts in runs.items():
        said = np.repeat([name for name, _ in parts], [count for _, count in parts])
        windows = np.zeros((len(said), *INSTANT.window_shape), np.float32)
        windows[:, 0, 0] = said
        windows[60:64, 0, 5] = 1000
        for first in range(0, len(windows), 12):
            begin_ns = START_NS + first * 50_000
            block = windows[first : first + 12]
            value = encode_windows(block, INSTANT, sequence=first, start_ns=begin_ns, rate_hz=20_000.0)
            sent.append((line.encode(), value, begin_ns + 600_000))
    return _consumed(sorted(sent, key=lambda one: one[2]))


def _consumed(sent: Sequence[tuple[bytes | None, bytes | None, int]]) -> list[Any]:
    """Return consumed records of keys, values and times; a key's records are on one partition."""
    offsets: Counter[int] = Counter()
    records = []
    for key, value, time_ns in sent:
        partition = sum(key or b"") % PARTITIONS
        sizes = len(key or b""), len(value or b"")
        at = "sensor-windows", partition, offsets[partition], time_ns // 1_000_000, 0
        records.append(ConsumerRecord(*at, key, value, None, *sizes, MSGPACK_HEADERS))
        offsets[partition] += 1
    return records


def file_episodes() -> dict[str, Any]:
    """Classify a CSV file of one simulated line, as ``faultline classify`` does."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "north.csv"
        path.write_text(_csv(lines().samples[0] * PEAK), encoding="utf-8")
        record = open_waveforms(path)
        answers = [answer_line(record, line, engine("shipped"), SPEC) for line in record.lines]
        return {
            "lines": [line.name for line in record.lines],
            "frequency_hz": record.frequency_hz,
            "findings": [[finding.level, finding.code] for finding in record.findings],
            "answers": [
                {
                    "events": [event.model_dump(mode="json") for event in answer.events],
                    "episodes": [episode.model_dump(mode="json", exclude={"file"}) for episode in answer.episodes],
                    "windows": len(answer.probabilities),
                    "first_window_ends_s": float(answer.window_end_s[0]),
                    "last_window_ends_s": float(answer.window_end_s[-1]),
                    "outcomes": dict(sorted(answer.outcomes.items())),
                }
                for answer in answers
            ],
        }


def _csv(values: NDArray[np.floating]) -> str:
    """Write samples (t, 6) in ampere and volt with the times of their samples."""
    file = io.StringIO()
    rows = csv.writer(file, lineterminator="\n")
    rows.writerow(["timestamp", "ia", "ib", "ic", "va", "vb", "vc"])
    begin = np.datetime64("2026-01-01T00:00:00")
    for number, row in enumerate(values):
        at = begin + np.timedelta64(round(number * 1e9 / RATE_HZ), "ns")
        rows.writerow([str(at), *(f"{value:.3f}" for value in row)])
    return file.getvalue()


# Scores --------------------------------------------------------------------------------------------------------------


def scores() -> dict[str, Any]:
    """Score both models on the simulated lines, by published events and by confirmed episodes."""
    return {name: _scores_of(name) for name in models()}


def _scores_of(name: str) -> dict[str, Any]:
    what = lines()
    truth = Truth(SPEC)
    for k, labels in enumerate(what.labels):
        truth.add(f"feeder-{k}", START_NS, RATE_HZ, labels[SPEC.samples - 1 :: SPEC.hop].tolist())
    found = classified_stream(_line_records(), engine(name), SPEC)["events"]
    events = [PowerLineFaultEvent.model_validate(event) for event in found]
    known = models()[name].manifest.rejection
    probabilities = classify_record(with_rejection(engine(name).follow_records, known, SPEC), what.samples, SPEC)
    injected, detected = (
        injected_faults(what.labels, SPEC.none_index),
        detect_episodes(probabilities, what.samples, SPEC),
    )
    confirmed = score_events(injected, detected, SPEC, what.labels.size / what.rate_hz / 3600)
    return {
        "published": _plain_score(score_events(truth.faults(), published_episodes(events, SPEC), SPEC), events),
        "faults": [_plain_fault(fault) for fault in truth.faults()],
        "confirmed": {name: getattr(confirmed, name) for name in METRICS},
        "injected": [
            {"record": fault.line, "start": fault.begin, "stop": fault.end, "classes": fault.classes}
            for fault in injected
        ],
        "detected": [
            {"record": one.line, "sample": one.at, "onset_class": one.onset_class, "last_class": one.last_class}
            for one in detected
        ],
    }


def _plain_fault(fault: InjectedFault) -> dict[str, Any]:
    return {
        "line": fault.line,
        "stages": [
            {"fault_class": stage.fault_class, "begin_ns": stage.begin, "end_ns": stage.end} for stage in fault.stages
        ],
        "cycle_ns": round(SPEC.samples_per_cycle * fault.sample),
        "hop_ns": round(fault.uncertain * fault.sample),
    }


def _plain_score(score: EventScore, events: Sequence[PowerLineFaultEvent]) -> dict[str, Any]:
    onsets = {(event.line, event.detection_ns): event.event_id for event in events if event.state == "onset"}
    counts = ("injected", "onsets", "correct", "wrong", "missed", "false_alarms", "stages", "stages_reported")
    return {
        **{name: getattr(score, name) for name in counts},
        "by_class": {name: asdict(part) for name, part in sorted(score.by_class.items())},
        "by_type": {name: asdict(part) for name, part in sorted(score.by_type.items())},
        "onset_types": sorted(score.onset_types),
        "not_correct": [[fault.line, fault.begin, held] for fault, held in score.not_correct],
        "false_onsets": [onsets[str(one.line), one.at] for one, _ in score.false_episodes],
    }


# Robustness, report, gate --------------------------------------------------------------------------------------------


@cache
def robustness_of(name: str) -> RobustnessResult:
    """Score a model under three conditions, on few records."""
    artefact = models()[name]
    classify = with_rejection(engine(name).follow_records, artefact.manifest.rejection, SPEC)
    recipe = recipe_of(SPEC)
    conditions = recipe.conditions.chosen(CONDITIONS)
    return evaluate(classify, recipe, conditions, episodes=RECORDS, model_id=artefact.model_id)


def robustness() -> dict[str, Any]:
    """Return the scores of both models under the conditions."""
    return {name: robustness_of(name).model_dump(mode="json") for name in models()}


def report() -> dict[str, Any]:
    """Report on the shipped model compared with the disturbed one, on one line, without fields of the machine."""
    with tempfile.TemporaryDirectory() as folder:
        paths = {name: Path(folder) / f"{name}.safetensors" for name in models()}
        for name, path in paths.items():
            models()[name].save(path)
        options = ReportOptions(
            paths["shipped"],
            champion=paths["disturbed"],
            robustness=robustness_of("shipped"),
            champion_robustness=robustness_of("disturbed"),
            lines=1,
        )
        data = collect(options, LineThresholds.model_construct(), step=lambda _: None)
    body = cast("dict[str, Any]", json.loads(data.model_dump_json()))
    del body["conditions"]  # in ``robustness``
    return _without(body, OF_THE_MACHINE)


def verdicts() -> dict[str, Any]:
    """Return the gate's verdicts on each model compared with the other, and on the worse model alone."""
    told = {
        "shipped": GateScores(holdout=0.995, ece=0.005, **_cells("shipped")),
        "disturbed": GateScores(holdout=0.984, ece=0.03, **_cells("disturbed")),
    }
    better, worse = robustness_of("shipped"), robustness_of("disturbed")
    errors = {
        "shipped": {**standard_errors(better, worse), HOLDOUT: 0.001},
        "disturbed": {**standard_errors(worse, better), HOLDOUT: 0.001},
    }
    limits = LineThresholds.model_construct()
    return {
        "standard_errors": errors,
        "shipped_beside_disturbed": gate(told["shipped"], told["disturbed"], limits, errors["shipped"]).model_dump(),
        "disturbed_beside_shipped": gate(told["disturbed"], told["shipped"], limits, errors["disturbed"]).model_dump(),
        "disturbed_alone": gate(told["disturbed"], None, limits).model_dump(),
    }


def _cells(name: str) -> dict[str, dict[str, float]]:
    cells = robustness_of(name).cells
    return {
        "cells": {cell.name: cell.merged_macro_f1 for cell in cells},
        "rule_cells": {cell.name: cell.baselines["openxda"] for cell in cells},
    }


# Values and files ----------------------------------------------------------------------------------------------------

RELATIVE, ABSOLUTE = 1e-6, 1e-9
"""Numbers that differ by less are equal."""
OF_A_NETWORK, NETWORK_ABSOLUTE = ("confidence", "ground_probability", "probabilities", "probability"), 1.1e-4
"""The last stored digit of a network's outputs may differ on processors that round differently."""

GOLDEN: Mapping[str, Callable[[], dict[str, Any]]] = {
    "contract": contract,
    "line_stream": line_stream,
    "instant_stream": instant_stream,
    "file_episodes": file_episodes,
    "scores": scores,
    "robustness": robustness,
    "report": report,
    "verdicts": verdicts,
}


def plain(value: Any) -> Any:
    """Return a value in the form that JSON stores."""
    return json.loads(json.dumps(value))


def golden(name: str) -> Any:
    """Read the values captured under a name."""
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def differences(expected: Any, found: Any, place: str = "") -> Iterator[str]:
    """Yield the places where two JSON values differ; numbers with a fraction may differ by rounding."""
    if isinstance(expected, dict) and isinstance(found, dict):
        for key in sorted(expected.keys() | found.keys()):
            if key not in expected or key not in found:
                yield f"{place}/{key} is {'missing' if key in expected else 'new'}"
            else:
                yield from differences(expected[key], found[key], f"{place}/{key}")
    elif isinstance(expected, list) and isinstance(found, list):
        if len(expected) != len(found):
            yield f"{place} has {len(found)} entries, not {len(expected)}"
        for number, (one, other) in enumerate(zip(expected, found, strict=False)):
            yield from differences(one, other, f"{place}/{number}")
    elif isinstance(expected, float) and isinstance(found, float):
        answer = any(part in OF_A_NETWORK for part in place.split("/"))
        if abs(expected - found) > max(RELATIVE * abs(expected), NETWORK_ABSOLUTE if answer else ABSOLUTE):
            yield f"{place} is {found!r}, not {expected!r}"
    elif type(expected) is not type(found) or expected != found:
        yield f"{place} is {found!r}, not {expected!r}"


def write(names: Sequence[str]) -> None:
    """Write the values measured now as the expected ones."""
    FOLDER.mkdir(exist_ok=True)
    for name in names or list(GOLDEN):
        text = json.dumps(GOLDEN[name](), indent=1, ensure_ascii=False)
        (FOLDER / f"{name}.json").write_text(_short(text) + "\n", encoding="utf-8")


def _short(text: str) -> str:
    """Return JSON with every list of plain numbers on one line."""
    lines_, row = [], ""
    for line in text.split("\n"):
        bare = line.strip()
        number = bare.rstrip(",").lstrip("-")[:1].isdigit()
        if row and (number or bare in ("]", "],")):
            row += (" " if number and not row.endswith("[") else "") + bare
            if not number:
                lines_.append(row)
                row = ""
        elif row:
            lines_.append(row)
            row = ""
            if bare.endswith("["):
                row = line
            else:
                lines_.append(line)
        elif bare.endswith("["):
            row = line
        else:
            lines_.append(line)
    return "\n".join([*lines_, row] if row else lines_)


def _without(body: dict[str, Any], left_out: Mapping[str, Any]) -> dict[str, Any]:
    for name, inner in left_out.items():
        if inner is None:
            del body[name]
        else:
            body[name] = _without(body[name], inner)
    return body


def _bodies(outgoing: Sequence[Any]) -> set[str]:
    return {one.value.decode() for one in outgoing}


def _answer(value: bytes | None) -> dict[str, Any]:
    return cast("dict[str, Any]", msgspec.msgpack.decode(value or b""))


def _state(value: bytes | None) -> list[Any]:
    """Return the fields of a line state; of its memory, whose values depend on the processor, only the size."""
    fields = msgspec.msgpack.decode(value or b"")
    return [f"{len(one)} bytes" if isinstance(one, bytes) else one for one in fields]


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "backslashreplace")


def _cause(text: str | None) -> str:
    """Return a header's text without the details that a library adds to the cause."""
    return (text or "").partition(": MessagePack")[0]


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


if __name__ == "__main__":
    write(sys.argv[1:])
