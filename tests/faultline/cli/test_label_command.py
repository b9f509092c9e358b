"""``faultline label``: a label reaches the topic with the windows that it covers."""

from __future__ import annotations

import asyncio
import getpass
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from domains.powerline.events import PowerLineFaultEvent
from faultline.cli.models.label import label_event, label_range, parse_time
from model.spec import load_spec
from stream.contract import NS_PER_S, FaultEvent, SourceRecord, WindowLabel
from stream.errors import EventNotFoundError, SettingsError
from stream.kafka.clients import consumer_kwargs, producer_kwargs
from stream.kafka.embedded import EmbeddedBroker
from stream.settings import Settings, load_settings
from stream.windowing import SIMULATED_HEADERS
from training.errors import TrainingError
from training.sidecar.label_client import OperatorLabel, episode_range
from training.sidecar.store.labels import covered_starts

SPEC = load_spec("line")
INCEPTION_NS = 1_767_225_600 * NS_PER_S
SPAN_NS = 31 * NS_PER_S // 1600


def event(event_id: str, state: str = "onset", episode: str = "episode-1", **changed: Any) -> FaultEvent:
    known: dict[str, Any] = {
        "line": "feeder-7",
        "fault_class": "AG",
        "fault_type": "lg",
        "phases": "A",
        "ground": True,
        "ground_probability": 1.0,
        "confidence": 0.95,
        "probabilities": {"AG": 0.95},
        "inception_ns": INCEPTION_NS,
        "detection_ns": INCEPTION_NS + NS_PER_S // 50,
        "spec": "line",
        "model_id": "m",
        "sequence": 1,
        "source": SourceRecord(topic="sensor-windows", partition=0, offset=0),
    }
    return PowerLineFaultEvent.model_validate(
        {**known, "event_id": event_id, "episode_id": episode, "state": state, **changed}
    )


