"""The catalogue of our topics, and what makes them so: create where we may, check where others did."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, TopicAuthorizationFailedError, for_code
from aiokafka.protocol.metadata import MetadataRequest

from stream.clients import RECORD_OVERHEAD_BYTES, client_kwargs
from stream.embedded import is_embedded
from stream.errors import TopicError
from stream.reachability import broker_errors, check_reachable, who_needs
from stream.settings import Settings

FAULT_TYPES = ("lg", "ll", "llg", "lll", "lllg", "unknown")
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
FOR_EVER = -1
LEADER_DEADLINE_S = 15.0
LEADER_POLL_S = 0.1
DENIED_CODE = TopicAuthorizationFailedError.errno
EXISTS_CODE = TopicAlreadyExistsError.errno
UNKNOWN_CODE = 3


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


@dataclass(frozen=True)
class TopicFinding:
    """What ``check_topics`` found about one topic; ``message`` says what to do unless it is ok."""

    name: str
    level: Literal["ok", "warn", "fail"]
    message: str


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
    async with _admin(settings) as admin:
        if broker.embedded:
            await _describe(admin, [plan.name for plan in plans], create=True)
            return [TopicResult(plan.name, "created", "on the embedded broker") for plan in plans]
        seen = await _describe(admin, [plan.name for plan in plans])
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
        seen = await _describe(admin, names)
        names = [name for name in names if not _has_leaders(seen[name])]
        if names and time.monotonic() > end:
            raise TopicError(
                f"{', '.join(names)} created, but without a leader after {LEADER_DEADLINE_S:.0f} s: look at the "
                "broker's log, then: faultline topics check"
            )
        await asyncio.sleep(LEADER_POLL_S if names else 0)


def _has_leaders(topic: dict[str, Any]) -> bool:
    partitions = topic["partitions"]
    return bool(partitions) and all(partition["leader"] >= 0 for partition in partitions)


def grant_advice(settings: Settings, topics: Iterable[str], *operations: str) -> str:
    """The ACLs to grant, as a command for whoever may."""
    sasl = settings.security_protocol.startswith("SASL")
    user = (settings.sasl_username or settings.sasl_oauth_client_id if sasl else None) or "<principal>"
    wanted = " ".join(f"--operation {operation}" for operation in operations)
    named = " ".join(f"--topic {topic}" for topic in topics)
    return (
        f"{who_needs(settings)} {', '.join(operations)}: kafka-acls --bootstrap-server {settings.broker} --add "
        f"--allow-principal User:{user} {wanted} {named}"
    )


async def check_topics(settings: Settings, names: Collection[str] | None = None) -> list[TopicFinding]:
    """Compare the broker's topics with the catalogue; nothing is changed.

    Args:
        settings: broker and names.
        names: only these of the catalogue.

    Returns:
        One finding or more per topic, in the catalogue's order.

    Raises:
        BrokerError: no connection or no login.
    """
    plans = [plan for plan in catalogue(settings) if names is None or plan.name in names]
    broker = await check_reachable(settings, settings.request_timeout_s)
    async with _admin(settings) as admin:
        # A topic that others follow is looked at even when it is not asked for.
        wanted = {plan.name for plan in plans} | {plan.follows for plan in plans if plan.follows}
        seen = await _describe(admin, sorted(wanted), create=broker.embedded)
        present = [plan.name for plan in plans if seen[plan.name]["error_code"] == 0]
        configs = {} if broker.embedded else await _describe_configs(admin, present)
    findings = []
    for plan in plans:
        found = list(_problems(plan, seen, configs.get(plan.name), settings, embedded=broker.embedded))
        count = len(seen[plan.name]["partitions"])
        where = " (embedded broker: in memory only, never compacted)" if broker.embedded else ""
        findings += found or [TopicFinding(plan.name, "ok", f"{count} partitions{where}")]
    return findings


def _problems(
    plan: TopicPlan,
    seen: dict[str, dict[str, Any]],
    config: dict[str, str] | None,
    settings: Settings,
    *,
    embedded: bool,
) -> Iterable[TopicFinding]:
    code = seen[plan.name]["error_code"]
    if code == UNKNOWN_CODE and plan.optional:
        yield TopicFinding(plan.name, "ok", "missing, and not used: FAULTLINE_WINDOW_CLASSES is off")
    elif code == UNKNOWN_CODE:
        yield TopicFinding(plan.name, "fail", "missing: faultline topics create")
    elif code == DENIED_CODE:
        yield TopicFinding(plan.name, "fail", "not visible: " + grant_advice(settings, [plan.name], "Describe"))
    elif code != 0:
        yield TopicFinding(plan.name, "fail", f"{for_code(code).__name__}: look at the broker's log")
    else:
        yield from _partition_problems(plan, seen)
        if not embedded:
            yield from _config_problems(plan, config, settings)


def _partition_problems(plan: TopicPlan, seen: dict[str, dict[str, Any]]) -> Iterable[TopicFinding]:
    if not _has_leaders(seen[plan.name]):
        yield TopicFinding(plan.name, "fail", "a partition has no leader: look at the brokers")
    other = seen[plan.follows] if plan.follows else None
    if plan.follows and other is not None and other["error_code"] == 0:
        ours, theirs = len(seen[plan.name]["partitions"]), len(other["partitions"])
        if ours != theirs:
            yield TopicFinding(
                plan.name,
                "fail",
                f"{ours} partitions but {plan.follows} has {theirs}: a line's state would not be found; create "
                f"{plan.name} again with {theirs} partitions",
            )


def _config_problems(plan: TopicPlan, config: dict[str, str] | None, settings: Settings) -> Iterable[TopicFinding]:
    if config is None:
        advice = grant_advice(settings, [plan.name], "DescribeConfigs")
        yield TopicFinding(plan.name, "warn", f"its settings cannot be read: {advice}")
        return
    change = f"kafka-configs --bootstrap-server {settings.broker} --alter --topic {plan.name} --add-config"
    policy = config.get("cleanup.policy", "")
    if plan.compacted and policy != "compact":
        yield TopicFinding(
            plan.name, "fail", f"cleanup.policy is {policy}, which forgets: {change} cleanup.policy=compact"
        )
    if not plan.compacted and "compact" in policy:
        yield TopicFinding(
            plan.name,
            "fail",
            f"cleanup.policy is {policy}, which drops records of the same line: {change} cleanup.policy=delete",
        )
    size = int(config.get("max.message.bytes", 0))
    if size < settings.max_message_bytes:
        yield TopicFinding(
            plan.name,
            "warn",
            f"max.message.bytes is {size}, below FAULTLINE_MAX_MESSAGE_BYTES={settings.max_message_bytes}: "
            f"{change} max.message.bytes={settings.max_message_bytes + RECORD_OVERHEAD_BYTES}",
        )


@asynccontextmanager
async def _admin(settings: Settings) -> AsyncIterator[Any]:
    admin = AIOKafkaAdminClient(**client_kwargs(settings))
    with broker_errors(settings):
        try:
            await admin.start()
            yield admin
        finally:
            await admin.close()


async def _describe(admin: Any, names: list[str], *, create: bool = False) -> dict[str, dict[str, Any]]:
    """Metadata per topic. Without ``create`` a broker that makes topics on demand must not make these."""
    # The admin client's own describe_topics always allows creation.
    response = await admin._send_request(MetadataRequest(names, allow_auto_topic_creation=create))
    return {topic["topic"]: topic for topic in response.to_object()["topics"]}


async def _describe_configs(admin: Any, names: list[str]) -> dict[str, dict[str, str] | None]:
    """The settings we care for, per topic; None where reading them is denied."""
    if not names:
        return {}
    keys = {"cleanup.policy": None, "max.message.bytes": None}
    try:
        responses = await admin.describe_configs(
            [ConfigResource(ConfigResourceType.TOPIC, name, configs=keys) for name in names]
        )
    except KafkaError:
        return {}
    return {
        resource[3]: {entry[0]: entry[1] for entry in resource[4]} if resource[0] == 0 else None
        for response in responses
        for resource in response.resources
    }
