"""One retraining from order to verdict: train and judge in a child process, publish what passes.

Every step can be repeated: a trainer that is killed anywhere goes on with what lies in ``run/``. What was published is
recognised by its id on ``models``, so that one retraining never publishes two models.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import structlog

from model.artefact import Artefact
from model.errors import FaultlineError
from stream.contract import TrainingReport
from stream.errors import BrokerError
from stream.settings import Settings
from training.errors import TrainingError
from training.sidecar.job.process import Limits, run_child
from training.sidecar.job.spec import CANDIDATE, CHAMPION, FIELD, OUTCOME, REPORT, SPECS, JobProgress, JobSpec, Outcome
from training.sidecar.requests.consumer import report_on
from training.sidecar.requests.queue import Run
from training.sidecar.requests.reports import Announcer
from training.sidecar.workdir import TrainerFolder

log = structlog.get_logger(__name__)

ATTEMPT = (sys.executable, "-m", "training.sidecar.job.main")
PROGRESS_EVERY_S = 1.0
# Someone who promotes by hand that often while a candidate is judged is at work on the same thing.
MOST_JUDGED = 3
AGAIN = "the training made the champion again, so nothing is published: give labels or another --seed"


class Champions(Protocol):
    """Where the champion is read and a new one published."""

    async def current(self) -> Artefact | None:
        """Return the model in use; None where a spec has none yet."""

    async def publish(self, artefact: Artefact, reason: str) -> None:
        """Make ``artefact`` the champion; returns when the broker has confirmed it."""


def check_spec(spec: str) -> None:
    """Raise TrainingError where there is no recipe for a spec."""
    if spec not in SPECS:
        raise TrainingError(f"there is no recipe for spec {spec!r}: set FAULTLINE_SPEC to {' or '.join(SPECS)}")


class Retrainer:
    """Runs retrainings, one after another.

    Args:
        settings: ours.
        folder: of the trainer.
        champions: where models come from and go to.
        announcer: tells how it goes.
        attempt: command of the child process.
    """

    def __init__(
        self,
        settings: Settings,
        folder: TrainerFolder,
        champions: Champions,
        announcer: Announcer,
        attempt: Sequence[str] = ATTEMPT,
    ) -> None:
        self._settings, self._folder = settings, folder
        self._champions, self._announcer, self._attempt = champions, announcer, attempt
        self._latest: TrainingReport | None = None
        self.progress = 0.0

    def job_spec(self, run: Run) -> JobSpec:
        """What the child is to do for ``run``: the settings, and what was asked for otherwise."""
        settings, asked = self._settings, run.options
        return JobSpec.model_validate(
            {
                "run_id": run.run_id,
                "spec": run.spec,
                "epochs": asked.epochs or settings.retrain_epochs,
                "episodes": asked.episodes or settings.retrain_episodes,
                "seed": asked.seed,
                "warm_start": settings.retrain_warm_start if asked.warm_start is None else asked.warm_start,
                "data": None if settings.retrain_data is None else settings.retrain_data.absolute(),
                "evaluation_episodes": settings.evaluation_episodes,
                "evaluation_lines": settings.evaluation_lines,
                "nice": settings.retrain_nice,
            }
        )

    async def retrain(self, run: Run, snapshot: Callable[[Path], Awaitable[None]]) -> TrainingReport:
        """Do a retraining and return the last word on it, which is not told yet.

        When this is cancelled, it can be gone on with.

        Args:
            run: what is asked for.
            snapshot: puts the labelled windows into a folder. Taken once: the store goes on growing, and a training
                that goes on after a kill must see what it saw.
        """
        try:
            resumed = self._folder.outcome() is not None
            self._folder.begin(self.job_spec(run))
            await self._gather(snapshot)
            note = run.requests[0].note
            await self._announcer.report(report_on(run, "started", note=f"{note} (gone on with)" if resumed else note))
            for _ in range(MOST_JUDGED):
                word = await self._judged(run)
                if word is not None:
                    return word
            reason = f"the champion was changed by others {MOST_JUDGED} times meanwhile: ask again"
            return self._word(run, None, reason)
        except OSError as error:
            self._folder.clear()
            return report_on(run, "failed", note=f"{error.filename or self._folder.path}: {error.strerror or error}")
        except FaultlineError as error:
            return self._word(run, self._folder.outcome(), str(error))

    async def _gather(self, snapshot: Callable[[Path], Awaitable[None]]) -> None:
        """Take the snapshot of what the field has taught so far, unless it is taken."""
        field = self._folder.run / FIELD
        if not field.exists():
            partial = field.with_name(f".{FIELD}.partial")
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            await snapshot(partial)
            partial.rename(field)

    async def _judged(self, run: Run) -> TrainingReport | None:
        """Train and judge what is not, and publish what passes; None where the champion changed meanwhile."""
        champion = await self._champion()
        outcome = self._folder.outcome()
        if outcome is None or not _is(champion, outcome.model_id):
            self._lay_beside(champion, outcome)
            outcome = self._folder.outcome()
            if outcome is None:
                failure = await self._attempts(run)
                outcome = self._folder.outcome()
                if failure is not None or outcome is None:
                    self._folder.clear()
                    return report_on(run, "failed", note=failure or "the training left no outcome")
            if not outcome.passed or outcome.model_id == outcome.champion_id:
                # The same windows and the same seed make the champion again.
                return self._word(run, outcome)
            champion = await self._champion()
            if not _is(champion, outcome.champion_id):
                log.info("champion-changed", then="the candidate is judged again, beside the new one")
                return None
            await self._publish(run, outcome)
        return self._word(run, outcome)

    async def _champion(self) -> Artefact | None:
        """The model in use. A broker that is away is waited for: the work is done, its verdict can wait."""
        while True:
            try:
                return await self._champions.current()
            except BrokerError as error:
                log.warning("champion-unknown", error=str(error), then="asked again")
                await asyncio.sleep(self._settings.publish_retry_s)

    async def _publish(self, run: Run, outcome: Outcome) -> None:
        """Publish the candidate, once: what a broker took without telling is not sent again."""
        candidate = Artefact.load(self._folder.run / CANDIDATE)
        reason = f"{run.reason}: {run.requests[0].note}".removesuffix(": ")
        while True:
            try:
                await self._champions.publish(candidate, reason)
            except BrokerError as error:
                log.warning("candidate-not-published", model_id=outcome.model_id, error=str(error), then="tried again")
                await asyncio.sleep(self._settings.publish_retry_s)
                if not _is(await self._champion(), outcome.model_id):
                    continue
            return

    def _lay_beside(self, champion: Artefact | None, outcome: Outcome | None) -> None:
        """Put the champion beside the candidate; a verdict beside another one is void."""
        run = self._folder.run
        if outcome is not None and not _is(champion, outcome.champion_id):
            (run / OUTCOME).unlink()
            shutil.rmtree(run / REPORT, ignore_errors=True)
        if champion is None:
            (run / CHAMPION).unlink(missing_ok=True)
        else:
            champion.save(run / CHAMPION)

    async def _attempts(self, run: Run) -> str | None:
        """Run the child until it ends well; returns why it does not."""
        settings = self._settings
        limits = Limits(settings.retrain_memory_mb, settings.retrain_time_limit_s)
        async with self._telling() as tell:
            for number in range(1, settings.retrain_attempts + 1):

                def step(step: JobProgress) -> None:
                    self.progress = step.progress
                    self._latest = report_on(run, "progress", progress=step.progress).model_copy(
                        update={"stage": step.stage, "model_id": step.model_id}
                    )
                    tell.set()

                ended = await run_child(self._attempt, self._folder.run, limits, step)
                if ended.failure is None or not ended.again:
                    return ended.failure
                log.warning("attempt-failed", attempt=number, of=settings.retrain_attempts, reason=ended.failure)
        return f"{ended.failure} (attempt {number} of {settings.retrain_attempts})"

    @contextlib.asynccontextmanager
    async def _telling(self) -> AsyncIterator[asyncio.Event]:
        """Publish the newest progress now and then, while inside."""
        news = asyncio.Event()

        async def publish() -> None:
            while True:
                await news.wait()
                news.clear()
                if self._latest is not None:
                    await self._announcer.report(self._latest)
                await asyncio.sleep(PROGRESS_EVERY_S)

        task = asyncio.create_task(publish(), name="tell-progress")
        try:
            yield news
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            self.progress = 0.0

    def _word(self, run: Run, outcome: Outcome | None, failure: str = "") -> TrainingReport:
        """The last word: promoted or refused as the gate says, failed where something else came between."""
        passed = outcome is not None and outcome.passed
        told: dict[str, Any] = {"at": datetime.now(UTC), "progress": 1.0, "stage": "done", "note": failure}
        if outcome is not None:
            place = self._folder.place("promoted" if passed and not failure else "refused", outcome.model_id)
            told |= {
                "model_id": outcome.model_id,
                "champion_id": outcome.champion_id,
                "failed_criteria": outcome.failed_criteria,
                "metrics": outcome.metrics,
                "report_path": str(place / REPORT),
                "note": failure or (AGAIN if outcome.model_id == outcome.champion_id else run.requests[0].note),
            }
        state = "failed" if failure or outcome is None else "promoted" if passed else "refused"
        return report_on(run, state).model_copy(update=told)  # type: ignore[arg-type]


def _is(champion: Artefact | None, model_id: str | None) -> bool:
    return (None if champion is None else champion.model_id) == model_id
