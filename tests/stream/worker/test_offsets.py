"""The offset ledger commits nothing beyond an unacknowledged batch, whatever happens in between."""

from __future__ import annotations

from types import SimpleNamespace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from stream.kafka.reading.partition import Partition
from stream.worker.offsets import FetchedBatch, OffsetLedger

PARTITIONS = [Partition("sensor-windows", number) for number in range(2)]


def fetched(first: int, size: int = 1, partition: Partition = PARTITIONS[0]) -> FetchedBatch:
    return FetchedBatch(partition, [SimpleNamespace(offset=first + i) for i in range(size)])


class Account(RuleBasedStateMachine):
    """Batches of two partitions, delivered with gaps, acknowledged in any order, committed, revoked."""

    @initialize()
    def begin(self) -> None:
        self.ledger = OffsetLedger()
        self.open: dict[Partition, list[FetchedBatch]] = {partition: [] for partition in PARTITIONS}
        self.done: list[FetchedBatch] = []
        self.gone: list[FetchedBatch] = []
        self.next = dict.fromkeys(PARTITIONS, 0)
        self.committed = dict.fromkeys(PARTITIONS, 0)
        self.acknowledged = 0

    @rule(partition=st.sampled_from(PARTITIONS), gap=st.integers(0, 3), size=st.integers(1, 5))
    def hand_out(self, partition: Partition, gap: int, size: int) -> None:
        batch = fetched(self.next[partition] + gap, size, partition)
        self.next[partition] = batch.next
        self.ledger.hand_out(batch)
        self.open[partition].append(batch)
        assert self.ledger.is_current(batch)

    @precondition(lambda self: any(self.open.values()))
    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        batch = data.draw(st.sampled_from([batch for batches in self.open.values() for batch in batches]))
        assert self.ledger.acknowledge(batch)
        self.acknowledged += 1
        self.open[batch.partition].remove(batch)
        self.done.append(batch)

    @precondition(lambda self: self.done or self.gone)
    @rule(data=st.data())
    def acknowledge_again_or_too_late(self, data: st.DataObject) -> None:
        before = self.ledger.committable()
        assert not self.ledger.acknowledge(data.draw(st.sampled_from(self.done + self.gone)))
        assert self.ledger.committable() == before

    @rule()
    def commit(self) -> None:
        offsets = self.ledger.committable()
        self.ledger.committed(offsets)
        self.committed.update(offsets)
        assert self.ledger.committable() == {}

    @rule()
    def rebalance(self) -> None:
        """Fetch everything again from the committed offset."""
        self.ledger.forget()
        for partition in PARTITIONS:
            self.gone += self.open[partition]
            self.open[partition] = []
            self.next[partition] = self.committed[partition]
        self.gone += self.done
        self.done = []

    @invariant()
    def what_may_be_committed_is_up_to_the_lowest_unacknowledged_batch(self) -> None:
        for partition, offset in self.ledger.committable().items():
            lowest = min((batch.first for batch in self.open[partition]), default=self.next[partition])
            assert offset <= lowest
            assert offset > self.committed[partition]

    @invariant()
    def nothing_acknowledged_is_held_back(self) -> None:
        for partition in PARTITIONS:
            if not self.open[partition] and any(batch.partition == partition for batch in self.done):
                assert self.ledger.position(partition) == self.next[partition]

    @invariant()
    def counts_agree(self) -> None:
        waiting = sum(len(batch.records) for batches in self.open.values() for batch in batches)
        assert self.ledger.outstanding_records() == waiting
        assert self.ledger.acknowledged_batches == self.acknowledged


Account.TestCase.settings = settings(max_examples=60, stateful_step_count=30)
TestAccount = Account.TestCase


def test_a_repeat_of_the_same_offsets_is_not_acknowledged_by_its_original() -> None:
    ledger = OffsetLedger()
    original, repeat = fetched(5, 3), fetched(5, 3)
    ledger.hand_out(original)
    ledger.forget()
    ledger.hand_out(repeat)
    assert not ledger.acknowledge(original)
    assert ledger.committable() == {}
    assert ledger.acknowledge(repeat)
    assert ledger.committable() == {PARTITIONS[0]: 8}


def test_forgetting_one_partition_keeps_the_others() -> None:
    ledger = OffsetLedger()
    first, second = fetched(0), fetched(0, partition=PARTITIONS[1])
    ledger.hand_out(first)
    ledger.hand_out(second)
    ledger.forget([PARTITIONS[0]])
    assert not ledger.is_current(first)
    assert ledger.acknowledge(second)
    assert ledger.committable() == {PARTITIONS[1]: 1}
