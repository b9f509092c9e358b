"""Specify, create and check the topics."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import structlog
from aiokafka.admin import NewTopic
from aiokafka.errors import TopicAlreadyExistsError, for_code

from stream.errors import AccessDeniedError, TopicError
from stream.kafka.acls import grant_advice
from stream.kafka.admin import (
    DENIED_CODE,
    UNKNOWN_CODE,
    admin_client,
    describe_configs,
    describe_topics,
    has_leaders,
)
from stream.kafka.clients import RECORD_OVERHEAD_BYTES, check_reachable
from stream.settings import Settings

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
FOR_EVER = NO_LIMIT = -1
MIB = 1 << 20
SEGMENTS_KEPT = 8
"""Number of segments that a partition at its size limit has. A broker deletes whole segments, so a partition exceeds
the limit by an eighth at most."""
LEAST_SEGMENT_BYTES = 2 * MIB
MOST_SEGMENT_BYTES = 1 << 30
"""Largest segment in bytes: Kafka's own default."""
LEADER_DEADLINE_S = 15.0
LEADER_POLL_S = 0.1

log = structlog.get_logger(__name__)
EXISTS_CODE = TopicAlreadyExistsError.errno


@dataclass(frozen=True)
class TopicSpec:
    """Specification of a topic.

    Attributes:
        name: name from the settings.
        purpose: purpose in one line, for people.
        partitions: number of partitions at creation; an administrator may add some later.
        compacted: True if only the newest record of a key is kept, without a time limit.
        retention_ms: retention time of a topic that is not compacted; -1 for no limit.
        retention_bytes: largest size in bytes of a partition of a topic that is not compacted; -1 leaves the limit to
            the broker.
        follows: name of a topic that must have the same number of partitions, since both are joined by key.
        optional: True if Faultline works without the topic.
        worker: True if a worker needs the topic from its start.
    """

    name: str
    purpose: str
    partitions: int
    compacted: bool = False
    retention_ms: int = FOR_EVER
    retention_bytes: int = NO_LIMIT
    follows: str | None = None
    optional: bool = False
    worker: bool = False


def topic_specs(settings: Settings) -> tuple[TopicSpec, ...]:
    """Return the specifications of all topics, with the names and partitions of the settings."""
    many = settings.partitions
    windows = settings.topic_windows
    events = "fault events; a subscriber that returns within a month still reads them"
    return (
        TopicSpec(
            windows,
            "windows of all lines; a day is longer than a night's outage",
            many,
            retention_ms=DAY_MS,
            retention_bytes=settings.windows_retention_mb * MIB or NO_LIMIT,
            worker=True,
        ),
        *(TopicSpec(topic, events, many, retention_ms=30 * DAY_MS, worker=True) for topic in settings.fault_topics),
        TopicSpec(
            settings.topic_dead_letters,
            "records that cannot be classified",
            many,
            retention_ms=14 * DAY_MS,
            worker=True,
        ),
        TopicSpec(
            settings.topic_line_states,
            "state of every line, by consumer group",
            many,
            compacted=True,
            follows=windows,
            worker=True,
        ),
        TopicSpec(
            # Required: a worker without it would use an old model while its peers use the champion.
            settings.topic_models,
            "artefacts of the models per spec",
            1,
            compacted=True,
            worker=True,
        ),
        TopicSpec(
            settings.topic_window_classes,
            "classes of every window",
            many,
            retention_ms=DAY_MS,
            optional=not settings.window_classes,
            worker=settings.window_classes,
        ),
        TopicSpec(settings.topic_labels, "labels of operators; a retraining needs all of them", many),
        TopicSpec(settings.topic_retrain, "requests for a retraining", 1, retention_ms=30 * DAY_MS),
        TopicSpec(settings.topic_reports, "progress and results of retrainings", 1, retention_ms=365 * DAY_MS),
    )


