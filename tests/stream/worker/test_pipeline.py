"""The pipeline: the order of acknowledgement, and the failures before it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import numpy as np
import pytest
import structlog
from aiokafka.errors import KafkaTimeoutError
from numpy.typing import NDArray

from faultline.testing import FakeClassifier
from model.spec import SignalSpec, load_spec
from stream.contract import is_simulated
from stream.detection.episodes import EpisodeTracker
from stream.detection.line_state import decode_state
from stream.kafka.producing.publisher import Publisher
from stream.kafka.reading.partition import Partition
from stream.settings import Settings
from stream.telemetry.tracing import Tracing
from stream.windowing import SIMULATED_HEADERS
from stream.worker.metrics import WorkerMetrics
from stream.worker.offsets import FetchedBatch, OffsetLedger
from stream.worker.pipeline import Pipeline, Publishers
from stream.worker.state_store import LineStates
from tests.stream.doubles import (
    NumberlessClassifier,
    PromptBroker,
    RaisingClassifier,
    RefusingBroker,
    SilentBroker,
    marked_record,
    record,
    settle,
    until,
)

SPEC = load_spec("line")
AG = SPEC.class_index("AG")
ZERO, ONE = Partition("sensor-windows", 0), Partition("sensor-windows", 1)
ONSET = [AG, AG, AG]


class NoStates:
    """A state topic that holds nothing; ``ready`` delays its answer."""

    def __init__(self) -> None:
        self.reads = 0
        self.ready = asyncio.Event()
        self.ready.set()

    async def read(self, partition: int) -> list[tuple[bytes, bytes | None]]:
        self.reads += 1
        await self.ready.wait()
        return []


class WatchedLedger(OffsetLedger):
    """A real ledger that notes, at every acknowledgement, the topics whose records the broker has acknowledged."""

    def __init__(self, broker: PromptBroker) -> None:
        super().__init__()
        self.broker = broker
        self.acknowledged: list[tuple[int, list[str]]] = []

    def acknowledge(self, batch: FetchedBatch) -> bool:
        self.acknowledged.append((batch.first, [sent.topic for sent in self.broker.confirmed()]))
        return super().acknowledge(batch)


class Rig:
    """A pipeline between a real ledger and a given broker."""

    def __init__(
        self,
        broker: PromptBroker,
        engine: Any,
        settings: Settings,
        spec: SignalSpec,
        tracing: Tracing | None = None,
    ) -> None:
        self.broker = broker
        self.ledger = WatchedLedger(broker)
        self.acknowledged = self.ledger.acknowledged
        self.reader = NoStates()
        self.states = LineStates(self.reader, "faultline", spec=spec)
        self.metrics = WorkerMetrics()
        self.pipeline = Pipeline(
            settings,
            engine=engine,
            tracker=EpisodeTracker(spec),
            publishers=Publishers(
                events=Publisher(lambda: broker, retry_s=0.0),
                dead_letters=Publisher(lambda: broker, retry_s=0.0),
                line_states=Publisher(lambda: broker, retry_s=0.0),
            ),
            states=self.states,
            ledger=self.ledger,
            metrics=self.metrics,
            tracing=tracing,
        )

    def fetched(
        self, *records: Any, partition: Partition = ZERO, arrived_s: float | None = None, last: bool = True
    ) -> FetchedBatch:
        arrived_s = time.monotonic() if arrived_s is None else arrived_s
        batch = FetchedBatch(partition, list(records), arrived_s, last=last)
        self.ledger.hand_out(batch)
        return batch

    async def submit(self, *records: Any, **options: Any) -> FetchedBatch:
        batch = self.fetched(*records, **options)
        await self.pipeline.submit(batch)
        return batch

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(sent.value or b"") for sent in self.broker.sent if sent.topic.startswith("faults.")]

    def counted(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


@asynccontextmanager
async def rig(
    broker: PromptBroker | None = None,
    engine: Any = None,
    spec: SignalSpec = SPEC,
    tracing: Tracing | None = None,
    **changes: Any,
) -> AsyncIterator[Rig]:
    options = {"batch_deadline_ms": 0.0, "commit_interval_s": 0.001, "_env_file": None, **changes}
    made = Rig(broker or PromptBroker(), engine or FakeClassifier(spec), Settings(**options), spec, tracing)
    made.pipeline.start()
    try:
        yield made
    finally:
        await made.pipeline.stop()


# Order of acknowledgement --------------------------------------------------------------------------------------------


async def test_a_batch_is_acknowledged_only_after_its_events_dead_letters_and_states_are_confirmed() -> None:
    broker = SilentBroker()
    async with rig(broker) as ours:
        await ours.submit(marked_record("l", ONSET, SPEC), record(b"l", b"", offset=1))
        await until(lambda: broker.topics() == ["faults.lg"])
        await settle()
        assert (broker.topics()[1:], ours.acknowledged) == ([], [])
        broker.confirm("faults.lg")
        await until(lambda: broker.topics()[1:] == ["sensor-windows.dlq"])
        await settle()
        assert (broker.topics()[2:], ours.acknowledged) == ([], [])
        broker.confirm("sensor-windows.dlq")
        await until(lambda: broker.topics()[2:] == ["line-states"])
        await settle()
        assert ours.acknowledged == []
        broker.confirm("line-states")
        await until(lambda: ours.acknowledged)
        assert ours.acknowledged == [(0, ["faults.lg", "sensor-windows.dlq", "line-states"])]
        assert ours.ledger.committable() == {ZERO: 2}


async def test_a_later_batch_is_not_acknowledged_before_an_earlier_one() -> None:
    broker = SilentBroker()
    async with rig(broker) as ours:
        await ours.submit(marked_record("l", ONSET, SPEC))
        await until(lambda: len(broker.sent) == 1)
        await ours.submit(marked_record("quiet", [0], SPEC, offset=1), partition=ONE)
        await settle()
        assert ours.acknowledged == []
        broker.confirm()
        await until(lambda: "line-states" in broker.topics())
        broker.confirm()
        await until(lambda: len(ours.acknowledged) == 2)


async def test_a_quiet_line_costs_no_record_at_all() -> None:
    async with rig() as ours:
        await ours.submit(marked_record("l", [0] * 20, SPEC))
        await ours.pipeline.drain()
        assert ours.broker.sent == []
        assert ours.ledger.committable() == {ZERO: 1}


async def test_refused_events_hold_the_batch_until_they_go_through() -> None:
    broker = RefusingBroker(3, KafkaTimeoutError)
    async with rig(broker) as ours:
        await ours.submit(marked_record("l", ONSET, SPEC))
        await ours.pipeline.drain()
        assert [sent.topic for sent in broker.confirmed()] == ["faults.lg", "line-states"]
        assert ours.ledger.committable() == {ZERO: 1}


async def test_the_events_of_a_line_keep_their_order_and_say_their_source() -> None:
    async with rig() as ours:
        for offset, classes in enumerate([ONSET, [0] * 8, ONSET, [0] * 8]):
            sequence = sum([3, 8, 3, 8][:offset])
            await ours.submit(marked_record("l", classes, SPEC, sequence=sequence, offset=offset))
        await ours.pipeline.drain()
        assert [(event["state"], event["source"]["offset"]) for event in ours.events()] == [
            ("onset", 0),
            ("clear", 1),
            ("onset", 2),
            ("clear", 3),
        ]
        assert {(sent.topic, sent.key) for sent in ours.broker.sent} == {
            ("faults.lg", b"l"),
            ("line-states", b"faultline\x1fl"),
        }


async def test_events_of_simulated_windows_carry_the_mark_of_their_windows_and_those_of_a_real_line_none() -> None:
    async with rig() as ours:
        await ours.submit(marked_record("simulated", ONSET, SPEC, headers=SIMULATED_HEADERS))
        await ours.submit(marked_record("real", ONSET, SPEC, offset=1))
        await ours.pipeline.drain()
        marks = {sent.key: is_simulated(sent.headers) for sent in ours.broker.sent if sent.topic == "faults.lg"}
        assert marks == {b"simulated": True, b"real": False}


async def test_an_update_is_published_to_the_former_types_subscribers_too() -> None:
    ab = SPEC.class_index("AB")
    async with rig() as ours:
        await ours.submit(marked_record("l", [*ONSET, ab, ab, ab], SPEC))
        await ours.pipeline.drain()
        assert [sent.topic for sent in ours.broker.sent[:3]] == ["faults.lg", "faults.ll", "faults.lg"]
        assert ours.events()[1] == ours.events()[2]
        assert ours.counted("faultline_events_total", type="ll", state="update") == 1


# Failure -------------------------------------------------------------------------------------------------------------


async def test_a_raising_engine_fails_the_pipeline_and_acknowledges_nothing() -> None:
    async with rig(engine=RaisingClassifier(SPEC)) as ours:
        await ours.submit(marked_record("l", ONSET, SPEC))
        await ours.pipeline.drain()
        assert isinstance(ours.pipeline.failure.result(), MemoryError)
        assert (ours.acknowledged, ours.broker.sent) == ([], [])
        with pytest.raises(RuntimeError, match="has failed"):
            await ours.submit(marked_record("l", ONSET, SPEC, offset=1))


async def test_what_was_classified_before_the_engine_raised_is_still_acknowledged() -> None:
    class RaisingLater(FakeClassifier):
        def classify(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
            if self.calls:
                raise MemoryError
            return super().classify(windows)

    broker = SilentBroker()
    async with rig(broker, RaisingLater(SPEC)) as ours:
        await ours.submit(marked_record("l", ONSET, SPEC))
        await until(lambda: broker.sent)
        await ours.submit(marked_record("l", ONSET, SPEC, sequence=3, offset=1))
        await ours.pipeline.failure
        broker.confirm()
        await until(lambda: len(broker.sent) == 2)
        broker.confirm()
        await until(lambda: ours.acknowledged)
        assert ours.ledger.committable() == {ZERO: 1}


async def test_answers_that_are_no_numbers_are_no_faults_and_are_counted() -> None:
    instant = load_spec("instant")
    # A spec whose first class is a fault: NumPy counts NaN as the largest value, which would be that class.
    fault_first = instant.model_copy(update={"classes": instant.classes[::-1]})
    value = {"spec": "instant", "sequence": 0, "start_ns": 0, "rate_hz": 2e4, "count": 9, "data": bytes(9 * 24)}
    async with rig(engine=NumberlessClassifier(fault_first), spec=fault_first, window_classes=True) as ours:
        await ours.submit(record(b"l", msgspec.msgpack.encode(value)))
        await ours.pipeline.drain()
        assert not ours.pipeline.failure.done()
        assert ours.events() == []
        assert ours.counted("faultline_windows_total", outcome="unanswered") == 9
        (answer,) = [msgspec.msgpack.decode(sent.value or b"") for sent in ours.broker.sent]
        assert np.isfinite(np.frombuffer(answer["probabilities"], "<f4")).all()


class Wary(FakeClassifier):
    """A classifier for which windows of BG are out of distribution, whatever it predicts."""

    def is_ood(self, windows: NDArray[np.float32]) -> NDArray[np.bool_]:
        return np.asarray(windows[:, 0, 0] == SPEC.class_index("BG"), bool)


async def test_out_of_distribution_windows_are_no_faults_and_are_counted_as_unknown() -> None:
    strange = [SPEC.class_index("BG")] * len(ONSET)
    async with rig(engine=Wary(SPEC), window_classes=True) as ours:
        await ours.submit(marked_record("strange", strange, SPEC), marked_record("l", ONSET, SPEC, offset=1))
        await ours.pipeline.drain()
        assert {event["line"] for event in ours.events()} == {"l"}
        assert ours.counted("faultline_windows_total", outcome="unknown") == len(ONSET)
        assert ours.counted("faultline_windows_total", outcome="judged") == 2 * len(ONSET)
        assert ours.counted("faultline_windows_total", outcome="unanswered") == 0
        first = next(s for s in ours.broker.sent if s.topic == "window-classes" and s.key == b"strange")
        assert set(msgspec.msgpack.decode(first.value or b"")["classes"]) == {SPEC.none_index}


async def test_an_out_of_distribution_window_whose_answer_is_not_finite_is_counted_once() -> None:
    class Both(NumberlessClassifier):
        def is_ood(self, windows: NDArray[np.float32]) -> NDArray[np.bool_]:
            return np.asarray(np.arange(len(windows)) == 0)

    async with rig(engine=Both(SPEC)) as ours:
        await ours.submit(marked_record("l", ONSET, SPEC))
        await ours.pipeline.drain()
        assert ours.counted("faultline_windows_total", outcome="unknown") == 1
        assert ours.counted("faultline_windows_total", outcome="unanswered") == len(ONSET) - 1


async def test_a_batch_of_nothing_but_invalid_records_is_acknowledged() -> None:
    engine = FakeClassifier(SPEC)
    async with rig(engine=engine) as ours:
        await ours.submit(record(b"l", None), record(b"l", b"", offset=1))
        await ours.pipeline.drain()
        assert ours.broker.topics() == ["sensor-windows.dlq"] * 2
        assert ours.ledger.committable() == {ZERO: 2}
        assert engine.calls == []
        assert ours.counted("faultline_dead_letters_total", reason="tombstone") == 1
        assert ours.counted("faultline_records_total") == 2


async def test_a_flood_of_invalid_records_is_one_line_of_the_log_per_micro_batch() -> None:
    with structlog.testing.capture_logs() as logs:
        async with rig(batch_windows=1000) as ours:
            await ours.submit(record(b"l", None), *[record(b"l", b"", offset=first) for first in range(1, 300)])
            await ours.pipeline.drain()
            assert ours.counted("faultline_dead_letters_total", reason="empty") == 299
    told = [line for line in logs if line["event"] == "dead-letters"]
    assert [(line["count"], line["reasons"]) for line in told] == [(300, {"tombstone": 1, "empty": 299})]
    assert (told[0]["first_partition"], told[0]["first_offset"], told[0]["first"]) == (0, 0, "the record has no value")


# Drain and rebalance -------------------------------------------------------------------------------------------------


async def test_draining_returns_when_all_that_was_begun_is_acknowledged() -> None:
    async with rig() as ours:
        await asyncio.wait_for(ours.pipeline.drain(), 5)
        for offset in range(5):
            await ours.submit(marked_record(f"l{offset}", ONSET, SPEC, offset=offset))
        await ours.pipeline.drain()
        assert ours.ledger.committable() == {ZERO: 5}
        assert ours.ledger.outstanding_records() == 0


async def test_an_agent_cancelled_while_it_submits_leaves_nothing_to_drain() -> None:
    broker = SilentBroker()
    async with rig(broker) as ours:

        async def agent() -> None:
            for offset in range(50):
                await ours.submit(marked_record("l", ONSET, SPEC, sequence=3 * offset, offset=offset))

        submitting = asyncio.ensure_future(agent())
        await until(lambda: broker.sent)
        await settle()
        submitting.cancel()
        await asyncio.gather(submitting, return_exceptions=True)

        async def answer() -> None:
            while True:
                broker.confirm()
                await asyncio.sleep(0)

        answering = asyncio.ensure_future(answer())
        await asyncio.wait_for(ours.pipeline.drain(), 5)
        answering.cancel()


async def test_batches_of_a_lost_partition_are_neither_tracked_nor_acknowledged_nor_counted() -> None:
    async with rig(batch_windows=100) as ours:
        far = time.monotonic() + 1e6
        await ours.submit(marked_record("l", ONSET, SPEC), record(b"l", b"", offset=1), arrived_s=far, last=False)
        ours.ledger.forget()
        await ours.submit(marked_record("k", [0] * 100, SPEC, offset=1), partition=ONE)
        await ours.pipeline.drain()
        assert ours.broker.sent == []
        assert ours.ledger.committable() == {ONE: 2}
        assert ours.counted("faultline_dead_letters_total", reason="empty") == 0
        assert ours.counted("faultline_records_total") == 1


async def test_a_partition_lost_while_its_states_are_read_is_not_tracked() -> None:
    async with rig() as ours:
        ours.reader.ready.clear()
        await ours.submit(marked_record("l", ONSET, SPEC))
        await until(lambda: ours.reader.reads)
        ours.ledger.forget()
        ours.states.forget()
        ours.reader.ready.set()
        await ours.pipeline.drain()
        assert (ours.broker.sent, ours.states.count()) == ([], 0)


async def test_states_of_a_former_assignment_are_not_written_under_the_next() -> None:
    broker = SilentBroker()
    async with rig(broker, batch_windows=6) as ours:
        far = time.monotonic() + 1e6
        await ours.submit(marked_record("l", ONSET, SPEC), arrived_s=far, last=False)
        await ours.submit(marked_record("m", ONSET, SPEC, offset=1), arrived_s=far, last=False)
        await until(lambda: len(broker.sent) == 2)
        # The partition goes to another worker and comes back before the events are confirmed.
        ours.ledger.forget()
        ours.states.forget()
        ours.fetched(marked_record("l", ONSET, SPEC))
        broker.confirm()
        await ours.pipeline.drain()
        assert "line-states" not in broker.topics()
        assert ours.ledger.committable() == {}


# Classes of every window ---------------------------------------------------------------------------------------------


async def test_the_classes_of_every_window_are_published_when_switched_on() -> None:
    async with rig(window_classes=True) as ours:
        await ours.submit(marked_record("l", [0, AG, 0], SPEC, sequence=7))
        await ours.pipeline.drain()
        (answer,) = [sent for sent in ours.broker.sent if sent.topic == "window-classes"]
        body = msgspec.msgpack.decode(answer.value or b"")
        assert (answer.key, body["sequence"], body["count"]) == (b"l", 7, 3)
        assert list(body["classes"]) == [0, AG, 0]
        assert np.frombuffer(body["probabilities"], "<f4").reshape(3, -1).argmax(axis=1).tolist() == [0, AG, 0]


async def test_an_answer_larger_than_a_record_may_be_is_sent_in_parts() -> None:
    # With the spec instant, an answer is larger than its windows.
    instant = load_spec("instant")
    count = 41_000
    value = {"spec": "instant", "sequence": 5, "start_ns": 0, "rate_hz": 2e4, "count": count, "data": bytes(count * 24)}
    async with rig(engine=FakeClassifier(instant), spec=instant, window_classes=True) as ours:
        await ours.submit(record(b"l", msgspec.msgpack.encode(value)))
        await ours.pipeline.drain()
        assert all(len(sent.value or b"") < 900_000 for sent in ours.broker.sent)
        parts = [msgspec.msgpack.decode(sent.value or b"") for sent in ours.broker.sent]
        assert sum(part["count"] for part in parts) == count
        assert parts[1]["sequence"] == 5 + parts[0]["count"]
        assert parts[1]["start_ns"] == parts[0]["count"] * 50_000


async def test_the_state_written_is_the_one_after_the_batch() -> None:
    async with rig() as ours:
        await ours.submit(marked_record("l", ONSET, SPEC))
        await ours.pipeline.drain()
        state = decode_state(ours.broker.sent[-1].value or b"")
        assert (state.sequence, state.episode is not None) == (2, True)


async def test_under_load_a_micro_batch_takes_what_waits_though_its_deadline_has_passed() -> None:
    engine = FakeClassifier(SPEC)
    async with rig(engine=engine, batch_windows=6) as ours:
        for offset in range(13):
            await ours.submit(marked_record(f"l{offset}", [0, 0], SPEC, offset=offset))
        await ours.pipeline.drain()
        assert engine.calls == [6, 6, 6, 6, 2]
