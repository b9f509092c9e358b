"""Track a decoded batch: update the state of each line, and build episode steps and events. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from model.spec import SignalSpec
from stream.contract import FaultEvent, SourceRecord
from stream.detection.decode import DecodedBatch, LineWindows
from stream.detection.episodes import BatchTracking, EpisodeStep, EpisodeTracker
from stream.detection.events import EventBuilder
from stream.detection.line_state import LineState
from stream.detection.order import Ordered


@dataclass(slots=True)
class TrackedRecords:
    """Result of tracking a batch."""

    classes: NDArray[np.intp]
    """Most probable class of every window, (n,)."""
    lines: dict[str, None]
    """Lines of the batch with new windows, in the order of their first records."""
    steps: list[tuple[LineWindows, EpisodeStep]] = field(default_factory=list)
    """Steps in the order of the records, each with the record that completed it."""
    outcomes: Counter[str] = field(default_factory=Counter)
    """Number of windows that were "judged" (tracked in order), "repeated" or "late"."""

    def events(self, spec: SignalSpec, model_id: str) -> Iterator[tuple[LineWindows, EpisodeStep, FaultEvent]]:
        """Yield every step with its record and its event."""
        if not self.steps:
            return
        build = EventBuilder(spec, model_id).event
        for entry, step in self.steps:
            record = entry.record
            source = SourceRecord(topic=record.topic, partition=record.partition, offset=record.offset)
            yield entry, step, build(step, source)


def track_batch(
    tracker: EpisodeTracker,
    lines: MutableMapping[str, LineState],
    decoded: DecodedBatch,
    probabilities: NDArray[np.float32],
    ordered: Ordered,
) -> TrackedRecords:
    """Track the windows of a batch, record by record.

    Args:
        tracker: turns classes into steps of episodes.
        lines: states of the lines; they are changed, and new lines are added.
        decoded: the batch.
        probabilities: float32 (n, classes) of its windows, calibrated, after rejection.
        ordered: order of the batch, which says what was tracked before.
    """
    classes = probabilities.argmax(axis=1)
    tracked = TrackedRecords(classes, {})
    tracking = BatchTracking(tracker, decoded.windows, classes, probabilities)
    touched, judged, repeated, late = tracked.lines, 0, 0, 0
    quiet_records = _quiet(decoded, classes, tracker.none)
    for entry, quiet, skip, break_ in zip(decoded.records, quiet_records, ordered.skips, ordered.breaks, strict=True):
        repeated += skip
        if skip == entry.count:
            continue
        line, state = entry.line, lines.get(entry.line)
        touched[line] = None
        if break_ == "late":
            late += entry.count - skip
        else:
            judged += entry.count - skip
        if quiet and not skip and break_ is None and tracker.advance_if_idle(state, entry):
            continue
        if state is None or state.spec != tracker.spec_key:
            state = lines[line] = LineState(spec=tracker.spec_key)
        tracking.track(state, entry, skip, break_)
    tracked.outcomes.update(judged=judged, repeated=repeated, late=late)
    tracked.steps = tracking.finish()
    return tracked


def _quiet(decoded: DecodedBatch, classes: NDArray[np.intp], none_index: int) -> list[bool]:
    """Return one value per record: True if all its windows have the no-fault class."""
    if not decoded.records:
        return []
    faulty = np.logical_or.reduceat(classes != none_index, [entry.first for entry in decoded.records])
    quiet: list[bool] = (~faulty).tolist()
    return quiet
