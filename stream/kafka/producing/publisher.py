"""Publish records with confirmation: a record counts as sent once the broker has acknowledged it; none is dropped."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import structlog
from aiokafka.errors import KafkaError
from faust.exceptions import ProducerSendError

from stream.contract import Outgoing

log = structlog.get_logger(__name__)

KEY_BYTES = 255
"""Maximum number of bytes of a record's key in a log line: the size of the longest line id."""


class Producer(Protocol):
    """Producer: Faust's, or aiokafka's with the same signature."""

    async def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int | None,
        timestamp: float | None,
        headers: Any,
    ) -> Awaitable[Any]:
        """Buffer a record; the returned future resolves with the broker's acknowledgement."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A buffered record: its pending acknowledgement, and the generation of the producer that took it."""

    acknowledgement: Awaitable[Any]
    generation: int


async def _keep_producer() -> None:
    """Continue with the same producer."""


class Publisher:
    """Send records in order and wait until the broker has acknowledged each; retry failed records indefinitely.

    An idempotent producer keeps the order per partition through its own retries. It gives up on a record when the topic
    is missing, the right to write is missing or the broker is away for too long. The publisher resends such a record
    after a pause, and the worker is not ready meanwhile. aiokafka counts a record that it gave up on as sent, after
    which the broker refuses every later one of that partition (OutOfOrderSequenceNumber): a producer that gave up on a
    record is therefore replaced. A record that both producers deliver has the same event id, so consumers can
    deduplicate.

    Args:
        producer: returns the producer; called on first use, since Faust creates its producer at start.
        retry_s: pause before a record is resent.
        timeout_s: time without an acknowledgement after which a record counts as given up; idempotent records never
            expire.
        renew: replaces the producer by a new one; when it fails it is called again.
        on_degraded: called with True when a publish begins to fail and with False when no publish fails any more.
    """

    def __init__(
        self,
        producer: Callable[[], Producer],
        *,
        retry_s: float,
        timeout_s: float = 60.0,
        renew: Callable[[], Awaitable[None]] = _keep_producer,
        on_degraded: Callable[[bool], None] = lambda _: None,
    ) -> None:
        self._producer = producer
        self._retry_s = retry_s
        self._timeout_s = timeout_s
        self._renew = renew
        self._generation = 0
        self._on_degraded = on_degraded
        self.waiting = 0
        """Number of publishes that are being retried; the watchdog does not end a worker that waits for them."""
        self._blocked = 0
        """Number of batches with a record to resend: later batches must not overtake it."""
        self._healthy = asyncio.Event()
        self._healthy.set()

    async def send(self, records: Sequence[Outgoing]) -> list[Sent | None]:
        """Buffer records in order; pass the returned list to ``confirm``. None marks a record to resend.

        While a record of an earlier batch is still to be resent, no record of a later batch overtakes it.
        """
        await self._healthy.wait()
        sent = await self._buffer(records)
        if None in sent:
            self._block(1)
        return sent

    async def _buffer(self, records: Sequence[Outgoing]) -> list[Sent | None]:
        sent: list[Sent | None] = []
        for record in records:
            if sent and sent[-1] is None:
                # Keep the order: no record overtakes one that could not even be buffered.
                sent.append(None)
                continue
            try:
                sent.append(Sent(await self._send(record), self._generation))
            except (KafkaError, ProducerSendError) as error:
                log.warning("publish-not-buffered", **_ids(record), error=repr(error))
                sent.append(None)
        return sent

    def _send(self, record: Outgoing) -> Awaitable[Awaitable[Any]]:
        return self._producer().send(record.topic, record.key, record.value, record.partition, None, record.headers)

    async def confirm(self, records: Sequence[Outgoing], sent: Sequence[Sent | None]) -> None:
        """Return when the broker has confirmed every record; resend failed records in order until it has."""
        await self._confirm(records, sent)
        if None in sent:
            self._block(-1)

    async def publish(self, records: Sequence[Outgoing]) -> None:
        """Send and confirm records at once, without waiting for the failing batches of others."""
        await self._confirm(records, await self._buffer(records))

    async def _confirm(self, records: Sequence[Outgoing], sent: Sequence[Sent | None]) -> None:
        blocking = False
        deadline_s = asyncio.get_running_loop().time() + self._timeout_s
        try:
            for record, buffered in zip(records, sent, strict=True):
                if buffered is not None and await self._acknowledged(record, buffered, deadline_s):
                    continue
                if not blocking:
                    blocking = True
                    self._block(1)
                await self._until_confirmed(record, None if buffered is None else buffered.generation)
        finally:
            if blocking:
                self._block(-1)

    async def _acknowledged(self, record: Outgoing, sent: Sent, deadline_s: float) -> bool:
        """Return True when the broker acknowledged a record by the deadline; False when its producer gave up on it."""
        pending = asyncio.ensure_future(sent.acknowledgement)
        try:
            if not pending.done():  # most records sent together are acknowledged with the first
                async with asyncio.timeout_at(deadline_s):
                    # Shielded: the timeout must not cancel a record that may still be delivered.
                    await asyncio.shield(pending)
            pending.result()
        except (KafkaError, TimeoutError) as error:
            self._log_failure(record, error)
            return False
        return True

    def _block(self, batches: int) -> None:
        self._blocked += batches
        if self._blocked:
            self._healthy.clear()
        else:
            self._healthy.set()

    async def _until_confirmed(self, record: Outgoing, given_up_by: int | None) -> None:
        self.waiting += 1
        self._on_degraded(True)
        try:
            while True:
                if given_up_by is None or given_up_by == self._generation:
                    # No pause for records of a producer that was replaced meanwhile: its successor may be healthy.
                    await asyncio.sleep(self._retry_s)
                try:
                    if given_up_by is not None:
                        await self._replace(given_up_by)
                    sent = Sent(await self._send(record), self._generation)
                except (KafkaError, ProducerSendError, OSError) as error:
                    self._log_failure(record, error)
                    continue
                given_up_by = sent.generation
                if await self._acknowledged(record, sent, asyncio.get_running_loop().time() + self._timeout_s):
                    return
        finally:
            self.waiting -= 1
            self._on_degraded(self.waiting > 0)

    async def _replace(self, given_up_by: int) -> None:
        """Replace the producer that gave up on a record, unless it has been replaced already."""
        if given_up_by == self._generation:
            await self._renew()
            self._generation += 1

    def _log_failure(self, record: Outgoing, error: Exception) -> None:
        cause = error.__cause__ if isinstance(error, ProducerSendError) else error
        log.warning(
            "publish-failed",
            **_ids(record),
            error=repr(cause),
            then=f"retried in {self._retry_s} s; no record is dropped",
        )


def _ids(record: Outgoing) -> dict[str, str]:
    """Return the log fields that identify a record: topic, key (usually the line), and the id of an event."""
    event = next((value for name, value in record.headers if name == "ce_id"), None)
    # The key of a dead letter may be any bytes that its sender chose.
    found = {"topic": record.topic, "key": ascii((record.key or b"")[:KEY_BYTES].decode("utf-8", "replace"))[1:-1]}
    return found if event is None else {**found, "event_id": event.decode("ascii", "replace")}
