"""Starts a trainer: checks what it needs, then runs it until it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from model.spec import load_spec
from stream.errors import TopicError
from stream.kafka.catalogue import FAULT_TYPES
from stream.kafka.clients import check_reachable
from stream.kafka.topics_check import check_topics
from stream.settings import Settings
from stream.telemetry.logs import configure_logs
from training.errors import TrainingError
from training.sidecar.champion import TopicChampions
from training.sidecar.retraining import ATTEMPT, check_spec
from training.sidecar.service import Trainer
from training.sidecar.workdir import TrainerFolder

log = structlog.get_logger(__name__)


async def require_topics(settings: Settings) -> None:
    """Make sure that what a trainer reads and writes is there.

    Raises:
        TopicError: a topic is missing or would lose something; one line that names them all.
        BrokerError: no connection or no login.
    """
    names = [
        settings.topic_windows,
        *(settings.topic_faults(kind) for kind in FAULT_TYPES),
        settings.topic_labels,
        settings.topic_retrain,
        settings.topic_reports,
        settings.topic_models,
    ]
    failed = [finding for finding in await check_topics(settings, names) if finding.level == "fail"]
    missing = [finding.name for finding in failed if finding.missing]
    if missing:
        raise TopicError(f"missing topics {', '.join(missing)}: faultline topics create")
    if failed:
        raise TopicError("; ".join(f"{finding.name}: {finding.message}" for finding in failed))


def run_trainer(settings: Settings, attempt: Sequence[str] = ATTEMPT) -> int:
    """Run a trainer until it ends; returns the exit status.

    Args:
        settings: ours.
        attempt: command of the child process that trains; the retraining's folder is added.

    Raises:
        FaultlineError: it cannot start.
    """
    configure_logs(settings)
    spec = load_spec(settings.spec)
    check_spec(spec.name)
    if spec.digest != load_spec(spec.name).digest:
        raise TrainingError(f"the recipe is for the shipped spec {spec.name!r}, not for another version of it")
    if spec.name == "instant" and settings.retrain_data is None:
        raise TrainingError("spec instant is trained on classData.csv: set FAULTLINE_RETRAIN_DATA to its path")
    champions = TopicChampions(settings, spec)
    folder = TrainerFolder(settings.trainer_folder)

    async def run() -> int:
        await check_reachable(settings)
        await require_topics(settings)
        return await Trainer(settings, spec, folder, champions, attempt).run()

    return asyncio.run(run())
