"""Detect faults without a broker: decode, reject, track and build events from any records, as a worker does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.spec import EpisodePolicy, SignalSpec
from stream.contract import FaultEvent
from stream.detection.batch import track_batch
from stream.detection.classify import Classifier
from stream.detection.decode import DecodedBatch, IncomingRecord, WindowRecord, decode_batch
from stream.detection.episodes import EpisodeTracker
from stream.detection.following import Following
from stream.detection.line_state import LineState
from stream.detection.order import Positions

MAX_MESSAGE_BYTES = 1 << 20
"""Largest message in bytes: a broker's default limit, so that a larger message never reaches a worker."""
BATCH_WINDOWS = 4096
"""Number of windows classified at once: enough to fill the engine's buckets; 3 MiB of `line` windows."""


@dataclass(frozen=True, slots=True)
class Detection:
    """Result of one batch.

    Attributes:
        batch: windows, their records, and the records that could not be decoded.
        probabilities: float32 (n, classes), after rejection; a repeated window has the no-fault class.
        classes: (n,), most probable class of every window.
        events: events in the order in which a worker would publish them.
        outcomes: number of windows that were "judged" (tracked in order), "repeated", "late", "unknown" (out of
            distribution) or "unanswered" (no finite probabilities).
    """

    batch: DecodedBatch
    probabilities: NDArray[np.float32]
    classes: NDArray[np.intp]
    events: tuple[FaultEvent, ...]
    outcomes: Counter[str]


class Detector:
    """Detector of faults in records of ``sensor-windows``, batch by batch; it keeps the state and memory of every line.

    Args:
        classifier: engine that classifies windows.
        spec: signal spec of the classifier's windows and classes.
        policy: rule that turns faulty windows into episodes; by default the spec's own.
        max_bytes: largest message in bytes; a larger one becomes a dead record.

    Example:
        >>> from model.artefact import shipped
        >>> from model.engine import Engine
        >>> from stream.detection.decode import WindowRecord
        >>> from stream.windowing import window_messages
        >>> with Engine(shipped("line"), buckets=(32,)) as engine:
        ...     detector = Detector(engine, engine.spec)
        ...     waveform = np.zeros((256, 6), np.float32)
        ...     messages = window_messages("feeder-1", waveform, engine.spec, rate_hz=1600.0, start_ns=0)
        ...     records = [WindowRecord("file", 0, n, 0, b"feeder-1", one.value) for n, one in enumerate(messages)]
        ...     detector.process(records).events
        ()
    """

    def __init__(
        self,
        classifier: Classifier,
        spec: SignalSpec,
        policy: EpisodePolicy | None = None,
        *,
        max_bytes: int = MAX_MESSAGE_BYTES,
    ) -> None:
        self.classifier = classifier
        self.spec = spec
        self.lines: dict[str, LineState] = {}
        self._tracker = EpisodeTracker(spec, policy)
        self._positions = Positions(spec)
        self._following = Following(classifier, spec.none_index, len(spec.classes))
        self._max_bytes = max_bytes

    def process(self, records: Sequence[IncomingRecord]) -> Detection:
        """Decode records, which must follow those of earlier calls, and detect faults in them."""
        return self.process_batch(decode_batch(records, self.spec, max_bytes=self._max_bytes))

    def process_batch(self, batch: DecodedBatch) -> Detection:
        """Detect faults in a decoded batch."""
        ordered = self._positions.order(batch, self.lines)
        followed = self._following.follow(batch, ordered)
        probabilities = followed.probabilities[0]
        tracked = track_batch(self._tracker, self.lines, batch, probabilities, ordered)
        events = tuple(event for _, _, event in tracked.events(self.spec, self.classifier.model_id))
        return Detection(batch, probabilities, tracked.classes, events, followed.outcomes + tracked.outcomes)


def batched(records: Iterable[tuple[WindowRecord, int]], windows: int = BATCH_WINDOWS) -> Iterator[list[WindowRecord]]:
    """Group records into batches.

    Args:
        records: records in order, each with its number of windows (1 if unknown).
        windows: number of windows at which a batch ends.
    """
    batch: list[WindowRecord] = []
    gathered = 0
    for record, count in records:
        batch.append(record)
        gathered += count
        if gathered >= windows:
            yield batch
            batch, gathered = [], 0
    if batch:
        yield batch
