"""Dedicated producer for a topic whose failures must not delay the events."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import aiokafka
import structlog
from aiokafka.errors import KafkaError

log = structlog.get_logger(__name__)


async def stop_producer(producer: aiokafka.AIOKafkaProducer, timeout_s: float) -> None:
    """Stop a producer within ``timeout_s``; log it if some records could not be delivered."""
    try:
        async with asyncio.timeout(timeout_s):
            await producer.stop()
    except (KafkaError, OSError, TimeoutError) as error:
        log.info("producer-stopped-with-undelivered-records", error=repr(error))


class DedicatedProducer:
    """Separate producer, created on first use, for a topic whose failures must not affect the events.

    A missing topic makes aiokafka's client refresh its metadata again and again; meanwhile the records of all other
    topics of the same client expire without a leader.

    Args:
        new: creates an aiokafka producer that is not started.
        stop_timeout_s: longest wait for an old producer's last records.
    """

    def __init__(self, new: Callable[[], aiokafka.AIOKafkaProducer], stop_timeout_s: float) -> None:
        self._new = new
        self._stop_timeout_s = stop_timeout_s
        self._producer: aiokafka.AIOKafkaProducer | None = None

    async def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int | None,
        timestamp: float | None,
        headers: Any,
    ) -> Awaitable[Any]:
        """Buffer a record as ``stream.kafka.producing.publisher.Producer`` specifies."""
        if self._producer is None:
            await self.renew()
        assert self._producer is not None
        answer: Awaitable[Any] = await self._producer.send(topic, value, key, partition, headers=headers)
        return answer

    async def renew(self) -> None:
        """Replace the producer."""
        fresh = self._new()
        await fresh.start()
        old, self._producer = self._producer, fresh
        if old is not None:
            await stop_producer(old, self._stop_timeout_s)

    async def stop(self) -> None:
        """Stop the producer, if there is one."""
        old, self._producer = self._producer, None
        if old is not None:
            await stop_producer(old, self._stop_timeout_s)
