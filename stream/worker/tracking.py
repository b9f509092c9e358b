"""Track the lines of a fetched batch by its probabilities, and build the records to publish."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream.contract import is_simulated
from stream.detection.batch import track_batch
from stream.detection.classify import window_classes
from stream.detection.decode import DecodedBatch
from stream.detection.episodes import EpisodeTracker
from stream.detection.events import outgoing_events
from stream.settings import Settings
from stream.worker.micro_batch import TrackedBatch
from stream.worker.offsets import FetchedBatch
from stream.worker.state_store import PartitionStates


class WindowTracker:
    """Tracker of the windows of fetched batches. Pure: it uses neither Kafka nor a clock.

    Args:
        settings: topics, and the switch for publishing every window's classes.
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
        """Track the windows of one fetched batch, a part of ``batch``, and add the records to publish.

        Args:
            batch: receives the events, the window classes if switched on, the dead letters and the line states.
            states: states of the partition's lines; they are changed.
            fetched: the fetched batch.
            decoded: the windows of the fetched batch.
            probabilities: float32 (n, classes), calibrated.
        """
        settings, spec = self._settings, self._spec
        tracked = track_batch(self._tracker, states.lines, decoded, probabilities)
        for entry, step, event in tracked.events(spec, batch.model_id):
            simulated = is_simulated(entry.record.headers)
            records = outgoing_events(event, step, spec, settings.topic_faults, simulated=simulated)
            batch.add_outgoing(records, entry.record)
            batch.events.append((event, entry.record.timestamp))
        if settings.window_classes:
            topic = settings.topic_window_classes
            for entry in decoded.records:
                span = slice(entry.first, entry.first + entry.count)
                classes = tracked.classes[span]
                answers = window_classes(entry, spec, batch.model_id, classes, probabilities[span], topic)
                batch.add_outgoing(answers, entry.record)
        batch.outcomes.update(tracked.outcomes)
        batch.dead += decoded.dead
        batch.states += states.changes(tracked.lines, settings.topic_line_states, fetched.partition.partition)
