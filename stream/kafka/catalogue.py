"""The catalogue of our topics: names, partitions, what is kept and for how long."""

from __future__ import annotations

from dataclasses import dataclass

from stream.contract import FAULT_TYPES as FAULT_TYPES
from stream.kafka.clients import RECORD_OVERHEAD_BYTES
from stream.settings import Settings

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
FOR_EVER = -1


@dataclass(frozen=True)
class TopicPlan:
    """A topic as it should be.

    Attributes:
        name: as in the settings.
        purpose: one line for people.
        partitions: at creation; afterwards whoever runs the broker may add some.
        compacted: only the newest record of a key is kept, for ever.
        retention_ms: how long records are kept when not compacted; -1 for ever.
        follows: a topic that must have the same number of partitions, since both are joined by key.
        optional: nothing of ours fails without it.
        worker: a worker reads or writes it from its first minute.
    """

    name: str
    purpose: str
    partitions: int
    compacted: bool = False
    retention_ms: int = FOR_EVER
    follows: str | None = None
    optional: bool = False
    worker: bool = False


def catalogue(settings: Settings) -> tuple[TopicPlan, ...]:
    """All topics of ours, under the names and with the partitions of the settings."""
    many = settings.partitions
    windows = settings.topic_windows
    events = "fault events; a subscriber back after a month still finds its faults"
    return (
        TopicPlan(
            windows, "windows of all lines; a day outlasts a night's outage", many, retention_ms=DAY_MS, worker=True
        ),
        *(
            TopicPlan(settings.topic_faults(kind), events, many, retention_ms=30 * DAY_MS, worker=True)
            for kind in FAULT_TYPES
        ),
        TopicPlan(
            settings.topic_dead_letters, "records that could not be judged", many, retention_ms=14 * DAY_MS, worker=True
        ),
        TopicPlan(
            settings.topic_line_states,
            "state of every line, by consumer group",
            many,
            compacted=True,
            follows=windows,
            worker=True,
        ),
        TopicPlan(
            # A worker without it would judge by an old model beside peers that have the champion.
            settings.topic_models,
            "the champion's artefact per spec",
            1,
            compacted=True,
            worker=True,
        ),
        TopicPlan(
            settings.topic_window_classes,
            "classes of every window",
            many,
            retention_ms=DAY_MS,
            optional=not settings.window_classes,
            worker=settings.window_classes,
        ),
        TopicPlan(settings.topic_labels, "verdicts of operators; retraining needs all of them", many),
        TopicPlan(settings.topic_retrain, "requests for a retraining", 1, retention_ms=30 * DAY_MS),
        TopicPlan(settings.topic_reports, "progress and verdicts of retrainings", 1, retention_ms=365 * DAY_MS),
    )


def topic_settings(plan: TopicPlan, settings: Settings) -> dict[str, str]:
    """Kafka's topic configuration for ``plan``."""
    # A dead letter is a record of at most max_message_bytes plus our headers, so every topic has that room.
    size = {"max.message.bytes": str(settings.max_message_bytes + RECORD_OVERHEAD_BYTES)}
    if not plan.compacted:
        return {"cleanup.policy": "delete", "retention.ms": str(plan.retention_ms), **size}
    # A restart reads a compacted topic to its end: closing segments hourly and compacting at 20 % of repeats
    # keeps that end near. Kafka's defaults are a week and 50 %.
    return {
        "cleanup.policy": "compact",
        "segment.ms": str(HOUR_MS),
        "min.cleanable.dirty.ratio": "0.2",
        **size,
    }
