"""Measure lag: records appended that this worker has not acknowledged, or that a group has not committed.

``LagProbe`` requests end offsets on a connection of its own, so that a fetcher that has stopped cannot hide them.
``GroupLag`` is for a sender that must not send faster than the workers read: it uses their committed offsets.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Self

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition

from stream.kafka.admin import admin_client, describe_topics, partitions_of
from stream.kafka.clients import client_kwargs
from stream.kafka.reading.partition import Partition
from stream.settings import Settings

log = structlog.get_logger(__name__)

PROBE_EVERY_S = 5.0
"""Interval of the probe, short enough for autoscaling and the watchdog; each probe is one small request."""
PROBE_TIMEOUT_S = 20.0


class LagProbe:
    """Probe of ``lag``: the records of the assigned partitions that are appended and not acknowledged.

    Args:
        new_consumer: creates a consumer without a group.
        offset_reset: start of a partition without a committed offset, earliest or latest.
    """

    def __init__(self, new_consumer: Callable[[], AIOKafkaConsumer], offset_reset: str) -> None:
        self._new_consumer = new_consumer
        self._offset_reset = offset_reset
        self._consumer: AIOKafkaConsumer | None = None
        self.lag = 0
        self.reachable = True
        """False if the last probe failed."""

    async def run(self, positions: Callable[[], dict[Partition, int | None]]) -> None:
        """Probe until cancelled; a failed probe keeps the last value and is retried."""
        while True:
            await asyncio.sleep(PROBE_EVERY_S)
            try:
                async with asyncio.timeout(PROBE_TIMEOUT_S):
                    self.lag = await self._measure(positions())
                self.reachable = True
            except Exception as error:
                # Any error: the watchdog depends on the lag and must know when it is unknown.
                self.reachable = False
                log.warning("lag-unknown", error=repr(error))
                await self.close()

    async def _measure(self, positions: dict[Partition, int | None]) -> int:
        if not positions:
            return 0
        if self._consumer is None:
            # The consumer is stored before it is started, because one that fails to start must be stopped as well.
            self._consumer = self._new_consumer()
            await self._consumer.start()
        partitions = {partition: TopicPartition(*partition) for partition in positions}
        ends = await self._consumer.end_offsets(list(partitions.values()))
        unknown = [partitions[partition] for partition, position in positions.items() if position is None]
        if unknown and self._offset_reset == "earliest":
            begins = await self._consumer.beginning_offsets(unknown)
        else:
            begins = {tp: ends[tp] for tp in unknown}
        return sum(
            max(0, ends[tp] - (begins[tp] if (position := positions[partition]) is None else position))
            for partition, tp in partitions.items()
        )

    async def close(self) -> None:
        """Stop the consumer."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await consumer.stop()


class GroupLag:
    """Measurement of a group's lag on some topics, without joining the group.

    Committed offsets trail by up to ``commit_interval_s``, so the lag of workers that keep up is the number of
    records sent in that time.

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
        """Return the records appended but not committed, of all topics; all records if the group has no commit."""
        ends = await self._consumer.end_offsets(self._partitions)
        committed = {partition: await self._consumer.committed(partition) for partition in self._partitions}
        unknown = [partition for partition, offset in committed.items() if offset is None]
        begins = await self._consumer.beginning_offsets(unknown) if unknown else {}
        return sum(
            max(0, ends[partition] - (begins[partition] if offset is None else offset))
            for partition, offset in committed.items()
        )