def topic_settings(topic: TopicSpec, settings: Settings) -> dict[str, str]:
    """Return Kafka's configuration of a topic."""
    # A dead letter is a record of at most max_message_bytes plus its headers; every topic must accept that size.
    size = {"max.message.bytes": str(settings.max_message_bytes + RECORD_OVERHEAD_BYTES)}
    if not topic.compacted:
        limits = {"retention.ms": str(topic.retention_ms)}
        if topic.retention_bytes != NO_LIMIT:  # otherwise the broker's own limit applies, if it has one
            limits["retention.bytes"] = str(topic.retention_bytes)
            segment = topic.retention_bytes // SEGMENTS_KEPT
            limits["segment.bytes"] = str(min(MOST_SEGMENT_BYTES, max(LEAST_SEGMENT_BYTES, segment)))
        return {"cleanup.policy": "delete", **limits, **size}
    # A restarted worker reads a compacted topic to its end. Closing segments hourly and compacting at 20 % of repeated
    # keys keeps the topic short. Kafka's defaults are a week and 50 %.
    return {
        "cleanup.policy": "compact",
        "segment.ms": str(HOUR_MS),
        "min.cleanable.dirty.ratio": "0.2",
        **size,
    }


# Create -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TopicResult:
    """The result of ``create_topics`` for one topic."""

    name: str
    outcome: Literal["created", "exists", "denied", "failed"]
    detail: str = ""


async def create_topics(settings: Settings, names: Collection[str] | None = None) -> list[TopicResult]:
    """Create the missing topics; existing ones are not changed.

    An embedded broker creates a topic when its metadata is requested, with its own number of partitions.

    Args:
        settings: broker, and names, partitions and replicas of the topics.
        names: the topics to create; all topics when None.

    Returns:
        One result per topic, in the order of ``topic_specs``; a denied or failed one does not stop the others.

    Raises:
        BrokerError: there is no connection, or the login was refused.
    """
    topics = [topic for topic in topic_specs(settings) if names is None or topic.name in names]
    broker = await check_reachable(settings, settings.request_timeout_s)
    async with admin_client(settings) as admin:
        if broker.embedded:
            present = set(await admin.list_topics())
            await describe_topics(admin, [topic.name for topic in topics], create=True)
            return [TopicResult(topic.name, "exists" if topic.name in present else "created") for topic in topics]
        seen = await describe_topics(admin, [topic.name for topic in topics])
        missing = [topic for topic in topics if seen[topic.name]["error_code"] in (UNKNOWN_CODE, DENIED_CODE)]
        results = {topic.name: TopicResult(topic.name, "exists") for topic in topics}
        if missing:
            results |= {result.name: result for result in await _create(admin, missing, settings)}
            created = [name for name, result in results.items() if result.outcome == "created"]
            await _wait_for_leaders(admin, created)
    return list(results.values())


async def _create(admin: Any, topics: list[TopicSpec], settings: Settings) -> list[TopicResult]:
    copies = settings.replication_factor
    response = await admin.create_topics(
        [
            NewTopic(topic.name, topic.partitions, copies, topic_configs=topic_settings(topic, settings))
            for topic in topics
        ]
    )
    results = []
    for name, code, message in response.topic_errors:
        if code == 0:
            results.append(TopicResult(name, "created"))
        elif code == EXISTS_CODE:  # another process created it first
            results.append(TopicResult(name, "exists"))
        elif code == DENIED_CODE:
            results.append(TopicResult(name, "denied", "no right to create or describe it"))
        else:
            results.append(TopicResult(name, "failed", message or for_code(code).__name__))
    return results


async def _wait_for_leaders(admin: Any, names: list[str]) -> None:
    """Wait until the topics can be used: their partitions get leaders shortly after CreateTopics succeeds."""
    end = time.monotonic() + LEADER_DEADLINE_S
    while names:
        seen = await describe_topics(admin, names)
        names = [name for name in names if not has_leaders(seen[name])]
        if names and time.monotonic() > end:
            raise TopicError(
                f"{', '.join(names)} created, but without a leader after {LEADER_DEADLINE_S:.0f} s: read the broker's "
                "log, then run: faultline topics check"
            )
        await asyncio.sleep(LEADER_POLL_S if names else 0)


