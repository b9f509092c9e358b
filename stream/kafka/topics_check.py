"""Whether the broker's topics are as the catalogue wants them; nothing is changed."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from aiokafka.errors import for_code

from stream.kafka.admin import (
    DENIED_CODE,
    UNKNOWN_CODE,
    admin_client,
    describe_configs,
    describe_topics,
    grant_advice,
    has_leaders,
)
from stream.kafka.catalogue import TopicPlan, catalogue
from stream.kafka.clients import RECORD_OVERHEAD_BYTES, check_reachable
from stream.settings import Settings


@dataclass(frozen=True)
class TopicFinding:
    """What ``check_topics`` found about one topic; ``message`` says what to do unless it is ok."""

    name: str
    level: Literal["ok", "warn", "fail"]
    message: str
    missing: bool = False


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
    async with admin_client(settings) as admin:
        # A topic that others follow is looked at even when it is not asked for.
        wanted = {plan.name for plan in plans} | {plan.follows for plan in plans if plan.follows}
        seen = await describe_topics(admin, sorted(wanted), create=broker.embedded)
        present = [plan.name for plan in plans if seen[plan.name]["error_code"] == 0]
        configs = {} if broker.embedded else await describe_configs(admin, present)
    findings = []
    for plan in plans:
        found = list(_problems(plan, seen, configs.get(plan.name), settings, embedded=broker.embedded))
        count = len(seen[plan.name]["partitions"])
        where = " (embedded broker: in memory only, never compacted)" if broker.embedded else ""
        findings += found or [TopicFinding(plan.name, "ok", f"partitions: {count}{where}")]
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
        yield TopicFinding(plan.name, "fail", "missing: faultline topics create", missing=True)
    elif code == DENIED_CODE:
        yield TopicFinding(plan.name, "fail", "not visible: " + grant_advice(settings, [plan.name], "Describe"))
    elif code != 0:
        yield TopicFinding(plan.name, "fail", f"{for_code(code).__name__}: look at the broker's log")
    else:
        yield from _partition_problems(plan, seen)
        if not embedded:
            yield from _config_problems(plan, config, settings)


def _partition_problems(plan: TopicPlan, seen: dict[str, dict[str, Any]]) -> Iterable[TopicFinding]:
    if not has_leaders(seen[plan.name]):
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
