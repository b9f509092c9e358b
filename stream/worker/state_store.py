"""Restore the states of the assigned partitions' lines from a compacted topic, and write them when lines change.

This is no Faust table: its recovery has unresolved races (FAUST issue 596) and relies on Faust's own acknowledgements.
``line-states`` is co-partitioned with ``sensor-windows``: a line's state is written to the partition that its window
came from, whichever partitioner the gateway uses. The key is the consumer group and the line, so that a second group,
for example one that tries another model on the same windows, has its own states.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol

import structlog
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from model.spec import SignalSpec
from stream.contract import Outgoing
from stream.detection.following import Memories
from stream.detection.line_state import LineState, decode_state, encode_state
from stream.detection.order import Positions, Slots
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
"""Pause before a failed read of the state topic is retried; no window is classified meanwhile."""


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


class UnwrittenState(NamedTuple):
    """State of one line after a batch. An idle line is encoded when it is written: most are replaced before.

    Attributes:
        encoded: value to write for a line that is not idle; None for an idle line.
        sequence: sequence of the last window.
        start_ns: start of the last window, Unix ns.
        spec: key of the spec.
        memories: memories of the model after the batch.
        run: row of the line in ``memories``.
    """

    encoded: bytes | None
    sequence: int
    start_ns: int
    spec: str
    memories: Memories
    run: int

    def encode(self) -> bytes:
        """Return the value to write."""
        if self.encoded is not None:
            return self.encoded
        state = LineState(sequence=self.sequence, start_ns=self.start_ns, spec=self.spec)
        return _encode_with_memory(state, self.memories, self.run)


def _encode_with_memory(state: LineState, memories: Memories, run: int) -> bytes:
    if memories.units:
        state.memory = memories.values[run].tobytes()
        state.memory_of = memories.model_id
    else:
        state.memory, state.memory_of = b"", ""
    return encode_state(state)


UnwrittenStates = dict[str, UnwrittenState | None]
"""States to write by line, each the last of its line; None deletes the record of a forgotten line."""


def state_records(
    states: Mapping[str, UnwrittenState | None], group: str, topic: str, partition: int
) -> list[Outgoing]:
    """Return the records that write states of a group's lines to a partition of the state topic."""
    prefix = f"{group}{KEY_SEPARATOR}"
    return [
        Outgoing(topic, f"{prefix}{line}".encode(), None if state is None else state.encode(), [], partition)
        for line, state in states.items()
    ]


