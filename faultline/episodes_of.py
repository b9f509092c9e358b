"""A record's lines through the worker's own decode, engine, rejection and episode code, without a broker."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from domains.powerline.waveforms import Record, RecordLine, messages_of
from model.spec import SignalSpec
from stream.contract import FaultEvent, QualityFlag, SourceRecord
from stream.detection.classify import Classifier, classify_windows
from stream.detection.decode import DecodedBatch, decode_batch
from stream.detection.episodes import EpisodeTracker
from stream.detection.events import fault_event
from stream.detection.line_state import LineState
from stream.windowing import MSGPACK_HEADERS, NS

MAX_MESSAGE_BYTES = 1 << 20
BATCH_WINDOWS = 4096
"""Classified at once: enough to fill the engine's buckets, 3 MiB of `line` windows."""


class FaultEpisode(BaseModel):
    """One fault on one line of a record, from onset to clear. Times are those of the record."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str
    line: str
    episode_id: str
    fault_class: str = Field(description="Class at the end: what the last update said.")
    fault_type: str
    phases: str
    ground: bool
    ground_probability: float
    confidence: float
    classes: list[str] = Field(description="Every class the episode had, in order.")
    inception_ns: int = Field(description="Unix time of the inception.")
    inception_s: float = Field(description="The same in seconds after the record's first sample.")
    detection_s: float = Field(description="When the onset was certain, seconds after the first sample.")
    duration_s: float | None = Field(None, description="Inception to clearing; nothing where the record ends before.")
    duration_cycles: float | None = None
    quality: list[QualityFlag] = Field(default_factory=list)
    model_id: str


@dataclass(frozen=True, slots=True)
class LineAnswer:
    """What was found on one line.

    Attributes:
        line: of the record.
        events: as a worker would have published them.
        episodes: the same, one per fault.
        window_end_s: (n,) time of every window's last sample, seconds after the record's first sample.
        probabilities: float32 (n, classes), after rejection.
        outcomes: how many windows were judged, unknown, …
    """

    line: RecordLine
    events: tuple[FaultEvent, ...]
    episodes: tuple[FaultEpisode, ...]
    window_end_s: NDArray[np.float64]
    probabilities: NDArray[np.float32]
    outcomes: Counter[str]


@dataclass(slots=True)
class _FileMessage:
    """A message as if it had been consumed."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]] = field(default_factory=lambda: [*MSGPACK_HEADERS])


def answer_line(record: Record, line: RecordLine, classifier: Classifier, tracker: EpisodeTracker) -> LineAnswer:
    """Classify one line and gather its episodes.

    Args:
        record: that the line is of.
        line: one of its lines.
        classifier: an engine.
        tracker: with the spec that the classifier answers for.

    Example:
        >>> answer = answer_line(record, record.lines[0], engine, EpisodeTracker(spec))  # doctest: +SKIP
        >>> answer.episodes[0].fault_class  # doctest: +SKIP
        'BG'
    """
    spec = tracker.spec
    state: LineState | None = None
    events: list[FaultEvent] = []
    ends: list[NDArray[np.float64]] = []
    probabilities: list[NDArray[np.float32]] = []
    outcomes: Counter[str] = Counter()
    for batch in _decoded(record, line, spec):
        answers, counts = classify_windows(classifier, batch.windows, spec.none_index)
        outcomes += counts
        outcomes["dead"] += len(batch.dead)
        classes = answers.argmax(axis=1)
        for entry in batch.records:
            span = slice(entry.first, entry.first + entry.count)
            tracked = tracker.track(state, entry, batch.windows[span], classes[span], answers[span])
            state = tracked.state
            outcomes["judged"] += tracked.in_order
            outcomes["late"] += tracked.late
            source = SourceRecord(topic=entry.record.topic, partition=0, offset=entry.record.offset)
            events += [fault_event(step, spec, classifier.model_id, source) for step in tracked.steps]
            first_s = (entry.start_ns - line.start_ns) / NS + (spec.samples - 1) / entry.rate_hz
            ends.append(first_s + np.arange(entry.count) * spec.hop / entry.rate_hz)
        probabilities.append(answers)
    return LineAnswer(
        line=line,
        events=tuple(events),
        episodes=tuple(_episodes(events, record, line)),
        window_end_s=np.concatenate(ends) if ends else np.empty(0),
        probabilities=np.concatenate(probabilities) if probabilities else np.empty((0, len(spec.classes)), np.float32),
        outcomes=+outcomes,
    )


def _decoded(record: Record, line: RecordLine, spec: SignalSpec) -> Iterator[DecodedBatch]:
    """The line's messages, decoded in batches."""
    messages: list[_FileMessage] = []
    windows = 0
    key = line.name.encode()
    for offset, message in enumerate(messages_of(line, spec)):
        messages.append(_FileMessage(record.path.name, 0, offset, message.end_ns // 1_000_000, key, message.value))
        windows += message.count
        if windows >= BATCH_WINDOWS:
            yield decode_batch(messages, spec, max_bytes=MAX_MESSAGE_BYTES)
            messages, windows = [], 0
    if messages:
        yield decode_batch(messages, spec, max_bytes=MAX_MESSAGE_BYTES)


def _episodes(events: list[FaultEvent], record: Record, line: RecordLine) -> Iterator[FaultEpisode]:
    """Episodes of events in their order."""
    for identity in dict.fromkeys(event.episode_id for event in events):
        own = [event for event in events if event.episode_id == identity]
        steps = [event for event in own if event.state != "clear"]
        onset, last, end = own[0], steps[-1], own[-1]
        yield FaultEpisode(
            file=str(record.path),
            line=line.name,
            episode_id=identity,
            fault_class=last.fault_class,
            fault_type=last.fault_type,
            phases=last.phases,
            ground=last.ground,
            ground_probability=last.ground_probability,
            confidence=last.confidence,
            classes=[event.fault_class for event in steps],
            inception_ns=onset.inception_ns,
            inception_s=round((onset.inception_ns - line.start_ns) / NS, 6),
            detection_s=round((onset.detection_ns - line.start_ns) / NS, 6),
            duration_s=end.duration_s,
            duration_cycles=end.duration_cycles,
            quality=end.quality,
            model_id=onset.model_id,
        )
