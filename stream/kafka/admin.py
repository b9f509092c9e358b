"""An admin client that raises our errors, what it can tell about topics, and whom to grant what."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import TopicAuthorizationFailedError, UnknownTopicOrPartitionError
from aiokafka.protocol.metadata import MetadataRequest

from stream.kafka.clients import client_kwargs
from stream.kafka.errors import broker_errors, who_needs
from stream.settings import Settings

DENIED_CODE = TopicAuthorizationFailedError.errno
UNKNOWN_CODE = UnknownTopicOrPartitionError.errno


@asynccontextmanager
async def admin_client(settings: Settings) -> AsyncIterator[Any]:
    """A started admin client; what goes wrong inside the block is raised as one of our errors."""
    admin = AIOKafkaAdminClient(**client_kwargs(settings))
    with broker_errors(settings):
        try:
            await admin.start()
            yield admin
        finally:
            await admin.close()


async def describe_topics(admin: Any, names: list[str], *, create: bool = False) -> dict[str, dict[str, Any]]:
    """Metadata per topic. Without ``create`` a broker that makes topics on demand must not make these."""
    # The admin client's own describe_topics always allows creation.
    response = await admin._send_request(MetadataRequest(names, allow_auto_topic_creation=create))
    return {topic["topic"]: topic for topic in response.to_object()["topics"]}


async def describe_configs(admin: Any, names: list[str]) -> dict[str, dict[str, str] | None]:
    """The settings we care for, per topic; None where reading them is denied."""
    if not names:
        return {}
    keys = {"cleanup.policy": None, "max.message.bytes": None}
    responses = await admin.describe_configs(
        [ConfigResource(ConfigResourceType.TOPIC, name, configs=keys) for name in names]
    )
    return {
        resource[3]: {entry[0]: entry[1] for entry in resource[4]} if resource[0] == 0 else None
        for response in responses
        for resource in response.resources
    }


def partitions_of(described: Mapping[str, dict[str, Any]]) -> list[TopicPartition]:
    """The partitions of described topics; none of a topic that is missing or denied."""
    return [TopicPartition(name, one["partition"]) for name, topic in described.items() for one in topic["partitions"]]


def has_leaders(topic: dict[str, Any]) -> bool:
    """Whether every partition of a described topic can be read and written."""
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
