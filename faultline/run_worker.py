"""Puts a worker together: artefact → engine → worker. The one place where model and stream meet."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import structlog

from faultline.logs import configure_logs
from model.artefact import Artefact, shipped
from model.engine import Engine
from model.errors import ArtefactError
from model.spec import SignalSpec, load_spec
from stream.clients import check_reachable
from stream.settings import Settings
from stream.topics import require_topics
from stream.worker import Worker

log = structlog.get_logger(__name__)


def choose_artefact(settings: Settings, spec: SignalSpec) -> tuple[Artefact, str]:
    """The artefact to start with and where it is from.

    Raises:
        ArtefactError: none ships for the spec, or the artefact is for another spec.
    """
    if settings.model is not None:
        artefact, origin = Artefact.load(Path(settings.model)), settings.model
    else:
        artefact, origin = shipped(spec.name), "shipped"
    theirs = artefact.manifest.spec
    if theirs.digest != spec.digest:
        raise ArtefactError(
            f"the artefact {origin} is for spec {theirs.name!r}"
            + (", but in another version" if theirs.name == spec.name else f", not {spec.name!r}")
            + "; set FAULTLINE_SPEC to the artefact's spec or FAULTLINE_MODEL to an artefact of this spec"
        )
    return artefact, origin


async def _run(settings: Settings, spec: SignalSpec, artefact: Artefact, origin: str) -> int:
    await check_reachable(settings)
    await require_topics(settings)
    loop = asyncio.get_running_loop()
    began = time.perf_counter()
    engine = Engine(artefact, threads=settings.inference_threads)
    await loop.run_in_executor(None, engine.warm)
    log.info(
        "model-ready",
        model_id=engine.model_id,
        spec=spec.name,
        origin=origin,
        warm_s=round(time.perf_counter() - began, 1),
    )
    try:
        return await Worker(settings, spec, engine).run()
    finally:
        engine.close()


def run_worker(settings: Settings) -> int:
    """Run a worker until it ends; returns the exit status."""
    configure_logs(settings)
    spec = load_spec(settings.spec)
    artefact, origin = choose_artefact(settings, spec)
    return asyncio.run(_run(settings, spec, artefact, origin))
