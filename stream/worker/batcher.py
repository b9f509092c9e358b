"""Build micro-batches adaptively: decode and collect fetched batches while the engine classifies the previous one."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field

from model.spec import SignalSpec
from stream.detection.decode import DecodedBatch, decode_batch
from stream.settings import Settings
from stream.telemetry.tracing import BatchTrace, Tracing
from stream.worker.micro_batch import MicroBatch, stage_span
from stream.worker.offsets import FetchedBatch


@dataclass(slots=True)
class _OpenBatch:
    """Micro-batch that still accepts fetched batches."""

    trace: BatchTrace | None
    fetched: list[FetchedBatch] = field(default_factory=list)
    decoded: list[DecodedBatch] = field(default_factory=list)
    windows: int = 0
    records: int = 0

    def close(self) -> MicroBatch:
        if self.trace is not None:
            self.trace.gathered(self.decoded, waited_s=time.monotonic() - self.fetched[0].arrived_s)
        return MicroBatch(self.fetched, self.decoded, self.windows, self.trace)


class MicroBatcher:
    """Queue between the agent (``put``) and the classify stage (``take``); ``run`` is a stage of the pipeline.

    A micro-batch closes when it has enough windows, or when the engine is idle and waiting for more windows does not
    pay. Waiting pays while the engine has been idle for less time than its last call took. The engine therefore works
    at most half of the time as long as it can keep up, and the more a call costs the more windows it gets. An idle
    engine never waits beyond the deadline.
    """

    def __init__(self, settings: Settings, spec: SignalSpec, tracing: Tracing | None = None) -> None:
        self._settings = settings
        self._spec = spec
        self._tracing = tracing
        self._incoming: asyncio.Queue[FetchedBatch | None] = asyncio.Queue(maxsize=1)
        """None wakes ``run``: the engine is idle."""
        self._closed: asyncio.Queue[MicroBatch] = asyncio.Queue(maxsize=1)
        self._engine_idle = asyncio.Event()
        self._rest_until_s = 0.0
        """Monotonic time at which the engine has been idle for as long as its last call took."""
        self.has_backlog = False
        """True while fetched windows wait for the engine."""

    async def put(self, fetched: FetchedBatch) -> None:
        """Add a fetched batch; wait while a full micro-batch is ready and the engine is busy."""
        await self._incoming.put(fetched)

    async def take(self) -> MicroBatch:
        """Return the next micro-batch. Calling ``take`` signals that the engine is idle."""
        self._engine_idle.set()
        with suppress(asyncio.QueueFull):
            self._incoming.put_nowait(None)
        return await self._closed.get()

    def record_call(self, began_s: float, ended_s: float) -> None:
        """Record how long a call of the engine took; both times are of the monotonic clock."""
        self._rest_until_s = 2 * ended_s - began_s

    async def run(self) -> None:
        """Build micro-batches until cancelled."""
        while True:
            batch = await self._gather()
            await self._engine_idle.wait()
            self._engine_idle.clear()
            self.has_backlog = False
            self._closed.put_nowait(batch)

    async def _gather(self) -> MicroBatch:
        batch = _OpenBatch(None if self._tracing is None else self._tracing.batch())
        while not batch.fetched:
            self._add(batch, await self._incoming.get())
        deadline_s = batch.fetched[0].arrived_s + self._settings.batch_deadline_ms / 1000
        # Records count too: a flood of invalid records has no windows and must not fill a batch without limit.
        while max(batch.windows, batch.records) < self._settings.batch_windows:
            # Let the agent put the next batch before concluding that there is none: under load the deadline has passed.
            await asyncio.sleep(0)
            with suppress(asyncio.QueueEmpty):
                self._add(batch, self._incoming.get_nowait())
                continue
            remaining_s = self._worth_waiting_s(batch, deadline_s)
            if remaining_s is not None and remaining_s <= 0:
                break
            try:
                async with asyncio.timeout(remaining_s):
                    self._add(batch, await self._incoming.get())
            except TimeoutError:
                break
        return batch.close()

    def _worth_waiting_s(self, batch: _OpenBatch, deadline_s: float) -> float | None:
        """Return the time for which waiting for more windows pays; None (no limit) while the engine is busy."""
        if not self._engine_idle.is_set():
            return None
        # Wait for the rest of the same fetch until the deadline, for anything else only while the engine rests.
        until_s = min(deadline_s, self._rest_until_s) if batch.fetched[-1].last else deadline_s
        return until_s - time.monotonic()

    def _add(self, batch: _OpenBatch, fetched: FetchedBatch | None) -> None:
        if fetched is None:
            return
        self.has_backlog = True
        with stage_span(batch.trace, "decode"):
            decoded = decode_batch(fetched.records, self._spec, max_bytes=self._settings.max_message_bytes)
        batch.fetched.append(fetched)
        batch.decoded.append(decoded)
        batch.windows += len(decoded.windows)
        batch.records += len(fetched.records)
