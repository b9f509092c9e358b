"""Decide which windows of a decoded batch are new, and where a line's memory begins cold. Pure.

This runs before the engine, since a repeated window must not advance a memory. ``Positions`` therefore advance before
the line states do: while a batch is classified, the one before it is still being tracked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from model.spec import SignalSpec
from stream.contract import NS_PER_S, QualityFlag
from stream.detection.decode import DecodedBatch, LineWindows
from stream.detection.line_state import LineState, spec_key

BEGINS = -1
"""Value of ``Ordered.before`` for windows that do not continue from earlier windows of this process."""


class Slots:
    """Numbers of lines, used as rows of arrays; the number of a forgotten line is used again."""

    def __init__(self) -> None:
        self._free: list[int] = []
        self._next = 0

    def take(self) -> int:
        """Return a number that no line has."""
        if self._free:
            return self._free.pop()
        self._next += 1
        return self._next - 1

    def give_back(self, slots: Iterable[int]) -> None:
        """Make the numbers of forgotten lines available."""
        self._free += slots


@dataclass(slots=True)
class Position:
    """Last window of a line that was put in order."""

    slot: int
    """Number of the line, see ``Slots``."""
    sequence: int = -1
    start_ns: int = -1
    uncertain: bool = False
    """True if windows may have passed since this position was written."""
    memory: bytes = b""
    """Restored memory (float32, little endian), until the first new window."""
    memory_of: str = ""
    """Id of the model that the restored memory belongs to."""
    batch: int = -1
    """Number of the batch that last had new windows of this line."""
    row: int = -1
    """Index of the line in that batch's ``Ordered.names``."""


@dataclass(slots=True)
class Ordered:
    """Order of one decoded batch.

    A *run* is a row of memory for the engine: the successive new windows of one line in this batch. A line has one run,
    and one more from every window that does not follow the one before it.
    """

    count: int
    """Number of windows of the batch."""
    skips: list[int] = field(default_factory=list)
    """Number of leading windows of every record that were put in order before."""
    breaks: list[QualityFlag | None] = field(default_factory=list)
    """Flag of every record's first new window; None if the window follows the line's last one."""
    runs: list[int] = field(default_factory=list)
    """Run of every record's new windows; -1 for a record without new windows."""
    lengths: list[int] = field(default_factory=list)
    """Number of new windows of every record."""
    new: int = 0
    """Number of new windows."""
    names: list[str] = field(default_factory=list)
    """Line of every run."""
    slots: list[int] = field(default_factory=list)
    """Number of every run's line, see ``Slots``."""
    before: list[int] = field(default_factory=list)
    """Sequence of the window before every run; ``BEGINS`` if the run continues from no earlier window."""
    after: list[int] = field(default_factory=list)
    """Sequence of the last window of every run's line."""
    restored: dict[int, tuple[str, bytes]] = field(default_factory=dict)
    """Model id and memory of every run that continues from a restored line state."""

    def rows(self, records: Sequence[LineWindows]) -> NDArray[np.intp] | None:
        """Return the rows of the batch that are new, (``new``,); None if all are.

        Args:
            records: records of the batch.
        """
        if self.new == self.count:
            return None
        spans = [np.arange(one.first + skip, one.first + one.count) for one, skip in self._with_new(records)]
        return np.concatenate(spans) if spans else np.empty(0, np.intp)

    def run_of_window(self) -> NDArray[np.intp]:
        """Return the run of every new window, (``new``,), in the order of ``rows``."""
        runs, lengths = np.asarray(self.runs, np.intp), np.asarray(self.lengths, np.intp)
        return runs if self.new == len(runs) and lengths.all() else np.repeat(runs, lengths)

    def _with_new(self, records: Sequence[LineWindows]) -> Iterator[tuple[LineWindows, int]]:
        for entry, skip in zip(records, self.skips, strict=True):
            if skip < entry.count:
                yield entry, skip


