"""Run a shadow: a candidate classifies the champion's windows as well, and its answers are only compared.

The shadow never delays the champion's answers and never publishes fault events. Its cost is bounded: it makes one call
at a time on its own thread, and none while the worker has windows waiting; windows left out count as skipped. Its
failures are counted and have no other effect.

A candidate with a memory has its own memory of every line. It begins cold, and a line whose windows were left out
begins cold again with its next window.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import structlog

from model.spec import SignalSpec
from stream.contract import Outgoing
from stream.detection.classify import ClosableClassifier, window_classes
from stream.detection.following import Call, Followed, Following
from stream.worker.metrics import WorkerMetrics
from stream.worker.micro_batch import ClassifiedPart
from stream.worker.tracking import new_windows

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
        self._following: Following | None = None
        self._interrupted: set[int] = set()
        """Slots of the lines with windows that were left out since the last call."""
        self._busy: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="shadow")

    @property
    def model_id(self) -> str | None:
        """Return the id of the candidate; None if there is none."""
        return None if self._engine is None else self._engine.model_id

    def use(self, engine: ClosableClassifier | None) -> None:
        """Run another candidate, or none, from the next micro-batch on; close the old one after its last call."""
        old, self._engine = self._engine, engine
        none_index, classes = self._spec.none_index, len(self._spec.classes)
        self._following = None if engine is None else Following(engine, none_index, classes)
        self._interrupted.clear()
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

    def offer(self, parts: Sequence[ClassifiedPart], *, behind: bool) -> None:
        """Let the candidate classify a micro-batch, unless it is still busy or the worker is ``behind``.

        Args:
            parts: the parts of the micro-batch with the champion's answers.
            behind: True when windows wait for the champion.
        """
        following = self._following
        if following is None:
            return
        ordered = [part.ordered for part in parts]
        if behind or (self._busy is not None and not self._busy.done()):
            self._metrics.shadow_windows.labels("skipped").inc(sum(one.new for one in ordered))
            self._interrupted.update(slot for one in ordered for slot in one.slots)
            return
        following.interrupt(self._interrupted)
        self._interrupted.clear()
        call = following.begin([part.decoded for part in parts], ordered)
        self._busy = asyncio.create_task(self._compare(following, call, parts), name="shadow")

    async def _compare(self, following: Following, call: Call, parts: Sequence[ClassifiedPart]) -> None:
        model_id, windows = following.engine.model_id, sum(part.ordered.new for part in parts)
        try:
            followed = await asyncio.get_running_loop().run_in_executor(self._thread, call.compute)
            following.end(call)
            different = _different(parts, followed)
            if self._topic is not None:
                await self._publish(self._classes(model_id, parts, followed))
        except Exception as error:
            # Any failure here is the candidate's and must not affect the champion's batch. If the call has failed, the
            # memories are those before the batch, and its lines begin cold with their next windows.
            self._metrics.shadow_windows.labels("failed").inc(windows)
            log.warning("shadow-failed", model_id=model_id, error=repr(error), then="the model in use is not affected")
            return
        self._metrics.shadow_windows.labels("different").inc(different)
        self._metrics.shadow_windows.labels("same").inc(windows - different)

    def _classes(self, model_id: str, parts: Sequence[ClassifiedPart], followed: Followed) -> list[Outgoing]:
        assert self._topic is not None
        outgoing: list[Outgoing] = []
        for part, probabilities in zip(parts, followed.probabilities, strict=True):
            classes = probabilities.argmax(axis=1)
            for entry in new_windows(part.decoded.records, part.ordered, self._spec):
                span = slice(entry.first, entry.first + entry.count)
                outgoing += window_classes(
                    entry, self._spec, model_id, classes[span], probabilities[span], self._topic, shadow=True
                )
        return outgoing

    async def close(self) -> None:
        """Stop the candidate and its thread."""
        self.use(None)
        if self._busy is not None:
            self._busy.cancel()
            await asyncio.wait([self._busy])
        self._thread.shutdown(wait=True)


def _different(parts: Sequence[ClassifiedPart], followed: Followed) -> int:
    """Return the number of windows on which the models differ; windows that are not new are no fault for both."""
    pairs = zip(parts, followed.probabilities, strict=True)
    return sum(int((part.probabilities.argmax(axis=1) != one.argmax(axis=1)).sum()) for part, one in pairs)
