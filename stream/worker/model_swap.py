"""The model in use: chosen from the topic before the worker takes windows, and swapped as the topic says.

A record is verified, built and tried on a thread of its own; only what went through all of it is swapped in, between
two micro-batches. Whatever is wrong with a record changes nothing but a counter and a line in the log.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Protocol, TypeVar

import numpy as np
import structlog

from model.artefact import Artefact
from model.errors import ArtefactError
from model.signing import Ed25519PublicKey
from model.spec import SignalSpec
from stream.detection.classify import ClosableClassifier
from stream.errors import ModelRefusedError, WorkerError
from stream.registry.records import (
    HEADER_BY,
    HEADER_REASON,
    ModelRecord,
    accepted,
    archived,
    champion_key,
    check_signature,
    shadow_key,
)
from stream.registry.topic import ModelsReader
from stream.worker.metrics import WorkerMetrics
from stream.worker.pipeline import Pipeline
from stream.worker.shadow import Shadow

log = structlog.get_logger(__name__)

T = TypeVar("T")


class Build(Protocol):
    """Makes an engine that is ready to classify; called on a thread that may take its time."""

    def __call__(self, artefact: Artefact, like: ClosableClassifier | None, *, shadow: bool) -> ClosableClassifier:
        """Build; ``like`` is the engine in use, whose compiled functions may be shared."""


class ModelSwap:
    """Chooses the model to begin with and follows the topic.

    Args:
        reader: of the topic.
        spec: of the windows; a model for any other is refused.
        own: the artefact that the worker came with, used while the topic has no champion; None where none ships.
        origin: of that artefact, for the log: a path or "shipped"; where there is none, the reason.
        build: from artefact to engine.
        keys: whose signatures are taken; none takes every model.
        max_bytes: a larger artefact is refused unread.
    """

    def __init__(
        self,
        reader: ModelsReader,
        spec: SignalSpec,
        *,
        own: Artefact | None,
        origin: str,
        build: Build,
        keys: tuple[Ed25519PublicKey, ...] = (),
        max_bytes: int,
    ) -> None:
        self.metrics = WorkerMetrics()
        self._reader = reader
        self._spec = spec
        self._own, self._origin = own, origin
        self._build = build
        self._keys, self._max_bytes = keys, max_bytes
        self._engine: ClosableClassifier | None = None
        self._shadow_record: ModelRecord | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model-build")

    async def begin(self) -> ClosableClassifier:
        """The engine to begin with, once the topic is read to its end.

        It is the champion. Where that record is refused it is the latest promoted model that is not, since a bad
        record must not take a restarted worker further back than a running one. With no champion it is the own one.

        Raises:
            BrokerError: the topic cannot be read.
            ArtefactError: the own artefact cannot be used.
            WorkerError: there is none, and no model on the topic that can be used.
        """
        began = time.perf_counter()
        records = await self._reader.read_to_end()
        self._shadow_record = records.get(shadow_key(self._spec.name))
        engine, origin = await self._chosen(records)
        self._engine = engine
        self.metrics.model.labels(engine.model_id, self._spec.name).set(1)
        warm_s = round(time.perf_counter() - began, 1)
        log.info("model-ready", model_id=engine.model_id, spec=self._spec.name, origin=origin, warm_s=warm_s)
        return engine

    async def _chosen(self, records: Mapping[str, ModelRecord]) -> tuple[ClosableClassifier, str]:
        champion = records.get(champion_key(self._spec.name))
        if champion is not None and champion.value is None:
            with self._refusing(champion, then="the latest promoted model is looked for"):
                check_signature(champion, self._keys)
                champion = None
        if champion is not None:
            for record in (champion, *archived(records, self._spec.name)):
                if record.value is not None:
                    with self._refusing(record, then="the next best is tried"):
                        return await self._built(await self._verified(record), shadow=False), f"models: {record.key}"
        if (own := self._own) is None:
            raise WorkerError(
                f"no model for spec {self._spec.name!r} on the topic, and {self._origin} "
                "Then: faultline models promote FILE, or set FAULTLINE_MODEL"
            )
        return await self._on_thread(lambda: self._build(own, None, shadow=False)), self._origin

    async def follow(self, pipeline: Pipeline, shadow: Shadow) -> None:
        """Swap models as records come, until cancelled."""
        champion, beside = champion_key(self._spec.name), shadow_key(self._spec.name)
        newest = {} if self._shadow_record is None else {beside: self._shadow_record}
        while True:
            for key, record in newest.items():
                with self._refusing(record, then="the model in use stays"):
                    if key == champion:
                        await self._use_champion(record, pipeline)
                    elif key == beside:
                        await self._use_shadow(record, shadow)
            # Of several records of a key that came meanwhile only the newest counts.
            newest = {record.key: record for record in await self._reader.next()}

    async def _use_champion(self, record: ModelRecord, pipeline: Pipeline) -> None:
        began = time.perf_counter()
        artefact, origin = await self._verified_or_own(record)
        former = self._engine
        assert former is not None, "begin comes first"
        if artefact.model_id == former.model_id:
            log.info("model-in-use-already", model_id=former.model_id, origin=origin)
            return
        self._engine = await self._built(artefact, shadow=False)
        pipeline.swap(self._engine)
        took_ms = round((time.perf_counter() - began) * 1000, 1)
        self.metrics.model.remove(former.model_id, self._spec.name)
        self.metrics.model.labels(self._engine.model_id, self._spec.name).set(1)
        self.metrics.model_swaps.inc()
        log.info(
            "model-swapped",
            model_id=self._engine.model_id,
            former=former.model_id,
            origin=origin,
            by=record.header(HEADER_BY),
            reason=record.header(HEADER_REASON),
            took_ms=took_ms,
        )
        await pipeline.rested()
        await self._on_thread(former.close)

    async def _use_shadow(self, record: ModelRecord, shadow: Shadow) -> None:
        if record.value is None:
            check_signature(record, self._keys)
            if shadow.model_id is not None:
                log.info("shadow-ended", model_id=shadow.model_id)
            shadow.use(None)
            return
        artefact = await self._verified(record)
        if artefact.model_id == shadow.model_id:
            return
        shadow.use(await self._built(artefact, shadow=True))
        log.info("shadow-begun", model_id=artefact.model_id, by=record.header(HEADER_BY))

    async def _verified_or_own(self, record: ModelRecord) -> tuple[Artefact, str]:
        if record.value is not None:
            return await self._verified(record), f"models: {record.key}"
        check_signature(record, self._keys)
        if self._own is None:
            raise ModelRefusedError("none", "it takes the champion back and this worker came with no other model")
        return self._own, self._origin

    async def _verified(self, record: ModelRecord) -> Artefact:
        return await self._on_thread(
            lambda: accepted(record, keys=self._keys, max_bytes=self._max_bytes, spec=self._spec)
        )

    async def _built(self, artefact: Artefact, *, shadow: bool) -> ClosableClassifier:
        def build() -> ClosableClassifier:
            engine = self._build(artefact, self._engine, shadow=shadow)
            answer = engine.classify(np.zeros((1, *self._spec.window_shape), np.float32))
            if not np.isfinite(answer).all():
                engine.close()
                raise ModelRefusedError("not-finite", "its answer to a window of zeros is not finite: train it again")
            return engine

        try:
            return await self._on_thread(build)
        except ModelRefusedError:
            raise
        except ArtefactError as error:
            raise ModelRefusedError(error.reason, str(error)) from error
        except Exception as error:
            raise ModelRefusedError("failed", f"no engine can be made of it: {error!r}") from error

    @contextmanager
    def _refusing(self, record: ModelRecord, *, then: str) -> Iterator[None]:
        """Let a record that is refused inside change nothing but a counter and the log."""
        try:
            yield
        except ModelRefusedError as error:
            self.metrics.models_refused.labels(error.reason).inc()
            log.warning(
                "model-refused",
                reason=error.reason,
                message=str(error),
                key=record.key[:200],
                model_id=record.model_id,
                offset=record.offset,
                then=then,
            )

    def _on_thread(self, work: Callable[[], T]) -> Awaitable[T]:
        return asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def close(self) -> None:
        """Cease to read, and close the engine in use."""
        await self._reader.close()
        self._thread.shutdown(wait=True, cancel_futures=True)
        if self._engine is not None:
            self._engine.close()
