"""Samples for tests of the sidecar: models with ids of their own, settings, and doubles of the topics."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from model.artefact import Artefact, shipped
from stream.contract import RetrainOptions, RetrainRequest, TrainingReport
from stream.settings import Settings
from training.sidecar.requests.queue import Run

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def model(name: str) -> Artefact:
    """Return the shipped model with a name in its manifest, hence with an id of its own."""
    known = shipped("line")
    manifest = known.manifest
    return Artefact.create(
        known.weights,
        spec=manifest.spec,
        architecture=manifest.architecture,
        normalisation=manifest.normalisation,
        provenance={"name": name},
    )


def settings(folder: Path, **given: object) -> Settings:
    """Return settings of a sidecar in ``folder``, independent of a .env file in the environment."""
    chosen = {"trainer_folder": folder, "publish_retry_s": 0.01, **given}
    return Settings(_env_file=None, **chosen)  # type: ignore[arg-type]


def request(name: str = "one", **options: int) -> RetrainRequest:
    return RetrainRequest(
        request_id=name,
        spec="line",
        reason="demand",
        by="test",
        at=NOW,
        options=RetrainOptions(**options),
        note=f"because of {name}",
    )


def run_of(name: str = "run-1", **options: int) -> Run:
    return Run(run_id=name, requests=(request(**options),))


class ReportsInMemory:
    """Keep the reports that a publisher would publish."""

    waiting = False

    def __init__(self) -> None:
        self.reports: list[TrainingReport] = []

    async def report(self, report: TrainingReport) -> None:
        self.reports.append(report)

    def states(self) -> list[str]:
        return [report.state for report in self.reports]


class ChampionsInMemory:
    """The topic of models as one value; every publication calls ``before_publish`` first."""

    def __init__(self, champion: Artefact | None = None) -> None:
        self.champion = champion
        self.published: list[str] = []
        self.reasons: list[str] = []
        self.before_publish: Callable[[], None] = lambda: None

    async def current(self) -> Artefact | None:
        return self.champion

    async def publish(self, artefact: Artefact, reason: str) -> None:
        self.before_publish()
        self.champion = artefact
        self.published.append(artefact.model_id)
        self.reasons.append(reason)


async def no_windows(folder: Path) -> None:
    """Return a snapshot of an empty store."""
