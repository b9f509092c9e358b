"""The memory of lines in a worker: exact over crashes, rebalances and any size of batch, and bounded."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import numpy as np
import pytest

from faultline.testing import FakeClassifier
from model.engine import Engine
from model.spec import load_spec
from stream.detection.decode import decode_batch
from stream.detection.line_state import decode_state
from stream.detection.warmth import WARM_WINDOWS
from stream.windowing import encode_windows
from tests.model.model_samples import artefact_of, windows_of
from tests.stream.doubles import (
    RATE_HZ,
    START_NS,
    CountingClassifier,
    PromptBroker,
    SilentBroker,
    hop_ns,
    marked_record,
    record,
    settle,
    until,
)
from tests.stream.worker.test_pipeline import ONE, ZERO, rig

SPEC = load_spec("line")
AG = SPEC.class_index("AG")
STATES = "line-states"
LINES = "abcde"


class Topic:
    """The state topic as a former worker left it."""

    def __init__(self, rows: list[tuple[bytes, bytes | None]] | None = None) -> None:
        self.rows = rows if rows is not None else []

    async def read(self, partition: int) -> list[tuple[bytes, bytes | None]]:
        return list(self.rows)


def recording(seed: int, records: int = 120) -> list[Any]:
    """Return records of several lines with faults, repeats, overlaps and gaps, in the order of their offsets."""
    rng, at, sent = random.Random(seed), dict.fromkeys(LINES, 0), []
    for offset in range(records):
        line = rng.choice(LINES)
        at[line] = max(0, at[line] + rng.choice([0] * 12 + [7, -2, -3]))
        classes = [AG if (at[line] + number) // 9 % 3 == 1 else 0 for number in range(rng.randint(1, 5))]
        sent.append(marked_record(line, classes, SPEC, sequence=at[line], offset=offset))
        at[line] += len(classes)
    return sent


def answers(broker: PromptBroker) -> dict[tuple[bytes | None, int], bytes]:
    """Return the published probabilities of every window, by line and sequence."""
    found = {}
    for sent in broker.sent:
        if sent.topic == "window-classes":
            body = msgspec.msgpack.decode(sent.value or b"")
            width = len(body["probabilities"]) // body["count"]
            for number in range(body["count"]):
                row = body["probabilities"][number * width : (number + 1) * width]
                found[sent.key, body["sequence"] + number] = row
    return found


def events(broker: PromptBroker) -> dict[str, tuple[Any, ...]]:
    """Return the events by id, with what depends on the memory."""
    found = {}
    for sent in broker.sent:
        if sent.topic.startswith("faults."):
            body = msgspec.json.decode(sent.value or b"")
            facts = (body["state"], body["line"], body["sequence"], body["confidence"], tuple(body["quality"]))
            assert found.setdefault(body["event_id"], facts) == facts, "a repeated event is the same event"
    return found


async def run(
    records: list[Any],
    topic: Topic,
    broker: PromptBroker,
    *,
    engine: Any = None,
    upto: int | None = None,
    progress: bool = False,
    **options: Any,
) -> int:
    """Run a worker on the records until ``upto`` of them have been submitted; return the offset it would commit.

    With ``progress``, the worker also lives until it has acknowledged a record.
    """
    kept = len(broker.sent)
    async with rig(broker, engine or CountingClassifier(SPEC), window_classes=True, **options) as ours:
        ours.states._reader = topic
        first = records[0].offset
        for record in records if upto is None else records[:upto]:
            await ours.submit(record)
        if upto is None:
            await ours.pipeline.drain()
        elif progress:
            await until(lambda: ours.ledger.committable().get(ZERO, first) > first)
        else:
            await settle()
        position = ours.ledger.committable().get(ZERO, first)
    # Of a killed worker the broker has what it has acknowledged.
    topic.rows += [(sent.key or b"", sent.value) for sent in broker.sent[kept:] if sent.topic == STATES]
    return position


@pytest.mark.parametrize("seed", range(3))
async def test_kills_at_any_point_change_no_event_and_no_answer(seed: int) -> None:
    records = recording(seed)
    undisturbed = PromptBroker()
    assert await run(records, Topic(), undisturbed) == len(records)
    rng, broker, topic, position, kills = random.Random(seed + 100), PromptBroker(), Topic(), 0, 0
    while position < len(records):
        upto, batch_windows = rng.randint(1, 30), rng.choice([1, 5, 100])
        progress = rng.random() < 0.7
        position = await run(
            records[position:], topic, broker, upto=upto, progress=progress, batch_windows=batch_windows
        )
        kills += 1
    assert kills > 4
    assert events(broker) == events(undisturbed)
    assert answers(broker) == answers(undisturbed)


async def test_a_network_with_a_memory_answers_the_same_over_kills() -> None:
    records, sequences, windows = [], dict.fromkeys("abc", 0), windows_of(SPEC, 240)
    for offset, block in enumerate(np.split(windows, 80)):
        line = "abc"[offset * 7 % 3]
        start_ns = START_NS + sequences[line] * hop_ns(SPEC)
        value = encode_windows(block, SPEC, sequence=sequences[line], start_ns=start_ns, rate_hz=RATE_HZ)
        records.append(record(line.encode(), value, offset=offset))
        sequences[line] += len(block)
    rng, topic, position, kills = random.Random(3), Topic(), 0, 0
    undisturbed, broker = PromptBroker(), PromptBroker()
    with Engine(artefact_of(SPEC, architecture="gru-memory", phasors=True), buckets=(1, 16, 64)) as engine:
        await run(records, Topic(), undisturbed, engine=engine)
        while position < len(records):
            position = await run(
                records[position:], topic, broker, engine=engine, upto=rng.randint(2, 20), progress=True
            )
            kills += 1
        assert kills > 3
    expected, found = answers(undisturbed), answers(broker)
    assert expected.keys() == found.keys()
    for key, row in expected.items():
        np.testing.assert_allclose(np.frombuffer(found[key], "<f4"), np.frombuffer(row, "<f4"), atol=1e-5)
    assert events(broker).keys() == events(undisturbed).keys()


@pytest.mark.parametrize("batch_windows", [1, 7, 1000])
async def test_the_size_of_batches_changes_nothing(batch_windows: int) -> None:
    records = recording(7)
    brokers = PromptBroker(), PromptBroker()
    await run(records, Topic(), brokers[0], batch_windows=64)
    await run(records, Topic(), brokers[1], batch_windows=batch_windows)
    assert events(brokers[0]) == events(brokers[1])
    assert answers(brokers[0]) == answers(brokers[1])


async def test_every_line_with_new_windows_is_written_once_per_acknowledgement() -> None:
    async with rig(engine=CountingClassifier(SPEC), commit_interval_s=3600.0) as ours:
        for offset in range(6):
            line = "ab"[offset % 2]
            await ours.submit(marked_record(line, [0, 0], SPEC, sequence=2 * (offset // 2), offset=offset))
            await settle()
        await settle()
        assert ours.broker.sent == []
        await ours.pipeline.drain()
        states = {sent.key: decode_state(sent.value or b"") for sent in ours.broker.sent}
        assert len(ours.broker.sent) == 2
        assert [(state.sequence, state.memory_of, len(state.memory)) for state in states.values()] == [
            (5, "model-a", 8),
            (5, "model-a", 8),
        ]


async def test_the_memory_written_is_the_one_after_the_batch_and_never_a_later_one() -> None:
    broker = SilentBroker()
    engine = CountingClassifier(SPEC)
    async with rig(broker, engine, batch_windows=3) as ours:
        # The event of the first batch is not confirmed while the second is classified and tracked.
        await ours.submit(marked_record("l", [AG] * 3, SPEC))
        await until(lambda: broker.topics() == ["faults.lg"])
        await ours.submit(marked_record("l", [AG] * 3, SPEC, sequence=3, offset=1))
        await until(lambda: engine.calls == [3, 3])
        await settle()
        broker.confirm("faults.lg")
        await until(lambda: STATES in broker.topics())
        state = decode_state(next(sent.value for sent in broker.sent if sent.topic == STATES) or b"")
        expected = CountingClassifier(SPEC)
        memory = _memory_after(expected, marked_record("l", [AG] * (state.sequence + 1), SPEC))
        assert state.memory == memory
        broker.confirm()


def _memory_after(engine: CountingClassifier, record: Any) -> bytes:
    windows = decode_batch([record], SPEC, max_bytes=1 << 20).windows
    _, memory = engine.follow(windows, np.zeros(len(windows), np.intp), np.zeros((1, 2), np.float32))
    return memory.astype("<f4").tobytes()


async def test_windows_repeated_after_a_restart_are_not_classified_again() -> None:
    topic, broker = Topic(), PromptBroker()
    records = [marked_record("l", [0] * 4, SPEC), marked_record("l", [0] * 2, SPEC, sequence=4, offset=1)]
    await run(records[:1], topic, broker)
    published = len(answers(broker))
    engine = CountingClassifier(SPEC)
    async with rig(PromptBroker(), engine, window_classes=True) as ours:
        ours.states._reader = topic
        for record in records:
            await ours.submit(record)
        await ours.pipeline.drain()
        assert (published, sum(engine.calls)) == (4, 2)
        assert {sequence for _, sequence in answers(ours.broker)} == {4, 5}
        assert ours.counted("faultline_windows_total", outcome="repeated") == 4


async def test_revoked_partitions_leave_nothing_behind() -> None:
    engine = CountingClassifier(SPEC)
    async with rig(engine=engine) as ours:
        await ours.submit(marked_record("l", [0] * 4, SPEC))
        await ours.submit(marked_record("m", [0] * 4, SPEC), partition=ONE)
        await ours.pipeline.drain()
        ours.ledger.forget()
        ours.states.forget()
        assert (ours.states.count(), ours.states.known(ZERO), ours.states.known(ONE)) == (0, None, None)
        # Another line gets the slot of a forgotten one and begins cold; the state topic of this test is empty.
        await ours.submit(marked_record("n", [0], SPEC, offset=4))
        await ours.pipeline.drain()
        assert decode_state(ours.broker.sent[-1].value or b"").memory == _memory_after(
            CountingClassifier(SPEC), marked_record("n", [0], SPEC)
        )


async def test_a_model_without_a_memory_replaces_the_records_of_one_with_a_memory_once() -> None:
    async with rig(engine=CountingClassifier(SPEC)) as ours:
        await ours.submit(marked_record("l", [0], SPEC))
        await ours.pipeline.drain()
        ours.pipeline.swap(FakeClassifier(SPEC, "model-b"))
        for sequence in (1, 2):
            await ours.submit(marked_record("l", [0], SPEC, sequence=sequence, offset=sequence))
            await ours.pipeline.drain()
        states = [decode_state(sent.value or b"") for sent in ours.broker.sent]
        assert [(state.sequence, state.memory_of, state.memory == b"") for state in states] == [
            (0, "model-a", False),
            (1, "", True),
        ]


async def test_another_model_begins_cold_and_takes_over_when_it_is_warm() -> None:
    async with rig(engine=CountingClassifier(SPEC)) as ours:
        await ours.submit(marked_record("l", [0] * 4, SPEC))
        await ours.pipeline.drain()
        ours.pipeline.swap(CountingClassifier(SPEC, "model-b"))
        for offset, (sequence, count) in enumerate([(4, WARM_WINDOWS), (4 + WARM_WINDOWS, 2)], start=1):
            await ours.submit(marked_record("l", [0] * count, SPEC, sequence=sequence, offset=offset))
            await ours.pipeline.drain()
        states = [decode_state(sent.value or b"") for sent in ours.broker.sent]
        assert [(state.memory_of, state.sequence) for state in states] == [
            ("model-a", 3),
            ("model-a", 3 + WARM_WINDOWS),
            ("model-b", 5 + WARM_WINDOWS),
        ]
        since_swap = marked_record("l", [0] * (WARM_WINDOWS + 2), SPEC, sequence=4)
        assert states[-1].memory == _memory_after(CountingClassifier(SPEC), since_swap)


# Bounds --------------------------------------------------------------------------------------------------------------


async def test_a_forgotten_line_begins_cold_and_its_record_is_deleted() -> None:
    async with rig(engine=CountingClassifier(SPEC)) as ours:
        ours.states._max_lines = 2
        for offset, line in enumerate("abcd"):
            await ours.submit(marked_record(line, [0] * 2, SPEC, offset=offset))
            await ours.pipeline.drain()
        deleted = [sent.key for sent in ours.broker.sent if sent.topic == STATES and sent.value is None]
        assert deleted == [b"faultline\x1fa", b"faultline\x1fb"]
        states = ours.states.known(ZERO)
        assert states is not None
        assert set(states.lines) == set(states.positions.lines) == {"c", "d"}
        await ours.submit(marked_record("a", [0], SPEC, sequence=2, offset=4))
        await ours.pipeline.drain()
        state = decode_state(next(sent.value for sent in reversed(ours.broker.sent) if sent.value) or b"")
        assert state.memory == _memory_after(CountingClassifier(SPEC), marked_record("a", [0], SPEC, sequence=2))


async def test_a_line_with_windows_between_the_stages_is_not_forgotten() -> None:
    async with rig(engine=CountingClassifier(SPEC)) as ours:
        ours.states._max_lines = 1
        states = await ours.states.of(ZERO)
        for offset, line in enumerate("ab"):
            await ours.submit(marked_record(line, [0], SPEC, offset=offset))
            await ours.pipeline.drain()
        assert set(states.lines) == {"b"}
        states.positions.lines["b"].sequence += 1
        await ours.submit(marked_record("c", [0], SPEC, offset=2))
        await ours.pipeline.drain()
        assert set(states.lines) == {"b"}
