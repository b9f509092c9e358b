"""Describe topics by an admin client that raises Faultline's errors."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import TopicAuthorizationFailedError, UnknownTopicOrPartitionError
from aiokafka.protocol.metadata import MetadataRequest

from stream.kafka.clients import client_kwargs
from stream.kafka.errors import broker_errors
from stream.settings import Settings

DENIED_CODE = TopicAuthorizationFailedError.errno
UNKNOWN_CODE = UnknownTopicOrPartitionError.errno


@asynccontextmanager
async def admin_client(settings: Settings) -> AsyncIterator[Any]:
    """Yield a started admin client; failures inside the block are raised as Faultline's errors."""
    admin = AIOKafkaAdminClient(**client_kwargs(settings))
    with broker_errors(settings):
        try:
            await admin.start()
            yield admin
        finally:
            await admin.close()


async def describe_topics(admin: Any, names: list[str], *, create: bool = False) -> dict[str, dict[str, Any]]:
    """Return metadata per topic. Without ``create`` the broker must not create missing topics on demand."""
    # The admin client's own describe_topics always allows creation.
    response = await admin._send_request(MetadataRequest(names, allow_auto_topic_creation=create))
    return {topic["topic"]: topic for topic in response.to_object()["topics"]}


async def describe_configs(admin: Any, names: list[str]) -> dict[str, dict[str, str] | None]:
    """Return the checked configuration entries per topic; None for a topic whose configuration may not be read."""
    if not names:
        return {}
    keys = {"cleanup.policy": None, "retention.bytes": None, "max.message.bytes": None}
    responses = await admin.describe_configs(
        [ConfigResource(ConfigResourceType.TOPIC, name, configs=keys) for name in names]
    )
    return {
        resource[3]: {entry[0]: entry[1] for entry in resource[4]} if resource[0] == 0 else None
        for response in responses
        for resource in response.resources
    }


def partitions_of(described: Mapping[str, dict[str, Any]]) -> list[TopicPartition]:
    """Return the partitions of described topics; none of a topic that is missing or denied."""
    return [TopicPartition(name, one["partition"]) for name, topic in described.items() for one in topic["partitions"]]


def has_leaders(topic: dict[str, Any]) -> bool:
    """Return True if every partition of a described topic can be read and written."""
    partitions = topic["partitions"]
    return bool(partitions) and all(partition["leader"] >= 0 for partition in partitions)
