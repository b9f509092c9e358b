"""Lag: records appended and not finished by this worker, or not committed by a group.

``LagProbe`` asks for end offsets on a connection of its own, so that a dead fetcher cannot hide them. ``GroupLag`` is
for a sender that must not outrun the workers: it sees how far they are behind, as committed.
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
"""Often enough for autoscaling and the watchdog, one small request each."""
PROBE_TIMEOUT_S = 20.0


class LagProbe:
    """Keep ``lag``: records appended to the assigned partitions and not finished.

    Args:
        new_consumer: makes a consumer without a group.
        offset_reset: where a partition without a committed offset begins.
    """

    def __init__(self, new_consumer: Callable[[], AIOKafkaConsumer], offset_reset: str) -> None:
        self._new_consumer = new_consumer
        self._offset_reset = offset_reset
        self._consumer: AIOKafkaConsumer | None = None
        self.lag = 0
        self.reachable = True
        """False if the last probe was not answered."""

    async def run(self, positions: Callable[[], dict[Partition, int | None]]) -> None:
        """Probe for ever; a failing probe keeps the last value and is tried again."""
        while True:
            await asyncio.sleep(PROBE_EVERY_S)
            try:
                async with asyncio.timeout(PROBE_TIMEOUT_S):
                    self.lag = await self._measure(positions())
                self.reachable = True
            except Exception as error:
                # Whatever it is: the watchdog lives on the lag, and must know that it is unknown.
                self.reachable = False
                log.warning("lag-unknown", error=repr(error))
                await self.close()

    async def _measure(self, positions: dict[Partition, int | None]) -> int:
        if not positions:
            return 0
        if self._consumer is None:
            # Kept before it is started: a consumer that fails to start is to be stopped as well.
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
    """Measure a group's lag on some topics, without joining the group.

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
        """Return the records appended and not committed, of all topics; a group without commits lags by all records."""
        ends = await self._consumer.end_offsets(self._partitions)
        committed = {partition: await self._consumer.committed(partition) for partition in self._partitions}
        unknown = [partition for partition, offset in committed.items() if offset is None]
        begins = await self._consumer.beginning_offsets(unknown) if unknown else {}
        return sum(
            max(0, ends[partition] - (begins[partition] if offset is None else offset))
            for partition, offset in committed.items()
        )
