"""Fetched batches → decoded micro-batches, gathered while the engine is at work on the one before."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

from model.spec import SignalSpec
from stream.detection.decode import decode_batch
from stream.settings import Settings
from stream.telemetry.tracing import Tracing
from stream.worker.micro_batch import MicroBatch
from stream.worker.offsets import FetchedBatch


class Gathering:
    """Between who fetches (``put``) and the one who classifies (``take``); ``run`` is a stage of the pipeline.

    A micro-batch closes when it has enough windows, or when the engine is free and waiting for more does not pay. It
    pays while the engine has rested for less than its last call took: so it works at most half of the time as long as
    it can keep up, and calls hold the more windows the dearer they are. A free engine never waits beyond the deadline.
    """

    def __init__(self, settings: Settings, spec: SignalSpec, tracing: Tracing | None = None) -> None:
        self._settings = settings
        self._spec = spec
        self._tracing = tracing
        self._incoming: asyncio.Queue[FetchedBatch | None] = asyncio.Queue(maxsize=1)
        """None wakes ``run``: the engine is free."""
        self._closed: asyncio.Queue[MicroBatch] = asyncio.Queue(maxsize=1)
        self._free = asyncio.Event()
        self._rested_s = 0.0
        self.waiting = False
        """Whether fetched windows wait for the engine."""

    async def put(self, fetched: FetchedBatch) -> None:
        """Hand over a fetched batch; waits while a whole micro-batch is ready for an engine that is not."""
        await self._incoming.put(fetched)

    async def take(self) -> MicroBatch:
        """The next micro-batch. Whoever asks says that the engine is free."""
        self._free.set()
        with suppress(asyncio.QueueFull):
            self._incoming.put_nowait(None)
        return await self._closed.get()

    def worked(self, began_s: float, ended_s: float) -> None:
        """Note a call of the engine, by the monotonic clock: it has rested after as long again."""
        self._rested_s = 2 * ended_s - began_s

    async def run(self) -> None:
        """Gather for ever."""
        while True:
            batch = await self._gather()
            await self._free.wait()
            self._free.clear()
            self.waiting = False
            self._closed.put_nowait(batch)

    async def _gather(self) -> MicroBatch:
        batch = MicroBatch(trace=None if self._tracing is None else self._tracing.batch())
        while not batch.fetched:
            self._add(batch, await self._incoming.get())
        deadline_s = batch.fetched[0].arrived_s + self._settings.batch_deadline_ms / 1000
        # Records count too: a flood of invalid ones has no windows and must not gather without end.
        while max(batch.windows, batch.records) < self._settings.batch_windows:
            # Let the agent put the next one before deciding that there is none: under load the deadline has passed.
            await asyncio.sleep(0)
            with suppress(asyncio.QueueEmpty):
                self._add(batch, self._incoming.get_nowait())
                continue
            remaining_s = self._pays_for_s(batch, deadline_s)
            if remaining_s is not None and remaining_s <= 0:
                break
            try:
                async with asyncio.timeout(remaining_s):
                    self._add(batch, await self._incoming.get())
            except TimeoutError:
                break
        return batch.gathered()

    def _pays_for_s(self, batch: MicroBatch, deadline_s: float) -> float | None:
        """How long waiting for more pays; None while the engine is at work, as long as that may be."""
        if not self._free.is_set():
            return None
        # What came with it is waited for; anything else while the engine rests.
        until_s = min(deadline_s, self._rested_s) if batch.fetched[-1].last else deadline_s
        return until_s - time.monotonic()

    def _add(self, batch: MicroBatch, fetched: FetchedBatch | None) -> None:
        if fetched is None:
            return
        self.waiting = True
        with batch.stage("decode"):
            decoded = decode_batch(fetched.records, self._spec, max_bytes=self._settings.max_message_bytes)
        batch.fetched.append(fetched)
        batch.decoded.append(decoded)
        batch.windows += len(decoded.windows)
        batch.records += len(fetched.records)
