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
from stream.detection.episodes import EpisodeStep, EpisodeTracker
from stream.detection.events import fault_event
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
        for entry, step in self.steps:
            record = entry.record
            source = SourceRecord(topic=record.topic, partition=record.partition, offset=record.offset)
            yield entry, step, fault_event(step, spec, model_id, source)


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
    touched, outcomes, advanced = tracked.lines, tracked.outcomes, 0
    quiet_records = _quiet(decoded, classes, tracker.none)
    for entry, quiet, skip, break_ in zip(decoded.records, quiet_records, ordered.skips, ordered.breaks, strict=True):
        if skip == entry.count:
            outcomes["repeated"] += skip
            continue
        line, state = entry.line, lines.get(entry.line)
        touched[line] = None
        if quiet and not skip and break_ is None and tracker.advance_if_idle(state, entry):
            advanced += entry.count
            continue
        span = slice(entry.first, entry.first + entry.count)
        record = tracker.track(
            state, entry, decoded.windows[span], classes[span], probabilities[span], skip=skip, break_=break_
        )
        lines[line] = record.state
        outcomes["judged"] += record.in_order
        outcomes["repeated"] += record.repeated
        outcomes["late"] += record.late
        tracked.steps += [(entry, step) for step in record.steps]
    outcomes["judged"] += advanced
    return tracked


def _quiet(decoded: DecodedBatch, classes: NDArray[np.intp], none_index: int) -> list[bool]:
    """Return one value per record: True if all its windows have the no-fault class."""
    if not decoded.records:
        return []
    faulty = np.logical_or.reduceat(classes != none_index, [entry.first for entry in decoded.records])
    quiet: list[bool] = (~faulty).tolist()
    return quiet
