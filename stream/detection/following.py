"""Follow the lines of successive batches with one model and its memories. Pure.

A model's memory of a line advances once per new window. The memories of all lines are rows of one array, which the
lines' slots index (see ``stream.detection.order``). A run that continues from no earlier window begins cold, so the row
of a forgotten line needs no cleaning.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, chain

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
        values: float32 (runs, units), in the order of ``Ordered.names``; units is 0 for a model without a memory.
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
        memories: memories after each batch.
        outcomes: number of new windows without a usable answer, see ``classify_windows``.
    """

    probabilities: Sequence[NDArray[np.float32]]
    memories: Sequence[Memories]
    outcomes: Counter[str]


@dataclass(slots=True)
class Call:
    """One call of an engine, in three steps, of which only ``compute`` takes long; it may run on another thread."""

    engine: Classifier
    none_index: int
    classes: int
    batches: Sequence[DecodedBatch]
    ordered: Sequence[Ordered]
    before: NDArray[np.float32]
    """Memories before the windows, float32 (runs, units)."""
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
        if not len(windows):
            answers = np.empty((0, self.classes), np.float32)
            outcomes: Counter[str] = Counter()
        else:
            answers, outcomes = reject(self._answers(windows), self.engine.is_ood(windows), self.none_index)
        parts = np.split(answers, list(accumulate(len(block) for block in blocks))[:-1])
        probabilities = [
            part if new is None else self._filled(part, new, one.count)
            for part, new, one in zip(parts, rows, self.ordered, strict=True)
        ]
        values = np.split(self.after, list(accumulate(len(one.names) for one in self.ordered))[:-1])
        return Followed(probabilities, [Memories(self.engine.model_id, part) for part in values], outcomes)

    def _answers(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        if not self.before.shape[1]:
            return self.engine.classify(windows)
        firsts = accumulate((len(one.names) for one in self.ordered), initial=0)
        line = [one.run_of_window() + first for one, first in zip(self.ordered, firsts, strict=False)]
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

    def begin(self, batches: Sequence[DecodedBatch], ordered: Sequence[Ordered]) -> Call:
        """Return the call for ordered batches, which must follow those of the call before.

        A model that did not follow the windows just before a run, because they came before its first call or in a call
        that was left out, begins that run cold.

        Args:
            batches: decoded batches, of one partition each.
            ordered: their orders.
        """
        before = self._before(ordered) if self.engine.memory_units else np.zeros((_runs(ordered), 0), np.float32)
        return Call(self.engine, self._none_index, self._classes, batches, ordered, before, before)

    def end(self, call: Call) -> None:
        """Take over the memories after a computed call."""
        if self.engine.memory_units and len(call.after):
            slots = np.fromiter(chain.from_iterable(one.slots for one in call.ordered), np.intp)
            # If a line has several runs, the last one counts: a later assignment to a row replaces an earlier one.
            self._values[slots] = call.after
            self._sequences[slots] = np.fromiter(chain.from_iterable(one.after for one in call.ordered), np.int64)

    def follow(self, batch: DecodedBatch, ordered: Ordered) -> Followed:
        """Classify the new windows of one batch and advance the memories, as ``begin``, ``compute`` and ``end`` do."""
        call = self.begin([batch], [ordered])
        followed = call.compute()
        self.end(call)
        return followed

    def _before(self, ordered: Sequence[Ordered]) -> NDArray[np.float32]:
        slots = np.fromiter(chain.from_iterable(one.slots for one in ordered), np.intp)
        expected = np.fromiter(chain.from_iterable(one.before for one in ordered), np.int64)
        self._reserve(int(slots.max(initial=-1)) + 1)
        before = self._values[slots]
        before[(expected == BEGINS) | (self._sequences[slots] != expected)] = 0
        first = 0
        for one in ordered:
            for run, (model_id, memory) in one.restored.items():
                if model_id == self.engine.model_id and len(memory) == 4 * before.shape[1]:
                    before[first + run] = np.frombuffer(memory, "<f4")
            first += len(one.names)
        return before

    def _reserve(self, slots: int) -> None:
        missing = slots - len(self._values)
        if missing > 0:
            missing = max(missing, len(self._values), 64)
            self._values = np.concatenate([self._values, np.zeros((missing, self._values.shape[1]), np.float32)])
            self._sequences = np.concatenate([self._sequences, np.full(missing, BEGINS, np.int64)])


def _runs(ordered: Sequence[Ordered]) -> int:
    return sum(len(one.names) for one in ordered)
