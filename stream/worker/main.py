"""Run a worker: load the artefact, build the engine, start the worker. No other worker module builds an engine."""

from __future__ import annotations

import asyncio
import gc

import structlog

from model.artefact import Artefact
from model.engine import Engine
from model.errors import ArtefactError
from model.spec import SignalSpec, load_spec
from stream.detection.classify import ClosableClassifier
from stream.kafka.clients import check_reachable
from stream.kafka.topics import require_topics
from stream.registry.initial import choose_artefact
from stream.registry.topic import ModelsReader, public_keys
from stream.settings import Settings
from stream.telemetry.logs import configure_logs
from stream.worker.app import Worker
from stream.worker.model_swap import Build, ModelSwap

log = structlog.get_logger(__name__)


def _build(settings: Settings) -> Build:
    def build(artefact: Artefact, like: ClosableClassifier | None, *, shadow: bool) -> Engine:
        # A shadow uses one core at most.
        threads = 1 if shadow else settings.inference_threads
        return Engine(artefact, threads=threads, like=like if isinstance(like, Engine) else None).warm()

    return build


def default_artefact(settings: Settings, spec: SignalSpec) -> tuple[Artefact | None, str]:
    """Return the artefact to use if the topic has no champion, and its origin; or None and the reason.

    Raises:
        ArtefactError: the artefact in ``FAULTLINE_MODEL`` cannot be used.
    """
    try:
        return choose_artefact(settings, spec)
    except ArtefactError as error:
        if settings.model is not None:
            raise
        return None, str(error)


def _freeze_loaded_objects() -> None:
    """Exclude the objects that live as long as the process from garbage collection.

    TensorFlow and Keras create nearly half a million objects; a collection of them stops all threads for 0.2 s.
    """
    gc.collect()
    gc.freeze()


async def _run(settings: Settings, spec: SignalSpec, artefact: Artefact | None, origin: str) -> int:
    await check_reachable(settings)
    for finding in await require_topics(settings):
        log.warning("topic-setting", topic=finding.name, message=finding.message)
    models = ModelSwap(
        ModelsReader(settings),
        spec,
        default=artefact,
        origin=origin,
        build=_build(settings),
        keys=public_keys(settings),
        max_bytes=settings.model_max_bytes,
    )
    try:
        worker = Worker(settings, spec, await models.choose_initial(), models)
        _freeze_loaded_objects()
        return await worker.run()
    finally:
        await models.close()


def run_worker(settings: Settings) -> int:
    """Run a worker until it stops; return the exit status."""
    configure_logs(settings)
    spec = load_spec(settings.spec)
    artefact, origin = default_artefact(settings, spec)
    return asyncio.run(_run(settings, spec, artefact, origin))