# Check --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TopicFinding:
    """A finding of ``check_topics`` about one topic; unless the level is ok, ``message`` says what to do."""

    name: str
    level: Literal["ok", "warn", "fail"]
    message: str
    missing: bool = False


async def check_topics(settings: Settings, names: Collection[str] | None = None) -> list[TopicFinding]:
    """Compare the broker's topics with their specifications; nothing is changed.

    Args:
        settings: broker and names of the topics.
        names: the topics to check; all topics when None.

    Returns:
        One finding or more per topic, in the order of ``topic_specs``.

    Raises:
        BrokerError: there is no connection, or the login was refused.
    """
    topics = [topic for topic in topic_specs(settings) if names is None or topic.name in names]
    broker = await check_reachable(settings, settings.request_timeout_s)
    async with admin_client(settings) as admin:
        # A topic that others follow is described even if it is not among the names.
        wanted = {topic.name for topic in topics} | {topic.follows for topic in topics if topic.follows}
        seen = await describe_topics(admin, sorted(wanted), create=broker.embedded)
        present = [topic.name for topic in topics if seen[topic.name]["error_code"] == 0]
        configs = {} if broker.embedded else await describe_configs(admin, present)
    findings = []
    for topic in topics:
        found = list(_problems(topic, seen, configs.get(topic.name), settings, embedded=broker.embedded))
        count = len(seen[topic.name]["partitions"])
        where = " (embedded broker: in memory only, never compacted)" if broker.embedded else ""
        findings += found or [TopicFinding(topic.name, "ok", f"partitions: {count}{where}")]
    return findings


def _problems(
    topic: TopicSpec,
    seen: dict[str, dict[str, Any]],
    config: dict[str, str] | None,
    settings: Settings,
    *,
    embedded: bool,
) -> Iterable[TopicFinding]:
    code = seen[topic.name]["error_code"]
    if code == UNKNOWN_CODE and topic.optional:
        yield TopicFinding(topic.name, "ok", "missing, but not needed: FAULTLINE_WINDOW_CLASSES is off")
    elif code == UNKNOWN_CODE:
        yield TopicFinding(topic.name, "fail", f"missing: {creation(settings)}", missing=True)
    elif code == DENIED_CODE:
        yield TopicFinding(topic.name, "fail", "not visible: " + grant_advice(settings, [topic.name], "Describe"))
    elif code != 0:
        yield TopicFinding(topic.name, "fail", f"{for_code(code).__name__}: read the broker's log")
    else:
        yield from _partition_problems(topic, seen)
        if not embedded:
            yield from _config_problems(topic, config, settings)


def _partition_problems(topic: TopicSpec, seen: dict[str, dict[str, Any]]) -> Iterable[TopicFinding]:
    if not has_leaders(seen[topic.name]):
        yield TopicFinding(topic.name, "fail", "a partition has no leader: check that all brokers run")
    other = seen[topic.follows] if topic.follows else None
    if topic.follows and other is not None and other["error_code"] == 0:
        count, wanted = len(seen[topic.name]["partitions"]), len(other["partitions"])
        if count != wanted:
            yield TopicFinding(
                topic.name,
                "fail",
                f"{count} partitions but {topic.follows} has {wanted}: workers would not find a line's state; recreate "
                f"{topic.name} with {wanted} partitions",
            )


