"""Steps of episodes → published events."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from model.spec import SignalSpec
from stream.contract import FaultEvent, Outgoing, SourceRecord, cloud_event_headers, event_id
from stream.detection.episodes import NS, EpisodeStep


def fault_event(step: EpisodeStep, spec: SignalSpec, model_id: str, source: SourceRecord) -> FaultEvent:
    """Return the event of one step of an episode."""
    fault = spec.classes[step.fault_class]
    probabilities = {name: round(float(p), 6) for name, p in zip(spec.class_names, step.probabilities, strict=True)}
    ground = sum(float(p) for p, known in zip(step.probabilities, spec.classes, strict=True) if known.ground)
    duration_s = None if step.cleared_ns is None else (step.cleared_ns - step.inception_ns) / NS
    cycles = None if duration_s is None else duration_s * step.rate_hz / spec.samples_per_cycle
    confidence = float(step.probabilities[spec.none_index if step.state == "clear" else step.fault_class])
    return FaultEvent(
        event_id=event_id(step.line, spec.name, step.state, step.sequence, step.start_ns),
        episode_id=step.episode_id,
        line=step.line,
        state=step.state,
        fault_class=fault.name,
        fault_type=fault.type,
        phases=fault.phases,
        ground=fault.ground,
        ground_probability=round(min(max(ground, 0.0), 1.0), 6),
        confidence=round(min(max(confidence, 0.0), 1.0), 6),
        probabilities=probabilities,
        inception_ns=step.inception_ns,
        detection_ns=step.detection_ns,
        duration_s=duration_s,
        duration_cycles=None if cycles is None else round(cycles, 3),
        quality=list(step.quality),
        spec=spec.name,
        model_id=model_id,
        sequence=step.sequence,
        source=source,
    )


def outgoing_events(
    event: FaultEvent, step: EpisodeStep, spec: SignalSpec, topic_of: Callable[[str], str]
) -> list[Outgoing]:
    """Return the records of one event: on its type's topic, and on the former type's when an update changed it.

    Both carry the same id, so that a subscriber of one type learns that the fault became another.

    Args:
        event: of ``step``.
        step: says whether the class changed.
        spec: gives the type of every class.
        topic_of: topic of a fault type.
    """
    types = [event.fault_type]
    if step.previous_class is not None and spec.classes[step.previous_class].type not in types:
        types.append(spec.classes[step.previous_class].type)
    time_text = datetime.fromtimestamp(event.detection_ns / NS, UTC).isoformat()
    headers = cloud_event_headers(event, time_text)
    value = event.model_dump_json().encode()
    return [Outgoing(topic_of(name), event.line.encode(), value, headers) for name in types]
