"""Audit a demo: read its topics, account for every window (classified or dead-lettered), and score its events."""

from __future__ import annotations

import json
from array import array
from collections import Counter, deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import msgspec
import numpy as np

from model.spec import SignalSpec
from stream.contract import HEADER_PREFIX, NS_PER_S, FaultEvent
from stream.detection.events import decode_event
from stream.detection.scoring import EventScore, published_episodes, score_events
from stream.detection.truth import Truth
from stream.kafka.reading.reader import Fetched, StartAt, TopicReader
from stream.settings import Settings

Origin = tuple[str, int, int]
"""Topic, partition and offset of a record of windows."""

RECENT_EVENTS = 200
LAST_RECORDS = 5000
"""Number of records over which the live view computes the latency: about four seconds of the default demo."""


class _Labelled(msgspec.Struct, gc=False):
    """Fields of a message of windows that the audit reads; the samples are skipped."""

    sequence: int
    start_ns: int
    rate_hz: float
    count: int
    labels: list[int] | None = None


class _Answer(msgspec.Struct, gc=False):
    """Fields of a message on window-classes that the audit reads."""

    count: int
    source: dict[str, Any]


@dataclass(frozen=True, slots=True)
class SeenEvent:
    """An event, the timestamp of its record, and the record of windows that completed it."""

    event: FaultEvent
    timestamp_ms: int
    origin: Origin


@dataclass(frozen=True, slots=True)
class SimulatedEvent:
    """Simulated fault or disturbance, with times in seconds from the beginning of the recording."""

    line: str
    kind: str
    start_s: float
    stop_s: float


def read_simulated_events(path: Path) -> list[SimulatedEvent]:
    """Read the file that ``faultline simulate --events`` wrote."""
    return [
        SimulatedEvent(entry["line"], entry["kind"], entry["start_s"], entry["stop_s"])
        for entry in json.loads(path.read_text("utf-8"))
    ]


@dataclass(slots=True)
class _Record:
    """State of one record, with timestamps in ms that are -1 until they are known."""

    windows: int = 0
    sent_ms: int = -1
    answered_windows: int = 0
    answered_ms: int = -1
    dead: bool = False


class DeliveryAudit:
    """Account for records by their origin. Records and answers may be given in any order and more than once.

    Example:
        >>> account = DeliveryAudit()
        >>> account.sent(("sensor-windows", 0, 0), windows=4, timestamp_ms=100)
        >>> account.sent(("sensor-windows", 0, 1), windows=4, timestamp_ms=110)
        >>> account.answered(("sensor-windows", 0, 0), windows=4, timestamp_ms=112)
        >>> account.lost, account.latency_ms(50)
        (4, 12.0)
    """

    def __init__(self) -> None:
        self._records: dict[Origin, _Record] = {}
        self._latencies_ms = array("d")
        self._open = 0
        self.records = 0
        """Number of records sent."""
        self.windows = 0
        """Number of windows sent."""
        self.answered_windows = 0
        """Number of windows classified."""
        self.repeated = 0
        """Number of records that were classified more than once."""
        self.dead_lettered = 0
        """Number of records that became dead letters."""

    def sent(self, origin: Origin, *, windows: int, timestamp_ms: int) -> None:
        """Count a record of windows as sent; ``windows`` is 0 if they cannot be counted."""
        record = self._records.setdefault(origin, _Record())
        if record.sent_ms >= 0:
            return
        record.windows, record.sent_ms = windows, timestamp_ms
        self.records += 1
        self.windows += windows
        self._open += not (record.dead or record.answered_ms >= 0)
        self._match(record)

    def answered(self, origin: Origin, *, windows: int, timestamp_ms: int) -> None:
        """Count a record as classified, with the number of windows that were classified."""
        record = self._records.setdefault(origin, _Record())
        if record.answered_ms >= 0:
            self.repeated += 1
            return
        record.answered_windows, record.answered_ms = windows, timestamp_ms
        self.answered_windows += windows
        self._open -= record.sent_ms >= 0 and not record.dead
        self._match(record)

    def dead(self, origin: Origin) -> None:
        """Count a record as a dead letter."""
        record = self._records.setdefault(origin, _Record())
        if record.dead:
            return
        record.dead = True
        self.dead_lettered += 1
        self._open -= record.sent_ms >= 0 and record.answered_ms < 0

    def _match(self, record: _Record) -> None:
        if record.sent_ms >= 0 and record.answered_ms >= 0:
            self._latencies_ms.append(record.answered_ms - record.sent_ms)

    @property
    def outstanding(self) -> int:
        """Return the number of records sent but neither classified nor dead-lettered so far."""
        return self._open

    @property
    def lost(self) -> int:
        """Return the number of windows sent but neither classified nor dead-lettered.

        A record whose windows could not be counted counts as one window.
        """
        lost = 0
        for record in self._records.values():
            if record.sent_ms < 0 or record.dead:
                continue
            lost += (
                max(record.windows, 1) if record.answered_ms < 0 else max(0, record.windows - record.answered_windows)
            )
        return lost

    def sent_ms(self, origin: Origin) -> int | None:
        """Return the timestamp of a record in ms; None if the record was not read."""
        record = self._records.get(origin)
        return None if record is None or record.sent_ms < 0 else record.sent_ms

    def latency_ms(self, percentile: float, *, last: int | None = None) -> float | None:
        """Return a percentile of the latency from a record to its classes in ms; None without any record.

        Args:
            percentile: percentile, 0 to 100.
            last: number of newest records to use; all by default.
        """
        values = self._latencies_ms if last is None else self._latencies_ms[-last:]
        return float(np.percentile(values, percentile)) if values else None


