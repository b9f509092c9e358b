"""The offline detector finds what a worker publishes, however the records are cut into batches."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from faultline.testing import FakeClassifier
from model.spec import EpisodePolicy, load_spec
from stream.detection.classify import Classifier
from stream.detection.decode import WindowRecord, decode_batch
from stream.detection.episodes import EpisodeTracker
from stream.detection.following import Following
from stream.detection.offline import Detector, batched
from stream.kafka.reading.partition import Partition
from stream.settings import Settings
from stream.worker.micro_batch import ClassifiedPart, TrackedBatch
from stream.worker.offsets import FetchedBatch
from stream.worker.state_store import PartitionStates
from stream.worker.tracking import WindowTracker
from tests.stream.doubles import CountingClassifier, marked_record, record

SPEC = load_spec("line")
NONE, AG, AB = (SPEC.class_index(name) for name in ("none", "AG", "AB"))
RUNS = ([NONE] * 4, [NONE, AG, AG, AG], [AG] * 4, [AB] * 4, [AB, NONE, NONE, NONE], [NONE] * 6, [NONE] * 5)


def stream() -> list[Any]:
    """Return records of two lines in turns, a poison record, and one that is repeated."""
    records, sequence = [], 0
    for classes in RUNS:
        records += [marked_record(line, classes, SPEC, sequence=sequence) for line in ("a", "b")]
        sequence += len(classes)
    records[5:5] = [record(b"a", b"\xc1 is no MessagePack"), records[4]]
    for offset, one in enumerate(records):
        records[offset] = WindowRecord("sensor-windows", 0, offset, 1_700_000_000_000, one.key, one.value)
    return records


def published(records: list[Any], classifier: Classifier) -> tuple[TrackedBatch, PartitionStates]:
    states = PartitionStates("faultline", spec=SPEC)
    decoded = decode_batch(records, SPEC, max_bytes=1 << 20)
    fetched = FetchedBatch(Partition("sensor-windows", 0), records)
    batch = TrackedBatch([fetched], classifier.model_id, Counter())
    settings = Settings(_env_file=None)  # type: ignore[call-arg]
    tracker = WindowTracker(settings, EpisodeTracker(SPEC))
    ordered = states.positions.order(decoded, states.lines)
    followed = Following(classifier, SPEC.none_index, len(SPEC.classes)).follow(decoded, ordered)
    (probabilities,), (memories,) = followed.probabilities, followed.memories
    tracker.process(batch, ClassifiedPart(fetched, decoded, states, ordered, probabilities, memories))
    return batch, states


@pytest.mark.parametrize("windows", [1, 7, 4096])
@pytest.mark.parametrize("classifier", [FakeClassifier, CountingClassifier])
def test_a_detector_finds_the_events_that_a_worker_publishes(windows: int, classifier: type[FakeClassifier]) -> None:
    worker, states = published(stream(), classifier(SPEC))
    detector = Detector(classifier(SPEC), SPEC)
    found = [detector.process(batch) for batch in batched(((one, 4) for one in stream()), windows)]
    events = [event for part in found for event in part.events]
    assert events == [event for event, _ in worker.events]
    assert [event.state for event in events if event.line == "a"] == ["onset", "update", "clear"]
    assert sum((part.outcomes for part in found), Counter()) == +worker.outcomes
    assert worker.outcomes["repeated"] == 4
    assert sum(len(part.batch.dead) for part in found) == len(worker.dead) == 1
    assert detector.lines == states.lines


def test_a_detectors_policy_is_the_one_that_it_was_given() -> None:
    detector = Detector(FakeClassifier(SPEC), SPEC, EpisodePolicy(confirm=3, of=4, clear=8, certainty=0.995))
    assert detector.process(stream()).events == ()


def test_records_are_gathered_until_they_have_enough_windows() -> None:
    records = stream()[:5]
    assert [len(batch) for batch in batched(((one, 2) for one in records), 4)] == [2, 2, 1]
    assert list(batched(iter(()), 4)) == []
