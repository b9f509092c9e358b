"""Run the sidecar process: connect ingest, requests, retraining and drift, report readiness, and shut down."""

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

from model.spec import SignalSpec, load_spec
from stream.contract import RetrainReason, RetrainRequest
from stream.errors import BrokerError, WorkerError
from stream.kafka.clients import check_reachable
from stream.kafka.topics import require_topics
from stream.settings import Settings
from stream.telemetry.health import HealthServer, Readiness
from stream.telemetry.logs import configure_logs
from stream.telemetry.tracing import open_tracing
from stream.telemetry.watchdog import StopWatchdog
from training.errors import TrainingError
from training.recipe import recipe_of
from training.sidecar.champion import ChampionRegistry
from training.sidecar.ingest import Ingester
from training.sidecar.metrics import SidecarMetrics
from training.sidecar.requests.consumer import RequestConsumer
from training.sidecar.requests.http import RetrainEndpoint
from training.sidecar.requests.journal import JournalFile
from training.sidecar.requests.queue import Run
from training.sidecar.requests.reports import ReportPublisher
from training.sidecar.requests.schedule import Schedule, run_schedule
from training.sidecar.retraining import JOB_COMMAND, Retrainer, check_spec
from training.sidecar.store.store import LabelledStore
from training.sidecar.store.stretches import context_windows
from training.sidecar.store.tiers import StoreLimits
from training.sidecar.tracing import RetrainingTraces
from training.sidecar.workdir import WorkDir

if TYPE_CHECKING:
    from training.sidecar.drift.monitor import DriftMonitor

log = structlog.get_logger(__name__)

REFRESH_EVERY_S = 60.0
"""Interval in seconds at which the champion is read, for drift detection and the metrics."""
RETRY_JOURNAL_S = 5.0
"""Pause in seconds before the journal is written again after a failure."""


@dataclass(frozen=True, slots=True)
class SidecarReadiness(Readiness):
    """Conditions for the readiness of a sidecar."""

    store: bool
    """True while the store can be written."""

    @property
    def ready(self) -> bool:
        """Return True while windows are stored and requests are served."""
        return self.assigned and self.publishing and self.store and not self.failed


