"""Merge the partitions of a topic into one sequence ordered by time. Pure."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Collection, Hashable, Iterable, Iterator
from typing import Generic, Protocol, TypeVar


class Timed(Protocol):
    """Part of a consumed record that the merge reads."""

    @property
    def timestamp(self) -> int:
        """Return the Unix time in ms."""

    @property
    def value(self) -> bytes | None:
        """Return the value, whose size is counted."""


K = TypeVar("K", bound=Hashable)
R = TypeVar("R", bound=Timed)


class PartitionMerge(Generic[K, R]):
    """Merge of partitions by time that keeps the order within each partition.

    A record with an earlier time than a preceding one of its partition is placed as if it had that one's time.

    Example:
        >>> from types import SimpleNamespace as Record
        >>> merge = PartitionMerge()
        >>> merge.add("p", [Record(timestamp=3, value=b""), Record(timestamp=1, value=b"")])
        >>> merge.add("q", [Record(timestamp=2, value=b""), Record(timestamp=9, value=b"")])
        >>> [record.timestamp for record in merge.ready(behind={"p"})]
        [2, 3, 1]
    """

    def __init__(self) -> None:
        self._queues: dict[K, deque[R]] = {}
        self._latest: dict[K, int] = {}
        self._heap: list[tuple[int, int, K]] = []
        self._order: dict[K, int] = {}
        self.held: dict[K, int] = {}
        """Bytes of the waiting values, per partition."""

    def add(self, partition: K, records: Iterable[R]) -> None:
        """Add records of a partition, in its order."""
        queue = self._queues.setdefault(partition, deque())
        self._order.setdefault(partition, len(self._order))
        was_empty = not queue
        for record in records:
            queue.append(record)
            self.held[partition] = self.held.get(partition, 0) + len(record.value or b"")
        if was_empty:
            self._push(partition)

    def _push(self, partition: K) -> None:
        queue = self._queues[partition]
        if queue:
            time = self._latest[partition] = max(queue[0].timestamp, self._latest.get(partition, queue[0].timestamp))
            # With equal times the partition that was added first comes first.
            heapq.heappush(self._heap, (time, self._order[partition], partition))

    def ready(self, behind: Collection[K] = ()) -> Iterator[R]:
        """Yield the records that no later record can precede.

        Args:
            behind: partitions with more records to come. While one of them has no record here, its next record may be
                the earliest of all.
        """
        while self._heap:
            if any(not self._queues.get(partition) for partition in behind):
                return
            partition = heapq.heappop(self._heap)[2]
            record = self._queues[partition].popleft()
            self.held[partition] -= len(record.value or b"")
            self._push(partition)
            yield record
