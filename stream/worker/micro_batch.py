"""Define a micro-batch in four forms, one per pipeline stage; each form has only the fields that are valid there.

``MicroBatch`` (gathered, decoded) → ``ClassifiedBatch`` → ``TrackedBatch`` → ``PublishedBatch``, which the broker
confirms. The confirmed batch is the ``TrackedBatch`` again, since confirmation adds nothing to it. Each form drops the
fields that no later stage reads, so no windows and no probabilities are in memory while a batch waits for the broker.

The forms other than ``TrackedBatch`` are named tuples: creating a frozen dataclass takes 1 µs longer, for every
micro-batch of one record.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import structlog
from numpy.typing import NDArray

from stream.contract import FaultEvent, Outgoing
from stream.detection.decode import DeadRecord, DecodedBatch, IncomingRecord
from stream.detection.following import Memories
from stream.detection.order import Ordered
from stream.kafka.producing.publisher import Sent
from stream.telemetry.tracing import BatchTrace
from stream.worker.metrics import WorkerMetrics
from stream.worker.offsets import FetchedBatch
from stream.worker.state_store import PartitionStates, UnwrittenStates

log = structlog.get_logger(__name__)

_UNTRACED = nullcontext()


def stage_span(trace: BatchTrace | None, name: str) -> AbstractContextManager[None]:
    """Return the context manager that times a stage for its span; it does nothing with tracing off."""
    return _UNTRACED if trace is None else trace.stage(name)


class MicroBatch(NamedTuple):
    """Fetched batches that pass the stages together and are classified by one model.

    Attributes:
        fetched: the fetched batches.
        decoded: the windows of each of them, in the same order.
        windows: the number of windows.
        trace: None with tracing off.
    """

    fetched: Sequence[FetchedBatch]
    decoded: Sequence[DecodedBatch]
    windows: int
    trace: BatchTrace | None = None


class ClassifiedPart(NamedTuple):
    """One fetched batch with the model's answers.

    Attributes:
        fetched: the fetched batch.
        decoded: its windows.
        states: states of the partition's lines, under the assignment for which it was classified.
        ordered: the order of its windows.
        probabilities: float32 (n, classes), calibrated, after rejection.
        memories: the model's memories after it.
    """

    fetched: FetchedBatch
    decoded: DecodedBatch
    states: PartitionStates
    ordered: Ordered
    probabilities: NDArray[np.float32]
    memories: Memories


class ClassifiedBatch(NamedTuple):
    """A micro-batch with the model's answers.

    Attributes:
        batch: the micro-batch.
        model_id: the model that classified it.
        parts: the fetched batches that still belonged to this worker before the engine's call.
        outcomes: number of windows without a usable answer, by reason; the tracking stage adds its own.
    """

    batch: MicroBatch
    model_id: str
    parts: Sequence[ClassifiedPart]
    outcomes: Counter[str]


@dataclass(slots=True)
class TrackedBatch:
    """All results of a micro-batch. The tracking stage fills it; no later stage changes it.

    Attributes:
        fetched: the fetched batches, for acknowledgement.
        model_id: the model that classified them.
        outcomes: number of windows by outcome.
        trace: None with tracing off.
        outgoing: events and window classes to publish.
        events: events with the timestamp (ms) of the record that completed them.
        dead: dead records of the partitions that were still assigned to this worker.
        states: line states that are not yet written, by partition.
    """

    fetched: Sequence[FetchedBatch]
    model_id: str
    outcomes: Counter[str]
    trace: BatchTrace | None = None
    outgoing: list[Outgoing] = field(default_factory=list)
    events: list[tuple[FaultEvent, int]] = field(default_factory=list)
    dead: list[DeadRecord] = field(default_factory=list)
    states: dict[int, UnwrittenStates] = field(default_factory=dict)

    @property
    def windows(self) -> int:
        """Return the number of windows whose results are in this batch."""
        return self.outcomes["judged"] + self.outcomes["repeated"] + self.outcomes["late"]

    def add_outgoing(self, outgoing: list[Outgoing], record: IncomingRecord) -> None:
        """Add records to publish that result from ``record``; they continue its trace."""
        self.outgoing += outgoing if self.trace is None else self.trace.carried(outgoing, record)


class PublishedBatch(NamedTuple):
    """A tracked batch whose outgoing records are buffered by the producer and not yet confirmed.

    Attributes:
        batch: the tracked batch.
        sent: the pending acknowledgement of each outgoing record, in the same order, see ``Publisher.send``.
    """

    batch: TrackedBatch
    sent: Sequence[Sent | None]


def record_published(batch: TrackedBatch, metrics: WorkerMetrics) -> None:
    """Count and log the events and dead letters of a micro-batch; the broker has confirmed them."""
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
        # One log line for all of them, so that a misconfigured gateway does not fill the disk.
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


def record_acknowledged(batch: TrackedBatch, metrics: WorkerMetrics, *, records: int) -> None:
    """Count a micro-batch that has left the pipeline with ``records`` records acknowledged, and end its trace."""
    for outcome, windows in batch.outcomes.items():
        metrics.windows.labels(outcome).inc(windows)
    metrics.records.inc(records)
    if batch.trace is not None:
        batch.trace.end(batch.model_id)
