"""The per-line state of assigned partitions: restored from its compacted topic, written as lines change.

Why not a Faust table: its recovery has open races (FAUST issue 596) and acknowledges by Faust's own bookkeeping.
``line-states`` is co-partitioned with ``sensor-windows``: a line's state is written to the partition its window came
from, whatever partitioner the gateway uses.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Protocol

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from stream.errors import ContractError
from stream.ledger import Partition
from stream.line_state import LineState, decode_state, encode_state
from stream.publisher import Outgoing

log = structlog.get_logger(__name__)

RETRY_S = 1.0
"""Pause before a failed read of the state topic is tried again; no window is judged meanwhile."""


class StateReader(Protocol):
    """Reads a partition of the state topic from its beginning to its present end."""

    async def read(self, partition: int) -> Iterable[tuple[bytes, bytes | None]]:
        """Key and value of every record, oldest first."""


class TopicStateReader:
    """``StateReader`` on Kafka: a consumer without a group.

    Args:
        topic: the state topic.
        new_consumer: makes an ``AIOKafkaConsumer`` with no group, reading from the earliest offset.
    """

    def __init__(self, topic: str, new_consumer: Callable[[], AIOKafkaConsumer]) -> None:
        self._topic = topic
        self._new_consumer = new_consumer
        self._consumer: AIOKafkaConsumer | None = None
        self._lock = asyncio.Lock()

    async def read(self, partition: int) -> list[tuple[bytes, bytes | None]]:
        """See ``StateReader``; failures are tried again until they pass."""
        async with self._lock:
            while True:
                try:
                    return await self._read(partition)
                except KafkaError as error:
                    log.warning("line-states-not-read", partition=partition, error=repr(error), then="tried again")
                    await self.close()
                    await asyncio.sleep(RETRY_S)

    async def _read(self, partition: int) -> list[tuple[bytes, bytes | None]]:
        if self._consumer is None:
            # Kept before it is started: a consumer that fails to start is to be stopped as well.
            self._consumer = self._new_consumer()
            await self._consumer.start()
        consumer, tp = self._consumer, TopicPartition(self._topic, partition)
        consumer.assign([tp])
        await consumer.seek_to_beginning(tp)
        end = (await consumer.end_offsets([tp]))[tp]
        rows: list[tuple[bytes, bytes | None]] = []
        while await consumer.position(tp) < end:
            for records in (await consumer.getmany(tp, timeout_ms=500)).values():
                rows += [(record.key, record.value) for record in records if record.offset < end and record.key]
        # Else it would go on fetching, and the next partition's first request would wait behind that fetch.
        consumer.unsubscribe()
        return rows

    async def close(self) -> None:
        """Stop the consumer."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await consumer.stop()


class PartitionStates:
    """States of the lines of one partition."""

    def __init__(self, rows: Iterable[tuple[bytes, bytes | None]] = ()) -> None:
        self.lines: dict[str, LineState] = {}
        self._busy: set[str] = set()
        """Lines whose last written state was not idle."""
        for key, value in rows:
            self._restore(key, value)

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
        # Even a row that does not win says what the topic holds last.
        (self._busy.discard if state.idle else self._busy.add)(line)
        known = self.lines.get(line)
        # A worker that lost its partition may have written last: a state that saw less, by number and by time, loses.
        if known is None or state.sequence >= known.sequence or state.start_ns >= known.start_ns:
            self.lines[line] = state

    def changes(self, touched: Iterable[str], topic: str, partition: int) -> list[Outgoing]:
        """Records that make the topic tell the present state of the touched lines.

        A line that is idle, and was when last written, is left out: forgetting what it saw meanwhile changes no
        later event, and nearly all lines are idle nearly all the time.
        """
        records: list[Outgoing] = []
        for line in touched:
            state = self.lines[line]
            if state.idle and line not in self._busy:
                continue
            (self._busy.discard if state.idle else self._busy.add)(line)
            records.append(Outgoing(topic, line.encode(), encode_state(state), [], partition))
        return records


class LineStates:
    """States of all assigned partitions, restored before the first window of each."""

    def __init__(self, reader: StateReader) -> None:
        self._reader = reader
        self._partitions: dict[Partition, PartitionStates] = {}
        self._assignment = 0

    def forget(self) -> None:
        """A new assignment: whatever is known may be another worker's past."""
        self._partitions.clear()
        self._assignment += 1

    async def of(self, partition: Partition) -> PartitionStates:
        """States of a partition, read from the topic when it was not since the assignment."""
        while (states := self._partitions.get(partition)) is None:
            assignment = self._assignment
            restored = PartitionStates(await self._reader.read(partition.partition))
            # What was read before a rebalance may be the past of a worker in between.
            if assignment == self._assignment:
                self._partitions[partition] = restored
                log.info("line-states-restored", partition=partition.partition, lines=len(restored.lines))
        return states

    def count(self) -> int:
        """Lines known."""
        return sum(len(states.lines) for states in self._partitions.values())
