"""Run the worker: a Faust agent that passes fetched batches to the pipeline, with readiness and watchdogs."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterable, Sequence
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from model.spec import EpisodePolicy, SignalSpec
from stream.contract import Outgoing
from stream.detection.classify import Classifier
from stream.detection.episodes import EpisodeTracker
from stream.errors import WorkerError
from stream.kafka.clients import client_kwargs, faust_broker_credentials
from stream.kafka.producing.producers import DedicatedProducer
from stream.kafka.producing.publisher import Publisher
from stream.kafka.reading.lag import LagProbe
from stream.kafka.reading.partition import Partition
from stream.settings import Settings
from stream.telemetry.health import HealthServer, Readiness
from stream.telemetry.tracing import open_tracing
from stream.telemetry.watchdog import StopWatchdog, StuckWatchdog, Vitals
from stream.worker.metrics import WorkerMetrics
from stream.worker.model_swap import ModelSwap
from stream.worker.pipeline import Pipeline, Publishers
from stream.worker.shadow import Shadow
from stream.worker.state_store import LineStates, TopicStateReader
from stream.worker.transport import BatchApp, BatchSchema

log = structlog.get_logger(__name__)


def episode_policy(spec: SignalSpec, settings: Settings) -> EpisodePolicy:
    """Return the spec's episode policy with the overrides of the settings.

    Raises:
        WorkerError: the policy requires more faulty windows than it considers.
    """
    overrides = {
        "confirm": settings.episode_confirm,
        "of": settings.episode_of,
        "clear": settings.episode_clear,
    }
    merged = {
        **spec.episode.model_dump(),
        **{name: value for name, value in overrides.items() if value is not None},
    }
    if merged["confirm"] > merged["of"]:
        raise WorkerError(
            f"cannot confirm {merged['confirm']} of {merged['of']} windows: "
            "set FAULTLINE_EPISODE_CONFIRM and FAULTLINE_EPISODE_OF so that m ≤ n"
        )
    return EpisodePolicy(**merged)


class Worker:
    """One worker process.

    Args:
        settings: settings of the worker.
        spec: signal spec of the windows.
        engine: verified, compiled and warmed-up engine.
        models: model swap that chose ``engine`` and follows the topic ``models``; None never swaps the engine.
    """

    def __init__(
        self, settings: Settings, spec: SignalSpec, engine: Classifier, models: ModelSwap | None = None
    ) -> None:
        self.settings = settings
        self._models = models
        self.metrics = WorkerMetrics() if models is None else models.metrics
        self.metrics.model.labels(engine.model_id, spec.name).set(1)
        self._assigned: set[Partition] | None = None
        self._stopping = asyncio.Event()
        self._started = False
        self.app = BatchApp(
            settings,
            drain=self._drain,
            on_new_assignment=self._on_new_assignment,
            broker_credentials=faust_broker_credentials(settings),
        )
        self._dedicated_producers: list[DedicatedProducer] = []
        self._publishers = Publishers(
            events=Publisher(
                lambda: self.app.producer, renew=lambda: self.app.renew_producer(), **self._publisher_options()
            ),
            dead_letters=self._dedicated_publisher(),
            line_states=self._dedicated_publisher(),
        )
        self._shadow_producer = self.app.dedicated_producer()
        self._shadow = Shadow(
            spec,
            self.metrics,
            topic=settings.topic_window_classes if settings.window_classes else None,
            publish=self._publish_shadow,
        )
        self._state_reader = TopicStateReader(settings)
        self._tracing = open_tracing(settings, "worker")
        self._states = LineStates(
            self._state_reader, settings.group, spec=spec, max_lines=settings.max_lines_per_partition
        )
        self.pipeline = Pipeline(
            settings,
            engine=engine,
            tracker=EpisodeTracker(spec, episode_policy(spec, settings)),
            publishers=self._publishers,
            states=self._states,
            ledger=self.app.ledger,
            metrics=self.metrics,
            shadow=self._shadow,
            tracing=self._tracing,
        )
        self._lag = LagProbe(self._groupless_consumer, settings.offset_reset)
        self.health = HealthServer(
            settings.web_host,
            settings.web_port,
            readiness=self.readiness,
            registry=self.metrics.registry,
            refresh=self._refresh_metrics,
        )
        self._add_agent()

    def _publisher_options(self) -> dict[str, Any]:
        return {
            "retry_s": self.settings.publish_retry_s,
            "timeout_s": self.settings.publish_timeout_s,
            "on_degraded": lambda _: self.metrics.publish_waiting.set(self._publishers.waiting),
        }

    def _dedicated_publisher(self) -> Publisher:
        """Return a publisher with its own producer."""
        producer = self.app.dedicated_producer()
        self._dedicated_producers.append(producer)
        return Publisher(lambda: producer, renew=producer.renew, **self._publisher_options())

    async def _publish_shadow(self, records: Sequence[Outgoing]) -> None:
        """Publish once, without retries, on the shadow's own producer.

        The classes of a shadow may be incomplete; its failures must not delay the events.
        """
        try:
            async with asyncio.timeout(self.settings.publish_timeout_s):
                sent = [
                    await self._shadow_producer.send(one.topic, one.key, one.value, one.partition, None, one.headers)
                    for one in records
                ]
                await asyncio.gather(*sent)
        except (KafkaError, TimeoutError):
            # aiokafka counts a record that it gave up on as sent, see Publisher.
            await self._shadow_producer.stop()
            raise

    def _add_agent(self) -> None:
        topic = self.app.topic(self.settings.topic_windows, schema=BatchSchema())

        @self.app.agent(topic, name="detect")  # type: ignore[untyped-decorator]
        async def detect(batches: Any) -> None:
            # noack: the pipeline acknowledges batches itself, after the broker has confirmed their events.
            async for batch in batches.noack():
                await self.pipeline.submit(batch)

    def _groupless_consumer(self) -> AIOKafkaConsumer:
        return AIOKafkaConsumer(
            **client_kwargs(self.settings),
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            # Short: other requests to the same broker wait behind a fetch.
            fetch_max_wait_ms=20,
        )

    # Assignment ---------------------------------------------------------------------------------------------------

    def _on_new_assignment(self, partitions: Iterable[Partition]) -> None:
        self._assigned = set(partitions)
        self._states.forget()
        self.metrics.partitions.set(len(self._assigned))
        log.info("partitions-assigned", partitions=sorted(p.partition for p in self._assigned))

    async def _drain(self) -> None:
        """Complete the batches in flight, within the time that the group allows for a rebalance."""
        try:
            async with asyncio.timeout(self.settings.rebalance_timeout_s * 0.8):
                await self.pipeline.drain()
        except TimeoutError:
            log.warning("drain-timed-out", then="the next owner of the partitions repeats the unfinished batches")

    # Health -------------------------------------------------------------------------------------------------------

    def readiness(self) -> Readiness:
        """Return the conditions of readiness: the worker is ready if windows sent now would be classified."""
        return Readiness(
            model=True,
            assigned=self._started and self._assigned is not None and not self.app.rebalancing,
            publishing=self._publishers.waiting == 0,
            failed=self.pipeline.failure.done() or self._stopping.is_set(),
        )

    def _refresh_metrics(self) -> None:
        self.metrics.ready.set(self.readiness().ready)
        self.metrics.lag.set(self._lag.lag)

    def _vitals(self) -> Vitals:
        excused = (
            not self._started
            or self._stopping.is_set()
            or self._assigned is None
            or bool(self.app.rebalancing)
            or self._publishers.waiting > 0
            or not self._lag.reachable
        )
        return Vitals(self.pipeline.progress, self._lag.lag, excused)

    def _positions(self) -> dict[Partition, int | None]:
        position, initial = self.app.ledger.position, self.app.initial_offset
        return {
            partition: initial(partition) if (known := position(partition)) is None else known
            for partition in self._assigned or ()
        }

    # Lifecycle ----------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Begin to stop: fetching ends, and the batches in flight are completed and committed."""
        if not self._stopping.is_set():
            log.info("worker-stopping")
            self._stopping.set()

    async def run(self) -> int:
        """Run until a signal, a failure or ``stop``; return the exit status."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        stuck = StuckWatchdog(self._vitals, self.settings.stuck_timeout_s)
        await self.health.start()
        self.pipeline.start()
        stuck.start()
        lag = asyncio.create_task(self._lag.run(self._positions), name="lag-probe")
        following = asyncio.create_task(self._follow_models(), name="models")
        try:
            await self.app.start()
            self._started = True
            log.info("worker-started", group=self.settings.group, broker=self.settings.broker)
            cause = await self._until_stopped(following)
        finally:
            self._stopping.set()
            stop_watchdog = StopWatchdog(self.settings.shutdown_timeout_s)
            stop_watchdog.start()
            await self._shut_down(lag, following)
            stuck.stop()
            stop_watchdog.stop()
        if cause is not None:
            log.error("worker-ended", cause=repr(cause), then="restart the worker; uncommitted records are repeated")
            return 1
        log.info("worker-ended", cause=None)
        return 0

    async def _follow_models(self) -> None:
        if self._models is None:
            await self._stopping.wait()
        else:
            await self._models.follow(self.pipeline, self._shadow)

    async def _until_stopped(self, following: asyncio.Task[None]) -> BaseException | None:
        """Wait for the end; return the cause of a failure, or None for an ordinary stop."""
        stop = asyncio.ensure_future(self._stopping.wait())
        crash = asyncio.ensure_future(self.app._crashed.wait())
        waits: set[asyncio.Future[Any]] = {stop, crash, following, self.pipeline.failure}
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        crash.cancel()
        if self.pipeline.failure.done():
            return self.pipeline.failure.result()
        if following.done() and not self._stopping.is_set():
            return following.exception() or WorkerError("the worker no longer follows the topic models")
        if self.app.crashed:
            return self.app.crash_reason or WorkerError("Faust crashed without a reason")
        return None

    async def _shut_down(self, *tasks: asyncio.Task[None]) -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # Faust stops fetching, awaits ``_drain``, commits and leaves the group.
        await self.app.stop()
        await self.pipeline.stop()
        await self._shadow.close()
        for producer in self._dedicated_producers:
            await producer.stop()
        await self._shadow_producer.stop()
        await self._lag.close()
        await self._state_reader.close()
        await self.health.stop()
        if self._tracing is not None:
            self._tracing.close()
