"""Track the lines of a fetched batch by its probabilities, and build the records to publish."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from model.spec import SignalSpec
from stream.contract import NS_PER_S, is_simulated
from stream.detection.batch import track_batch
from stream.detection.classify import window_classes
from stream.detection.decode import LineWindows
from stream.detection.episodes import EpisodeTracker
from stream.detection.events import outgoing_events
from stream.detection.order import Ordered
from stream.settings import Settings
from stream.worker.micro_batch import ClassifiedPart, TrackedBatch


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

    def process(self, batch: TrackedBatch, part: ClassifiedPart) -> None:
        """Track the windows of one fetched batch, a part of ``batch``, and add the records to publish.

        Args:
            batch: receives the events, the classes of new windows if switched on, the dead letters and the line states.
            part: the classified batch; the states of its partition's lines are changed.
        """
        settings, spec = self._settings, self._spec
        decoded, states, probabilities = part.decoded, part.states, part.probabilities
        tracked = track_batch(self._tracker, states.lines, decoded, probabilities, part.ordered)
        for entry, step, event in tracked.events(spec, batch.model_id):
            simulated = is_simulated(entry.record.headers)
            records = outgoing_events(event, step, spec, settings.topic_faults, simulated=simulated)
            batch.add_outgoing(records, entry.record)
            batch.events.append((event, entry.record.timestamp))
        if settings.window_classes:
            topic = settings.topic_window_classes
            for entry in new_windows(decoded.records, part.ordered, spec):
                span = slice(entry.first, entry.first + entry.count)
                classes = tracked.classes[span]
                answers = window_classes(entry, spec, batch.model_id, classes, probabilities[span], topic)
                batch.add_outgoing(answers, entry.record)
        batch.outcomes.update(tracked.outcomes)
        batch.dead += decoded.dead
        changes = states.changes(part.ordered.names, part.memories)
        batch.states.setdefault(part.fetched.partition.partition, {}).update(changes)


def new_windows(records: Sequence[LineWindows], ordered: Ordered, spec: SignalSpec) -> Iterator[LineWindows]:
    """Yield the records without the windows whose classes were published before."""
    for entry, skip in zip(records, ordered.skips, strict=True):
        if skip == entry.count:
            continue
        yield (
            entry
            if not skip
            else replace(
                entry,
                sequence=entry.sequence + skip,
                start_ns=entry.start_ns + round(skip * spec.hop * NS_PER_S / entry.rate_hz),
                first=entry.first + skip,
                count=entry.count - skip,
            )
        )
