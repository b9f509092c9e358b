"""Probabilities of a fetched batch → states of its lines, events, and answers: what is to be published of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream.contract import SourceRecord
from stream.detection.classify import window_classes
from stream.detection.decode import DecodedBatch, LineWindows
from stream.detection.episodes import EpisodeTracker, TrackedRecord
from stream.detection.events import fault_event, outgoing_events
from stream.settings import Settings
from stream.worker.micro_batch import TrackedBatch
from stream.worker.offsets import FetchedBatch
from stream.worker.state_store import PartitionStates


class WindowTracker:
    """Pure: neither Kafka nor a clock.

    Args:
        settings: topics, and whether every window's classes are published.
        tracker: turns classes into episodes.
    """

    def __init__(self, settings: Settings, tracker: EpisodeTracker) -> None:
        self._settings = settings
        self._tracker = tracker
        self._spec = tracker.spec

    def process(
        self,
        batch: TrackedBatch,
        states: PartitionStates,
        fetched: FetchedBatch,
        decoded: DecodedBatch,
        probabilities: NDArray[np.float32],
    ) -> None:
        """Judge the windows of one fetched batch, which is part of ``batch``, and note what is to be published.

        Args:
            batch: gets the events, the answers where switched on, the dead letters, and the line states.
            states: of the partition's lines; they are changed.
            fetched: where the windows come from.
            decoded: its windows.
            probabilities: float32 (n, classes), calibrated.
        """
        classes = probabilities.argmax(axis=1)
        touched: dict[str, None] = {}
        lines, followed, answers_wanted = states.lines, 0, self._settings.window_classes
        for entry, quiet in zip(decoded.records, self._quiet(decoded, classes), strict=True):
            line, state = entry.line, lines.get(entry.line)
            touched[line] = None
            span = slice(entry.first, entry.first + entry.count)
            if quiet and self._tracker.advance_if_idle(state, entry):
                followed += entry.count
            else:
                tracked = self._tracker.process(state, entry, decoded.windows[span], classes[span], probabilities[span])
                lines[line] = tracked.state
                self._note(batch, entry, tracked)
            if answers_wanted:
                topic = self._settings.topic_window_classes
                answers = window_classes(entry, self._spec, batch.model_id, classes[span], probabilities[span], topic)
                batch.add_outgoing(answers, entry.record)
        batch.outcomes["judged"] += followed
        batch.dead += decoded.dead
        batch.states += states.changes(touched, self._settings.topic_line_states, fetched.partition.partition)

    def _quiet(self, decoded: DecodedBatch, classes: NDArray[np.intp]) -> list[bool]:
        """Of which records all windows are of the class of no fault."""
        if not decoded.records:
            return []
        loud = np.logical_or.reduceat(classes != self._spec.none_index, [entry.first for entry in decoded.records])
        quiet: list[bool] = (~loud).tolist()
        return quiet

    def _note(self, batch: TrackedBatch, entry: LineWindows, tracked: TrackedRecord) -> None:
        batch.outcomes["judged"] += tracked.in_order
        batch.outcomes["repeated"] += tracked.repeated
        batch.outcomes["late"] += tracked.late
        for step in tracked.steps:
            event = fault_event(step, self._spec, batch.model_id, _source(entry))
            batch.add_outgoing(outgoing_events(event, step, self._spec, self._settings), entry.record)
            batch.events.append((event, entry.record.timestamp))


def _source(entry: LineWindows) -> SourceRecord:
    record = entry.record
    return SourceRecord(topic=record.topic, partition=record.partition, offset=record.offset)