class Sidecar:
    """One sidecar process.

    Args:
        settings: settings of the sidecar.
        spec: spec of the windows and models.
        workdir: the working directory, locked by this process.
        champions: reads and publishes champions.
        job_command: command of the child process that trains.

    Raises:
        WorkerError: if the journal cannot be read.
        StoreError: if the store cannot be used.
    """

    def __init__(
        self,
        settings: Settings,
        spec: SignalSpec,
        workdir: WorkDir,
        champions: ChampionRegistry,
        job_command: Sequence[str] = JOB_COMMAND,
    ) -> None:
        self._settings, self._spec, self._workdir, self._champions = settings, spec, workdir, champions
        self.metrics = SidecarMetrics()
        self._tracing = open_tracing(settings, "trainer")
        traces = RetrainingTraces(self._tracing)
        self._reports = ReportPublisher(settings, traces.headers)
        journal_file = JournalFile(workdir.journal)
        self._requests = RequestConsumer(
            settings, spec.name, journal_file, self._reports, self.metrics, traces.on_request
        )
        self._retrainer = Retrainer(settings, workdir, champions, self._reports, job_command)
        self._drift = self._drift_monitor() if settings.retrain_on_drift else None
        context = context_windows(recipe_of(spec).steps)
        self._store = LabelledStore(workdir.store, StoreLimits.from_settings(settings, context))
        self._ingester = Ingester(settings, spec, self._store, self.metrics, self._drift, self._on_drift)
        self._stopping = asyncio.Event()
        self._failed = False
        self._endpoint = (
            None if settings.retrain_http_port is None else RetrainEndpoint(settings, spec.name, self._reports.request)
        )
        self.health = HealthServer(
            settings.web_host,
            settings.trainer_web_port,
            readiness=self.readiness,
            registry=self.metrics.registry,
            refresh=self._refresh,
        )

    def _drift_monitor(self) -> DriftMonitor:
        # This import is here because only drift detection needs an engine and therefore TensorFlow.
        from training.sidecar.drift.monitor import DriftMonitor, drift_policy

        return DriftMonitor(self._spec, drift_policy(self._settings), self._workdir.drift, self.metrics)

    # The sidecar's own requests -----------------------------------------------------------------------------------

    @property
    def _name(self) -> str:
        return f"trainer {getpass.getuser()}@{socket.gethostname()}"

    async def _on_drift(self, found: str) -> None:
        await self._reports.request(self._request("drift", found))

    def _request(self, reason: RetrainReason, note: str) -> RetrainRequest:
        return RetrainRequest(
            request_id=str(uuid.uuid4()),
            spec=self._spec.name,
            reason=reason,
            by=self._name,
            at=datetime.now(UTC),
            note=note,
        )

    async def _run_schedule(self, expression: str) -> None:
        await run_schedule(
            Schedule(expression),
            self._spec.name,
            self._name,
            self._reports.request,
            on_due=lambda due: self.metrics.next_due.set(due.timestamp()),
        )

    # Retraining ---------------------------------------------------------------------------------------------------

    async def _run_retrainings(self) -> None:
        """Serve the requests, one retraining after another, until cancelled."""
        while True:
            await self._requests.pending.wait()
            try:
                run = self._requests.begin()
            except OSError as error:
                log.error("journal-not-written", error=str(error), then="retried")
                await asyncio.sleep(RETRY_JOURNAL_S)
                continue
            if run is not None:
                with structlog.contextvars.bound_contextvars(run_id=run.run_id):
                    await self._serve(run)

    async def _serve(self, run: Run) -> None:
        """Do the remaining steps of a retraining, each one after the previous one is complete.

        1. Train, evaluate and publish the candidate.
        2. Write the final report to the journal, so that a restarted sidecar repeats nothing of step 1.
        3. Archive the candidate and its report, which the final report names, and clear ``run/``.
        4. Publish the final report.
        5. Remove the retraining from the journal.
        """
        requests, settings = self._requests, self._settings
        final = requests.journal.ended
        if final is None:
            self.metrics.running.set(1)
            try:
                final = await self._retrainer.retrain(run, self._ingester.snapshot)
            finally:
                self.metrics.running.set(0)
            # Include the requests that were merged into this retraining meanwhile.
            served = requests.journal.queue.running or run
            final = final.model_copy(update={"request_ids": served.request_ids})
            requests.end(final)
        if final.model_id is not None:
            promoted = final.state == "promoted"
            keep = settings.keep_promoted if promoted else settings.keep_refused
            self._workdir.archive("promoted" if promoted else "refused", final.model_id, keep)
        self._workdir.clear()
        await self._reports.report(final)
        self.metrics.retrainings.labels(final.state).inc()
        requests.finish()
        if final.state == "promoted":
            await self._refresh_champion(new_reference=True)

    async def _refresh_champion(self, *, new_reference: bool = False) -> None:
        """Read the champion and pass it to drift detection."""
        try:
            champion = await self._champions.current()
        except BrokerError as error:
            log.warning("champion-unknown", error=str(error))
            return
        self.metrics.model.clear()
        if champion is not None:
            self.metrics.model.labels(champion.model_id, self._spec.name).set(1)
        if self._drift is not None:
            drift = self._drift
            await self._ingester.in_thread(lambda: drift.use(champion, new_reference=new_reference))

    async def _follow_champion(self) -> None:
        while True:
            await self._refresh_champion()
            await asyncio.sleep(REFRESH_EVERY_S)

    # Health -------------------------------------------------------------------------------------------------------

    def readiness(self) -> SidecarReadiness:
        """Return the conditions for readiness as they are now."""
        return SidecarReadiness(
            model=True,
            assigned=self._ingester.assigned and self._requests.assigned,
            publishing=not self._reports.waiting,
            failed=self._failed or self._stopping.is_set(),
            store=not self._ingester.failing,
        )

    def _refresh(self) -> None:
        now = datetime.now(UTC)
        self.metrics.ready.set(self.readiness().ready)
        self.metrics.progress.set(self._retrainer.progress)
        for state, at in self._requests.journal.last.items():
            self.metrics.since.labels(state).set((now - at).total_seconds())

    # Lifecycle ----------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Stop ``run`` soon; the next sidecar resumes a running retraining."""
        if not self._stopping.is_set():
            log.info("trainer-stopping")
            self._stopping.set()

    async def run(self) -> int:
        """Run until a signal, a failure or ``stop``; return the exit status."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        cause: BaseException | None = None
        tasks: list[asyncio.Task[None]] = []
        try:
            await self._listen()
            for name, coroutine in self._coroutines().items():
                tasks.append(asyncio.create_task(coroutine, name=name))
            log.info("trainer-started", spec=self._spec.name, folder=str(self._workdir.path))
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
            log.error("trainer-ended", cause=repr(cause), then="restart it; it resumes the running retraining")
            return 1
        log.info("trainer-ended", cause=None)
        return 0

    def _coroutines(self) -> dict[str, Coroutine[Any, Any, None]]:
        coroutines = {
            "ingest": self._ingester.run(),
            "requests": self._requests.consume(),
            "retrain": self._run_retrainings(),
            "champion": self._follow_champion(),
        }
        if self._settings.retrain_schedule is not None:
            coroutines["schedule"] = self._run_schedule(self._settings.retrain_schedule)
        return coroutines

    async def _listen(self) -> None:
        try:
            await self.health.start()
        except WorkerError as error:
            text = str(error).replace("FAULTLINE_WEB_PORT", "FAULTLINE_TRAINER_WEB_PORT")
            raise WorkerError(text) from error
        if self._endpoint is not None:
            await self._endpoint.start()

    async def _shut_down(self, tasks: list[asyncio.Task[None]]) -> None:
        if self._endpoint is not None:
            await self._endpoint.stop()
        self._ingester.stop()
        for task in tasks:
            if task.get_name() != "ingest":
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._drift is not None:
            self._drift.close()
        with contextlib.suppress(Exception):
            self._store.close()
        await self._reports.stop()
        await self.health.stop()
        self._workdir.close()
        if self._tracing is not None:
            self._tracing.close()


def _needed_topics(settings: Settings) -> list[str]:
    """Return the topics that a sidecar reads and writes."""
    return [
        settings.topic_windows,
        *settings.fault_topics,
        settings.topic_labels,
        settings.topic_retrain,
        settings.topic_reports,
        settings.topic_models,
    ]


def run_sidecar(settings: Settings, job_command: Sequence[str] = JOB_COMMAND) -> int:
    """Run a sidecar until it ends; return the exit status.

    Args:
        settings: settings of the sidecar.
        job_command: command of the child process that trains; the folder of the retraining is appended.

    Raises:
        FaultlineError: if the sidecar cannot start.
    """
    configure_logs(settings)
    spec = load_spec(settings.spec)
    check_spec(spec.name)
    if spec.digest != load_spec(spec.name).digest:
        raise TrainingError(
            f"the recipe trains only the shipped spec {spec.name!r}, and FAULTLINE_SPEC is another version of it: set"
            f" FAULTLINE_SPEC={spec.name}"
        )
    recipe_of(spec).require_data(settings.retrain_data, "set FAULTLINE_RETRAIN_DATA to its path")
    champions = ChampionRegistry(settings, spec)
    workdir = WorkDir(settings.trainer_folder)

    async def run() -> int:
        await check_reachable(settings)
        await require_topics(settings, _needed_topics(settings))
        return await Sidecar(settings, spec, workdir, champions, job_command).run()

    return asyncio.run(run())
