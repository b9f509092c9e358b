"""The live shadow: a candidate that judges the windows which the model in use has judged, and is only compared.

It never delays the champion's answer and never publishes faults. What it costs is bounded: one call at a time on a
thread of its own, and none while the worker has windows waiting; what it misses is counted as skipped. Its failures
are counted, and that is all they do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import structlog
from numpy.typing import NDArray

from model.spec import SignalSpec
from stream.detection.classify import ClosableClassifier, answered, window_classes
from stream.detection.decode import LineWindows
from stream.kafka.publisher import Outgoing
from stream.worker.metrics import WorkerMetrics
from stream.worker.micro_batch import MicroBatch

log = structlog.get_logger(__name__)


class Shadow:
    """Runs a candidate beside the model in use.

    Args:
        spec: of the windows.
        metrics: where same, different, skipped and failed windows are counted.
        topic: where the candidate's classes go, marked as shadow; None leaves them unpublished.
        publish: sends records and returns when the broker has confirmed them, or raises.
    """

    def __init__(
        self,
        spec: SignalSpec,
        metrics: WorkerMetrics,
        *,
        topic: str | None,
        publish: Callable[[Sequence[Outgoing]], Awaitable[None]],
    ) -> None:
        self._spec = spec
        self._metrics = metrics
        self._topic = topic
        self._publish = publish
        self._engine: ClosableClassifier | None = None
        self._busy: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="shadow")

    @property
    def model_id(self) -> str | None:
        """Of the candidate; None when there is none."""
        return None if self._engine is None else self._engine.model_id

    def use(self, engine: ClosableClassifier | None) -> None:
        """Run another candidate, or none, from the next micro-batch on; the former is closed after its last one."""
        former, self._engine = self._engine, engine
        if former is not None:
            self._metrics.shadow.remove(former.model_id, self._spec.name)
        if engine is not None:
            self._metrics.shadow.labels(engine.model_id, self._spec.name).set(1)
        if former is None:
            return
        if self._busy is not None and not self._busy.done():
            # Nobody waits: its answers may hang on a topic that cannot be written.
            self._busy.add_done_callback(lambda _: former.close())
        else:
            former.close()

    def offer(
        self, batch: MicroBatch, windows: NDArray[np.float32], answer: NDArray[np.float32], *, behind: bool
    ) -> None:
        """Have the candidate judge a micro-batch, unless it is at the last one still or the worker is ``behind``.

        Args:
            batch: decoded and classified.
            windows: float32 (n, samples, channels), all of the batch.
            answer: float32 (n, classes), the model in use's.
            behind: whether windows wait.
        """
        if self._engine is None:
            return
        if behind or (self._busy is not None and not self._busy.done()):
            self._metrics.shadow_windows.labels("skipped").inc(len(windows))
            return
        records = [(part.records, len(part.windows)) for part in batch.decoded]
        self._busy = asyncio.create_task(self._judge(self._engine, records, windows, answer), name="shadow")

    async def _judge(
        self,
        engine: ClosableClassifier,
        records: Sequence[tuple[Sequence[LineWindows], int]],
        windows: NDArray[np.float32],
        answer: NDArray[np.float32],
    ) -> None:
        loop = asyncio.get_running_loop()
        try:
            own, _ = await loop.run_in_executor(self._thread, answered, engine, windows, self._spec.none_index)
            differ = own.argmax(axis=1) != answer.argmax(axis=1)
            if self._topic is not None:
                await self._publish(self._classes(engine.model_id, records, own))
        except Exception as error:
            # Whatever it is, it is the candidate's: the champion's batch is not touched by it.
            self._metrics.shadow_windows.labels("failed").inc(len(windows))
            log.warning("shadow-failed", model_id=engine.model_id, error=repr(error), then="the model in use goes on")
            return
        self._metrics.shadow_windows.labels("different").inc(int(differ.sum()))
        self._metrics.shadow_windows.labels("same").inc(int((~differ).sum()))

    def _classes(
        self, model_id: str, records: Sequence[tuple[Sequence[LineWindows], int]], answer: NDArray[np.float32]
    ) -> list[Outgoing]:
        assert self._topic is not None
        classes = answer.argmax(axis=1)
        outgoing: list[Outgoing] = []
        start = 0
        for entries, count in records:
            for entry in entries:
                span = slice(start + entry.first, start + entry.first + entry.count)
                outgoing += window_classes(
                    entry, self._spec, model_id, classes[span], answer[span], self._topic, shadow=True
                )
            start += count
        return outgoing

    async def close(self) -> None:
        """End the candidate and its thread."""
        self.use(None)
        if self._busy is not None:
            self._busy.cancel()
            await asyncio.wait([self._busy])
        self._thread.shutdown(wait=True)
