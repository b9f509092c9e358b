"""Track the batches handed out and acknowledged per partition, and derive the offsets to commit. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

from stream.kafka.reading.partition import Partition


class FetchedBatch:
    """Records of one partition from one fetch; the unit of acknowledgement.

    ``first`` is the first record's offset, ``next`` the offset to commit when the batch is acknowledged. Two batches of
    the same offsets are different batches: the acknowledgement of the original must not count for its repeat after a
    rebalance. ``last`` is False if batches of other partitions from the same fetch follow.
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
    """Ledger of the offsets that may be committed. A position never passes the lowest unacknowledged batch.

    The ledger holds strong references to outstanding batches (Faust holds weak ones). Gaps in offsets, from compaction
    and transaction markers, lie inside or between batches and need no entry of their own.

    Example:
        >>> from types import SimpleNamespace as Record
        >>> tp, ledger = Partition("sensor-windows", 0), OffsetLedger()
        >>> a, b = FetchedBatch(tp, [Record(offset=5)]), FetchedBatch(tp, [Record(offset=9)])
        >>> ledger.hand_out(a), ledger.hand_out(b), ledger.acknowledge(b)
        (None, None, True)
        >>> ledger.committable()  # the older batch is not acknowledged
        {}
        >>> ledger.acknowledge(a), ledger.committable()
        (True, {Partition(topic='sensor-windows', partition=0): 10})
    """

    def __init__(self) -> None:
        self._outstanding: dict[Partition, OrderedDict[int, tuple[FetchedBatch, bool]]] = {}
        self._position: dict[Partition, int] = {}
        self._committed: dict[Partition, int] = {}
        self.acknowledged_batches = 0

    def hand_out(self, batch: FetchedBatch) -> None:
        """Record a batch as outstanding; call this before any other code gets the batch."""
        self._outstanding.setdefault(batch.partition, OrderedDict())[id(batch)] = (batch, False)

    def is_current(self, batch: FetchedBatch) -> bool:
        """Return True if the batch was handed out under the current assignment."""
        return id(batch) in self._outstanding.get(batch.partition, ())

    def acknowledge(self, batch: FetchedBatch) -> bool:
        """Acknowledge a batch whose results the broker has all confirmed. Nothing else commits it.

        Returns:
            False if its partition was revoked meanwhile (the batch will be repeated) or if it was acknowledged before.
        """
        outstanding = self._outstanding.get(batch.partition)
        if outstanding is None or id(batch) not in outstanding or outstanding[id(batch)][1]:
            return False
        outstanding[id(batch)] = (batch, True)
        while outstanding:
            oldest, acknowledged = next(iter(outstanding.values()))
            if not acknowledged:
                break
            outstanding.popitem(last=False)
            # A repeated batch may be acknowledged before its original: a position never goes back.
            self._position[batch.partition] = max(oldest.next, self._position.get(batch.partition, 0))
        self.acknowledged_batches += 1
        return True

    def committable(self) -> dict[Partition, int]:
        """Return the partitions whose position passed the committed offset, with the offset to commit."""
        return {
            partition: position
            for partition, position in self._position.items()
            if position > self._committed.get(partition, -1)
        }

    def committed(self, offsets: dict[Partition, int]) -> None:
        """Record the offsets whose commit the broker accepted."""
        self._committed.update(offsets)

    def position(self, partition: Partition) -> int | None:
        """Return the next offset to commit; None before the first acknowledged batch."""
        return self._position.get(partition)

    def forget(self, partitions: Iterable[Partition] | None = None) -> None:
        """Forget ``partitions`` (None: all of them), because they were revoked or fetching starts over."""
        for partition in list(self._all()) if partitions is None else list(partitions):
            self._outstanding.pop(partition, None)
            self._position.pop(partition, None)
            self._committed.pop(partition, None)

    def outstanding_records(self) -> int:
        """Return the number of records that are handed out and not acknowledged."""
        return sum(
            len(batch.records) for batches in self._outstanding.values() for batch, done in batches.values() if not done
        )

    def _all(self) -> set[Partition]:
        return self._outstanding.keys() | self._position.keys() | self._committed.keys()
