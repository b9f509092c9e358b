"""A person's verdict: on an event, or on a stretch of a line where one was missed. Published on ``window-labels``."""

from __future__ import annotations

import asyncio
import getpass
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import typer
from aiokafka import AIOKafkaProducer
from rich.console import Console
from rich.progress import Progress

from model.spec import SignalSpec, load_spec
from stream.contract import HEADER_CONTENT_TYPE, JSON, FaultEvent, WindowLabel
from stream.errors import SettingsError, TopicError
from stream.finding_events import find_episode
from stream.kafka.admin import UNKNOWN_CODE, admin_client, describe_topics
from stream.kafka.clients import BrokerInfo, check_reachable, producer_kwargs
from stream.kafka.errors import broker_errors
from stream.settings import Settings
from stream.telemetry.logs import configure_logs
from training.sidecar.store.labels import NO_FAULT, NS, class_index, covered

# Of an episode that has not cleared, what comes later than this after its last event is not what the person has seen.
MOST_OPEN_NS = 60 * NS


@dataclass(frozen=True)
class Verdict:
    """What a person says, and who it is."""

    fault_class: str
    by: str | None = None
    note: str = ""


def label_event(settings: Settings, event_id: str, verdict: Verdict, *, days: float) -> None:
    """Find an event, publish the verdict on its episode's windows, and say what was done.

    Raises:
        TrainingError: the spec has no such class.
        EventNotFoundError: no such event.
        SettingsError: the event is of another spec.
        BrokerError: the broker cannot be reached, or refuses.
    """
    configure_logs(settings)
    spec = load_spec(settings.spec)
    fault = class_index(verdict.fault_class, spec) != spec.none_index
    asyncio.run(_label_event(settings, spec, event_id, verdict, days, fault=fault))


async def _label_event(
    settings: Settings, spec: SignalSpec, event_id: str, verdict: Verdict, days: float, *, fault: bool
) -> None:
    broker = await check_reachable(settings)
    console = Console(stderr=True)
    with (
        broker_errors(settings),
        Progress(console=console, transient=True, disable=not console.is_terminal) as bar,
    ):
        task = bar.add_task("looking for the event", total=None)
        events = await find_episode(
            settings,
            event_id,
            since_s=days * 86_400,
            embedded=broker.embedded,
            told=lambda done, total: bar.update(task, completed=done, total=total),
        )
    event = events[0]
    if event.spec != spec.name:
        raise SettingsError(f"the event is of spec {event.spec!r}, not {spec.name!r}: set FAULTLINE_SPEC={event.spec}")
    first_ns, last_ns = episode_range(events, spec, fault=fault, now_ns=time.time_ns())
    label = new_label(event.line, spec, verdict, first_ns, last_ns, event.event_id)
    await publish_label(settings, label, broker)
    cleared = any(e.state == "clear" for e in events)
    told = f"{event.fault_class} on {event.line}, inception {_time(event.inception_ns)}"
    _say(label, told + ("" if cleared else "; not cleared yet: label it again when it is"))


def label_range(settings: Settings, line: str, begin: str, end: str, verdict: Verdict) -> None:
    """Publish a verdict on a stretch of a line.

    Args:
        settings: broker, topics, spec.
        line: id of the line.
        begin: ISO time of the fault's inception.
        end: ISO time of its clearing.
        verdict: what it was.

    Raises:
        TrainingError: the spec has no such class, or the stretch is empty.
        SettingsError: a time cannot be read.
        BrokerError: the broker cannot be reached, or refuses.
    """
    configure_logs(settings)
    spec = load_spec(settings.spec)
    fault = class_index(verdict.fault_class, spec) != spec.none_index
    begin_ns, end_ns = parse_time("--from", begin), parse_time("--to", end)
    first_ns, last_ns = covered(begin_ns, end_ns, spec, spec.rate_hz, fault=fault)
    label = new_label(line, spec, verdict, first_ns, last_ns, None)

    async def publish() -> None:
        await publish_label(settings, label, await check_reachable(settings))

    asyncio.run(publish())
    _say(label, f"{line}, {_time(begin_ns)} to {_time(end_ns)}")


def episode_range(events: Sequence[FaultEvent], spec: SignalSpec, *, fault: bool, now_ns: int) -> tuple[int, int]:
    """Return the range of window starts that a verdict on an episode is about: from inception to clear.

    Args:
        events: of one episode, in any order.
        spec: of their windows.
        fault: whether the verdict names a fault.
        now_ns: an episode that has not cleared reaches until now, yet no longer than a minute beyond its last event.
    """
    inception_ns = min(event.inception_ns for event in events)
    rate_hz, end_ns = spec.rate_hz, min(now_ns, max(event.detection_ns for event in events) + MOST_OPEN_NS)
    for event in events:
        if event.state == "clear" and event.duration_s is not None:
            end_ns = event.inception_ns + round(event.duration_s * NS)
            if event.duration_cycles and event.duration_s > 0:
                rate_hz = event.duration_cycles / event.duration_s * spec.samples_per_cycle
    return covered(inception_ns, max(end_ns, inception_ns + 1), spec, rate_hz, fault=fault)


def new_label(
    line: str, spec: SignalSpec, verdict: Verdict, first_ns: int, last_ns: int, event_id: str | None
) -> WindowLabel:
    """A label by the person at this terminal, of now."""
    none = class_index(verdict.fault_class, spec) == spec.none_index
    return WindowLabel(
        label_id=str(uuid.uuid4()),
        line=line,
        spec=spec.name,
        fault_class=NO_FAULT if none else verdict.fault_class,
        event_id=event_id,
        first_ns=first_ns,
        last_ns=last_ns,
        by=verdict.by or getpass.getuser(),
        at=datetime.now(UTC),
        note=verdict.note,
    )


async def publish_label(settings: Settings, label: WindowLabel, broker: BrokerInfo) -> None:
    """Publish a label; it is confirmed when this returns.

    Raises:
        TopicError: there is no topic for it.
    """
    topic = settings.topic_labels
    async with admin_client(settings) as admin:
        seen = await describe_topics(admin, [topic], create=broker.embedded)
    if seen[topic]["error_code"] == UNKNOWN_CODE:
        raise TopicError(f"missing topic {topic}: faultline topics create")
    with broker_errors(settings):
        async with AIOKafkaProducer(**producer_kwargs(settings)) as producer:
            headers = [(HEADER_CONTENT_TYPE, JSON.encode())]
            await producer.send_and_wait(topic, label.model_dump_json().encode(), label.line.encode(), headers=headers)


def parse_time(option: str, text: str) -> int:
    """Unix ns of an ISO time, of this machine's time zone where it names none.

    Raises:
        SettingsError: it is none.

    Example:
        >>> parse_time("--from", "1970-01-01T00:00:01.5Z")
        1500000000
    """
    try:
        at = datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise SettingsError(f"{option} {text}: give an ISO time, e.g. 2026-01-31T12:00:00.250Z") from None
    since = at - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * NS + since.microseconds * 1000


def _time(ns: int) -> str:
    return datetime.fromtimestamp(ns / NS, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _say(label: WindowLabel, about: str) -> None:
    said = "no fault" if label.fault_class == NO_FAULT else label.fault_class
    typer.echo(f"labelled as {said}: {about}")
    typer.echo(
        f"windows that start from {_time(label.first_ns)} to {_time(label.last_ns)}; the next retraining learns from"
        f" those that the trainer keeps (label {label.label_id}, by {label.by})"
    )
