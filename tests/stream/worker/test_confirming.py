"""Confirmed micro-batches are coalesced for their line states: one record per line, in the order of the batches."""

from __future__ import annotations

import asyncio

import pytest

from stream.detection.line_state import decode_state
from stream.worker import pipeline
from tests.stream.doubles import SilentBroker, marked_record, settle, until
from tests.stream.worker.test_pipeline import AG, ONSET, SPEC, ZERO, Rig, rig

LONG_S = 3600.0


async def _published(ours: Rig, line: str, offset: int) -> None:
    """Return a new micro-batch whose event the broker has acknowledged."""
    events = len(ours.events())
    await ours.submit(marked_record(line, ONSET, SPEC, offset=offset))
    await until(lambda: len(ours.events()) > events)


def _states(broker: SilentBroker) -> int:
    return broker.topics().count("line-states")


async def test_states_are_written_only_of_what_is_confirmed_and_acknowledged_in_order() -> None:
    broker = SilentBroker()
    async with rig(broker) as ours:
        for offset, line in enumerate("abc"):
            await _published(ours, line, offset)
        first, second, third = (sent for sent in broker.sent if sent.topic == "faults.lg")
        third.answer.set_result(None)
        second.answer.set_result(None)
        await settle()
        assert (_states(broker), ours.acknowledged) == (0, []), "the first's event is not confirmed"
        first.answer.set_result(None)
        await until(lambda: _states(broker) >= 1)
        await settle()
        assert ours.acknowledged == []
        broker.confirm("line-states")
        await until(lambda: _states(broker) == 3)
        broker.confirm("line-states")
        await until(lambda: len(ours.acknowledged) == 3)
        assert [offset for offset, _ in ours.acknowledged] == [0, 1, 2]
        assert ours.ledger.committable() == {ZERO: 3}


async def test_a_state_waits_for_its_own_events_and_not_for_those_of_later_micro_batches() -> None:
    broker = SilentBroker()
    async with rig(broker) as ours:
        for offset, line in enumerate("abc"):
            await _published(ours, line, offset)
        first, second, third = (sent for sent in broker.sent if sent.topic == "faults.lg")
        for number, sent in enumerate((first, second), start=1):
            sent.answer.set_result(None)
            await until(lambda number=number: _states(broker) == number)
            await settle()
            assert (_states(broker), len(ours.acknowledged)) == (number, number - 1)
            broker.confirm("line-states")
            await until(lambda number=number: len(ours.acknowledged) == number)
        await settle()
        assert _states(broker) == 2, "the third's event is not confirmed"
        third.answer.set_result(None)
        await until(lambda: _states(broker) == 3)
        await settle()
        assert len(ours.acknowledged) == 2
        broker.confirm("line-states")
        await until(lambda: len(ours.acknowledged) == 3)


async def test_of_a_line_that_changed_in_several_micro_batches_the_last_state_is_written_once() -> None:
    async with rig(commit_interval_s=LONG_S) as ours:
        for offset, classes in enumerate([ONSET, [AG], [AG], [AG]]):
            await ours.submit(marked_record("l", classes, SPEC, sequence=(0, 3, 4, 5)[offset], offset=offset))
            await settle()
        await until(lambda: ours.counted("faultline_events_total", type="lg", state="onset") == 1)
        await settle()
        assert (_topics(ours), ours.acknowledged) == (["faults.lg"], []), "the event comes long before its line's state"
        await ours.pipeline.drain()
        assert _topics(ours) == ["faults.lg", "line-states"]
        assert decode_state(ours.broker.sent[-1].value or b"").sequence == 5
        assert [offset for offset, _ in ours.acknowledged] == [0, 1, 2, 3]
        assert ours.counted("faultline_line_states_written_total") == 1


async def test_a_state_that_was_left_out_because_it_changed_again_is_written_as_what_it_became() -> None:
    async with rig(commit_interval_s=LONG_S) as ours:
        for offset, (sequence, classes) in enumerate([(0, ONSET), (3, [0] * 8)]):
            await ours.submit(marked_record("l", classes, SPEC, sequence=sequence, offset=offset))
            await settle()
        await ours.pipeline.drain()
        (state,) = [decode_state(sent.value or b"") for sent in ours.broker.sent if sent.topic == "line-states"]
        assert state.idle


async def test_without_a_drain_coalesced_micro_batches_are_acknowledged_within_the_interval_of_commits() -> None:
    async with rig(commit_interval_s=0.2) as ours:
        await ours.submit(marked_record("l", ONSET, SPEC))
        await until(lambda: ours.acknowledged)
        assert _topics(ours) == ["faults.lg", "line-states"]


async def test_after_a_drain_micro_batches_are_coalesced_again() -> None:
    async with rig(commit_interval_s=LONG_S) as ours:
        await ours.submit(marked_record("l", ONSET, SPEC))
        await ours.pipeline.drain()
        await ours.submit(marked_record("m", ONSET, SPEC, offset=1))
        await until(lambda: len(ours.events()) == 2)
        await settle()
        assert len(ours.acknowledged) == 1


async def test_the_windows_of_coalesced_micro_batches_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "CONFIRMED_WINDOWS", 10)
    async with rig(commit_interval_s=LONG_S) as ours:
        for offset in range(12):
            await ours.submit(marked_record(f"l{offset}", [0], SPEC, offset=offset))
            await settle()
        async with asyncio.timeout(5):
            await until(lambda: len(ours.acknowledged) >= 10)
        await settle()
        assert len(ours.acknowledged) < 12


async def test_many_small_micro_batches_wait_for_one_commit() -> None:
    async with rig(commit_interval_s=LONG_S) as ours:
        for offset in range(100):
            await ours.submit(marked_record("l", [AG], SPEC, sequence=offset, offset=offset))
            await settle()
        await until(lambda: len(ours.events()) == 1)
        assert ours.acknowledged == []
        await ours.pipeline.drain()
        assert len(ours.acknowledged) == 100
        assert _topics(ours) == ["faults.lg", "line-states"]


def _topics(ours: Rig) -> list[str]:
    return [sent.topic for sent in ours.broker.sent]
