"""Micro-batches that wait for the broker's word together: one answer for the states of all, and no order is lost."""

from __future__ import annotations

from tests.stream.doubles import SilentBroker, marked_record, settle, until
from tests.stream.path.test_pipeline import ONSET, SPEC, ZERO, Rig, rig


async def _published(ours: Rig, line: str, offset: int) -> None:
    """A micro-batch of its own, whose event is with the broker."""
    events = len(ours.events())
    await ours.submit(marked_record(line, ONSET, SPEC, offset=offset))
    await until(lambda: len(ours.events()) > events)


def _states(broker: SilentBroker) -> int:
    return broker.topics().count("line-states")


async def test_states_of_what_waited_go_together_once_all_their_events_are_confirmed() -> None:
    broker = SilentBroker()
    async with rig(broker) as ours:
        await _published(ours, "a", 0)
        await settle()
        for offset, line in enumerate("bc", start=1):
            await _published(ours, line, offset)
        first, second, third = (sent for sent in broker.sent if sent.topic == "faults.lg")
        first.answer.set_result(None)
        await until(lambda: _states(broker) == 1)
        second.answer.set_result(None)
        await settle()
        assert (_states(broker), ours.finished) == (1, [])
        broker.confirm("line-states")
        await until(lambda: len(ours.finished) == 1)
        await settle()
        assert _states(broker) == 1, "the third's event is not confirmed"
        third.answer.set_result(None)
        await until(lambda: _states(broker) == 3)
        await settle()
        assert len(ours.finished) == 1
        broker.confirm("line-states")
        await until(lambda: len(ours.finished) == 3)
        assert [offset for offset, _ in ours.finished] == [0, 1, 2]
        assert ours.ledger.committable() == {ZERO: 3}
