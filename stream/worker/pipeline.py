"""The way of a micro-batch: decode → classify → judge → publish → confirm → acknowledge. One direction, no way back.

Five stages run at once on successive micro-batches, each in order, so that the fetch, decoding, the engine and the
broker's answers overlap. The last two acknowledge, in this order and in no other:

1. the events (and the classes of every window, where switched on) are confirmed by the broker;
2. the dead letters are confirmed;
3. the changed line states are written and confirmed;
4. only then the batch is finished, and its offsets may be committed.

Nobody waits for 3 and 4 but the next commit: micro-batches gather before them, and of a line that changed in several
the last state alone is written. A crash in between repeats work under the same event ids and never loses any.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, suppress
from itertools import chain
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray

from stream.dead_letters.publish import dead_letter
from stream.detection.classify import Classifier, answered
from stream.detection.episodes import EpisodeTracker
from stream.kafka.publisher import Outgoing, Publisher
from stream.settings import Settings
from stream.telemetry.tracing import Tracing
from stream.worker.batcher import Gathering
from stream.worker.metrics import WorkerMetrics
from stream.worker.micro_batch import MicroBatch, count, tell
from stream.worker.offsets import FetchedBatch
from stream.worker.shadow import Shadow
from stream.worker.state_store import LineStates
from stream.worker.tracking import Judge

log = structlog.get_logger(__name__)

QUEUED_MICRO_BATCHES = 2
"""Between stages: enough to overlap, little enough that memory and a revocation's wait stay short."""
PUBLISHED_MICRO_BATCHES = 8
"""Waiting for the broker's acknowledgement: small ones under light load, whose events must not wait behind it."""
CONFIRMED_MICRO_BATCHES = 32
"""Gathering for their line states: a bound of memory should the broker not take these."""
ACKNOWLEDGING_PART = 0.25
"""Of the interval of commits; for so long confirmed micro-batches gather."""
AT_ONCE_WINDOWS = 64
"""So few are classified in the event loop: a millisecond or two, less than it takes to change threads twice."""


