"""How far the workers of a group are behind, as committed: what a sender that must not outrun them asks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

from aiokafka import AIOKafkaConsumer, TopicPartition

from stream.kafka.admin import admin_client, describe_topics, partitions_of
from stream.kafka.clients import client_kwargs
from stream.settings import Settings


class GroupLag:
    """Asks for a group's lag on some topics, without joining the group.

    Committed offsets trail by up to ``commit_interval_s``, so the lag of workers that keep up is what was sent in
    that time.

    Example: ``async with GroupLag(settings, "faultline", ["sensor-windows"]) as lag: await lag.measure()``
    """

    def __init__(self, settings: Settings, group: str, topics: Iterable[str]) -> None:
        self._consumer = AIOKafkaConsumer(**client_kwargs(settings), group_id=group, enable_auto_commit=False)
        self._settings = settings
        self._topics = sorted(topics)
        self._partitions: list[TopicPartition] = []

    async def __aenter__(self) -> Self:
        async with admin_client(self._settings) as admin:
            seen = await describe_topics(admin, self._topics)
        self._partitions = partitions_of(seen)
        await self._consumer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._consumer.stop()

    async def measure(self) -> int:
        """Records appended and not committed, all topics together; a group without commits lags by all records."""
        ends = await self._consumer.end_offsets(self._partitions)
        committed = {partition: await self._consumer.committed(partition) for partition in self._partitions}
        unknown = [partition for partition, offset in committed.items() if offset is None]
        begins = await self._consumer.beginning_offsets(unknown) if unknown else {}
        return sum(
            max(0, ends[partition] - (begins[partition] if offset is None else offset))
            for partition, offset in committed.items()
        )
