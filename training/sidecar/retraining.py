"""Run a retraining from its request to the final report: train and evaluate in a child process, publish the result.

Every step can be repeated: a sidecar that was killed at any point resumes from the files in ``run/``. A candidate that
is already published is recognised by its id on ``models``, so that one retraining never publishes two models.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from model.artefact import Artefact
from model.errors import FaultlineError
from stream.contract import TrainingReport
from stream.errors import BrokerError
from stream.settings import Settings
from training.errors import TrainingError
from training.recipe import trainable_specs
from training.sidecar.champion import ChampionRegistry
from training.sidecar.job.process import JobLimits, run_job
from training.sidecar.job.spec import (
    CANDIDATE,
    CHAMPION,
    FEEDBACK,
    OUTCOME,
    REPORT,
    JobProgress,
    JobSpec,
    Outcome,
)
from training.sidecar.memory import memory_here
from training.sidecar.requests.queue import Run
from training.sidecar.requests.reports import ReportPublisher, new_report
from training.sidecar.workdir import WorkDir

log = structlog.get_logger(__name__)

JOB_COMMAND = (sys.executable, "-m", "training.sidecar.job.main")
# Shortest interval between two progress reports in seconds; it is smooth enough for a progress bar.
PROGRESS_EVERY_S = 1.0
# Maximum number of evaluations of one candidate. If the champion changes even more often, somebody promotes by hand.
MAX_EVALUATIONS = 3
SAME_MODEL_NOTE = "the training gave the champion again, so nothing is published: add labels or use another --seed"


def check_spec(spec: str) -> None:
    """Raise TrainingError if there is no recipe for a spec."""
    names = trainable_specs()
    if spec not in names:
        raise TrainingError(f"there is no recipe for spec {spec!r}: set FAULTLINE_SPEC to {' or '.join(names)}")


class Retrainer:
    """Runner of retrainings, one after another.

    Args:
        settings: settings of the sidecar.
        workdir: working directory with the files of the running retraining.
        champions: reads and publishes champions.
        reports: publishes progress.
        job_command: command of the child process; the folder of the retraining is appended.
    """

    def __init__(
        self,
        settings: Settings,
        workdir: WorkDir,
        champions: ChampionRegistry,
        reports: ReportPublisher,
        job_command: Sequence[str] = JOB_COMMAND,
    ) -> None:
        self._settings, self._workdir = settings, workdir
        self._champions, self._reports, self._job_command = champions, reports, job_command
        self._latest: TrainingReport | None = None
        self.progress = 0.0

    def job_spec(self, run: Run) -> JobSpec:
        """Return the job of the child for ``run``: the settings, overridden by the options of the requests."""
        settings, options = self._settings, run.options
        return JobSpec.model_validate(
            {
                "run_id": run.run_id,
                "spec": run.spec,
                "epochs": options.epochs or settings.retrain_epochs,
                "episodes": options.episodes or settings.retrain_episodes,
                "seed": options.seed,
                "warm_start": settings.retrain_warm_start if options.warm_start is None else options.warm_start,
                "data": None if settings.retrain_data is None else settings.retrain_data.absolute(),
                "evaluation_episodes": settings.evaluation_episodes,
                "evaluation_lines": settings.evaluation_lines,
                "nice": settings.retrain_nice,
                "memory_mb": self._memory_mb(),
            }
        )

    def _memory_mb(self) -> int | None:
        """Return the memory that the child may use, in MiB: the setting, else the free memory without the reserve."""
        given = self._settings.retrain_memory_mb
        if given is not None:
            return given
        memory = memory_here()
        if memory is None:
            return None
        log.info(
            "retraining-memory",
            allowed_mb=memory.allowed_mb,
            free_mb=memory.free_bytes >> 20,
            limit_mb=memory.limit_bytes >> 20,
            of=memory.source,
        )
        return memory.allowed_mb

    async def retrain(self, run: Run, snapshot: Callable[[Path], Awaitable[None]]) -> TrainingReport:
        """Run a retraining and return its final report, which the caller publishes.

        A cancelled retraining can be resumed.

        Args:
            run: the requests to serve.
            snapshot: copies the labelled windows to a folder. It is called once per retraining, since the store keeps
                growing and a training that is resumed after a kill must see the same windows.
        """
        try:
            resumed = self._workdir.outcome() is not None
            self._workdir.begin(self.job_spec(run))
            await self._take_snapshot(snapshot)
            note = run.requests[0].note
            await self._reports.report(new_report(run, "started", note=f"{note} (resumed)" if resumed else note))
            for _ in range(MAX_EVALUATIONS):
                final = await self._train_and_publish(run)
                if final is not None:
                    return final
            reason = f"the champion was changed by others {MAX_EVALUATIONS} times meanwhile: request a retraining again"
            return self._final_report(run, None, reason)
        except OSError as error:
            self._workdir.clear()
            return new_report(run, "failed", note=f"{error.filename or self._workdir.path}: {error.strerror or error}")
        except FaultlineError as error:
            return self._final_report(run, self._workdir.outcome(), str(error))

    async def _take_snapshot(self, snapshot: Callable[[Path], Awaitable[None]]) -> None:
        """Copy the labelled windows collected so far to ``run/``, unless that is done already."""
        feedback = self._workdir.run / FEEDBACK
        if not feedback.exists():
            partial = feedback.with_name(f".{FEEDBACK}.partial")
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            await snapshot(partial)
            partial.rename(feedback)

    async def _train_and_publish(self, run: Run) -> TrainingReport | None:
        """Complete training, evaluation and publishing; return None if the champion has changed in the meantime."""
        champion = await self._champion()
        outcome = self._workdir.outcome()
        if outcome is None or not _is(champion, outcome.model_id):
            self._place_champion(champion, outcome)
            outcome = self._workdir.outcome()
            if outcome is None:
                failure = await self._run_attempts(run)
                outcome = self._workdir.outcome()
                if failure is not None or outcome is None:
                    self._workdir.clear()
                    note = failure or "the training ended without an outcome: read the trainer's log"
                    return new_report(run, "failed", note=note)
            if not outcome.passed or outcome.model_id == outcome.champion_id:
                # The ids are equal if the same windows and the same seed gave the champion again.
                return self._final_report(run, outcome)
            champion = await self._champion()
            if not _is(champion, outcome.champion_id):
                log.info("champion-changed", then="the candidate is evaluated again, against the new champion")
                return None
            await self._publish(run, outcome)
        return self._final_report(run, outcome)

    async def _champion(self) -> Artefact | None:
        """Return the model in use; wait while the broker is unreachable, since the training itself is done."""
        while True:
            try:
                return await self._champions.current()
            except BrokerError as error:
                log.warning("champion-unknown", error=str(error), then="retried")
                await asyncio.sleep(self._settings.publish_retry_s)

    async def _publish(self, run: Run, outcome: Outcome) -> None:
        """Publish the candidate once: before a retry, check that an unacknowledged record is not on the topic."""
        candidate = Artefact.load(self._workdir.run / CANDIDATE)
        reason = f"{run.reason}: {run.requests[0].note}".removesuffix(": ")
        while True:
            try:
                await self._champions.publish(candidate, reason)
            except BrokerError as error:
                log.warning("candidate-not-published", model_id=outcome.model_id, error=str(error), then="retried")
                await asyncio.sleep(self._settings.publish_retry_s)
                if not _is(await self._champion(), outcome.model_id):
                    continue
            return

    def _place_champion(self, champion: Artefact | None, outcome: Outcome | None) -> None:
        """Copy the champion to ``run/``; discard an outcome that was compared with another champion."""
        run = self._workdir.run
        if outcome is not None and not _is(champion, outcome.champion_id):
            (run / OUTCOME).unlink()
            shutil.rmtree(run / REPORT, ignore_errors=True)
        if champion is None:
            (run / CHAMPION).unlink(missing_ok=True)
        else:
            champion.save(run / CHAMPION)

    async def _run_attempts(self, run: Run) -> str | None:
        """Run the child until it succeeds or no attempt is left; return the reason of the failure, or None."""
        settings = self._settings
        job = self._workdir.job_spec()
        # This is the job's limit and not one measured now: a resumed retraining keeps the size that it started with.
        # Jobs of versions before 0.2.0 have no limit.
        memory_mb = None if job is None else job.memory_mb
        limits = JobLimits(self._memory_mb() if memory_mb is None else memory_mb, settings.retrain_time_limit_s)
        async with self._publishing_progress() as news:
            for number in range(1, settings.retrain_attempts + 1):

                def on_progress(step: JobProgress) -> None:
                    self.progress = step.progress
                    self._latest = new_report(run, "progress", progress=step.progress).model_copy(
                        update={"stage": step.stage, "model_id": step.model_id}
                    )
                    news.set()

                exited = await run_job(self._job_command, self._workdir.run, limits, on_progress)
                if exited.failure is None or not exited.retry:
                    return exited.failure
                log.warning("job-failed", attempt=number, of=settings.retrain_attempts, reason=exited.failure)
        return f"{exited.failure} (attempt {number} of {settings.retrain_attempts})"

    @contextlib.asynccontextmanager
    async def _publishing_progress(self) -> AsyncIterator[asyncio.Event]:
        """Publish the latest progress when the yielded event is set, at most once per ``PROGRESS_EVERY_S``."""
        news = asyncio.Event()

        async def publish() -> None:
            while True:
                await news.wait()
                news.clear()
                if self._latest is not None:
                    await self._reports.report(self._latest)
                await asyncio.sleep(PROGRESS_EVERY_S)

        task = asyncio.create_task(publish(), name="publish-progress")
        try:
            yield news
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            self.progress = 0.0

    def _final_report(self, run: Run, outcome: Outcome | None, failure: str = "") -> TrainingReport:
        """Return the final report: promoted or refused according to the gate, failed for any other reason."""
        passed = outcome is not None and outcome.passed
        values: dict[str, Any] = {"at": datetime.now(UTC), "progress": 1.0, "stage": "done", "note": failure}
        if outcome is not None:
            archive = self._workdir.archive_path("promoted" if passed and not failure else "refused", outcome.model_id)
            values |= {
                "model_id": outcome.model_id,
                "champion_id": outcome.champion_id,
                "failed_criteria": outcome.failed_criteria,
                "metrics": outcome.metrics,
                "report_path": str(archive / REPORT),
                "note": failure or _note(run, outcome),
            }
        state = "failed" if failure or outcome is None else "promoted" if passed else "refused"
        return new_report(run, state).model_copy(update=values)  # type: ignore[arg-type]


def _note(run: Run, outcome: Outcome) -> str:
    """Return the note of a final report: the reason of the request, and any deviation from the configuration."""
    why = SAME_MODEL_NOTE if outcome.model_id == outcome.champion_id else run.requests[0].note
    return "; ".join(text for text in (why, outcome.note) if text)


def _is(champion: Artefact | None, model_id: str | None) -> bool:
    return (None if champion is None else champion.model_id) == model_id