def _config_problems(topic: TopicSpec, config: dict[str, str] | None, settings: Settings) -> Iterable[TopicFinding]:
    if config is None:
        advice = grant_advice(settings, [topic.name], "DescribeConfigs")
        yield TopicFinding(topic.name, "warn", f"its configuration cannot be read: {advice}")
        return
    change = f"kafka-configs --bootstrap-server {settings.broker} --alter --topic {topic.name} --add-config"
    policy = config.get("cleanup.policy", "")
    if topic.compacted and policy != "compact":
        yield TopicFinding(
            topic.name,
            "fail",
            f"cleanup.policy is {policy}, which deletes needed records: {change} cleanup.policy=compact",
        )
    if not topic.compacted and "compact" in policy:
        yield TopicFinding(
            topic.name,
            "fail",
            f"cleanup.policy is {policy}, which drops earlier records of a line: {change} cleanup.policy=delete",
        )
    kept = int(config.get("retention.bytes", NO_LIMIT))
    if topic.retention_bytes != NO_LIMIT and not 0 <= kept <= topic.retention_bytes:
        wanted = topic_settings(topic, settings)
        yield TopicFinding(
            topic.name,
            "warn",
            f"retention.bytes is {kept if kept >= 0 else 'without a limit'}, above FAULTLINE_WINDOWS_RETENTION_MB="
            f"{settings.windows_retention_mb}: {change} retention.bytes={wanted['retention.bytes']},"
            f"segment.bytes={wanted['segment.bytes']}",
        )
    size = int(config.get("max.message.bytes", 0))
    if size < settings.max_message_bytes:
        yield TopicFinding(
            topic.name,
            "warn",
            f"max.message.bytes is {size}, below FAULTLINE_MAX_MESSAGE_BYTES={settings.max_message_bytes}: "
            f"{change} max.message.bytes={settings.max_message_bytes + RECORD_OVERHEAD_BYTES}",
        )


async def require_topics(settings: Settings, names: Collection[str] | None = None) -> list[TopicFinding]:
    """Raise unless topics exist and are configured correctly; an embedded broker creates them on request.

    Args:
        settings: broker and names of the topics.
        names: the topics to check; those that a worker needs from its start when None.

    Returns:
        Warnings, which do not prevent a start.

    Raises:
        TopicError: a topic is missing or would lose records; one line names all such topics.
        BrokerError: there is no connection, or the login was refused.
    """
    if names is None:
        names = [topic.name for topic in topic_specs(settings) if topic.worker]
    findings = await check_topics(settings, names)
    failed = [finding for finding in findings if finding.level == "fail"]
    if missing := [finding.name for finding in failed if finding.missing]:
        raise _missing(settings, missing)
    if failed:
        raise TopicError("; ".join(f"{finding.name}: {finding.message}" for finding in failed))
    return [finding for finding in findings if finding.level == "warn"]


async def require_existing(
    admin: Any,
    settings: Settings,
    names: list[str],
    *,
    create: bool = False,
    operations: Sequence[str] = ("Read", "Describe"),
    alternative: str = "",
) -> None:
    """Raise unless topics, Faultline's or others, exist and are visible.

    Args:
        admin: client from ``admin_client``.
        settings: broker.
        names: names of the topics.
        create: True lets a broker that creates topics on demand create them.
        operations: operations to grant if a topic is denied.
        alternative: action that the error offers the user instead of creating a topic.

    Raises:
        TopicError: a topic is missing.
        AccessDeniedError: a topic is not visible.
    """
    described = await describe_topics(admin, names, create=create) if names else {}
    if missing := [name for name, topic in described.items() if topic["error_code"] == UNKNOWN_CODE]:
        raise _missing(settings, missing, alternative)
    if denied := [name for name, topic in described.items() if topic["error_code"] == DENIED_CODE]:
        raise AccessDeniedError(grant_advice(settings, denied, *operations))


def creation(settings: Settings) -> str:
    """Return the command that creates the topics; it names the spec, which the user may have given elsewhere."""
    own = settings.spec != Settings.model_fields["spec"].default
    return "faultline topics create" + (f" --spec {settings.spec}" if own else "")


def _missing(settings: Settings, names: Collection[str], alternative: str = "") -> TopicError:
    instead = f", or {alternative}" if alternative else ""
    return TopicError(f"missing topics {', '.join(names)}: {creation(settings)}{instead}")
