"""Publishing that is confirmed: nothing counts as sent before the broker has said so, and nothing is dropped."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import structlog
from aiokafka.errors import KafkaError
from faust.exceptions import ProducerSendError

log = structlog.get_logger(__name__)

KEY_BYTES = 255
"""Of a record's key in a log line: as long as a line's id may be."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One record to publish. ``partition`` None leaves the choice to the key."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]
    partition: int | None = None


class Producer(Protocol):
    """What is needed of a producer: Faust's, or aiokafka's behind the same signature."""

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
    """A buffered record: the acknowledgement to come, and which producer in succession took it."""

    answer: Awaitable[Any]
    succession: int


async def _no_other() -> None:
    """Go on with the producer there is."""


class Publisher:
    """Sends records in order and waits until the broker has acknowledged each; what fails is tried again for ever.

    An idempotent producer keeps the order per partition through its own retries. What it gives up — no such topic,
    no right to write, a broker away too long — is sent again here after a pause, while the worker is not ready.
    aiokafka counts a record that it gave up as sent, after which the broker refuses every later one of that
    partition (OutOfOrderSequenceNumber): a producer that gave up a record is therefore replaced. What both of them
    deliver has one id.

    Args:
        producer: called lazily, since Faust makes its producer at start.
        retry_s: pause before another try.
        timeout_s: idempotent records never expire; after this long without an answer one counts as given up.
        renew: replaces the producer by a new one; may fail, is then tried again.
        on_degraded: told True when a publish begins to fail and False when it went through again.
    """

    def __init__(
        self,
        producer: Callable[[], Producer],
        *,
        retry_s: float,
        timeout_s: float = 60.0,
        renew: Callable[[], Awaitable[None]] = _no_other,
        on_degraded: Callable[[bool], None] = lambda _: None,
    ) -> None:
        self._producer = producer
        self._retry_s = retry_s
        self._timeout_s = timeout_s
        self._renew = renew
        self._succession = 0
        self._on_degraded = on_degraded
        self.waiting = 0
        """Publishes that are failing at the moment; the watchdog lets such a worker wait."""
        self._blocked = 0
        """Batches of which some record is to be sent again: later ones must not overtake it."""
        self._healthy = asyncio.Event()
        self._healthy.set()

    async def send(self, records: Sequence[Outgoing]) -> list[Sent | None]:
        """Buffer records in order; pass what is returned to ``confirm``. None marks a record to be sent again.

        While a record of an earlier batch is still to be sent again, nothing of later batches overtakes it.
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
                # Keep the order: nothing overtakes a record that could not even be buffered.
                sent.append(None)
                continue
            try:
                sent.append(Sent(await self._send(record), self._succession))
            except (KafkaError, ProducerSendError) as error:
                log.warning("publish-not-buffered", **_ids(record), error=repr(error))
                sent.append(None)
        return sent

    def _send(self, record: Outgoing) -> Awaitable[Awaitable[Any]]:
        return self._producer().send(record.topic, record.key, record.value, record.partition, None, record.headers)

    async def confirm(self, records: Sequence[Outgoing], sent: Sequence[Sent | None]) -> None:
        """Return when the broker has confirmed every record; failed ones are sent again, in order, until it has."""
        await self._confirm(records, sent)
        if None in sent:
            self._block(-1)

    async def publish(self, records: Sequence[Outgoing]) -> None:
        """``send`` and ``confirm`` in one, not held back by the trouble of others."""
        await self._confirm(records, await self._buffer(records))

    async def _confirm(self, records: Sequence[Outgoing], sent: Sequence[Sent | None]) -> None:
        blocked = False
        deadline_s = asyncio.get_running_loop().time() + self._timeout_s
        try:
            for record, buffered in zip(records, sent, strict=True):
                if buffered is not None and await self._answered(record, buffered, deadline_s):
                    continue
                if not blocked:
                    blocked = True
                    self._block(1)
                await self._until_confirmed(record, None if buffered is None else buffered.succession)
        finally:
            if blocked:
                self._block(-1)

    async def _answered(self, record: Outgoing, sent: Sent, deadline_s: float) -> bool:
        """Whether the broker confirmed a record by the deadline; False when its producer gave it up."""
        answer = asyncio.ensure_future(sent.answer)
        try:
            if not answer.done():  # of records that go together most have their answer once the first has
                async with asyncio.timeout_at(deadline_s):
                    # Shielded: giving up waiting must not cancel what may yet be delivered.
                    await asyncio.shield(answer)
            answer.result()
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
                if given_up_by is None or given_up_by == self._succession:
                    # Not for records of a producer that was replaced meanwhile: its successor may be well.
                    await asyncio.sleep(self._retry_s)
                try:
                    if given_up_by is not None:
                        await self._replace(given_up_by)
                    sent = Sent(await self._send(record), self._succession)
                except (KafkaError, ProducerSendError, OSError) as error:
                    self._log_failure(record, error)
                    continue
                given_up_by = sent.succession
                if await self._answered(record, sent, asyncio.get_running_loop().time() + self._timeout_s):
                    return
        finally:
            self.waiting -= 1
            self._on_degraded(self.waiting > 0)

    async def _replace(self, given_up_by: int) -> None:
        """Replace the producer that gave up a record, unless that has been done."""
        if given_up_by == self._succession:
            await self._renew()
            self._succession += 1

    def _log_failure(self, record: Outgoing, error: Exception) -> None:
        cause = error.__cause__ if isinstance(error, ProducerSendError) else error
        log.warning(
            "publish-failed",
            **_ids(record),
            error=repr(cause),
            then=f"tried again in {self._retry_s} s; nothing is dropped",
        )


def _ids(record: Outgoing) -> dict[str, str]:
    """What finds a record again: topic, key (mostly the line), and of an event its id."""
    event = next((value for name, value in record.headers if name == "ce_id"), None)
    # A dead letter's key is whatever its sender made of it.
    found = {"topic": record.topic, "key": ascii((record.key or b"")[:KEY_BYTES].decode("utf-8", "replace"))[1:-1]}
    return found if event is None else {**found, "event_id": event.decode("ascii", "replace")}