class Positions:
    """Positions of the lines of one partition.

    Args:
        spec: signal spec of the windows.
        slots: numbers of the lines, shared by all partitions whose windows are classified together.
    """

    def __init__(self, spec: SignalSpec, slots: Slots | None = None) -> None:
        self.lines: dict[str, Position] = {}
        self._slots = Slots() if slots is None else slots
        self._hop = spec.hop * NS_PER_S
        self._spec_key = spec_key(spec)
        self._batch = 0
        self._opened: list[Position] = []
        """Position of every run of the batch."""

    def order(self, batch: DecodedBatch, states: Mapping[str, LineState]) -> Ordered:
        """Order a batch and advance the positions of its lines.

        Args:
            batch: decoded batch, which must follow the one of the call before.
            states: states of the lines, from which a line continues that has no position yet.
        """
        self._batch += 1
        self._opened = []
        ordered = Ordered(len(batch.windows))
        lines, hop, number = self.lines, self._hop, self._batch
        skips, breaks, runs, lengths = ordered.skips, ordered.breaks, ordered.runs, ordered.lengths
        for entry in batch.records:
            position = lines.get(entry.line)
            if position is not None and not position.uncertain and entry.sequence == position.sequence + 1:
                # The fast path of nearly all records: their windows follow the line's last one.
                hop_ns = hop / entry.rate_hz
                if abs(entry.start_ns - position.start_ns - hop_ns) <= hop_ns:
                    skips.append(0)
                    breaks.append(None)
                    if position.batch != number:
                        self._open_run(ordered, position, entry.line, cold=False)
                    count = entry.count
                    position.sequence += count
                    position.start_ns = entry.start_ns
                    if count > 1:
                        position.start_ns += round((count - 1) * hop / entry.rate_hz)
                    runs.append(position.row)
                    lengths.append(count)
                    continue
            if position is None:
                position = lines[entry.line] = self._begin(states.get(entry.line))
            skip, flag = self._place(position, entry)
            skips.append(skip)
            breaks.append(flag)
            if skip == entry.count:
                runs.append(-1)
                lengths.append(0)
                continue
            if flag is not None or position.batch != number:
                self._open_run(ordered, position, entry.line, cold=flag is not None)
            self._advance(ordered, position, entry, skip)
        ordered.new = sum(lengths)
        # Of several runs of one line, all get the line's last sequence; only the last run is followed by another batch.
        ordered.after = [position.sequence for position in self._opened]
        return ordered

    def forget(self, lines: Iterable[str]) -> None:
        """Forget lines; each begins again with its next window."""
        self._slots.give_back([self.lines.pop(line).slot for line in lines if line in self.lines])

    def is_at(self, line: str, state: LineState) -> bool:
        """Return True if a line has no windows that are in order and not yet tracked.

        Args:
            line: id of the line.
            state: state of the line after its last tracked window.
        """
        position = self.lines.get(line)
        return position is None or (position.sequence == state.sequence and position.start_ns == state.start_ns)

    def _begin(self, state: LineState | None) -> Position:
        position = Position(self._slots.take())
        if state is None or state.spec != self._spec_key:
            return position
        position.sequence, position.start_ns = state.sequence, state.start_ns
        # With a memory every line is written, so its state is exact. Otherwise idle lines are not written.
        position.uncertain = state.restored and state.idle and not state.memory_of
        position.memory, position.memory_of = state.memory, state.memory_of
        return position

    def _advance(self, ordered: Ordered, position: Position, entry: LineWindows, skip: int = 0) -> None:
        last = entry.count - 1
        position.sequence = entry.sequence + last
        position.start_ns = entry.start_ns + round(last * self._hop / entry.rate_hz) if last else entry.start_ns
        ordered.runs.append(position.row)
        ordered.lengths.append(entry.count - skip)

    def _open_run(self, ordered: Ordered, position: Position, line: str, *, cold: bool) -> None:
        row = position.row = len(ordered.names)
        ordered.names.append(line)
        ordered.slots.append(position.slot)
        self._opened.append(position)
        if cold or position.batch < 0:
            ordered.before.append(BEGINS)
            if not cold and position.memory:
                ordered.restored[row] = position.memory_of, position.memory
            position.uncertain = False
            position.memory, position.memory_of = b"", ""
        else:
            ordered.before.append(position.sequence)
        position.batch = self._batch

    def _place(self, position: Position, entry: LineWindows) -> tuple[int, QualityFlag | None]:
        """Return the number of leading windows that are not new, and the flag of the first new one.

        A window with a higher number is new, whatever its time: clocks are set back, and one wrong time must not make
        the worker ignore a line. A known number with a time after the line's last (by more than rounding) means that
        the source has restarted its count.
        """
        hop_ns = self._hop / entry.rate_hz
        if entry.sequence > position.sequence or entry.start_ns > position.start_ns + hop_ns / 2:
            skip = 0
        else:
            skip = min(entry.count, position.sequence - entry.sequence + 1)
            if skip == entry.count:
                return skip, None
        if position.start_ns < 0:
            return skip, None
        first, start_ns = entry.sequence + skip, entry.start_ns + round(skip * self._hop / entry.rate_hz)
        if first == position.sequence + 1 and abs(start_ns - position.start_ns - hop_ns) <= hop_ns:
            return skip, None
        if start_ns <= position.start_ns:
            return skip, "late"
        if first <= position.sequence:
            return skip, "source-restart"
        return skip, None if position.uncertain else "gap"


def all_new(batch: DecodedBatch) -> Ordered:
    """Return the order of a batch whose windows are all new and follow one another; it is for tracking only."""
    count = len(batch.records)
    return Ordered(len(batch.windows), [0] * count, [None] * count, new=len(batch.windows))
