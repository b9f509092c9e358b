"""Reads windows, events and verdicts into the store, and has drift looked for on the way.

Offsets are committed only after the store has written what they stand for. Whatever is read twice is kept once.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import structlog
from aiokafka import AIOKafkaConsumer
from pydantic import ValidationError

from model.errors import FaultlineError
from model.spec import SignalSpec
from stream.contract import FaultEvent, WindowLabel
from stream.detection.decode import NS, DecodedBatch, decode_batch
from stream.kafka.catalogue import FAULT_TYPES
from stream.kafka.clients import consumer_kwargs
from stream.settings import Settings
from stream.subscribe import decode_event
from training.errors import StoreError, TrainingError
from training.sidecar.metrics import TrainerMetrics
from training.sidecar.requests.consumer import commit
from training.sidecar.store.labels import covered
from training.sidecar.store.limits import DAY_S, MIB, Limits
from training.sidecar.store.store import LabelledStore

log = structlog.get_logger(__name__)

POLL_MS = 500
# A flush is a few files and their syncs: rarely enough to cost nothing, often enough that a restart repeats little.
FLUSH_EVERY_S = 5.0
FLUSH_WINDOWS = 8192


class Watch(Protocol):
    """What looks for drift: ``training.sidecar.drift.monitor``."""

    def look(self, batch: DecodedBatch) -> str | None:
        """Return what was found, in words."""

    def save(self) -> None:
        """Keep the state for a restart."""


def store_limits(settings: Settings) -> Limits:
    """The store's bounds by the settings."""
    return Limits(
        kept_bytes=settings.store_labelled_mb * MIB,
        kept_s=settings.store_labelled_days * DAY_S,
        marked_bytes=settings.store_event_mb * MIB,
        marked_s=settings.store_event_days * DAY_S,
        ring_bytes=settings.store_waiting_mb * MIB,
        ring_s=settings.store_waiting_hours * 3600,
    )


