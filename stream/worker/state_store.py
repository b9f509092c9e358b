"""Restore the states of the assigned partitions' lines from a compacted topic, and write them when lines change.

This is no Faust table: its recovery has unresolved races (FAUST issue 596) and relies on Faust's own acknowledgements.
``line-states`` is co-partitioned with ``sensor-windows``: a line's state is written to the partition that its window
came from, whichever partitioner the gateway uses. The key is the consumer group and the line, so that a second group,
for example one that tries another model on the same windows, has its own states.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable
from typing import Protocol

import structlog
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from stream.contract import Outgoing
from stream.detection.line_state import LineState, decode_state, encode_state
from stream.errors import ContractError
from stream.kafka.reading.partition import Partition
from stream.kafka.reading.reader import PartitionReader, StartAt
from stream.settings import Settings

log = structlog.get_logger(__name__)

KEY_SEPARATOR = "\x1f"
"""Separates group and line in a key. A group's name cannot contain it (see ``Settings``), a line's id may."""
MAX_LINES = 50_000
"""Maximum number of lines kept per partition, see ``Settings.max_lines_per_partition``."""
EVICTION_PARTS = 10
"""Share of the lines evicted at once: one in ten, so that not every new line searches a full partition."""
FETCH_WAIT_MS = 20
"""Longest wait of one fetch at the broker: short, since other requests on that connection wait behind it."""
RETRY_S = 1.0
"""Pause before a failed read of the state topic is retried; no window is tracked meanwhile."""


class StateReader(Protocol):
    """Read a partition of the state topic from its beginning to its current end."""

    async def read(self, partition: int) -> Iterable[tuple[bytes, bytes | None]]:
        """Return key and value of every record, oldest first."""


class TopicStateReader:
    """``StateReader`` on Kafka.

    Args:
        settings: broker and name of the state topic.
    """

    def __init__(self, settings: Settings) -> None:
        self._topic = settings.topic_line_states
        self._reader = PartitionReader(settings, fetch_max_wait_ms=FETCH_WAIT_MS)
        self._lock = asyncio.Lock()

    async def read(self, partition: int) -> list[tuple[bytes, bytes | None]]:
        """Read a partition as ``StateReader`` specifies; retry failed reads until one succeeds."""
        async with self._lock:
            while True:
                try:
                    return await self._read(partition)
                except KafkaError as error:
                    log.warning("line-states-not-read", partition=partition, error=repr(error), then="retried")
                    await self.close()
                    await asyncio.sleep(RETRY_S)

    async def _read(self, partition: int) -> list[tuple[bytes, bytes | None]]:
        reader, tp = self._reader, TopicPartition(self._topic, partition)
        await reader.start()
        reader.assign(await reader.offsets([tp], StartAt("earliest")))
        rows = [
            (record.key, record.value)
            async for fetched in reader.read_to_end()
            for record in fetched.get(tp, ())
            if record.key
        ]
        # Otherwise it would keep fetching, and the next partition's first request would wait behind that fetch.
        reader.release()
        return rows

    async def close(self) -> None:
        """Disconnect."""
        await self._reader.close()


class PartitionStates:
    """States of the lines of one partition.

    Args:
        group: consumer group that the states belong to.
        rows: key and value of the records of the topic, oldest first; those of other groups are skipped.
        max_lines: beyond this number idle lines are forgotten, first those whose last window is oldest.
    """

    def __init__(
        self, group: str, rows: Iterable[tuple[bytes, bytes | None]] = (), *, max_lines: int = MAX_LINES
    ) -> None:
        self.lines: dict[str, LineState] = {}
        """Ordered by their last window, the oldest first."""
        self._busy: set[str] = set()
        """Lines whose last written state was not idle."""
        self._prefix = f"{group}{KEY_SEPARATOR}".encode()
        self._max_lines = max_lines
        self._evict_at = max_lines
        for key, value in rows:
            if key.startswith(self._prefix):
                self._restore(key[len(self._prefix) :], value)
        self._evict()

    def _restore(self, key: bytes, value: bytes | None) -> None:
        try:
            line = key.decode()
            if value is None:
                self.lines.pop(line, None)
                self._busy.discard(line)
                return
            state = decode_state(value)
        except (ContractError, UnicodeDecodeError) as error:
            log.warning("line-state-ignored", error=str(error))
            return
        # Even an outdated row is the line's last record on the topic.
        (self._busy.discard if state.idle else self._busy.add)(line)
        known = self.lines.get(line)
        # A worker that has lost its partition may have written last: a state behind in sequence and time is outdated.
        if known is None or state.sequence >= known.sequence or state.start_ns >= known.start_ns:
            self.lines[line] = state

    def changes(self, touched: Iterable[str], topic: str, partition: int) -> list[Outgoing]:
        """Return the records that bring the topic up to date with the states of the touched lines.

        A line that is idle, and was idle when last written, is left out: forgetting its windows since then changes no
        later event, and nearly all lines are idle nearly all the time. For the same reason idle lines are forgotten
        if there are too many lines, first those whose last window is oldest.
        """
        records: list[Outgoing] = []
        for line in touched:
            state = self.lines[line] = self.lines.pop(line)
            if state.idle and line not in self._busy:
                continue
            (self._busy.discard if state.idle else self._busy.add)(line)
            records.append(Outgoing(topic, self._prefix + line.encode(), encode_state(state), [], partition))
        self._evict()
        return records

    def _evict(self) -> None:
        """Forget idle lines, first those whose last window is oldest, until there is room or all lines are busy.

        A restart forgets the same data: the sequence number of the last quiet window.
        """
        if len(self.lines) <= self._evict_at:
            return
        excess = len(self.lines) - self._max_lines + self._max_lines // EVICTION_PARTS
        idle = (line for line, state in self.lines.items() if state.idle and line not in self._busy)
        for line in list(itertools.islice(idle, excess)):
            del self.lines[line]
        # Busy lines are kept beyond the limit; raise the threshold so that the next new line does not search again.
        self._evict_at = max(self._max_lines, len(self.lines) + self._max_lines // EVICTION_PARTS)


class LineStates:
    """States of all assigned partitions, restored before the first window of each partition.

    Args:
        reader: reader of the state topic.
        group: consumer group that the states belong to.
        max_lines: maximum number of lines per partition, see ``PartitionStates``.
    """

    def __init__(self, reader: StateReader, group: str, *, max_lines: int = MAX_LINES) -> None:
        self._reader = reader
        self._group = group
        self._max_lines = max_lines
        self._partitions: dict[Partition, PartitionStates] = {}
        self._assignment = 0

    def forget(self) -> None:
        """Forget all states on a new assignment: another worker may have changed them since."""
        self._partitions.clear()
        self._assignment += 1

    async def of(self, partition: Partition) -> PartitionStates:
        """Return the states of a partition; read them from the topic once per assignment."""
        while (states := self._partitions.get(partition)) is None:
            assignment = self._assignment
            rows = await self._reader.read(partition.partition)
            restored = PartitionStates(self._group, rows, max_lines=self._max_lines)
            # States read before a rebalance may be older than those that another worker wrote in between.
            if assignment == self._assignment:
                self._partitions[partition] = restored
                log.info("line-states-restored", partition=partition.partition, lines=len(restored.lines))
        return states

    def count(self) -> int:
        """Return the number of lines with a state."""
        return sum(len(states.lines) for states in self._partitions.values())
