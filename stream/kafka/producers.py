"""The producers: Faust's own made idempotent and renewable, and one beside it whose trouble stays its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

import aiokafka
import structlog
from aiokafka.errors import KafkaError
from faust.transport.drivers import aiokafka as driver

from stream.worker.fetching import FAUST_LOGGER

if TYPE_CHECKING:
    from stream.worker.transport import BatchApp

log = structlog.get_logger(__name__)


class IdempotentProducer(driver.Producer):  # type: ignore[misc]
    """Faust's producer with ``acks=all`` and idempotence, which Faust reserves for exactly-once."""

    logger = FAUST_LOGGER

    app: BatchApp
    _producer: aiokafka.AIOKafkaProducer | None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._retiring: set[asyncio.Task[None]] = set()

    def _settings_extra(self) -> Mapping[str, Any]:
        return {"acks": "all", "enable_idempotence": True}

    async def renew(self) -> None:
        """Go on with a new producer id; the old producer delivers what it still can and ends.

        Raises:
            KafkaError: no broker to start on; the old producer stays.
        """
        fresh = self._new_producer()
        await fresh.start()
        old, self._producer = self._producer, fresh
        if old is not None:
            self._retiring.add(task := asyncio.create_task(self._retire(old), name="retire-producer"))
            task.add_done_callback(self._retiring.discard)
        log.info("producer-renewed")

    async def _retire(self, old: aiokafka.AIOKafkaProducer) -> None:
        await _stop_producer(old, self.app.settings.request_timeout_s)


async def _stop_producer(producer: aiokafka.AIOKafkaProducer, timeout_s: float) -> None:
    """Stop a producer that may never get rid of what it holds."""
    try:
        async with asyncio.timeout(timeout_s):
            await producer.stop()
    except (KafkaError, OSError, TimeoutError) as error:
        log.info("producer-ended-with-records-left", error=repr(error))


class SideProducer:
    """A producer of its own, made when first needed, for a topic whose trouble must not become the events'.

    A topic that does not exist keeps aiokafka's client refreshing its metadata, and meanwhile the records of every
    other topic of the same client expire without a leader.

    Args:
        new: makes an aiokafka producer that is not started.
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
        """See ``stream.kafka.publisher.Producer``."""
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
            await _stop_producer(old, self._stop_timeout_s)

    async def stop(self) -> None:
        """Stop the producer, if there is one."""
        old, self._producer = self._producer, None
        if old is not None:
            await _stop_producer(old, self._stop_timeout_s)
