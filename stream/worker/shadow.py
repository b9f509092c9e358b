"""Run a shadow: a candidate classifies the champion's windows as well, and its answers are only compared.

The shadow never delays the champion's answers and never publishes fault events. Its cost is bounded: it makes one call
at a time on its own thread, and none while the worker has windows waiting; windows left out count as skipped. Its
failures are counted and have no other effect.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import structlog
from numpy.typing import NDArray

from model.spec import SignalSpec
from stream.contract import Outgoing
from stream.detection.classify import ClosableClassifier, classify_windows, window_classes
from stream.detection.decode import DecodedBatch, LineWindows
from stream.worker.metrics import WorkerMetrics

log = structlog.get_logger(__name__)


class Shadow:
    """Candidate that classifies the same windows as the champion, for comparison only.

    Args:
        spec: signal spec of the windows.
        metrics: counts same, different, skipped and failed windows.
        topic: receives the candidate's classes, marked as shadow; None leaves them unpublished.
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
        """Return the id of the candidate; None if there is none."""
        return None if self._engine is None else self._engine.model_id

    def use(self, engine: ClosableClassifier | None) -> None:
        """Run another candidate, or none, from the next micro-batch on; close the old one after its last call."""
        old, self._engine = self._engine, engine
        if old is not None:
            self._metrics.shadow.remove(old.model_id, self._spec.name)
        if engine is not None:
            self._metrics.shadow.labels(engine.model_id, self._spec.name).set(1)
        if old is None:
            return
        if self._busy is not None and not self._busy.done():
            # Do not wait: publishing its answers may block on a topic that cannot be written.
            self._busy.add_done_callback(lambda _: old.close())
        else:
            old.close()

    def offer(
        self,
        decoded: Sequence[DecodedBatch],
        windows: NDArray[np.float32],
        probabilities: NDArray[np.float32],
        *,
        behind: bool,
    ) -> None:
        """Let the candidate classify a micro-batch, unless it is still busy or the worker is ``behind``.

        Args:
            decoded: the decoded batches of the micro-batch.
            windows: float32 (n, samples, channels), all windows of the micro-batch.
            probabilities: float32 (n, classes), the champion's answers.
            behind: True when windows wait for the champion.
        """
        if self._engine is None:
            return
        if behind or (self._busy is not None and not self._busy.done()):
            self._metrics.shadow_windows.labels("skipped").inc(len(windows))
            return
        records = [(part.records, len(part.windows)) for part in decoded]
        self._busy = asyncio.create_task(self._compare(self._engine, records, windows, probabilities), name="shadow")

    async def _compare(
        self,
        engine: ClosableClassifier,
        records: Sequence[tuple[Sequence[LineWindows], int]],
        windows: NDArray[np.float32],
        champion: NDArray[np.float32],
    ) -> None:
        loop = asyncio.get_running_loop()
        try:
            candidate, _ = await loop.run_in_executor(
                self._thread, classify_windows, engine, windows, self._spec.none_index
            )
            differ = candidate.argmax(axis=1) != champion.argmax(axis=1)
            if self._topic is not None:
                await self._publish(self._classes(engine.model_id, records, candidate))
        except Exception as error:
            # Any failure here is the candidate's and must not affect the champion's batch.
            self._metrics.shadow_windows.labels("failed").inc(len(windows))
            log.warning(
                "shadow-failed", model_id=engine.model_id, error=repr(error), then="the model in use is not affected"
            )
            return
        self._metrics.shadow_windows.labels("different").inc(int(differ.sum()))
        self._metrics.shadow_windows.labels("same").inc(int((~differ).sum()))

    def _classes(
        self, model_id: str, records: Sequence[tuple[Sequence[LineWindows], int]], probabilities: NDArray[np.float32]
    ) -> list[Outgoing]:
        assert self._topic is not None
        classes = probabilities.argmax(axis=1)
        outgoing: list[Outgoing] = []
        start = 0
        for entries, count in records:
            for entry in entries:
                span = slice(start + entry.first, start + entry.first + entry.count)
                outgoing += window_classes(
                    entry, self._spec, model_id, classes[span], probabilities[span], self._topic, shadow=True
                )
            start += count
        return outgoing

    async def close(self) -> None:
        """Stop the candidate and its thread."""
        self.use(None)
        if self._busy is not None:
            self._busy.cancel()
            await asyncio.wait([self._busy])
        self._thread.shutdown(wait=True)
