"""What travels through the pipeline's stages together, and the account of it once it is acknowledged."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import numpy as np
import structlog
from numpy.typing import NDArray

from stream.contract import FaultEvent
from stream.detection.decode import DeadRecord, DecodedBatch, IncomingRecord
from stream.kafka.publisher import Outgoing, Sent
from stream.telemetry.tracing import BatchTrace
from stream.worker.metrics import WorkerMetrics
from stream.worker.offsets import FetchedBatch

log = structlog.get_logger(__name__)

_UNTRACED = nullcontext()


@dataclass(slots=True)
class MicroBatch:
    """What travels through the stages together, judged by one model."""

    fetched: list[FetchedBatch] = field(default_factory=list)
    decoded: list[DecodedBatch] = field(default_factory=list)
    windows: int = 0
    records: int = 0
    model_id: str = ""
    probabilities: list[NDArray[np.float32]] = field(default_factory=list)
    outgoing: list[Outgoing] = field(default_factory=list)
    sent: list[Sent | None] = field(default_factory=list)
    events: list[tuple[FaultEvent, int]] = field(default_factory=list)
    """Events with the timestamp (ms) of the record that completed them."""
    states: list[Outgoing] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    """Windows by what became of them."""
    dead: list[DeadRecord] = field(default_factory=list)
    """Those of the records that were still ours to judge."""
    trace: BatchTrace | None = None
    """None with tracing off."""

    def stage(self, name: str) -> AbstractContextManager[None]:
        """Around what a stage does, for its span."""
        return _UNTRACED if self.trace is None else self.trace.stage(name)

    def gathered(self) -> MicroBatch:
        """The batch itself, once it is closed."""
        if self.trace is not None:
            self.trace.gathered(self.decoded, waited_s=time.monotonic() - self.fetched[0].arrived_s)
        return self

    def send(self, outgoing: list[Outgoing], record: IncomingRecord) -> None:
        """Have what came of ``record`` published."""
        self.outgoing += outgoing if self.trace is None else self.trace.carried(outgoing, record)


def tell(batch: MicroBatch, metrics: WorkerMetrics) -> None:
    """Count and log the events and dead letters of a micro-batch, which the broker has confirmed."""
    now_ms = time.time() * 1000
    for event, timestamp_ms in batch.events:
        metrics.events.labels(event.fault_type, event.state).inc()
        metrics.window_to_event_seconds.observe(max(0.0, now_ms - timestamp_ms) / 1000)
        log.info(
            "fault-event",
            state=event.state,
            line=event.line,
            fault=event.fault_class,
            confidence=round(event.confidence, 3),
            event_id=event.event_id,
            episode_id=event.episode_id,
            sequence=event.sequence,
            source_partition=event.source.partition,
            source_offset=event.source.offset,
            model_id=event.model_id,
            **({} if batch.trace is None else batch.trace.ids(event.source.partition, event.source.offset)),
        )
    if batch.dead:
        # One line however many they are: a gateway gone wrong must not fill the disk.
        reasons = Counter(dead.reason for dead in batch.dead)
        for reason, times in reasons.items():
            metrics.dead_letters.labels(reason).inc(times)
        first = batch.dead[0]
        log.warning(
            "dead-letters",
            count=len(batch.dead),
            reasons=dict(reasons),
            first=first.message[:200],
            first_partition=first.record.partition,
            first_offset=first.record.offset,
        )
    metrics.batch_seconds.observe(time.monotonic() - min(fetched.arrived_s for fetched in batch.fetched))


def count(batch: MicroBatch, metrics: WorkerMetrics, *, records: int) -> None:
    """Count a micro-batch that is through, ``records`` of it acknowledged."""
    for outcome, windows in batch.outcomes.items():
        metrics.windows.labels(outcome).inc(windows)
    metrics.records.inc(records)
    if batch.trace is not None:
        batch.trace.end(batch.model_id)