ONSET = event("event-1")
UPDATE = event("event-2", "update", fault_class="ABG", fault_type="llg", detection_ns=INCEPTION_NS + NS_PER_S // 20)
CLEAR = event(
    "event-3",
    "clear",
    fault_type="llg",
    detection_ns=INCEPTION_NS + NS_PER_S // 8,
    duration_s=0.1,
    duration_cycles=5.0,
)
OTHER = event("event-9", episode="episode-2", line="feeder-8")


@pytest.fixture
def settings(embedded_broker: EmbeddedBroker) -> Settings:
    return load_settings(broker=embedded_broker.bootstrap)


@pytest.fixture
def published(settings: Settings) -> Settings:
    """Publish events of two episodes on two topics, among records that are not events."""

    async def publish() -> None:
        async with AIOKafkaProducer(**producer_kwargs(settings)) as producer:
            for sent in (ONSET, UPDATE, CLEAR, OTHER):
                topic = settings.topic_faults(sent.fault_type)
                await producer.send_and_wait(topic, b"no event of event-1", key=b"x")
                await producer.send_and_wait(topic, sent.model_dump_json().encode(), key=sent.line.encode())

    asyncio.run(publish())
    return settings


def labels(settings: Settings) -> list[tuple[str, WindowLabel]]:
    """Return keys and values on the topic of labels."""

    async def read() -> list[tuple[str, WindowLabel]]:
        async with AIOKafkaConsumer(**consumer_kwargs(settings)) as consumer:
            numbers = await consumer._client._wait_on_metadata(settings.topic_labels)
            partitions = [TopicPartition(settings.topic_labels, number) for number in numbers]
            consumer.assign(partitions)
            await consumer.seek_to_beginning()
            waiting = sum((await consumer.end_offsets(partitions)).values())
            found: list[tuple[str, WindowLabel]] = []
            while len(found) < waiting:
                for records in (await consumer.getmany(timeout_ms=500)).values():
                    found += [(r.key.decode(), WindowLabel.model_validate_json(r.value)) for r in records]
            return found

    return asyncio.run(read())


@pytest.mark.parametrize("given", ["event-1", "event-3", "episode-1"])
def test_a_label_is_about_the_whole_episode_of_its_event(
    published: Settings, given: str, capsys: pytest.CaptureFixture[str]
) -> None:
    label_event(published, given, OperatorLabel("BG", "ada", "wrong phase"), days=1)
    ((key, label),) = labels(published)
    assert (key, label.line, label.spec, label.fault_class) == ("feeder-7", "feeder-7", "line", "BG")
    assert (label.by, label.note) == ("ada", "wrong phase")
    assert label.event_id == given or given == "episode-1"
    # Windows whose last sample lies between inception and clearing.
    assert label.first_ns == INCEPTION_NS - SPAN_NS
    assert label.last_ns == pytest.approx(INCEPTION_NS + NS_PER_S // 10 - SPAN_NS, abs=2)
    printed = capsys.readouterr().out
    assert "labelled as BG" in printed
    assert "2026-01-01T00:00:00.000Z" in printed
    assert label.label_id in printed


def test_no_fault_is_about_all_windows_that_show_the_episode(published: Settings) -> None:
    label_event(published, "event-2", OperatorLabel("none"), days=1)
    ((_, label),) = labels(published)
    assert label.fault_class == "none"
    assert label.by == getpass.getuser()
    assert label.last_ns == INCEPTION_NS + NS_PER_S // 10 - 1


def test_an_episode_that_has_not_cleared_reaches_until_now_but_not_far(
    published: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    label_event(published, "event-9", OperatorLabel("none"), days=1)
    ((_, label),) = labels(published)
    assert label.last_ns == OTHER.detection_ns + 60 * NS_PER_S - 1
    assert "not cleared yet" in capsys.readouterr().out
    soon = OTHER.detection_ns + NS_PER_S
    assert episode_range([OTHER], SPEC, fault=False, now_ns=soon)[1] == soon - 1


def test_the_line_s_own_frequency_decides_how_long_a_window_is() -> None:
    at_60_hz = CLEAR.model_copy(update={"duration_cycles": 6.0})
    first_ns, _ = episode_range([ONSET, at_60_hz], SPEC, fault=True, now_ns=0)
    assert INCEPTION_NS - first_ns == pytest.approx(31 * NS_PER_S / (60 * 32), abs=1)


def test_what_cannot_be_labelled_is_reported_and_nothing_is_published(published: Settings) -> None:
    with pytest.raises(EventNotFoundError, match="no event nowhere on faults"):
        label_event(published, "nowhere", OperatorLabel("AG"), days=1)
    with pytest.raises(TrainingError, match=r"no class 'XYZ': use none, AG, BG, .*ABCG"):
        label_event(published, "event-1", OperatorLabel("XYZ"), days=1)
    with pytest.raises(TrainingError, match="must end after it begins"):
        label_range(published, "feeder-7", "2026-01-01T00:00:01Z", "2026-01-01T00:00:00Z", OperatorLabel("AG"))
    with pytest.raises(SettingsError, match="--from yesterday: give an ISO time"):
        label_range(published, "feeder-7", "yesterday", "2026-01-01T00:00:00Z", OperatorLabel("AG"))
    instant = published.model_copy(update={"spec": "instant"})
    with pytest.raises(SettingsError, match="set FAULTLINE_SPEC=line"):
        label_event(instant, "event-1", OperatorLabel("none"), days=1)


def test_an_event_of_simulated_windows_is_not_labelled_and_the_reason_is_given(settings: Settings) -> None:
    async def publish() -> None:
        async with AIOKafkaProducer(**producer_kwargs(settings)) as producer:
            topic, value = settings.topic_faults(ONSET.fault_type), ONSET.model_dump_json().encode()
            await producer.send_and_wait(topic, value, key=b"feeder-7", headers=SIMULATED_HEADERS)

    asyncio.run(publish())
    with pytest.raises(SettingsError, match=r"simulated windows .* does not store.*FAULTLINE_STORE_SIMULATED=true"):
        label_event(settings, "event-1", OperatorLabel("AG"), days=1)
    trial = settings.model_copy(update={"store_simulated": True})
    label_event(trial, "event-1", OperatorLabel("BG"), days=1)
    ((_, label),) = labels(settings)
    assert label.fault_class == "BG", "only the label of the trial was published"


def run(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "faultline", "label", *arguments],
        cwd=Path(__file__).resolve().parents[3],
        env={**os.environ, "FAULTLINE_BROKER": settings.broker},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_missed_fault_is_labelled_by_line_and_time(settings: Settings) -> None:
    times = ("--from", "2026-01-01T00:00:00.25Z", "--to", "2026-01-01T01:00:00.5+01:00")
    done = run(settings, "--line", "feeder-7", *times, "CAG", "--by", "ada")
    assert (done.returncode, done.stderr) == (0, "")
    ((key, label),) = labels(settings)
    begin, end = INCEPTION_NS + NS_PER_S // 4, INCEPTION_NS + NS_PER_S // 2
    assert (key, label.event_id, label.fault_class) == ("feeder-7", None, "CAG")
    assert (label.first_ns, label.last_ns) == covered_starts(begin, end, SPEC, 1600.0, fault=True)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("event-1",), "give EVENT_ID CLASS, or --line"),
        (("--line", "l", "AG"), "--line needs --from TIME, --to TIME and one CLASS"),
        (("nowhere", "AG"), "no event nowhere on faults.* in the last 30 days"),
    ],
)
def test_a_mistake_of_the_user_is_one_line(settings: Settings, arguments: tuple[str, ...], says: str) -> None:
    done = run(settings, *arguments)
    assert done.returncode in (1, 2)
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_times_are_read_to_the_microsecond() -> None:
    assert parse_time("--from", "2026-01-01T00:00:00.000001Z") == INCEPTION_NS + 1000
