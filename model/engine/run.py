"""Run the compiled parts of a computation on batches of any size, in parallel."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.engine.computation import Computation
from model.engine.host import HostParts
from model.engine.memory_computation import MemoryComputation
from model.engine.plan import Block, Plan, cut, plan

__all__ = ["MemoryRunner", "Runner"]

Array = NDArray[np.float32]

# Largest value of a window that may enter the recurrent part: its products with weights are far from overflowing.
_LARGEST = 1e30


class Runner:
    """Compute batches of a model without a memory.

    Args:
        computation: the compiled functions.
        parameters: temperature and weights of a model.
        pool: threads for the parts of a batch.
        threads: number of threads of the pool.
        buckets: numbers of windows to compile for, ascending.
        classes: number of classes of the model.
    """

    def __init__(
        self,
        computation: Computation,
        parameters: Any,
        pool: ThreadPoolExecutor,
        threads: int,
        buckets: tuple[int, ...],
        classes: int,
    ) -> None:
        self._computation, self._parameters, self._buckets, self._classes = computation, parameters, buckets, classes
        self._pool, self._threads = pool, threads

    def compilations(self) -> Iterator[Callable[[], object]]:
        """Yield functions that compile one shape each, the slowest first."""
        for bucket in reversed(self._buckets):
            yield partial(self._computation.classifying, bucket)

    def follow(self, windows: Array, line: NDArray[np.intp], memory: Array) -> tuple[Array, Array]:
        """Return probabilities (n, classes) and memories (lines, units): see ``Engine.follow``."""
        answer = np.empty((len(windows), self._classes), np.float32)

        def run(rows: slice, bucket: int) -> None:
            call = self._computation.classifying(bucket)
            (found,) = call(_padded(windows[rows], bucket), self._parameters)
            answer[rows] = found[: rows.stop - rows.start]

        self._each(run, self._pieces(len(windows), self._buckets))
        return answer, memory.copy()

    def _pieces(self, count: int, buckets: tuple[int, ...]) -> list[tuple[slice, int]]:
        pieces, start = [], 0
        for bucket in cut(count, self._threads, buckets):
            pieces.append((slice(start, min(start + bucket, count)), bucket))
            start += bucket
        return pieces

    def _each(self, run: Callable[..., None], pieces: Sequence[Iterable[Any]]) -> None:
        """Call ``run`` with the arguments of every piece, in parallel if there are several pieces and threads."""
        if len(pieces) <= 1 or self._threads == 1:
            for piece in pieces:
                run(*piece)
        else:
            for _ in self._pool.map(lambda piece: run(*piece), pieces):
                pass


class MemoryRunner(Runner):
    """Compute batches of a model with a memory.

    Args:
        parts: the parts of the computation, on an accelerator those of ``MemoryComputation``, on a CPU ``HostParts``.
        blocks: numbers of lines, and the largest number of steps for each.
        others: the other arguments of ``Runner``, from ``computation`` on.
    """

    _computation: MemoryComputation

    def __init__(self, parts: MemoryComputation | HostParts, *others: Any, blocks: Sequence[tuple[int, int]]) -> None:
        super().__init__(*others)
        self._parts, self._blocks = parts, blocks

    def compilations(self) -> Iterator[Callable[[], object]]:
        """Yield functions that compile one shape each, the slowest first."""
        return self._parts.compilations(self._buckets, self._blocks)

    def follow(self, windows: Array, line: NDArray[np.intp], memory: Array) -> tuple[Array, Array]:
        """Return probabilities (n, classes) and memories (lines, units): see ``Engine.follow``."""
        memory = memory.copy()
        memory[~_finite_rows(memory)] = 0
        counts = np.bincount(line, minlength=len(memory))
        if counts.max(initial=0) <= 1:
            return self._one_step(windows, line, memory)
        return self._in_order(windows, line, memory, counts)

    def _one_step(self, windows: Array, line: NDArray[np.intp], memory: Array) -> tuple[Array, Array]:
        """Do the same for at most one window of each line, and overwrite ``memory``."""
        answer = np.empty((len(windows), self._classes), np.float32)
        after = np.empty((len(windows), memory.shape[1]), np.float32)

        def run(rows: slice, bucket: int) -> None:
            call = self._parts.one_step(bucket)
            count = rows.stop - rows.start
            found, new = call(_padded(windows[rows], bucket), _padded(memory[line[rows]], bucket), self._parameters)
            answer[rows], after[rows] = found[:count], new[:count]

        self._each(run, self._pieces(len(windows), self._buckets))
        usable = _finite_rows(windows) & _finite_rows(after)
        answer[~usable] = np.nan
        memory[line[usable]] = after[usable]
        return answer, memory

    def _in_order(
        self, windows: Array, line: NDArray[np.intp], memory: Array, counts: NDArray[np.intp]
    ) -> tuple[Array, Array]:
        """Do the same for any numbers of windows (lines,), and overwrite ``memory``."""
        count, units = len(windows), memory.shape[1]
        values = np.empty((count, self._computation.width), np.float32)
        given = np.empty((count, 3 * units), np.float32)
        memories = np.empty((count, units), np.float32)
        answer = np.empty((count, self._classes), np.float32)

        def begin(rows: slice, bucket: int) -> None:
            found, inputs = self._parts.first_part(bucket)(_padded(windows[rows], bucket), self._parameters)
            values[rows], given[rows] = found[: rows.stop - rows.start], inputs[: rows.stop - rows.start]

        def finish(rows: slice, bucket: int) -> None:
            given = _padded(memories[rows], bucket), _padded(values[rows], bucket)
            (found,) = self._parts.third_part(bucket)(*given, self._parameters)
            answer[rows] = found[: rows.stop - rows.start]

        pieces = self._pieces(count, self._buckets)
        self._each(begin, pieces)
        usable = _finite_rows(windows) & _small_rows(values)
        order = np.argsort(line, kind="stable")
        ends = np.cumsum(counts)
        starts = ends - counts

        def advance(one: Plan) -> None:
            for block in one.blocks:
                own = one.lines[block.begin : block.begin + block.lines]
                at = starts[own] + block.first + np.arange(block.steps)[:, None]
                there = at < ends[own]
                rows = order[np.minimum(at, ends[own] - 1)]  # (steps, lines); a line without more repeats its last
                after = self._block(block, given[rows], memory[own], there & usable[rows])
                memory[own] = after[-1]
                memories[rows[there]] = after[there]

        self._each(advance, [(one,) for one in plan(counts, self._threads, self._blocks)])
        self._each(finish, pieces)
        answer[~usable] = np.nan
        return answer, memory

    def _block(self, block: Block, given: Array, memory: Array, use: NDArray[np.bool_]) -> Array:
        """Return the memories (steps, lines, units) after every step, for inputs (steps, lines, 3 * units)."""
        steps, lines = use.shape
        inputs = np.zeros((block.room, block.size, given.shape[2]), np.float32)
        inputs[:steps, :lines] = given
        used = np.zeros((block.room, block.size), np.float32)
        used[:steps, :lines] = use
        call = self._parts.second_part(block.size, block.room)
        end = np.array([steps], np.float32)
        (memories,) = call(inputs, _padded(memory, block.size), used, end, self._parameters)
        return memories[:steps, :lines]


def _padded(array: Array, count: int) -> Array:
    if len(array) == count:
        return array
    padded = np.zeros((count, *array.shape[1:]), np.float32)
    padded[: len(array)] = array
    return padded


def _finite_rows(array: Array) -> NDArray[np.bool_]:
    """Return a mask (n,) of the rows whose values are all finite."""
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(array.sum()):  # which costs a fraction of testing every value
            return np.ones(len(array), bool)
    return np.asarray(np.isfinite(array).all(axis=tuple(range(1, array.ndim))))


def _small_rows(values: Array) -> NDArray[np.bool_]:
    """Return a mask (n,) of the rows whose values are so small that a product with the weights does not overflow."""
    if values.max(initial=0) < _LARGEST and values.min(initial=0) > -_LARGEST:  # False if a value is NaN
        return np.ones(len(values), bool)
    return np.asarray((np.abs(values) < _LARGEST).all(axis=1))
