"""Follow the lines of successive batches with one model and its memories. Pure.

A model's memory of a line advances once per new window. The memories of all lines are rows of one array, which the
lines' slots index (see ``stream.detection.order``). A run that continues from no earlier window begins cold, so the row
of a forgotten line needs no cleaning.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from stream.detection.classify import Classifier, reject
from stream.detection.decode import DecodedBatch
from stream.detection.order import BEGINS, Ordered


@dataclass(frozen=True, slots=True)
class Memories:
    """Memories of one model after a batch; nothing changes them.

    Attributes:
        model_id: model that they belong to.
        values: float32 little endian (runs, units), in the order of ``Ordered.names``; units is 0 for a model without a
            memory.
    """

    model_id: str
    values: NDArray[np.float32]

    @property
    def units(self) -> int:
        """Return the number of values of a line's memory."""
        return int(self.values.shape[1])


@dataclass(frozen=True, slots=True)
class Followed:
    """Answers of a model to ordered batches that it followed together.

    Attributes:
        probabilities: float32 (n, classes) of each batch, after rejection. A window that is not new has the no-fault
            class with probability 1.
        memories: memories of the lines of each batch after all of them.
        outcomes: number of new windows without a usable answer, see ``classify_windows``.
    """

    probabilities: Sequence[NDArray[np.float32]]
    memories: Sequence[Memories]
    outcomes: Counter[str]


@dataclass(slots=True)
class _Lines:
    """Rows of memory of one call: a run that continues a run of an earlier batch of the call shares its row."""

    rows: list[NDArray[np.intp]]
    """Row of every run of each batch."""
    slots: list[int]
    """Number of every row's line."""
    before: list[int]
    """Sequence of the window before every row, see ``Ordered.before``."""
    after: list[int]
    """Sequence of the last window of every row."""
    restored: dict[int, tuple[str, bytes]]
    """Restored memories by row, see ``Ordered.restored``."""


def _lines_of(ordered: Sequence[Ordered]) -> _Lines:
    if len(ordered) == 1:
        (one,) = ordered
        return _Lines([np.arange(len(one.names))], one.slots, one.before, one.after, one.restored)
    lines = _Lines([], [], [], [], {})
    row_of: dict[int, int] = {}
    for one in ordered:
        rows = []
        for run, (slot, before, after) in enumerate(zip(one.slots, one.before, one.after, strict=True)):
            row = None if before == BEGINS else row_of.get(slot)
            if row is None:
                row = row_of[slot] = len(lines.slots)
                lines.slots.append(slot)
                lines.before.append(before)
                lines.after.append(after)
                if run in one.restored:
                    lines.restored[row] = one.restored[run]
            else:
                lines.after[row] = after
            rows.append(row)
        lines.rows.append(np.asarray(rows, np.intp))
    return lines


