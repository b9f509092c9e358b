"""Create our topics where we may, and refuse to start without those that a worker needs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

import structlog
from aiokafka.admin import NewTopic
from aiokafka.errors import TopicAlreadyExistsError, for_code

from stream.errors import TopicError
from stream.kafka.admin import DENIED_CODE, UNKNOWN_CODE, admin_client, describe_topics, has_leaders
from stream.kafka.catalogue import TopicPlan, catalogue, topic_settings
from stream.kafka.clients import check_reachable
from stream.kafka.topics_check import check_topics
from stream.settings import Settings

LEADER_DEADLINE_S = 15.0
LEADER_POLL_S = 0.1

log = structlog.get_logger()
EXISTS_CODE = TopicAlreadyExistsError.errno


@dataclass(frozen=True)
class TopicResult:
    """What ``create_topics`` did about one topic."""

    name: str
    outcome: Literal["created", "exists", "denied", "failed"]
    detail: str = ""


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


async def require_topics(settings: Settings) -> None:
    """Make sure that what a worker reads and writes is there; an embedded broker makes it by being asked.

    Raises:
        TopicError: a topic is missing or would lose something; one line that names them all.
        BrokerError: no connection or no login.
    """
    needed = [plan.name for plan in catalogue(settings) if plan.worker]
    findings = await check_topics(settings, needed)
    for finding in findings:
        if finding.level == "warn":
            log.warning("topic_setting", topic=finding.name, message=finding.message)
    failed = [finding for finding in findings if finding.level == "fail"]
    missing = [finding.name for finding in failed if finding.missing]
    if missing:
        raise TopicError(f"missing topics {', '.join(missing)}: faultline topics create")
    if failed:
        raise TopicError("; ".join(f"{finding.name}: {finding.message}" for finding in failed))
