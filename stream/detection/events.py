"""Turn steps of episodes into events, and events into records."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache

import msgspec
from pydantic import ValidationError

from model.domain import Domain, domain_of, installed_domains, load_domain
from model.spec import SignalSpec
from stream.contract import (
    HEADER_ORIGIN,
    NS_PER_S,
    SIMULATED,
    FaultEvent,
    Outgoing,
    SourceRecord,
    cloud_event_headers,
    event_id,
)
from stream.detection.episodes import EpisodeStep


def event_model(domain: Domain) -> type[FaultEvent]:
    """Return the event class of a domain."""
    own: type[FaultEvent] | None = domain.event_model()
    return FaultEvent if own is None else own


@cache
def event_models() -> tuple[type[FaultEvent], ...]:
    """Return the event classes of all installed domains that have their own, and then the generic one."""
    own = dict.fromkeys(event_model(load_domain(name)) for name in installed_domains())
    return (*(model for model in own if model is not FaultEvent), FaultEvent)


def decode_event(value: bytes | None) -> FaultEvent | None:
    """Decode an event from JSON as the event class with the most matching fields; return None if it is no event.

    Unknown fields, which a newer worker may have added, are ignored.
    """
    try:
        body = msgspec.json.decode(value or b"")
        fitting = [one for one in reversed(event_models()) if _required(one) <= body.keys()]
        model = max(fitting, key=lambda one: len(one.model_fields.keys() & body.keys()), default=FaultEvent)
        return model.model_validate({name: body[name] for name in model.model_fields if name in body})
    except (msgspec.DecodeError, ValidationError, AttributeError, UnicodeDecodeError):
        return None


@cache
def _required(model: type[FaultEvent]) -> frozenset[str]:
    return frozenset(name for name, field in model.model_fields.items() if field.is_required())


class EventBuilder:
    """Builder of the events of one spec; it looks up once what all of them share.

    Args:
        spec: signal spec of the windows.
        model_id: model that classified them.
    """

    def __init__(self, spec: SignalSpec, model_id: str) -> None:
        self._spec = spec
        self._model_id = model_id
        self._names = spec.class_names
        self._none = spec.none_index
        self._model = event_model(domain_of(spec))

    def event(self, step: EpisodeStep, source: SourceRecord) -> FaultEvent:
        """Return the event of one step of an episode, which the record ``source`` completed."""
        fault = self._spec.classes[step.fault_class]
        probabilities: list[float] = step.probabilities.tolist()
        duration_s = None if step.cleared_ns is None else (step.cleared_ns - step.inception_ns) / NS_PER_S
        confidence = probabilities[self._none if step.state == "clear" else step.fault_class]
        return self._model(
            event_id=event_id(step.line, self._spec.name, step.state, step.sequence, step.start_ns),
            episode_id=step.episode_id,
            line=step.line,
            state=step.state,
            fault_class=fault.name,
            fault_type=fault.type,
            confidence=round(min(max(confidence, 0.0), 1.0), 6),
            probabilities=dict(zip(self._names, [round(one, 6) for one in probabilities], strict=True)),
            inception_ns=step.inception_ns,
            detection_ns=step.detection_ns,
            duration_s=duration_s,
            quality=list(step.quality),
            spec=self._spec.name,
            model_id=self._model_id,
            sequence=step.sequence,
            source=source,
            **self._model.own_fields(self._spec, step.fault_class, step.probabilities, duration_s, step.rate_hz),
        )


def fault_event(step: EpisodeStep, spec: SignalSpec, model_id: str, source: SourceRecord) -> FaultEvent:
    """Return the event of one step of an episode; for several use ``EventBuilder``."""
    return EventBuilder(spec, model_id).event(step, source)


def outgoing_events(
    event: FaultEvent,
    step: EpisodeStep,
    spec: SignalSpec,
    topic_of: Callable[[str], str],
    *,
    simulated: bool = False,
) -> list[Outgoing]:
    """Return the records of one event: one for its type's topic, and one for the previous type's after a change.

    Both carry the same id. A subscriber to the previous type thus receives the change as well.

    Args:
        event: event of ``step``.
        step: step of the episode, with the previous class of an update.
        spec: signal spec, which gives the type of every class.
        topic_of: returns the topic of a fault type.
        simulated: True adds the header for windows of a simulator.
    """
    types = [event.fault_type]
    if step.previous_class is not None and spec.classes[step.previous_class].type not in types:
        types.append(spec.classes[step.previous_class].type)
    time_text = datetime.fromtimestamp(event.detection_ns / NS_PER_S, UTC).isoformat()
    headers = cloud_event_headers(event, time_text)
    if simulated:
        headers.append((HEADER_ORIGIN, SIMULATED))
    value = event.model_dump_json().encode()
    return [Outgoing(topic_of(name), event.line.encode(), value, headers) for name in types]
