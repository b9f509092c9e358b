"""The trainer as a process: what gathers, what takes requests, what retrains, and what lets it live and die well."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import signal
import socket
import uuid
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import structlog

from model.spec import SignalSpec
from stream.contract import RetrainReason, RetrainRequest
from stream.errors import BrokerError, WorkerError
from stream.settings import Settings
from stream.telemetry.health import HealthServer, Readiness
from stream.telemetry.tracing import open_tracing
from stream.telemetry.watchdog import StopWatchdog
from training.sidecar.ingest import Gatherer, store_limits
from training.sidecar.metrics import TrainerMetrics
from training.sidecar.requests.consumer import RequestDesk
from training.sidecar.requests.http import RetrainDoor
from training.sidecar.requests.queue import Run
from training.sidecar.requests.reports import Announcer
from training.sidecar.requests.schedule import Schedule
from training.sidecar.requests.timetable import keep_timetable
from training.sidecar.retraining import ATTEMPT, Champions, Retrainer
from training.sidecar.store.store import LabelledStore
from training.sidecar.tracing import RetrainingTraces
from training.sidecar.workdir import TrainerFolder

if TYPE_CHECKING:
    from training.sidecar.drift.monitor import DriftWatch

log = structlog.get_logger(__name__)

REFRESH_EVERY_S = 60.0
"""The champion is looked up as often, for drift and for the metrics."""
AGAIN_AFTER_S = 5.0
"""Pause after a journal that could not be written."""


@dataclass(frozen=True, slots=True)
class TrainerReadiness(Readiness):
    """Why a trainer is or is not ready."""

    store: bool
    """The store can be written."""

    @property
    def ready(self) -> bool:
        """Whether windows are kept and requests served."""
        return self.assigned and self.publishing and self.store and not self.failed


class Trainer:
    """One trainer process.

    Args:
        settings: ours.
        spec: of the windows and models.
        folder: locked by us.
        champions: where models come from and go to.
        attempt: command of the child process.

    Raises:
        WorkerError: the journal cannot be read.
        StoreError: the store cannot be used.
    """

    def __init__(
        self,
        settings: Settings,
        spec: SignalSpec,
        folder: TrainerFolder,
        champions: Champions,
        attempt: Sequence[str] = ATTEMPT,
    ) -> None:
        self._settings, self._spec, self._folder, self._champions = settings, spec, folder, champions
        self.metrics = TrainerMetrics()
        self._tracing = open_tracing(settings, "trainer")
        traces = RetrainingTraces(self._tracing)
        self._announcer = Announcer(settings, traces.headers)
        self._desk = RequestDesk(settings, spec.name, folder, self._announcer, self.metrics, traces.requested)
        self._retrainer = Retrainer(settings, folder, champions, self._announcer, attempt)
        self._watch = self._drift_watch() if settings.retrain_on_drift else None
        store = LabelledStore(folder.store, store_limits(settings))
        self._gatherer = Gatherer(settings, spec, store, self.metrics, self._watch, self._on_drift)
        self._store = store
        self._stopping = asyncio.Event()
        self._failed = False
        self._door = (
            None if settings.retrain_http_port is None else RetrainDoor(settings, spec.name, self._announcer.request)
        )
        self.health = HealthServer(
            settings.web_host,
            settings.trainer_web_port,
            readiness=self.readiness,
            registry=self.metrics.registry,
            refresh=self._refresh,
        )

    def _drift_watch(self) -> DriftWatch:
        # Only who looks for drift needs an engine, and with it TensorFlow.
        from training.sidecar.drift.monitor import DriftWatch, drift_policy

        return DriftWatch(self._spec, drift_policy(self._settings), self._folder.drift, self.metrics)

    # What makes it retrain ----------------------------------------------------------------------------------------

    @property
    def _name(self) -> str:
        return f"trainer {getpass.getuser()}@{socket.gethostname()}"

    async def _on_drift(self, found: str) -> None:
        await self._announcer.request(self._request("drift", found))

    def _request(self, reason: RetrainReason, note: str) -> RetrainRequest:
        return RetrainRequest(
            request_id=str(uuid.uuid4()),
            spec=self._spec.name,
            reason=reason,
            by=self._name,
            at=datetime.now(UTC),
            note=note,
        )

    async def _keep_timetable(self, expression: str) -> None:
        await keep_timetable(
            Schedule(expression),
            self._spec.name,
            self._name,
            self._announcer.request,
            on_due=lambda due: self.metrics.next_due.set(due.timestamp()),
        )

    # Retraining ---------------------------------------------------------------------------------------------------

    async def _work(self) -> None:
        """Serve what is asked for, one retraining after another, for ever."""
        while True:
            await self._desk.wanted.wait()
            try:
                run = self._desk.begin()
            except OSError as error:
                log.error("journal-not-written", error=str(error), then="tried again")
                await asyncio.sleep(AGAIN_AFTER_S)
                continue
            if run is not None:
                with structlog.contextvars.bound_contextvars(run_id=run.run_id):
                    await self._serve(run)

    async def _serve(self, run: Run) -> None:
        """Retrain, file the candidate, tell the last word. After a kill what is left of it is done."""
        desk, settings = self._desk, self._settings
        word = desk.journal.ended
        if word is None:
            self.metrics.running.set(1)
            try:
                word = await self._retrainer.retrain(run, self._gatherer.snapshot)
            finally:
                self.metrics.running.set(0)
            # Requests that were merged into it meanwhile are served as well.
            served = desk.journal.desk.running or run
            word = word.model_copy(update={"request_ids": served.request_ids})
            desk.end(word)
        if word.model_id is not None:
            promoted = word.state == "promoted"
            keep = settings.keep_promoted if promoted else settings.keep_refused
            self._folder.file_away("promoted" if promoted else "refused", word.model_id, keep)
        self._folder.clear()
        await self._announcer.report(word)
        self.metrics.retrainings.labels(word.state).inc()
        desk.finish()
        if word.state == "promoted":
            await self._meet_champion(afresh=True)

    async def _meet_champion(self, *, afresh: bool = False) -> None:
        """Have drift looked for by the model in use."""
        try:
            champion = await self._champions.current()
        except BrokerError as error:
            log.warning("champion-unknown", error=str(error))
            return
        self.metrics.model.clear()
        if champion is not None:
            self.metrics.model.labels(champion.model_id, self._spec.name).set(1)
        if self._watch is not None:
            watch = self._watch
            await self._gatherer.in_thread(lambda: watch.use(champion, afresh=afresh))

    # Health -------------------------------------------------------------------------------------------------------

    def readiness(self) -> TrainerReadiness:
        """Whether windows are kept and requests served, and if not, why."""
        return TrainerReadiness(
            model=True,
            assigned=self._gatherer.assigned and self._desk.assigned,
            publishing=not self._announcer.waiting,
            failed=self._failed or self._stopping.is_set(),
            store=not self._gatherer.failing,
        )

    def _refresh(self) -> None:
        now = datetime.now(UTC)
        self.metrics.ready.set(self.readiness().ready)
        self.metrics.progress.set(self._retrainer.progress)
        for verdict, at in self._desk.journal.last.items():
            self.metrics.since.labels(verdict).set((now - at).total_seconds())

    async def _follow_champion(self) -> None:
        while True:
            await self._meet_champion()
            await asyncio.sleep(REFRESH_EVERY_S)

    # Life ---------------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Begin to stop: a retraining under way is gone on with by the next trainer."""
        if not self._stopping.is_set():
            log.info("trainer-stopping")
            self._stopping.set()

    async def run(self) -> int:
        """Run until a signal, a failure or ``stop``; returns the exit status."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        cause: BaseException | None = None
        tasks: list[asyncio.Task[None]] = []
        try:
            await self._listen()
            for name, work in self._works().items():
                tasks.append(asyncio.create_task(work, name=name))
            log.info("trainer-started", spec=self._spec.name, folder=str(self._folder.path))
            stop = asyncio.create_task(self._stopping.wait(), name="stop")
            done, _ = await asyncio.wait([stop, *tasks], return_when=asyncio.FIRST_COMPLETED)
            stop.cancel()
            cause = next((error for task in done - {stop} if (error := task.exception()) is not None), None)
        finally:
            self._stopping.set()
            watchdog = StopWatchdog(self._settings.shutdown_timeout_s)
            watchdog.start()
            await self._shut_down(tasks)
            watchdog.stop()
        if cause is not None:
            self._failed = True
            log.error("trainer-ended", cause=repr(cause), then="restart it; it goes on where it was")
            return 1
        log.info("trainer-ended", cause=None)
        return 0

    def _works(self) -> dict[str, Coroutine[Any, Any, None]]:
        works = {
            "gather": self._gatherer.run(),
            "requests": self._desk.consume(),
            "retrain": self._work(),
            "champion": self._follow_champion(),
        }
        if self._settings.retrain_schedule is not None:
            works["timetable"] = self._keep_timetable(self._settings.retrain_schedule)
        return works

    async def _listen(self) -> None:
        try:
            await self.health.start()
        except WorkerError as error:
            text = str(error).replace("FAULTLINE_WEB_PORT", "FAULTLINE_TRAINER_WEB_PORT")
            raise WorkerError(text) from error
        if self._door is not None:
            await self._door.start()

    async def _shut_down(self, tasks: list[asyncio.Task[None]]) -> None:
        if self._door is not None:
            await self._door.stop()
        self._gatherer.stop()
        for task in tasks:
            if task.get_name() != "gather":
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._watch is not None:
            self._watch.close()
        with contextlib.suppress(Exception):
            self._store.close()
        await self._announcer.stop()
        await self.health.stop()
        self._folder.close()
        if self._tracing is not None:
            self._tracing.close()