class DemoWatch:
    """Reader of windows, classes, events and dead letters; it joins no consumer group.

    Args:
        settings: broker and topic names.
        spec: spec of the windows.
    """

    def __init__(self, settings: Settings, spec: SignalSpec) -> None:
        self._settings = settings
        self.spec = spec
        self._fault_topics = frozenset(settings.fault_topics)
        names = [settings.topic_windows, settings.topic_window_classes, settings.topic_dead_letters]
        self._reader = TopicReader(settings, [*names, *sorted(self._fault_topics)], StartAt("earliest"))
        self._decode = msgspec.msgpack.Decoder(_Labelled).decode
        self._decode_answer = msgspec.msgpack.Decoder(_Answer).decode
        self.truth = Truth(spec)
        self.deliveries = DeliveryAudit()
        self.events: dict[str, SeenEvent] = {}
        self.recent: deque[SeenEvent] = deque(maxlen=RECENT_EVENTS)
        self.begin_ns: int | None = None
        """Unix time in ns at which the replayed recording begins; None until a window is read."""

    async def __aenter__(self) -> Self:
        await self._reader.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._reader.__aexit__()

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            self._take_all(await self._reader.fetch())

    async def drain(self) -> None:
        """Read everything that is on the topics now; call it after ``run`` has ended."""
        async for fetched in self._reader.read_to_end():
            self._take_all(fetched)

    def _take_all(self, fetched: Fetched) -> None:
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
            self.begin_ns = body.start_ns - round(body.sequence * self.spec.hop * NS_PER_S / body.rate_hz)

    def _take_event(self, record: Any) -> None:
        event = decode_event(record.value)
        if event is None or event.event_id in self.events:
            return
        seen = SeenEvent(event, record.timestamp, _origin(event.source.model_dump()))
        self.events[event.event_id] = seen
        self.recent.append(seen)

    # Results --------------------------------------------------------------------------------------------------------

    def truth_of(self, event: FaultEvent) -> int:
        """Return the index of the class injected at the time of an event; without a fault, the no-fault class."""
        return self.truth.class_during(event.line, event.inception_ns, event.detection_ns)

    def seconds_into(self, time_ns: int) -> float:
        """Return a Unix time as seconds from the beginning of the recording."""
        return 0.0 if self.begin_ns is None else (time_ns - self.begin_ns) / NS_PER_S

    def disturbance_of(self, event: FaultEvent, simulated: list[SimulatedEvent]) -> str | None:
        """Return the kind of the disturbance that was simulated during an event; None if there was none."""
        begin_s, end_s = self.seconds_into(event.inception_ns), self.seconds_into(event.detection_ns)
        return next(
            (
                one.kind
                for one in simulated
                if one.line == event.line and one.start_s - 0.05 <= end_s and begin_s <= one.stop_s + 0.05
            ),
            None,
        )

    def live_p99_ms(self) -> float | None:
        """Return the 99th percentile of the latency of the last few thousand records in ms."""
        return self.deliveries.latency_ms(99, last=LAST_RECORDS)

    def score(self) -> EventScore:
        """Score the events that were read so far against the labels."""
        episodes = published_episodes((seen.event for seen in self.events.values()), self.spec)
        return score_events(self.truth.faults(), episodes, self.spec)

    def onset_latency_ms(self, percentile: float) -> float | None:
        """Return a percentile of the latency from a record of windows to its onset event in ms; None without events."""
        sent = {seen.event.event_id: self.deliveries.sent_ms(seen.origin) for seen in self.events.values()}
        values = [
            seen.timestamp_ms - at
            for seen in self.events.values()
            if seen.event.state == "onset" and (at := sent[seen.event.event_id]) is not None
        ]
        return float(np.percentile(values, percentile)) if values else None


def _origin(source: dict[str, Any]) -> Origin:
    return source["topic"], source["partition"], source["offset"]


def count_disturbances(simulated: list[SimulatedEvent]) -> dict[str, int]:
    """Return the number of simulated disturbances of each kind."""
    return dict(sorted(Counter(one.kind for one in simulated if one.kind != "fault").items()))
