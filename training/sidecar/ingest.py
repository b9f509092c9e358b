"""Read windows, events and labels from their topics into the store, and pass the windows to drift detection.

Offsets are committed only after the store has written their records. A record that is read twice is stored once.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import structlog
from aiokafka import AIOKafkaConsumer
from pydantic import ValidationError

from model.errors import FaultlineError
from model.spec import SignalSpec
from stream.contract import NS_PER_S, FaultEvent, WindowLabel, is_simulated
from stream.detection.decode import decode_batch
from stream.detection.events import decode_event
from stream.kafka.clients import consumer_kwargs
from stream.settings import Settings
from training.errors import StoreError, TrainingError
from training.sidecar.metrics import SidecarMetrics
from training.sidecar.requests.consumer import commit
from training.sidecar.store.labels import covered_starts
from training.sidecar.store.store import LabelledStore

if TYPE_CHECKING:
    from training.sidecar.drift.monitor import DriftMonitor  # imports TensorFlow

log = structlog.get_logger(__name__)

POLL_MS = 500
# Interval of the flushes. A flush is one synced transaction; at this interval its cost is negligible, and a restart
# repeats few records.
FLUSH_EVERY_S = 5.0
FLUSH_WINDOWS = 8192


class Ingester:
    """Consumer that fills the store, in a separate thread so that heartbeats continue.

    Args:
        settings: broker, topics, consumer group.
        spec: spec of the windows to store; windows of other specs are skipped.
        store: the store.
        metrics: counts windows, labels and skipped records.
        drift: detects drift; None if drift detection is off.
        on_drift: called with the description of a drift.
    """

    def __init__(
        self,
        settings: Settings,
        spec: SignalSpec,
        store: LabelledStore,
        metrics: SidecarMetrics,
        drift: DriftMonitor | None,
        on_drift: Callable[[str], Awaitable[None]],
    ) -> None:
        self._settings, self._spec, self._store, self._metrics = settings, spec, store, metrics
        self._drift, self._on_drift = drift, on_drift
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._stopping = asyncio.Event()
        self._unwritten = 0
        self._simulated = False
        """True once a record of simulated windows was left out."""
        self.assigned = False
        self.failing = False
        """True while the store cannot be written."""

    async def in_thread(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """Run ``work`` in the store's thread between two fetches, and return its result."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)

    async def snapshot(self, folder: Path) -> None:
        """Copy the current labelled windows to another folder.

        Raises:
            StoreError: if they cannot be written.
        """
        await self.in_thread(self._store.snapshot, folder)

    async def refresh_metrics(self) -> None:
        """Set the metrics of the store."""
        for part in await self.in_thread(self._store.summary):
            if part.spec == self._spec.name:
                labelled = part.windows["labelled"]
                self._metrics.store_windows.labels("true").set(labelled)
                unlabelled = part.context + sum(part.windows.values()) - labelled
                self._metrics.store_windows.labels("false").set(unlabelled)
                self._metrics.store_bytes.set(sum(part.bytes.values()))

    def stop(self) -> None:
        """Stop ``run`` soon; it writes and commits the records that it has read."""
        self._stopping.set()

    async def run(self) -> None:
        """Read and store records until ``stop`` is called."""
        settings = self._settings
        consumer = AIOKafkaConsumer(
            settings.topic_windows,
            settings.topic_labels,
            *settings.fault_topics,
            **consumer_kwargs(settings, group=settings.trainer_group),
        )
        await consumer.start()
        try:
            await self.refresh_metrics()
            flushed_s = time.monotonic()
            while not self._stopping.is_set():
                fetched = await consumer.getmany(timeout_ms=POLL_MS)
                self.assigned = bool(consumer.assignment())
                if fetched:
                    found = await self.in_thread(self.take, fetched)
                    if found is not None:
                        await self._on_drift(found)
                if self._unwritten and (
                    self._unwritten >= FLUSH_WINDOWS or time.monotonic() - flushed_s >= FLUSH_EVERY_S
                ):
                    await self._flush()
                    if not self.failing:
                        await commit(consumer)
                        await self.refresh_metrics()
                    flushed_s = time.monotonic()
            if await self._try_flush():
                await commit(consumer)
        finally:
            await consumer.stop()
            self._thread.shutdown(wait=True)

    async def _flush(self) -> None:
        """Write the new windows; while the disk is full, wait, without reading or committing records."""
        while not await self._try_flush():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.publish_retry_s):
                    await self._stopping.wait()
                    return

    async def _try_flush(self) -> bool:
        try:
            await self.in_thread(self._store.flush)
            if self._drift is not None:
                await self.in_thread(self._drift.save)
        except StoreError as error:
            log.error("store-not-written", error=str(error), then="retried; no offset is committed meanwhile")
            self.failing = True
        else:
            self._unwritten, self.failing = 0, False
        self._metrics.store_failing.set(self.failing)
        return not self.failing

    # One fetch ----------------------------------------------------------------------------------------------------

    def take(self, fetched: Mapping[Any, Sequence[Any]]) -> str | None:
        """Store windows, then events, then labels; return the description of a drift, None if there is none."""
        by_topic: dict[str, list[Any]] = {}
        for partition, records in fetched.items():
            by_topic.setdefault(partition.topic, []).extend(records)
        windows = by_topic.pop(self._settings.topic_windows, [])
        labels = by_topic.pop(self._settings.topic_labels, [])
        found = self._take_windows(windows) if windows else None
        for record in (record for records in by_topic.values() for record in records):
            if not self._left_out(record):
                self._take_event(decode_event(record.value))
        for record in labels:
            self._take_label(record.value)
        self._unwritten += 1  # there are offsets to commit even if all records were skipped
        return found

    def _take_windows(self, records: Sequence[Any]) -> str | None:
        spec, metrics = self._spec, self._metrics
        batch = decode_batch(records, spec, max_bytes=self._settings.max_message_bytes)
        metrics.skipped.inc(len(batch.dead))  # the worker publishes the reasons as dead letters
        for entry in batch.records:
            if self._left_out(entry.record):
                metrics.simulated.inc(entry.count)
                continue
            number = np.arange(entry.count, dtype=np.int64)
            start_ns = entry.start_ns + np.round(number * (spec.hop * NS_PER_S / entry.rate_hz)).astype(np.int64)
            part = batch.windows[entry.first : entry.first + entry.count]
            try:
                self._store.add(
                    entry.line,
                    spec,
                    start_ns,
                    entry.sequence + number,
                    part,
                    entry.labels,
                    self._settings.topic_windows,
                )
            except StoreError:
                # The windows stay in memory; the next flush logs the error and waits.
                self.failing = True
            metrics.windows.labels(str(entry.labels is not None).lower()).inc(entry.count)
        self._unwritten += len(batch.windows)
        return None if self._drift is None or not batch.records else self._drift.check(batch)

    def _left_out(self, record: Any) -> bool:
        """Return True for a record of simulated windows, which are not stored; log it once."""
        if self._settings.store_simulated or not is_simulated(record.headers):
            return False
        if not self._simulated:
            self._simulated = True
            log.info("simulated-windows-not-stored", topic=record.topic, advice="FAULTLINE_STORE_SIMULATED=true does")
        return True

    def _take_event(self, event: FaultEvent | None) -> None:
        """Keep the windows of an event for longer, since an operator may label the event."""
        spec = self._spec
        if event is None or event.spec != spec.name or event.state == "update":
            return
        end_ns = event.detection_ns + 1
        if event.duration_s is not None:
            end_ns = max(event.inception_ns + round(event.duration_s * NS_PER_S), event.inception_ns + 1)
        try:
            first_ns, last_ns = covered_starts(event.inception_ns, end_ns, spec, spec.rate_hz, fault=False)
            self._store.keep_near_event(event.line, spec, first_ns, last_ns)
        except StoreError:
            self.failing = True
        except FaultlineError as error:
            log.warning("event-skipped", event_id=event.event_id, error=str(error))

    def _take_label(self, value: bytes | None) -> None:
        try:
            label = WindowLabel.model_validate_json(value or b"")
        except ValidationError as error:
            log.warning("label-invalid", error=str(error.errors(include_input=False)[0]["msg"]))
            self._metrics.skipped.inc()
            return
        if label.spec != self._spec.name:
            self._metrics.skipped.inc()
            return
        while not self._stopping.is_set():
            try:
                result = self._store.apply(label)
            except StoreError as error:
                log.error("label-not-written", error=str(error), then="retried")
                time.sleep(self._settings.publish_retry_s)  # in the store's thread
                continue
            except TrainingError as error:
                log.warning("label-skipped", label_id=label.label_id, error=str(error))
                self._metrics.skipped.inc()
                return
            log.info(
                "label-applied",
                label_id=label.label_id,
                event_id=label.event_id,
                line=label.line,
                by=label.by,
                windows=result.windows,
            )
            self._metrics.labels.inc()
            return
