"""What really went through the topics of a demo: read, matched, scored."""

from __future__ import annotations

import json
from collections import Counter, deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import msgspec
import numpy as np
from aiokafka import AIOKafkaConsumer, TopicPartition

from faultline.demo.deliveries import Deliveries, Origin
from model.spec import SignalSpec
from stream.contract import HEADER_PREFIX, FaultEvent
from stream.detection.scoring import NS, EventScore, Truth, score_events
from stream.kafka.admin import admin_client, describe_topics
from stream.kafka.catalogue import FAULT_TYPES
from stream.kafka.clients import consumer_kwargs
from stream.settings import Settings
from stream.subscribe import decode_event

POLL_MS = 200
RECENT_EVENTS = 200
LAST_RECORDS = 5000
"""Records whose latency the live view shows: about four seconds of the default demo."""


class _Labelled(msgspec.Struct, gc=False):
    """What is read of a message of windows; the samples are skipped."""

    sequence: int
    start_ns: int
    rate_hz: float
    count: int
    labels: list[int] | None = None


class _Answer(msgspec.Struct, gc=False):
    """What is read of a message of classes."""

    count: int
    source: dict[str, Any]


@dataclass(frozen=True, slots=True)
class SeenEvent:
    """An event, when its record was written, and the record of windows that completed it."""

    event: FaultEvent
    timestamp_ms: int
    origin: Origin


@dataclass(frozen=True, slots=True)
class Happening:
    """What the simulator says happened; times in s from the beginning of the recording."""

    line: str
    kind: str
    start_s: float
    stop_s: float


def read_happenings(path: Path) -> list[Happening]:
    """What ``faultline simulate --events`` wrote."""
    return [
        Happening(entry["line"], entry["kind"], entry["start_s"], entry["stop_s"])
        for entry in json.loads(path.read_text("utf-8"))
    ]


class DemoWatch:
    """Reads windows, classes, events and dead letters from their topics, without a group.

    Args:
        settings: broker and topic names.
        spec: of the windows.
    """

    def __init__(self, settings: Settings, spec: SignalSpec) -> None:
        self._settings = settings
        self.spec = spec
        self._consumer: Any = None
        self._partitions: list[TopicPartition] = []
        self._decode = msgspec.msgpack.Decoder(_Labelled).decode
        self._decode_answer = msgspec.msgpack.Decoder(_Answer).decode
        self._fault_topics = frozenset(settings.topic_faults(name) for name in FAULT_TYPES)
        self.truth = Truth(spec)
        self.deliveries = Deliveries()
        self.events: dict[str, SeenEvent] = {}
        self.recent: deque[SeenEvent] = deque(maxlen=RECENT_EVENTS)
        self.begin_ns: int | None = None
        """Unix time of the recording's beginning, as replayed."""

    async def __aenter__(self) -> Self:
        names = [
            self._settings.topic_windows,
            self._settings.topic_window_classes,
            self._settings.topic_dead_letters,
            *sorted(self._fault_topics),
        ]
        async with admin_client(self._settings) as admin:
            seen = await describe_topics(admin, names, create=True)
        self._partitions = [
            TopicPartition(name, partition["partition"])
            for name, topic in seen.items()
            for partition in topic["partitions"]
        ]
        self._consumer = AIOKafkaConsumer(**consumer_kwargs(self._settings))
        await self._consumer.start()
        self._consumer.assign(self._partitions)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._consumer.stop()

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            await self._read(POLL_MS)

    async def drain(self) -> None:
        """Read everything that is on the topics now; call when ``run`` has ended."""
        ends = await self._consumer.end_offsets(self._partitions)
        while any([await self._consumer.position(partition) < end for partition, end in ends.items()]):
            await self._read(POLL_MS)

    async def _read(self, timeout_ms: int) -> None:
        fetched = await self._consumer.getmany(timeout_ms=timeout_ms)
        for partition, records in fetched.items():
            for record in records:
                self._take(partition.topic, record)

    def _take(self, topic: str, record: Any) -> None:
        if topic == self._settings.topic_windows:
            self._take_windows(record)
        elif topic == self._settings.topic_window_classes:
            answer = self._decode_answer(record.value)
            self.deliveries.answered(_origin(answer.source), windows=answer.count, timestamp_ms=record.timestamp)
        elif topic in self._fault_topics:
            self._take_event(record)
        else:
            headers = {name: value.decode() for name, value in record.headers if name.startswith(HEADER_PREFIX)}
            cause = {name.removeprefix(f"{HEADER_PREFIX}error."): value for name, value in headers.items()}
            self.deliveries.dead((cause["topic"], int(cause["partition"]), int(cause["offset"])))

    def _take_windows(self, record: Any) -> None:
        origin = (record.topic, record.partition, record.offset)
        try:
            body = self._decode(record.value or b"")
        except (msgspec.DecodeError, UnicodeDecodeError):
            self.deliveries.sent(origin, windows=0, timestamp_ms=record.timestamp)
            return
        self.deliveries.sent(origin, windows=body.count, timestamp_ms=record.timestamp)
        labels = body.labels if body.labels is not None else [self.spec.none_index] * body.count
        self.truth.add(record.key.decode(), body.start_ns, body.rate_hz, labels)
        if self.begin_ns is None:
            self.begin_ns = body.start_ns - round(body.sequence * self.spec.hop * NS / body.rate_hz)

    def _take_event(self, record: Any) -> None:
        event = decode_event(record.value)
        if event is None or event.event_id in self.events:
            return
        seen = SeenEvent(event, record.timestamp, _origin(event.source.model_dump()))
        self.events[event.event_id] = seen
        self.recent.append(seen)

    # What is known --------------------------------------------------------------------------------------------------

    def truth_of(self, event: FaultEvent) -> int:
        """Class that was injected where an event says there is a fault; the none class if there was none."""
        return self.truth.class_during(event.line, event.inception_ns, event.detection_ns)

    def seconds_into(self, time_ns: int) -> float:
        """Seconds from the recording's beginning."""
        return 0.0 if self.begin_ns is None else (time_ns - self.begin_ns) / NS

    def happening_of(self, event: FaultEvent, happenings: list[Happening]) -> str | None:
        """Kind of the non-fault that an event came upon, if the simulator did something there."""
        begin_s, end_s = self.seconds_into(event.inception_ns), self.seconds_into(event.detection_ns)
        return next(
            (
                what.kind
                for what in happenings
                if what.line == event.line and what.start_s - 0.05 <= end_s and begin_s <= what.stop_s + 0.05
            ),
            None,
        )

    def live_p99_ms(self) -> float | None:
        """p99 of the last few thousand records."""
        return self.deliveries.latency_ms(99, last=LAST_RECORDS)

    def score(self) -> EventScore:
        """Events against labels, as of now."""
        return score_events(self.truth.faults(), (seen.event for seen in self.events.values()), self.spec)

    def onset_latency_ms(self, percentile: float) -> float | None:
        """Percentile of window record → onset record; None without any."""
        sent = {seen.event.event_id: self.deliveries.sent_ms(seen.origin) for seen in self.events.values()}
        values = [
            seen.timestamp_ms - at
            for seen in self.events.values()
            if seen.event.state == "onset" and (at := sent[seen.event.event_id]) is not None
        ]
        return float(np.percentile(values, percentile)) if values else None


def _origin(source: dict[str, Any]) -> Origin:
    return source["topic"], source["partition"], source["offset"]


def kinds_of(happenings: list[Happening]) -> dict[str, int]:
    """How often each kind of non-fault happened."""
    return dict(sorted(Counter(what.kind for what in happenings if what.kind != "fault").items()))
