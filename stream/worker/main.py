"""Puts a worker together: artefact → engine → worker. The one place where model and stream meet."""

from __future__ import annotations

import asyncio
import gc

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


def _build(settings: Settings) -> Build:
    def build(artefact: Artefact, like: ClosableClassifier | None, *, shadow: bool) -> Engine:
        # A shadow takes one core at most.
        threads = 1 if shadow else settings.inference_threads
        return Engine(artefact, threads=threads, like=like if isinstance(like, Engine) else None).warm()

    return build


def own_artefact(settings: Settings, spec: SignalSpec) -> tuple[Artefact | None, str]:
    """The artefact that a worker comes with, and where it is from; None, and why, where models only come by topic.

    Raises:
        ArtefactError: the one given cannot be used.
    """
    try:
        return choose_artefact(settings, spec)
    except ArtefactError as error:
        if settings.model is not None:
            raise
        return None, str(error)


def _spare_what_stays() -> None:
    """Keep the garbage collector from what lives as long as the process.

    TensorFlow and Keras leave nearly half a million objects; to go through them stops all threads for 0.2 s.
    """
    gc.collect()
    gc.freeze()


async def _run(settings: Settings, spec: SignalSpec, artefact: Artefact | None, origin: str) -> int:
    await check_reachable(settings)
    await require_topics(settings)
    models = ModelSwap(
        ModelsReader(settings),
        spec,
        own=artefact,
        origin=origin,
        build=_build(settings),
        keys=public_keys(settings),
        max_bytes=settings.model_max_bytes,
    )
    try:
        worker = Worker(settings, spec, await models.begin(), models)
        _spare_what_stays()
        return await worker.run()
    finally:
        await models.close()


def run_worker(settings: Settings) -> int:
    """Run a worker until it ends; returns the exit status."""
    configure_logs(settings)
    spec = load_spec(settings.spec)
    artefact, origin = own_artefact(settings, spec)
    return asyncio.run(_run(settings, spec, artefact, origin))