class Gatherer:
    """Feeds the store, in a thread of its own, so that heartbeats go on.

    Args:
        settings: ours.
        spec: windows of others are passed over.
        store: of the field's windows.
        metrics: counted here.
        watch: looks for drift; None looks for none.
        on_drift: told what was found, in words.
    """

    def __init__(
        self,
        settings: Settings,
        spec: SignalSpec,
        store: LabelledStore,
        metrics: TrainerMetrics,
        watch: Watch | None,
        on_drift: Callable[[str], Awaitable[None]],
    ) -> None:
        self._settings, self._spec, self._store, self._metrics = settings, spec, store, metrics
        self._watch, self._on_drift = watch, on_drift
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._stopping = asyncio.Event()
        self._fresh = 0
        self.assigned = False
        self.failing = False
        """Whether the store cannot be written."""

    async def in_thread(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """Run ``work`` in the store's thread, between two fetches."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)

    async def snapshot(self, folder: Path) -> None:
        """Have the labelled windows as they are now in another folder.

        Raises:
            StoreError: it cannot be written.
        """
        await self.in_thread(self._store.snapshot, folder)

    async def refresh_metrics(self) -> None:
        """Count what is in the store."""
        for part in await self.in_thread(self._store.summary):
            if part.spec == self._spec.name:
                labelled = part.windows.get("kept", 0)
                self._metrics.store_windows.labels("true").set(labelled)
                self._metrics.store_windows.labels("false").set(sum(part.windows.values()) - labelled)
                self._metrics.store_bytes.set(sum(part.bytes.values()))

    def stop(self) -> None:
        """Begin to stop: what was read is written and committed."""
        self._stopping.set()

    async def run(self) -> None:
        """Gather until ``stop``."""
        settings = self._settings
        faults = [settings.topic_faults(kind) for kind in FAULT_TYPES]
        consumer = AIOKafkaConsumer(
            settings.topic_windows,
            settings.topic_labels,
            *faults,
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
                if self._fresh and (self._fresh >= FLUSH_WINDOWS or time.monotonic() - flushed_s >= FLUSH_EVERY_S):
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
        """Write what is new; a disk that takes nothing is waited for, and meanwhile nothing is read or committed."""
        while not await self._try_flush():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.publish_retry_s):
                    await self._stopping.wait()
                    return

    async def _try_flush(self) -> bool:
        try:
            await self.in_thread(self._store.flush)
            if self._watch is not None:
                await self.in_thread(self._watch.save)
        except StoreError as error:
            log.error("store-not-written", error=str(error), then="tried again; nothing is committed meanwhile")
            self.failing = True
        else:
            self._fresh, self.failing = 0, False
        self._metrics.store_trouble.set(self.failing)
        return not self.failing

    # One fetch ----------------------------------------------------------------------------------------------------

    def take(self, fetched: Mapping[Any, Sequence[Any]]) -> str | None:
        """Put records into the store: windows, then events, then verdicts on them. Returns drift that was found."""
        by_topic: dict[str, list[Any]] = {}
        for partition, records in fetched.items():
            by_topic.setdefault(partition.topic, []).extend(records)
        windows = by_topic.pop(self._settings.topic_windows, [])
        labels = by_topic.pop(self._settings.topic_labels, [])
        found = self._take_windows(windows) if windows else None
        for record in (record for records in by_topic.values() for record in records):
            self._take_event(decode_event(record.value))
        for record in labels:
            self._take_label(record.value)
        self._fresh += 1  # offsets to commit, whatever became of the records
        return found

    def _take_windows(self, records: Sequence[Any]) -> str | None:
        spec, metrics = self._spec, self._metrics
        batch = decode_batch(records, spec, max_bytes=self._settings.max_message_bytes)
        metrics.skipped.inc(len(batch.dead))  # the worker tells why
        for entry in batch.records:
            number = np.arange(entry.count, dtype=np.int64)
            start_ns = entry.start_ns + np.round(number * (spec.hop * NS / entry.rate_hz)).astype(np.int64)
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
                # They wait in memory; the flush says so and waits.
                self.failing = True
            metrics.windows.labels(str(entry.labels is not None).lower()).inc(entry.count)
        self._fresh += len(batch.windows)
        return None if self._watch is None or not batch.records else self._watch.look(batch)

    def _take_event(self, event: FaultEvent | None) -> None:
        """Keep the windows of an event for longer: somebody may have something to say about it."""
        spec = self._spec
        if event is None or event.spec != spec.name or event.state == "update":
            return
        end_ns = event.detection_ns + 1
        if event.duration_s is not None:
            end_ns = max(event.inception_ns + round(event.duration_s * NS), event.inception_ns + 1)
        try:
            first_ns, last_ns = covered(event.inception_ns, end_ns, spec, spec.rate_hz, fault=False)
            self._store.mark(event.line, spec, first_ns, last_ns)
        except StoreError:
            self.failing = True
        except FaultlineError as error:
            log.warning("event-passed-over", event_id=event.event_id, error=str(error))

    def _take_label(self, value: bytes | None) -> None:
        try:
            label = WindowLabel.model_validate_json(value or b"")
        except ValidationError as error:
            log.warning("label-not-understood", error=str(error.errors(include_input=False)[0]["msg"]))
            self._metrics.skipped.inc()
            return
        if label.spec != self._spec.name:
            self._metrics.skipped.inc()
            return
        while not self._stopping.is_set():
            try:
                done = self._store.apply(label)
            except StoreError as error:
                log.error("label-not-written", error=str(error), then="tried again")
                time.sleep(self._settings.publish_retry_s)  # in the store's thread
                continue
            except TrainingError as error:
                log.warning("label-passed-over", label_id=label.label_id, error=str(error))
                self._metrics.skipped.inc()
                return
            log.info(
                "label-applied",
                label_id=label.label_id,
                event_id=label.event_id,
                line=label.line,
                by=label.by,
                windows=done.windows,
            )
            self._metrics.labels.inc()
            return
