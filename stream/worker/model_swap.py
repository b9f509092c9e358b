"""Choose the worker's model from the topic ``models`` before the first window, and swap it when a record arrives.

A record is verified, built into an engine and tried on a separate thread. Then the engine follows the windows beside
the one in use until it is warm, and takes over between two micro-batches, see ``stream.worker.succession``. A record
that fails in one of these steps increases a counter and is logged, and has no other effect. A newer record ends the
warm-up of an older one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import structlog

from model.artefact import Artefact
from model.artefact.signing import Ed25519PublicKey
from model.errors import ArtefactError
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
from stream.worker.succession import SwapEnd

log = structlog.get_logger(__name__)

T = TypeVar("T")


class Build(Protocol):
    """Function that builds an engine ready to classify; it is called on a separate thread and may take long."""

    def __call__(self, artefact: Artefact, like: ClosableClassifier | None, *, shadow: bool) -> ClosableClassifier:
        """Build an engine; ``like`` is the engine in use, whose compiled functions may be shared."""


@dataclass(frozen=True, slots=True)
class _Swap:
    """Record of a swap that has begun."""

    record: ModelRecord
    origin: str
    began_s: float

    def took_ms(self) -> float:
        return round((time.perf_counter() - self.began_s) * 1000, 1)


class ModelSwap:
    """Choice of the initial model, and swaps to later models of the topic.

    Args:
        reader: reader of the topic.
        spec: signal spec of the windows; a model for another spec is refused.
        default: artefact used while the topic has no champion; None if there is none.
        origin: origin of the default artefact for the log, a path or "shipped"; the reason if there is no artefact.
        build: builds an engine from an artefact.
        keys: public keys whose signatures are accepted; without keys every model is accepted.
        max_bytes: largest artefact in bytes; a larger one is refused without being read.
    """

    def __init__(
        self,
        reader: ModelsReader,
        spec: SignalSpec,
        *,
        default: Artefact | None,
        origin: str,
        build: Build,
        keys: tuple[Ed25519PublicKey, ...] = (),
        max_bytes: int,
    ) -> None:
        self.metrics = WorkerMetrics()
        self._reader = reader
        self._spec = spec
        self._default, self._origin = default, origin
        self._build = build
        self._keys, self._max_bytes = keys, max_bytes
        self._engine: ClosableClassifier | None = None
        self._successor: ClosableClassifier | None = None
        """Engine that is not yet warm."""
        self._closing: set[asyncio.Task[None]] = set()
        self._shadow_record: ModelRecord | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model-build")

    async def choose_initial(self) -> ClosableClassifier:
        """Read the topic to its end and return the initial engine.

        The initial engine is the champion. If the champion's record is refused, it is the latest promoted model that
        is not refused, so that after a bad record a restarted worker uses no older model than a running one. Without
        a champion it is the default artefact.

        Raises:
            BrokerError: the topic cannot be read.
            ArtefactError: the default artefact cannot be used.
            WorkerError: there is no default artefact, and no usable model on the topic.
        """
        began = time.perf_counter()
        records = await self._reader.read_to_end()
        self._shadow_record = records.get(shadow_key(self._spec.name))
        engine, origin = await self._build_initial(records)
        self._engine = engine
        self.metrics.model.labels(engine.model_id, self._spec.name).set(1)
        warm_s = round(time.perf_counter() - began, 1)
        log.info("model-ready", model_id=engine.model_id, spec=self._spec.name, origin=origin, warm_s=warm_s)
        return engine

    async def _build_initial(self, records: Mapping[str, ModelRecord]) -> tuple[ClosableClassifier, str]:
        champion = records.get(champion_key(self._spec.name))
        if champion is not None and champion.value is None:
            with self._refusals_counted(champion, then="the latest promoted model is used"):
                check_signature(champion, self._keys)
                champion = None
        if champion is not None:
            for record in (champion, *archived(records, self._spec.name)):
                if record.value is not None:
                    with self._refusals_counted(record, then="the next latest promoted model is tried"):
                        artefact = await self._verify(record)
                        return await self._build_and_try(artefact, shadow=False), f"models: {record.key}"
        if (default := self._default) is None:
            raise WorkerError(
                f"no model for spec {self._spec.name!r} on the topic, and {self._origin} "
                "Then run faultline models promote FILE, or set FAULTLINE_MODEL"
            )
        return await self._on_thread(lambda: self._build(default, None, shadow=False)), self._origin

    async def follow(self, pipeline: Pipeline, shadow: Shadow) -> None:
        """Swap models as records arrive, until cancelled."""
        champion, candidate = champion_key(self._spec.name), shadow_key(self._spec.name)
        newest = {} if self._shadow_record is None else {candidate: self._shadow_record}
        while True:
            for key, record in newest.items():
                with self._refusals_counted(record, then="the model in use stays"):
                    if key == champion:
                        await self._use_champion(record, pipeline)
                    elif key == candidate:
                        await self._use_shadow(record, shadow)
            # If several records of a key have arrived meanwhile, only the newest is used.
            newest = {record.key: record for record in await self._reader.next()}

    async def _use_champion(self, record: ModelRecord, pipeline: Pipeline) -> None:
        began = time.perf_counter()
        artefact, origin = await self._verify_or_default(record)
        in_use, successor = self._engine, self._successor
        assert in_use is not None, "choose_initial comes first"
        if successor is not None and artefact.model_id == successor.model_id:
            log.info("model-already-warming", model_id=successor.model_id, origin=origin)
            return
        if artefact.model_id == in_use.model_id:
            pipeline.keep()
            log.info("model-already-in-use", model_id=in_use.model_id, origin=origin)
            return
        engine = await self._build_and_try(artefact, shadow=False)
        swap = _Swap(record, origin, began)
        self._successor = engine
        if not pipeline.swap(engine, lambda end: self._end_swap(engine, end, swap, pipeline)):
            log.info(
                "model-warming",
                model_id=engine.model_id,
                in_use=pipeline.model_id,
                origin=origin,
                by=record.header(HEADER_BY),
                reason=record.header(HEADER_REASON),
                took_ms=swap.took_ms(),
            )

    def _end_swap(self, engine: ClosableClassifier, end: SwapEnd, swap: _Swap, pipeline: Pipeline) -> None:
        """Note that a successor has taken over or was dropped, and close the engine that is no longer used."""
        if self._successor is engine:
            self._successor = None
        if end.in_use:
            old, self._engine = self._engine, engine
            assert old is not None, "choose_initial comes first"
            self._log_swap(old.model_id, engine.model_id, end, swap)
        else:
            old = engine
            if end.error is None:
                log.info("model-dropped", model_id=engine.model_id, then="a newer record of the topic counts")
            else:
                error = ModelRefusedError("failed", f"it failed while it followed the windows: {end.error!r}")
                self._count_refusal(swap.record, error, then="the model in use stays")
        closing = asyncio.create_task(self._close_idle(old, pipeline), name="model-close")
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    def _log_swap(self, former: str, model_id: str, end: SwapEnd, swap: _Swap) -> None:
        self.metrics.model.remove(former, self._spec.name)
        self.metrics.model.labels(model_id, self._spec.name).set(1)
        self.metrics.model_swaps.inc()
        log.info(
            "model-swapped",
            model_id=model_id,
            former=former,
            origin=swap.origin,
            by=swap.record.header(HEADER_BY),
            reason=swap.record.header(HEADER_REASON),
            took_ms=swap.took_ms(),
            lines=end.lines,
            cold_lines=end.cold_lines,
            followed_from=end.followed_from,
        )

    async def _close_idle(self, engine: ClosableClassifier, pipeline: Pipeline) -> None:
        await pipeline.engine_idle()
        await self._on_thread(engine.close)

    async def _use_shadow(self, record: ModelRecord, shadow: Shadow) -> None:
        if record.value is None:
            check_signature(record, self._keys)
            if shadow.model_id is not None:
                log.info("shadow-stopped", model_id=shadow.model_id)
            shadow.use(None)
            return
        artefact = await self._verify(record)
        if artefact.model_id == shadow.model_id:
            return
        shadow.use(await self._build_and_try(artefact, shadow=True))
        log.info("shadow-started", model_id=artefact.model_id, by=record.header(HEADER_BY))

    async def _verify_or_default(self, record: ModelRecord) -> tuple[Artefact, str]:
        if record.value is not None:
            return await self._verify(record), f"models: {record.key}"
        check_signature(record, self._keys)
        if self._default is None:
            raise ModelRefusedError(
                "none", "the record withdraws the champion, but this worker has no default model: set FAULTLINE_MODEL"
            )
        return self._default, self._origin

    async def _verify(self, record: ModelRecord) -> Artefact:
        return await self._on_thread(
            lambda: accepted(record, keys=self._keys, max_bytes=self._max_bytes, spec=self._spec)
        )

    async def _build_and_try(self, artefact: Artefact, *, shadow: bool) -> ClosableClassifier:
        def build() -> ClosableClassifier:
            engine = self._build(artefact, self._engine, shadow=shadow)
            answer = engine.classify(np.zeros((1, *self._spec.window_shape), np.float32))
            if not np.isfinite(answer).all():
                engine.close()
                raise ModelRefusedError(
                    "not-finite", "its probabilities for a window of zeros are not finite: train the model again"
                )
            return engine

        try:
            return await self._on_thread(build)
        except ModelRefusedError:
            raise
        except ArtefactError as error:
            raise ModelRefusedError(error.reason, str(error)) from error
        except Exception as error:
            raise ModelRefusedError(
                "failed", f"no engine can be built from it: {error!r}; promote another model"
            ) from error

    @contextmanager
    def _refusals_counted(self, record: ModelRecord, *, then: str) -> Iterator[None]:
        """Catch the refusal of a record, count and log it, and continue without the record."""
        try:
            yield
        except ModelRefusedError as error:
            self._count_refusal(record, error, then=then)

    def _count_refusal(self, record: ModelRecord, error: ModelRefusedError, *, then: str) -> None:
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
        """Stop reading the topic, and close the engine in use and a successor; call it after ``Pipeline.stop``."""
        await self._reader.close()
        await asyncio.gather(*self._closing)
        self._thread.shutdown(wait=True, cancel_futures=True)
        for engine in (self._engine, self._successor):
            if engine is not None:
                engine.close()