class Pipeline:
    """Runs the five stages.

    Args:
        engine: the model in use; ``swap`` changes it between two micro-batches.
        tracker: turns classes into episodes.
        publisher: confirmed publishing of events and window classes.
        dead_letters: the same on a producer of its own, whose trouble is not the events' trouble.
        state_publisher: the same for line states, behind which no event shall wait.
        states: per-line state of the assigned partitions.
        knows: whether a batch still belongs to the present assignment.
        finish: acknowledges a batch.
        shadow: a candidate that judges what the model in use has judged; nothing waits for it.
        tracing: makes spans; none without.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        engine: Classifier,
        tracker: EpisodeTracker,
        publisher: Publisher,
        dead_letters: Publisher,
        state_publisher: Publisher,
        states: LineStates,
        knows: Callable[[FetchedBatch], bool],
        finish: Callable[[FetchedBatch], bool],
        metrics: WorkerMetrics,
        shadow: Shadow | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        self._settings = settings
        self._engine = engine
        self._judge = Judge(settings, tracker)
        self._spec = tracker.spec
        self._publisher = publisher
        self._dead_letters = dead_letters
        self._state_publisher = state_publisher
        self._states = states
        self._knows = knows
        self._finish = finish
        self._metrics = metrics
        self._shadow = shadow
        self._between = asyncio.Event()
        """No engine is at work."""
        self._between.set()
        self._gathering = Gathering(settings, self._spec, tracing)
        self._classified: asyncio.Queue[MicroBatch] = asyncio.Queue(QUEUED_MICRO_BATCHES)
        self._published: asyncio.Queue[MicroBatch] = asyncio.Queue(PUBLISHED_MICRO_BATCHES)
        self._confirmed: asyncio.Queue[MicroBatch] = asyncio.Queue(CONFIRMED_MICRO_BATCHES)
        self._hurry = asyncio.Event()
        """What is confirmed is to be acknowledged at once."""
        self._draining = 0
        self._begun = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._tasks: list[asyncio.Task[None]] = []
        self.failure: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        """Set with the cause when a stage failed; nothing is acknowledged after it."""
        self.progress = 0
        """Batches that went through, for the watchdog."""

    def start(self) -> None:
        """Start the stages."""
        stages = (
            self._gathering.run,
            self._classify_stage,
            self._judge_stage,
            self._confirm_stage,
            self._acknowledge_stage,
        )
        for stage in stages:
            task = asyncio.create_task(self._guarded(stage), name=stage.__name__)
            self._tasks.append(task)

    async def stop(self) -> None:
        """End the stages at once; call ``drain`` before to finish what is begun."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def swap(self, engine: Classifier) -> None:
        """Use another model from the next micro-batch on; the former may be at its last one, see ``rested``."""
        self._engine = engine

    async def rested(self) -> None:
        """Return when no engine is at work: one that was swapped out before has then given its last answer."""
        await self._between.wait()

    async def submit(self, batch: FetchedBatch) -> None:
        """Take a fetched batch; waits while the stages are busy. Returns before the batch is finished."""
        if self.failure.done():
            raise RuntimeError("the pipeline has failed") from self.failure.result()
        self._begun += 1
        self._idle.clear()
        try:
            await self._gathering.put(batch)
        except BaseException:
            self._end(1)
            raise

    def _end(self, batches: int) -> None:
        self._begun -= batches
        if self._begun == 0:
            self._idle.set()

    async def drain(self) -> None:
        """Return when everything begun is finished, or the pipeline has failed."""
        idle = asyncio.ensure_future(self._idle.wait())
        either: set[asyncio.Future[Any]] = {idle, self.failure}
        self._draining += 1
        self._hurry.set()
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._draining -= 1
            if not self._draining:
                self._hurry.clear()
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

    # Stage 1 is gathering.Gathering. Stage 2: classify ------------------------------------------------------------

    async def _classify_stage(self) -> None:
        while True:
            batch = await self._gathering.take()
            await self._classify(batch)
            await self._classified.put(batch)

    async def _classify(self, batch: MicroBatch) -> None:
        # One model for the whole micro-batch, whatever is swapped in meanwhile.
        engine = self._engine
        batch.model_id = engine.model_id
        self._metrics.batch_windows.observe(batch.windows)
        if not batch.windows:
            empty = np.empty((0, len(self._spec.classes)), np.float32)
            batch.probabilities = [empty for _ in batch.decoded]
            return
        blocks = [decoded.windows for decoded in batch.decoded]
        began_s = time.monotonic()
        self._between.clear()
        try:
            with batch.stage("classify"):
                given = engine, blocks, self._spec.none_index
                if batch.windows <= AT_ONCE_WINDOWS:
                    windows, answer, outcomes = _answered(*given)
                else:
                    loop = asyncio.get_running_loop()
                    windows, answer, outcomes = await loop.run_in_executor(None, _answered, *given)
        finally:
            self._between.set()
        ended_s = time.monotonic()
        self._gathering.worked(began_s, ended_s)
        self._metrics.inference_seconds.observe(ended_s - began_s)
        batch.outcomes += outcomes
        if outcomes["unanswered"]:
            log.warning("answers-not-finite", windows=outcomes["unanswered"], model_id=batch.model_id, then="no fault")
        batch.probabilities = np.split(answer, np.cumsum([len(part) for part in blocks])[:-1])
        if self._shadow is not None:
            self._shadow.offer(batch, windows, answer, behind=self._gathering.waiting)

    # Stage 3: judge and publish -----------------------------------------------------------------------------------

    async def _judge_stage(self) -> None:
        while True:
            batch = await self._classified.get()
            for fetched, decoded, probabilities in zip(batch.fetched, batch.decoded, batch.probabilities, strict=True):
                if not self._knows(fetched):
                    continue
                states = await self._states.of(fetched.partition)
                # The partition may have gone while its states were read.
                if self._knows(fetched):
                    self._judge.judge(batch, states, fetched, decoded, probabilities)
            with batch.stage("publish"):
                batch.sent = await self._publisher.send(batch.outgoing)
            await self._published.put(batch)

    # Stage 4: confirm ---------------------------------------------------------------------------------------------

    async def _confirm_stage(self) -> None:
        while True:
            batch = await self._published.get()
            with batch.stage("publish"):
                # 1.: events and classes.
                await self._publisher.confirm(batch.outgoing, batch.sent)
                # 2.: dead letters.
                dead = [dead_letter(dead, self._settings.topic_dead_letters) for dead in batch.dead]
                await self._dead_letters.publish(dead)
            tell(batch, self._metrics)
            # Nothing asks for its windows any more.
            batch.decoded, batch.probabilities = [], []
            if self._confirmed.full():
                self._hurry.set()
            await self._confirmed.put(batch)

    # Stage 5: acknowledge -----------------------------------------------------------------------------------------

    async def _acknowledge_stage(self) -> None:
        while True:
            batches = [await self._confirmed.get()]
            with suppress(TimeoutError):
                async with asyncio.timeout(ACKNOWLEDGING_PART * self._settings.commit_interval_s):
                    await self._hurry.wait()
            if not self._draining:
                self._hurry.clear()
            while not self._confirmed.empty():
                batches.append(self._confirmed.get_nowait())
            await self._acknowledge(batches)

    async def _acknowledge(self, batches: list[MicroBatch]) -> None:
        with ExitStack() as stages:
            for batch in batches:
                stages.enter_context(batch.stage("commit"))
            # 3.: line states, only of partitions that are still ours: another worker may own the rest by now.
            owned = chain.from_iterable(self._owned_states(batch) for batch in batches)
            states = {(state.partition, state.key): state for state in owned}
            await self._state_publisher.publish(list(states.values()))
            # 4.
            records = [sum(len(one.records) for one in batch.fetched if self._finish(one)) for batch in batches]
        self._metrics.states_written.inc(len(states))
        for batch, acknowledged in zip(batches, records, strict=True):
            count(batch, self._metrics, records=acknowledged)
            self.progress += 1
            self._end(len(batch.fetched))
        self._metrics.lines.set(self._states.count())

    def _owned_states(self, batch: MicroBatch) -> list[Outgoing]:
        owned = {fetched.partition.partition for fetched in batch.fetched if self._knows(fetched)}
        return [record for record in batch.states if record.partition in owned]


def _answered(
    engine: Classifier, blocks: list[NDArray[np.float32]], none_index: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], Counter[str]]:
    """All windows as one block, and what ``answered`` says of them."""
    windows = blocks[0] if len(blocks) == 1 else np.concatenate(blocks)
    return windows, *answered(engine, windows, none_index)
