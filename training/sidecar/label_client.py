"""Publish an operator's label on ``window-labels``, for an event or for a missed fault on a line."""

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

# Longest time after its last event that a label on an uncleared episode covers, since the operator cannot know the
# windows after that.
MAX_OPEN_NS = 60 * NS_PER_S


@dataclass(frozen=True)
class OperatorLabel:
    """Label of an operator: its class, the operator's name (None: the login name), and a note."""

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
    """Find an event and publish a label for the windows of its episode.

    Args:
        settings: broker, topics, spec.
        event_id: id of an event, or of its episode.
        given: the label.
        days: number of days to look back for the event.
        on_progress: called with the number of records read and their total.

    Returns:
        The label, and the events of the episode with the requested one first.

    Raises:
        TrainingError: if the spec does not have the class.
        EventNotFoundError: if there is no such event.
        SettingsError: if the event has another spec, or comes from simulated windows, which the trainer does not store.
        BrokerError: if the broker cannot be reached or denies access.
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
            f"event {event_id} on {event.line} is an event of simulated windows (the demo, faultline simulate), which "
            "the trainer does not store, so that no model is trained on them as windows of production: for a trial, "
            "set FAULTLINE_STORE_SIMULATED=true for the trainer and this command, and label a later event"
        )
    if event.spec != spec.name:
        raise SettingsError(f"the event has spec {event.spec!r}, not {spec.name!r}: set FAULTLINE_SPEC={event.spec}")
    first_ns, last_ns = episode_range(events, spec, fault=fault, now_ns=time.time_ns())
    label = new_label(event.line, spec, given, first_ns, last_ns, event.event_id)
    await publish_label(settings, label, broker)
    return label, events


async def label_range(settings: Settings, line: str, begin_ns: int, end_ns: int, given: OperatorLabel) -> WindowLabel:
    """Publish a label for the windows of a line in a range of time, and return it.

    Args:
        settings: broker, topics, spec.
        line: id of the line.
        begin_ns: Unix time of the fault's inception.
        end_ns: Unix time of its clearing.
        given: the label.

    Raises:
        TrainingError: if the spec does not have the class, or the range is empty.
        BrokerError: if the broker cannot be reached or denies access.
    """
    spec = load_spec(settings.spec)
    fault = class_index(given.fault_class, spec) != spec.none_index
    first_ns, last_ns = covered_starts(begin_ns, end_ns, spec, spec.rate_hz, fault=fault)
    label = new_label(line, spec, given, first_ns, last_ns, None)
    await publish_label(settings, label, await check_reachable(settings))
    return label


def episode_range(events: Sequence[FaultEvent], spec: SignalSpec, *, fault: bool, now_ns: int) -> tuple[int, int]:
    """Return the range of window starts that a label on an episode covers, from inception to clearing, in Unix ns.

    Args:
        events: events of one episode, in any order.
        spec: spec of their windows.
        fault: True if the label is a fault class.
        now_ns: current Unix time in ns; an episode that has not cleared ends at this time, or a minute after its last
            event if that is earlier.
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
    """Return a label with the current time, by the user of this process unless ``given`` names somebody else."""
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
    """Publish a label; return once it is acknowledged.

    Raises:
        TopicError: if the topic of labels does not exist.
    """
    topic = settings.topic_labels
    async with admin_client(settings) as admin:
        await require_existing(admin, settings, [topic], create=broker.embedded, operations=("Write", "Describe"))
    with broker_errors(settings):
        async with AIOKafkaProducer(**producer_kwargs(settings)) as producer:
            headers = [(HEADER_CONTENT_TYPE, JSON.encode())]
            await producer.send_and_wait(topic, label.model_dump_json().encode(), label.line.encode(), headers=headers)