@dataclass(slots=True)
class Call:
    """One call of an engine, in three steps, of which only ``compute`` takes long; it may run on another thread."""

    engine: Classifier
    none_index: int
    classes: int
    batches: Sequence[DecodedBatch]
    ordered: Sequence[Ordered]
    lines: _Lines
    before: NDArray[np.float32]
    """Memories before the windows, float32 (rows, units)."""
    after: NDArray[np.float32]
    """Memories after the windows, once computed."""

    def compute(self) -> Followed:
        """Classify the new windows; nothing is changed except ``after``."""
        blocks, rows = [], []
        for batch, ordered in zip(self.batches, self.ordered, strict=True):
            new = ordered.rows(batch.records)
            rows.append(new)
            blocks.append(batch.windows if new is None else batch.windows[new])
        windows = blocks[0] if len(blocks) == 1 else np.concatenate(blocks)
        if len(windows):
            answers, outcomes = reject(self._answers(windows), self.engine.is_ood(windows), self.none_index)
        else:
            answers, outcomes = np.empty((0, self.classes), np.float32), Counter[str]()
        parts = np.split(answers, list(accumulate(len(block) for block in blocks))[:-1])
        probabilities = [
            part if new is None else self._filled(part, new, one.count)
            for part, new, one in zip(parts, rows, self.ordered, strict=True)
        ]
        single = len(self.ordered) == 1
        after = self.after.astype("<f4", copy=False)
        memories = [Memories(self.engine.model_id, after if single else after[rows]) for rows in self.lines.rows]
        return Followed(probabilities, memories, outcomes)

    def _answers(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        if not self.before.shape[1]:
            return self.engine.classify(windows)
        line = [rows[one.run_of_window()] for one, rows in zip(self.ordered, self.lines.rows, strict=True)]
        answers, self.after = self.engine.follow(windows, np.concatenate(line), self.before)
        return answers

    def _filled(self, answers: NDArray[np.float32], rows: NDArray[np.intp], count: int) -> NDArray[np.float32]:
        filled = np.zeros((count, self.classes), np.float32)
        filled[:, self.none_index] = 1
        filled[rows] = answers
        return filled


class Following:
    """One model and its memories of all lines.

    Args:
        engine: model to use.
        none_index: index of the no-fault class.
        classes: number of classes.
    """

    def __init__(self, engine: Classifier, none_index: int, classes: int) -> None:
        self.engine = engine
        self._none_index = none_index
        self._classes = classes
        self._values = np.zeros((0, engine.memory_units), np.float32)
        self._sequences = np.zeros(0, np.int64)
        """Sequence of the last window that each memory has advanced by, (slots,)."""

    @property
    def has_memories(self) -> bool:
        """Return True if the model has a memory and has followed windows."""
        return self.engine.memory_units > 0 and len(self._sequences) > 0

    def interrupt(self, slots: Iterable[int]) -> None:
        """Let lines begin cold with their next windows, because the model has not followed all windows before them.

        Args:
            slots: numbers of the lines.
        """
        known = len(self._sequences)
        self._sequences[[slot for slot in slots if slot < known]] = BEGINS

    def begin(self, batches: Sequence[DecodedBatch], ordered: Sequence[Ordered]) -> Call:
        """Return the call for ordered batches, which must follow those of the call before.

        A model that did not follow the windows just before a run, because they came before its first call or in a call
        that was left out, begins that run cold.

        Args:
            batches: decoded batches, each of one partition; those of a partition are in order.
            ordered: their orders.
        """
        if self.engine.memory_units:
            lines = _lines_of(ordered)
            before = self._before(lines)
        else:
            lines = _Lines([np.zeros(len(one.names), np.intp) for one in ordered], [], [], [], {})
            before = np.zeros((max(len(one.names) for one in ordered), 0), np.float32)
        return Call(self.engine, self._none_index, self._classes, batches, ordered, lines, before, before)

    def end(self, call: Call) -> None:
        """Take over the memories after a computed call."""
        if call.lines.slots:
            slots = np.asarray(call.lines.slots)
            # If a line has several rows, the last one counts: a later assignment replaces an earlier one.
            self._values[slots] = call.after
            self._sequences[slots] = call.lines.after

    def follow(self, batch: DecodedBatch, ordered: Ordered) -> Followed:
        """Classify the new windows of one batch and advance the memories, as ``begin``, ``compute`` and ``end`` do."""
        call = self.begin([batch], [ordered])
        followed = call.compute()
        self.end(call)
        return followed

    def _before(self, lines: _Lines) -> NDArray[np.float32]:
        slots, expected = np.asarray(lines.slots, np.intp), np.asarray(lines.before, np.int64)
        self._reserve(int(slots.max(initial=-1)) + 1)
        before = self._values[slots]
        before[(expected == BEGINS) | (self._sequences[slots] != expected)] = 0
        for row, (model_id, memory) in lines.restored.items():
            if model_id == self.engine.model_id and len(memory) == before[row].nbytes:
                before[row] = np.frombuffer(memory, "<f4")
        return before

    def _reserve(self, slots: int) -> None:
        missing = slots - len(self._values)
        if missing > 0:
            missing = max(missing, len(self._values), 64)
            self._values = np.concatenate([self._values, np.zeros((missing, self._values.shape[1]), np.float32)])
            self._sequences = np.concatenate([self._sequences, np.full(missing, BEGINS, np.int64)])
