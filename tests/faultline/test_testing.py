"""``faultline.testing``: its examples run, and it builds what a worker reads and publishes."""

from __future__ import annotations

import doctest

import numpy as np
import pytest

from faultline import testing
from model.spec import load_spec
from stream.detection.decode import WindowRecord, decode_batch
from stream.kafka.embedded import EmbeddedBroker
from stream.kafka.reading.reader import StartAt, TopicReader
from stream.settings import Settings

SPEC = load_spec("line")


def test_every_example_runs() -> None:
    failed, attempted = doctest.testmod(testing)
    assert (failed, attempted > 10) == (0, True)


def test_messages_decode_to_windows_of_their_classes_one_after_another() -> None:
    classes = [0, 3, 3, 11, 0, 7]
    messages = testing.class_messages("l", classes, SPEC, first_sequence=8, windows_per_message=4)
    records = [WindowRecord("t", 0, n, 0, message.line.encode(), message.value) for n, message in enumerate(messages)]
    batch = decode_batch(records, SPEC, max_bytes=1 << 20)
    assert testing.FakeClassifier(SPEC).classify(batch.windows).argmax(axis=1).tolist() == classes
    assert [entry.sequence for entry in batch.records] == [8, 12]
    hop_ns = round(SPEC.hop * 1e9 / SPEC.rate_hz)
    assert batch.records[1].start_ns - batch.records[0].start_ns == 4 * hop_ns


def test_probabilities_are_those_of_one_class_and_sum_to_one() -> None:
    rows = testing.class_probabilities([2, 0], SPEC, certainty=0.7)
    assert rows.argmax(axis=1).tolist() == [2, 0]
    assert rows.max(axis=1) == pytest.approx([0.7, 0.7])
    assert rows.sum(axis=1) == pytest.approx(np.ones(2))


@pytest.mark.parametrize("name", [name for name in SPEC.class_names if name != "none"])
def test_a_fault_of_every_class_begins_and_clears(name: str) -> None:
    onset, clear = testing.fault_events(name, SPEC, line="feeder-3")
    assert (onset.state, onset.fault_class, onset.line) == ("onset", name, "feeder-3")
    assert (clear.state, clear.episode_id) == ("clear", onset.episode_id)


async def test_what_is_published_is_on_its_topics_when_the_call_returns(embedded_broker: EmbeddedBroker) -> None:
    settings = Settings(broker=embedded_broker.bootstrap, _env_file=None)
    messages = testing.fault_messages("AG", SPEC, line="feeder-1")
    events = testing.fault_events("AG", SPEC, line="feeder-1")
    await testing.publish(settings, [*messages, *events])
    found: dict[str, list[bytes]] = {}
    async with TopicReader(settings, [settings.topic_windows, "faults.lg"], StartAt("earliest")) as reader:
        async for fetched in reader.read_to_end():
            for partition, records in fetched.items():
                found.setdefault(partition.topic, []).extend(record.value for record in records)
    assert found[settings.topic_windows] == [message.value for message in messages]
    assert found["faults.lg"] == [event.model_dump_json().encode() for event in events]
