"""Which offsets may be committed: a pure account of batches handed out and batches finished, per partition."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Any, NamedTuple


class Partition(NamedTuple):
    """A topic's partition. Equal to Faust's and aiokafka's own tuples of the same two."""

    topic: str
    partition: int


class FetchedBatch:
    """Records of one partition as one fetch returned them; the unit of acknowledgement.

    ``first`` is the first record's offset, ``next`` the offset to commit when the batch is finished. Two batches
    of the same offsets are different batches: a repeat after a rebalance must not be finished by its original.
    ``last`` is False where batches of other partitions follow that came with it.
    """

    __slots__ = ("arrived_s", "first", "last", "next", "partition", "records")

    def __init__(self, partition: Partition, records: list[Any], arrived_s: float = 0.0, *, last: bool = True) -> None:
        self.partition = partition
        self.records = records
        self.first: int = records[0].offset
        self.next: int = records[-1].offset + 1
        self.arrived_s = arrived_s
        self.last = last


class OffsetLedger:
    """Offsets that may be committed. The position of a partition never passes its lowest unfinished batch.

    Strong references are kept to what is outstanding (Faust keeps weak ones), and gaps in offsets — compaction,
    transaction markers — lie inside or between batches and need no account of their own.

    Example:
        >>> from types import SimpleNamespace as Record
        >>> tp, ledger = Partition("sensor-windows", 0), OffsetLedger()
        >>> a, b = FetchedBatch(tp, [Record(offset=5)]), FetchedBatch(tp, [Record(offset=9)])
        >>> ledger.hand_out(a), ledger.hand_out(b), ledger.finish(b)
        (None, None, True)
        >>> ledger.committable()  # the older batch is not finished
        {}
        >>> ledger.finish(a), ledger.committable()
        (True, {Partition(topic='sensor-windows', partition=0): 10})
    """

    def __init__(self) -> None:
        self._outstanding: dict[Partition, OrderedDict[int, tuple[FetchedBatch, bool]]] = {}
        self._position: dict[Partition, int] = {}
        self._committed: dict[Partition, int] = {}
        self.finished_batches = 0

    def hand_out(self, batch: FetchedBatch) -> None:
        """Note a batch as outstanding, before anybody can see it."""
        self._outstanding.setdefault(batch.partition, OrderedDict())[id(batch)] = (batch, False)

    def knows(self, batch: FetchedBatch) -> bool:
        """Whether the batch was handed out under the present assignment."""
        return id(batch) in self._outstanding.get(batch.partition, ())

    def finish(self, batch: FetchedBatch) -> bool:
        """Note a batch as finished; False when its partition was taken away meanwhile (it will be repeated).

        Also False when it was finished before.
        """
        outstanding = self._outstanding.get(batch.partition)
        if outstanding is None or id(batch) not in outstanding or outstanding[id(batch)][1]:
            return False
        outstanding[id(batch)] = (batch, True)
        while outstanding:
            oldest, finished = next(iter(outstanding.values()))
            if not finished:
                break
            outstanding.popitem(last=False)
            # A batch fetched twice may end before its original: a position never goes back.
            self._position[batch.partition] = max(oldest.next, self._position.get(batch.partition, 0))
        self.finished_batches += 1
        return True

    def committable(self) -> dict[Partition, int]:
        """Partitions whose position passed what was committed, with the offset to commit."""
        return {
            partition: position
            for partition, position in self._position.items()
            if position > self._committed.get(partition, -1)
        }

    def committed(self, offsets: dict[Partition, int]) -> None:
        """Note what the broker accepted."""
        self._committed.update(offsets)

    def position(self, partition: Partition) -> int | None:
        """Next offset to be committed; None before the first finished batch."""
        return self._position.get(partition)

    def forget(self, partitions: Iterable[Partition] | None = None) -> None:
        """Drop the account of partitions (all when None): they were revoked, or fetching starts over."""
        for partition in list(self._all()) if partitions is None else list(partitions):
            self._outstanding.pop(partition, None)
            self._position.pop(partition, None)
            self._committed.pop(partition, None)

    def outstanding_records(self) -> int:
        """Records handed out and not finished."""
        return sum(
            len(batch.records) for batches in self._outstanding.values() for batch, done in batches.values() if not done
        )

    def _all(self) -> set[Partition]:
        return self._outstanding.keys() | self._position.keys() | self._committed.keys()
