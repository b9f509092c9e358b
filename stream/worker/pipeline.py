"""Run the pipeline of a micro-batch: decode → classify → track → publish → confirm → acknowledge.

Five stages run concurrently on successive micro-batches, each stage in order, so that fetching, decoding, the engine
and the broker's acknowledgements overlap. The last two stages confirm and acknowledge in exactly this order:

1. the broker confirms the events (and the classes of every window, if switched on);
2. the broker confirms the dead letters;
3. the changed line states are written and confirmed;
4. only then is the batch acknowledged, and its offsets may be committed.

Only the next commit waits for steps 3 and 4, so confirmed micro-batches are coalesced before them: if a line changed in
several of them, only its last state is written. A crash in between repeats work under the same event ids and
loses no event.

The classify stage puts windows in order and advances the model's memories, while the batch before is still being
tracked. Each classified batch therefore carries the memories after it, and the state written for a batch never contains
those of a later one. A model that is to replace the one in use follows each batch after it has been classified, see
``stream.worker.succession``.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from stream.contract import Outgoing
from stream.dead_letters.publish import dead_letter
from stream.detection.classify import Classifier
from stream.detection.decode import DecodedBatch
from stream.detection.episodes import EpisodeTracker
from stream.detection.following import Followed
from stream.kafka.producing.publisher import Publisher
from stream.settings import Settings
from stream.telemetry.tracing import Tracing
from stream.worker.batcher import MicroBatcher
from stream.worker.metrics import WorkerMetrics
from stream.worker.micro_batch import (
    ClassifiedBatch,
    ClassifiedPart,
    MicroBatch,
    PublishedBatch,
    TrackedBatch,
    record_acknowledged,
    record_published,
    stage_span,
)
from stream.worker.offsets import FetchedBatch
from stream.worker.shadow import Shadow
from stream.worker.state_store import LineStates, PartitionStates, UnwrittenStates, state_records
from stream.worker.succession import OnSwapEnd, Succession, SwapEnd
from stream.worker.tracking import WindowTracker

log = structlog.get_logger(__name__)

QUEUED_MICRO_BATCHES = 2
"""Queue size between stages, large enough for the stages to overlap, small enough for memory and a revocation."""
PUBLISHED_MICRO_BATCHES = 8
"""Number of micro-batches that may await acknowledgement. Under light load they are small; no event must wait."""
CONFIRMED_WINDOWS = 65_536
"""Windows of the micro-batches coalesced before line states are written. It limits memory, since records and memories
are kept until then: 50 MB of ``line`` windows with one window per record, and 25 MB of memories."""
ACKNOWLEDGE_FRACTION = 0.25
"""Fraction of the commit interval for which confirmed micro-batches are coalesced, if the model has no memory."""
INLINE_WINDOWS = 64
"""Largest number of windows classified in the event loop: this takes 1 or 2 ms, less than two thread switches."""


def _ignore(_: SwapEnd) -> None:
    """Do nothing."""


class Ledger(Protocol):
    """Part of ``OffsetLedger`` that the pipeline uses."""

    def is_current(self, batch: FetchedBatch) -> bool:
        """Return True if the batch belongs to the current assignment."""

    def acknowledge(self, batch: FetchedBatch) -> bool:
        """Acknowledge a batch; return False if that has no effect."""


@dataclass(frozen=True, slots=True)
class Publishers:
    """Publishers for three kinds of topics, each with its own producer, so that failures of one topic delay no other.

    Attributes:
        events: publishes events and window classes.
        dead_letters: publishes dead letters.
        line_states: publishes line states; no event waits behind them.
    """

    events: Publisher
    dead_letters: Publisher
    line_states: Publisher

    @property
    def waiting(self) -> int:
        """Return the number of publishes that are being retried."""
        return self.events.waiting + self.dead_letters.waiting + self.line_states.waiting


class Pipeline:
    """Pipeline of five stages.

    Args:
        settings: batch sizes, topics and intervals.
        engine: the first model; ``swap`` replaces it between two micro-batches.
        tracker: turns classes into episodes.
        publishers: publishers of events, dead letters and line states.
        states: states of the lines of the assigned partitions.
        ledger: records which batches are current and acknowledged.
        metrics: metrics of the worker.
        shadow: candidate that classifies the same windows; no stage waits for it.
        tracing: creates spans; None disables them.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        engine: Classifier,
        tracker: EpisodeTracker,
        publishers: Publishers,
        states: LineStates,
        ledger: Ledger,
        metrics: WorkerMetrics,
        shadow: Shadow | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        self._settings = settings
        self._spec = tracker.spec
        self._succession = Succession(engine, self._spec.none_index, len(self._spec.classes))
        self._tracker = WindowTracker(settings, tracker)
        self._publishers = publishers
        self._states = states
        self._ledger = ledger
        self._metrics = metrics
        self._shadow = shadow
        self._engine_idle = asyncio.Event()
        self._engine_idle.set()
        self._batcher = MicroBatcher(settings, self._spec, tracing)
        self._classified: asyncio.Queue[ClassifiedBatch] = asyncio.Queue(QUEUED_MICRO_BATCHES)
        self._published: asyncio.Queue[PublishedBatch] = asyncio.Queue(PUBLISHED_MICRO_BATCHES)
        self._confirmed: asyncio.Queue[TrackedBatch] = asyncio.Queue()
        self._confirmed_windows = 0
        """Windows and records in ``_confirmed`` and in the batches that are being acknowledged."""
        self._room = asyncio.Event()
        self._room.set()
        self._flush = asyncio.Event()
        """Set to acknowledge confirmed micro-batches at once."""
        self._drains = 0
        self._in_flight = 0
        """Number of fetched batches in the pipeline."""
        self._idle = asyncio.Event()
        self._idle.set()
        self._tasks: list[asyncio.Task[None]] = []
        self.failure: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        """Set with the cause when a stage has failed; nothing is acknowledged afterwards."""
        self.progress = 0
        """Number of micro-batches that left the pipeline, for the watchdog."""

    def start(self) -> None:
        """Start the stages."""
        stages = (
            self._batcher.run,
            self._classify_stage,
            self._track_stage,
            self._confirm_stage,
            self._acknowledge_stage,
        )
        for stage in stages:
            task = asyncio.create_task(self._guarded(stage), name=stage.__name__)
            self._tasks.append(task)

    async def stop(self) -> None:
        """Cancel the stages; call ``drain`` first to complete the batches in flight."""
        self._succession.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def swap(self, engine: Classifier, on_end: OnSwapEnd = _ignore) -> bool:
        """Let another engine take over between two micro-batches; return True if it does so at once.

        An engine with a memory follows the windows beside the one in use until it is warm, see ``Succession.swap``. An
        engine that is replaced or dropped may still be busy, see ``engine_idle``.

        Args:
            engine: the successor of the engine in use; it replaces a successor that has not yet taken over.
            on_end: called when the successor takes over or is dropped, possibly before this method returns.
        """
        return self._succession.swap(engine, on_end)

    @property
    def model_id(self) -> str:
        """Return the id of the model in use."""
        return self._succession.engine.model_id

    def keep(self) -> None:
        """Keep the engine in use, and drop a successor that has not yet taken over."""
        self._succession.keep()

    async def engine_idle(self) -> None:
        """Return when no engine is busy, so that an engine replaced or dropped before can be closed."""
        await self._engine_idle.wait()

    async def submit(self, batch: FetchedBatch) -> None:
        """Accept a fetched batch; wait while the stages are busy. Return before the batch is acknowledged."""
        if self.failure.done():
            raise RuntimeError("the pipeline has failed") from self.failure.result()
        self._in_flight += 1
        self._idle.clear()
        try:
            await self._batcher.put(batch)
        except BaseException:
            self._leave(1)
            raise

    def _leave(self, batches: int) -> None:
        self._in_flight -= batches
        if self._in_flight == 0:
            self._idle.set()

    async def drain(self) -> None:
        """Return when no batch is in flight or the pipeline has failed."""
        idle = asyncio.ensure_future(self._idle.wait())
        either: set[asyncio.Future[Any]] = {idle, self.failure}
        self._drains += 1
        self._flush.set()
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._drains -= 1
            if not self._drains:
                self._flush.clear()
            idle.cancel()

    async def _guarded(self, stage: Callable[[], Awaitable[None]]) -> None:
        try:
            await stage()
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            log.error("pipeline-failed", stage=stage.__name__, error=repr(error), exc_info=error)
            if not self.failure.done():
                self.failure.set_result(error)

    # Stage 1 is MicroBatcher.run. Stage 2: classify ---------------------------------------------------------------

    async def _classify_stage(self) -> None:
        while True:
            # No local variable, since it would keep the windows of a batch while the stage waits for the next one.
            await self._classify_and_hand_on(await self._batcher.take())

    async def _classify_and_hand_on(self, batch: MicroBatch) -> None:
        classified = await self._classify(batch)
        # Its events need not wait until a successor has followed the batch.
        await self._classified.put(classified)
        began_s = time.monotonic()
        self._engine_idle.clear()
        try:
            if await self._succession.end_batch(classified.parts):
                self._batcher.record_call(began_s, time.monotonic())
        finally:
            self._engine_idle.set()

    async def _classify(self, batch: MicroBatch) -> ClassifiedBatch:
        self._metrics.batch_windows.observe(batch.windows)
        ready = await self._restored(batch)
        # One model for the whole micro-batch, even if another is swapped in meanwhile.
        following = self._succession.begin_batch(self._states.assignment)
        model_id = following.engine.model_id
        if not ready:
            return ClassifiedBatch(batch, model_id, [], Counter())
        ordered = [states.positions.order(decoded, states.lines) for _, decoded, states in ready]
        call = following.begin([decoded for _, decoded, _ in ready], ordered)
        windows = sum(one.new for one in ordered)
        began_s = time.monotonic()
        self._engine_idle.clear()
        try:
            with stage_span(batch.trace, "classify"):
                if windows <= INLINE_WINDOWS:
                    followed = call.compute()
                else:
                    followed = await asyncio.get_running_loop().run_in_executor(None, call.compute)
        finally:
            self._engine_idle.set()
        following.end(call)
        self._record_call(followed, model_id, began_s, windows)
        parts = [
            ClassifiedPart(*one, order, probabilities, memories)
            for one, order, probabilities, memories in zip(
                ready, ordered, followed.probabilities, followed.memories, strict=True
            )
        ]
        if self._shadow is not None and windows:
            self._shadow.offer(parts, behind=self._batcher.has_backlog)
        return ClassifiedBatch(batch, model_id, parts, followed.outcomes)

    async def _restored(self, batch: MicroBatch) -> list[tuple[FetchedBatch, DecodedBatch, PartitionStates]]:
        """Return the batches that still belong to this worker, with their restored states."""
        for fetched in batch.fetched:
            if self._ledger.is_current(fetched):
                await self._states.of(fetched.partition)
        # A partition may have been revoked while states were read; nothing is awaited from here to the order.
        return [
            (fetched, decoded, states)
            for fetched, decoded in zip(batch.fetched, batch.decoded, strict=True)
            if self._ledger.is_current(fetched) and (states := self._states.known(fetched.partition)) is not None
        ]

    def _record_call(self, followed: Followed, model_id: str, began_s: float, windows: int) -> None:
        if not windows:
            return
        ended_s = time.monotonic()
        self._batcher.record_call(began_s, ended_s)
        self._metrics.inference_seconds.observe(ended_s - began_s)
        if followed.outcomes["unanswered"]:
            log.warning(
                "probabilities-not-finite",
                windows=followed.outcomes["unanswered"],
                model_id=model_id,
                then="these windows count as no fault",
            )

    # Stage 3: track and publish -----------------------------------------------------------------------------------

    async def _track_stage(self) -> None:
        while True:
            batch = self._track(await self._classified.get())
            with stage_span(batch.trace, "publish"):
                sent = await self._publishers.events.send(batch.outgoing)
            await self._published.put(PublishedBatch(batch, sent))

    def _track(self, classified: ClassifiedBatch) -> TrackedBatch:
        batch = classified.batch
        tracked = TrackedBatch(batch.fetched, classified.model_id, classified.outcomes, batch.trace)
        for part in classified.parts:
            if self._ledger.is_current(part.fetched):
                self._tracker.process(tracked, part)
        return tracked

    # Stage 4: confirm ---------------------------------------------------------------------------------------------

    async def _confirm_stage(self) -> None:
        while True:
            batch = await self._confirm(await self._published.get())
            self._confirmed_windows += _size(batch)
            self._confirmed.put_nowait(batch)
            if self._confirmed_windows >= CONFIRMED_WINDOWS:
                self._room.clear()
                self._flush.set()
                await self._room.wait()

    async def _confirm(self, published: PublishedBatch) -> TrackedBatch:
        batch = published.batch
        with stage_span(batch.trace, "publish"):
            # Step 1: events and classes.
            await self._publishers.events.confirm(batch.outgoing, published.sent)
            # Step 2: dead letters.
            dead = [dead_letter(dead, self._settings.topic_dead_letters) for dead in batch.dead]
            await self._publishers.dead_letters.publish(dead)
        record_published(batch, self._metrics)
        return batch

    # Stage 5: acknowledge -----------------------------------------------------------------------------------------

    async def _acknowledge_stage(self) -> None:
        while True:
            batches = [await self._confirmed.get()]
            # With a memory every active line is written, so once per commit is enough.
            fraction = 1.0 if self._succession.engine.memory_units else ACKNOWLEDGE_FRACTION
            with suppress(TimeoutError):
                async with asyncio.timeout(fraction * self._settings.commit_interval_s):
                    await self._flush.wait()
            if not self._drains:
                self._flush.clear()
            while not self._confirmed.empty():
                batches.append(self._confirmed.get_nowait())
            await self._acknowledge(batches)
            self._confirmed_windows -= sum(_size(batch) for batch in batches)
            self._room.set()

    async def _acknowledge(self, batches: Sequence[TrackedBatch]) -> None:
        with ExitStack() as spans:
            for batch in batches:
                spans.enter_context(stage_span(batch.trace, "commit"))
            # Step 3: line states, only of partitions still assigned to this worker; another may own the rest by now.
            states = self._owned_states(batches)
            await self._publishers.line_states.publish(states)
            # Step 4: acknowledgement.
            acknowledge = self._ledger.acknowledge
            records = [sum(len(one.records) for one in batch.fetched if acknowledge(one)) for batch in batches]
        self._metrics.states_written.inc(len(states))
        for batch, acknowledged in zip(batches, records, strict=True):
            record_acknowledged(batch, self._metrics, records=acknowledged)
            self.progress += 1
            self._leave(len(batch.fetched))
        self._metrics.lines.set(self._states.count())

    def _owned_states(self, batches: Sequence[TrackedBatch]) -> list[Outgoing]:
        """Return the records of the last state of every line."""
        last: dict[int, UnwrittenStates] = {}
        for batch in batches:
            owned = {fetched.partition.partition for fetched in batch.fetched if self._ledger.is_current(fetched)}
            for partition, states in batch.states.items():
                if partition in owned:
                    last.setdefault(partition, {}).update(states)
        topic, group = self._settings.topic_line_states, self._states.group
        return [
            record for partition, states in last.items() for record in state_records(states, group, topic, partition)
        ]


def _size(batch: TrackedBatch) -> int:
    """Return the number of windows or records of a batch, whichever is larger."""
    return max(batch.windows, sum(len(fetched.records) for fetched in batch.fetched))
