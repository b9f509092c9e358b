"""The catalogue of our topics, and the command that creates them where it may."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

from aiokafka.admin import NewTopic
from aiokafka.errors import TopicAlreadyExistsError, for_code

from stream.admin import DENIED_CODE, UNKNOWN_CODE, admin_client, describe_topics, has_leaders
from stream.clients import RECORD_OVERHEAD_BYTES
from stream.errors import TopicError
from stream.reachability import check_reachable
from stream.settings import Settings

FAULT_TYPES = ("lg", "ll", "llg", "lll", "lllg", "unknown")
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
FOR_EVER = -1
LEADER_DEADLINE_S = 15.0
LEADER_POLL_S = 0.1
EXISTS_CODE = TopicAlreadyExistsError.errno


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
    """

    name: str
    purpose: str
    partitions: int
    compacted: bool = False
    retention_ms: int = FOR_EVER
    follows: str | None = None
    optional: bool = False


@dataclass(frozen=True)
class TopicResult:
    """What ``create_topics`` did about one topic."""

    name: str
    outcome: Literal["created", "exists", "denied", "failed"]
    detail: str = ""


def catalogue(settings: Settings) -> tuple[TopicPlan, ...]:
    """All topics of ours, under the names and with the partitions of the settings."""
    many = settings.partitions
    windows = settings.topic_windows
    events = "fault events; a subscriber back after a month still finds its faults"
    return (
        TopicPlan(windows, "windows of all lines; a day outlasts a night's outage", many, retention_ms=DAY_MS),
        *(TopicPlan(settings.topic_faults(kind), events, many, retention_ms=30 * DAY_MS) for kind in FAULT_TYPES),
        TopicPlan(settings.topic_dead_letters, "records that could not be judged", many, retention_ms=14 * DAY_MS),
        TopicPlan(settings.topic_line_states, "state of every line", many, compacted=True, follows=windows),
        TopicPlan(settings.topic_models, "the champion's artefact per spec", 1, compacted=True),
        TopicPlan(
            settings.topic_window_classes,
            "classes of every window",
            many,
            retention_ms=DAY_MS,
            optional=not settings.window_classes,
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


async def create_topics(settings: Settings, names: Collection[str] | None = None) -> list[TopicResult]:
    """Create the topics that are not there yet; what exists is left as it is.

    On an embedded broker topics appear by being asked for, with its own number of partitions.

    Args:
        settings: broker, names, partitions, copies.
        names: only these of the catalogue.

    Returns:
        One result per topic, in the catalogue's order; a denied or failed one does not stop the others.

    Raises:
        BrokerError: no connection or no login.
    """
    plans = [plan for plan in catalogue(settings) if names is None or plan.name in names]
    broker = await check_reachable(settings, settings.request_timeout_s)
    async with admin_client(settings) as admin:
        if broker.embedded:
            present = set(await admin.list_topics())
            await describe_topics(admin, [plan.name for plan in plans], create=True)
            return [TopicResult(plan.name, "exists" if plan.name in present else "created") for plan in plans]
        seen = await describe_topics(admin, [plan.name for plan in plans])
        missing = [plan for plan in plans if seen[plan.name]["error_code"] in (UNKNOWN_CODE, DENIED_CODE)]
        results = {plan.name: TopicResult(plan.name, "exists") for plan in plans}
        if missing:
            results |= {result.name: result for result in await _create(admin, missing, settings)}
            created = [name for name, result in results.items() if result.outcome == "created"]
            await _wait_for_leaders(admin, created)
    return list(results.values())


async def _create(admin: Any, plans: list[TopicPlan], settings: Settings) -> list[TopicResult]:
    copies = settings.replication_factor
    response = await admin.create_topics(
        [NewTopic(plan.name, plan.partitions, copies, topic_configs=topic_settings(plan, settings)) for plan in plans]
    )
    results = []
    for name, code, message in response.topic_errors:
        if code == 0:
            results.append(TopicResult(name, "created"))
        elif code == EXISTS_CODE:  # another process was faster
            results.append(TopicResult(name, "exists"))
        elif code == DENIED_CODE:
            results.append(TopicResult(name, "denied", "no right to create or to see it"))
        else:
            results.append(TopicResult(name, "failed", message or for_code(code).__name__))
    return results


async def _wait_for_leaders(admin: Any, names: list[str]) -> None:
    """A topic can be used when its partitions have leaders, a moment after CreateTopics says yes."""
    end = time.monotonic() + LEADER_DEADLINE_S
    while names:
        seen = await describe_topics(admin, names)
        names = [name for name in names if not has_leaders(seen[name])]
        if names and time.monotonic() > end:
            raise TopicError(
                f"{', '.join(names)} created, but without a leader after {LEADER_DEADLINE_S:.0f} s: look at the "
                "broker's log, then: faultline topics check"
            )
        await asyncio.sleep(LEADER_POLL_S if names else 0)