class PartitionStates:
    """States of the lines of one partition.

    Args:
        group: consumer group that the states belong to.
        rows: key and value of the records of the topic, oldest first; those of other groups are skipped.
        spec: signal spec of the windows.
        slots: numbers of the lines, shared by the partitions of a worker.
        max_lines: beyond this number idle lines are forgotten, first those whose last window is oldest.
    """

    def __init__(
        self,
        group: str,
        rows: Iterable[tuple[bytes, bytes | None]] = (),
        *,
        spec: SignalSpec,
        slots: Slots | None = None,
        max_lines: int = MAX_LINES,
    ) -> None:
        self.lines: dict[str, LineState] = {}
        """Ordered by their last window, the oldest first."""
        self.positions = Positions(spec, slots)
        """Positions, which advance when windows are classified, before ``lines`` do."""
        self._busy: set[str] = set()
        """Lines whose last written state was not idle."""
        self._remembered: set[str] = set()
        """Lines whose last written state has a memory."""
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
                self._remembered.discard(line)
                return
            state = decode_state(value)
        except (ContractError, UnicodeDecodeError) as error:
            log.warning("line-state-ignored", error=str(error))
            return
        # Even an outdated row is the line's last record on the topic.
        (self._busy.discard if state.idle else self._busy.add)(line)
        (self._remembered.add if state.memory_of else self._remembered.discard)(line)
        known = self.lines.get(line)
        # A worker that has lost its partition may have written last: a state behind in sequence and time is outdated.
        if known is None or state.sequence >= known.sequence or state.start_ns >= known.start_ns:
            self.lines[line] = state

    def changes(self, lines: Iterable[str], memories: Memories) -> UnwrittenStates:
        """Return the states that bring the topic up to date after a batch has been tracked.

        With a memory, every line that has new windows is written. Without one, a line that is idle, and was idle when
        last written, is left out: forgetting its windows since then changes no later event, and nearly all lines are
        idle nearly all the time. Idle lines are forgotten if there are too many lines, first those whose last window is
        oldest.

        Args:
            lines: lines with new windows, in the order of the rows of ``memories``, see ``Ordered.names``.
            memories: memories of the model after the batch.
        """
        unwritten: UnwrittenStates = {}
        states, busy, remembered, remembers = self.lines, self._busy, self._remembered, memories.units > 0
        for run, line in enumerate(lines):
            state = states[line] = states.pop(line)
            idle = state.idle
            if idle and not remembers and line not in busy and line not in remembered:
                continue
            if not idle:
                busy.add(line)
            elif busy:
                busy.discard(line)
            if remembers:
                remembered.add(line)
            else:
                remembered.discard(line)
            encoded = None if idle else _encode_with_memory(state, memories, run)
            unwritten[line] = UnwrittenState(encoded, state.sequence, state.start_ns, state.spec, memories, run)
        self._evict(unwritten)
        return unwritten

    def _evict(self, unwritten: UnwrittenStates | None = None) -> None:
        """Forget idle lines, first those whose last window is oldest, until there is room or all lines are busy.

        A restart forgets the same: without a memory, the sequence number of the last quiet window; with one, the record
        of the line is deleted. A line with windows that are classified and not yet tracked stays.
        """
        if len(self.lines) <= self._evict_at:
            return
        excess = len(self.lines) - self._max_lines + self._max_lines // EVICTION_PARTS
        is_at = self.positions.is_at
        idle = (
            line for line, state in self.lines.items() if state.idle and line not in self._busy and is_at(line, state)
        )
        evicted = list(itertools.islice(idle, excess))
        for line in evicted:
            del self.lines[line]
            if line in self._remembered and unwritten is not None:
                self._remembered.discard(line)
                unwritten[line] = None
        self.positions.forget(evicted)
        # Busy lines are kept beyond the limit; raise the threshold so that the next new line does not search again.
        self._evict_at = max(self._max_lines, len(self.lines) + self._max_lines // EVICTION_PARTS)


class LineStates:
    """States of all assigned partitions, restored before the first window of each partition.

    Args:
        reader: reader of the state topic.
        group: consumer group that the states belong to.
        spec: signal spec of the windows.
        max_lines: maximum number of lines per partition, see ``PartitionStates``.
    """

    def __init__(self, reader: StateReader, group: str, *, spec: SignalSpec, max_lines: int = MAX_LINES) -> None:
        self.group = group
        self._reader = reader
        self._spec = spec
        self._max_lines = max_lines
        self._slots = Slots()
        self._partitions: dict[Partition, PartitionStates] = {}
        self._assignment = 0

    @property
    def assignment(self) -> int:
        """Return the number of the assignment; the slots of lines are valid within one assignment."""
        return self._assignment

    def forget(self) -> None:
        """Forget all states on a new assignment: another worker may have changed them since."""
        self._partitions.clear()
        self._slots = Slots()
        self._assignment += 1

    async def of(self, partition: Partition) -> PartitionStates:
        """Return the states of a partition; read them from the topic once per assignment."""
        while (states := self._partitions.get(partition)) is None:
            assignment = self._assignment
            rows = await self._reader.read(partition.partition)
            restored = PartitionStates(self.group, rows, spec=self._spec, slots=self._slots, max_lines=self._max_lines)
            # States read before a rebalance may be older than those that another worker wrote in between.
            if assignment == self._assignment:
                self._partitions[partition] = restored
                log.info("line-states-restored", partition=partition.partition, lines=len(restored.lines))
        return states

    def known(self, partition: Partition) -> PartitionStates | None:
        """Return the states of a partition if they are restored."""
        return self._partitions.get(partition)

    def count(self) -> int:
        """Return the number of lines with a state."""
        return sum(len(states.lines) for states in self._partitions.values())
