"""Publishes an operator's label on ``window-labels``: on an event, or on a range of a line with a missed fault."""

from __future__ import annotations

import getpass
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from aiokafka import AIOKafkaProducer

from model.spec import SignalSpec, load_spec
from stream.contract import HEADER_CONTENT_TYPE, JSON, NS_PER_S, FaultEvent, WindowLabel, is_simulated
from stream.errors import SettingsError
from stream.kafka.admin import admin_client
from stream.kafka.clients import BrokerInfo, check_reachable, producer_kwargs
from stream.kafka.errors import broker_errors
from stream.kafka.topics import require_existing
from stream.settings import Settings
from stream.subscribe import find_episode
from training.sidecar.store.labels import NO_FAULT, class_index, covered_starts

# Of an episode that has not cleared, the person has not seen what comes later than this after its last event.
MAX_OPEN_NS = 60 * NS_PER_S


@dataclass(frozen=True)
class OperatorLabel:
    """The class that an operator gives, the operator's name (None: the login), and a note."""

    fault_class: str
    by: str | None = None
    note: str = ""


async def label_event(
    settings: Settings,
    event_id: str,
    given: OperatorLabel,
    *,
    days: float,
    on_progress: Callable[[int, int], None] = lambda *_: None,
) -> tuple[WindowLabel, list[FaultEvent]]:
    """Find an event and publish a label on its episode's windows.

    Args:
        settings: broker, topics, spec.
        event_id: of an event, or of its episode.
        given: the label.
        days: how far to look back for the event.
        on_progress: called with the records read and their total.

    Returns:
        The label and the events of the episode, the one looked for first.

    Raises:
        TrainingError: the spec has no such class.
        EventNotFoundError: no such event.
        SettingsError: the event is of another spec, or of simulated windows, which the trainer does not store.
        BrokerError: the broker cannot be reached, or refuses.
    """
    spec = load_spec(settings.spec)
    fault = class_index(given.fault_class, spec) != spec.none_index
    broker = await check_reachable(settings)
    with broker_errors(settings):
        found = await find_episode(settings, event_id, since_s=days * 86_400, on_progress=on_progress)
    events = [one.event for one in found]
    event = events[0]
    if is_simulated(found[0].headers) and not settings.store_simulated:
        raise SettingsError(
            f"event {event_id} on {event.line} is of simulated windows (the demo, faultline simulate), which the "
            "trainer does not store, so that no model learns them as windows of production: for a trial, set "
            "FAULTLINE_STORE_SIMULATED=true for trainer and label, and label an event that comes after it"
        )
    if event.spec != spec.name:
        raise SettingsError(f"the event is of spec {event.spec!r}, not {spec.name!r}: set FAULTLINE_SPEC={event.spec}")
    first_ns, last_ns = episode_range(events, spec, fault=fault, now_ns=time.time_ns())
    label = new_label(event.line, spec, given, first_ns, last_ns, event.event_id)
    await publish_label(settings, label, broker)
    return label, events


async def label_range(settings: Settings, line: str, begin_ns: int, end_ns: int, given: OperatorLabel) -> WindowLabel:
    """Publish a label on a range of a line, and return it.

    Args:
        settings: broker, topics, spec.
        line: id of the line.
        begin_ns: Unix time of the fault's inception.
        end_ns: Unix time of its clearing.
        given: the label.

    Raises:
        TrainingError: the spec has no such class, or the range is empty.
        BrokerError: the broker cannot be reached, or refuses.
    """
    spec = load_spec(settings.spec)
    fault = class_index(given.fault_class, spec) != spec.none_index
    first_ns, last_ns = covered_starts(begin_ns, end_ns, spec, spec.rate_hz, fault=fault)
    label = new_label(line, spec, given, first_ns, last_ns, None)
    await publish_label(settings, label, await check_reachable(settings))
    return label


def episode_range(events: Sequence[FaultEvent], spec: SignalSpec, *, fault: bool, now_ns: int) -> tuple[int, int]:
    """Return the range of window starts that a label on an episode covers, from inception to clear.

    Args:
        events: of one episode, in any order.
        spec: of their windows.
        fault: True where the label names a fault.
        now_ns: an episode that has not cleared reaches until now, yet no longer than a minute beyond its last event.
    """
    inception_ns = min(event.inception_ns for event in events)
    rate_hz, end_ns = spec.rate_hz, min(now_ns, max(event.detection_ns for event in events) + MAX_OPEN_NS)
    for event in events:
        if event.state == "clear" and event.duration_s is not None:
            end_ns = event.inception_ns + round(event.duration_s * NS_PER_S)
            rate_hz = event.sampling_hz(spec)
    return covered_starts(inception_ns, max(end_ns, inception_ns + 1), spec, rate_hz, fault=fault)


def new_label(
    line: str, spec: SignalSpec, given: OperatorLabel, first_ns: int, last_ns: int, event_id: str | None
) -> WindowLabel:
    """Return a label of the present time, by the person at this terminal unless ``given`` names another."""
    none = class_index(given.fault_class, spec) == spec.none_index
    return WindowLabel(
        label_id=str(uuid.uuid4()),
        line=line,
        spec=spec.name,
        fault_class=NO_FAULT if none else given.fault_class,
        event_id=event_id,
        first_ns=first_ns,
        last_ns=last_ns,
        by=given.by or getpass.getuser(),
        at=datetime.now(UTC),
        note=given.note,
    )


async def publish_label(settings: Settings, label: WindowLabel, broker: BrokerInfo) -> None:
    """Publish a label; return when it is confirmed.

    Raises:
        TopicError: there is no topic for it.
    """
    topic = settings.topic_labels
    async with admin_client(settings) as admin:
        await require_existing(admin, settings, [topic], create=broker.embedded, operations=("Write", "Describe"))
    with broker_errors(settings):
        async with AIOKafkaProducer(**producer_kwargs(settings)) as producer:
            headers = [(HEADER_CONTENT_TYPE, JSON.encode())]
            await producer.send_and_wait(topic, label.model_dump_json().encode(), label.line.encode(), headers=headers)
