"""Partitions of a topic → one sequence in time. Pure."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Collection, Hashable, Iterable, Iterator
from typing import Generic, Protocol, TypeVar


class Timed(Protocol):
    """The part of a consumed record that is read."""

    @property
    def timestamp(self) -> int:
        """Return Unix ms."""

    @property
    def value(self) -> bytes | None:
        """Return the value, whose weight counts."""


K = TypeVar("K", bound=Hashable)
R = TypeVar("R", bound=Timed)


class PartitionMerge(Generic[K, R]):
    """Merges partitions by time; the order within a partition is never changed, whatever its times are.

    A record whose time is before that of an earlier one of its partition counts as of the same time.

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
        """Bytes of values that wait, per partition."""

    def add(self, partition: K, records: Iterable[R]) -> None:
        """Take records of a partition, in its order."""
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
            # Of equal times the partition that was seen first goes first.
            heapq.heappush(self._heap, (time, self._order[partition], partition))

    def ready(self, behind: Collection[K] = ()) -> Iterator[R]:
        """Return the records that none can precede any more.

        Args:
            behind: partitions of which more is known to come; while one of them has nothing here, its next record
                may be the earliest of all.
        """
        while self._heap:
            if any(not self._queues.get(partition) for partition in behind):
                return
            partition = heapq.heappop(self._heap)[2]
            record = self._queues[partition].popleft()
            self.held[partition] -= len(record.value or b"")
            self._push(partition)
            yield record
