"""Keep the memories of lines on the device from call to call, so that only windows and answers are copied."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import numpy as np
from keras import ops
from numpy.typing import NDArray

from model.artefact import Artefact
from model.engine.compile import DeviceCall, compile_on_device
from model.engine.memory_computation import MemoryComputation
from model.engine.plan import plan
from model.errors import EngineError

__all__ = ["Copied", "DeviceComputation", "DeviceMemories"]

Array = NDArray[np.float32]
# Shape and type of an argument of a compiled function.
Argument = tuple[tuple[int, ...], str]

# Largest value of a window that may enter the recurrent part, as in ``run``.
_LARGEST = 1e30


class DeviceComputation(MemoryComputation):
    """Functions that compute with a table of memories on the device.

    The table is float32 (lines + 1, units). Its last row takes the memories of rows that only pad a batch.

    Args:
        artefact: any model of the architecture, spec and normalisation.

    Raises:
        ShapeArtefactError: the artefact's tensors do not fit its architecture and spec.
    """

    def __init__(self, artefact: Artefact) -> None:
        super().__init__(artefact)
        self._size = len(self.parameters(artefact))
        self._classes = len(artefact.manifest.spec.classes)
        self._on_device: dict[Hashable, DeviceCall] = {}

    @property
    def units(self) -> int:
        """Number of values of a memory."""
        return self._units

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self._classes

    def advance_once(self, count: int, lines: int) -> DeviceCall:
        """Return the function of ``count`` lines with one window each.

        It maps windows, rows of the table (count,), the table and the parameters to the probabilities and the table.
        """
        arguments = _floats(count, *self._window_shape), _integers(count), self._table(lines)
        return self._call(("once", count, lines), self._advance_once, *arguments)

    def begin(self, count: int) -> DeviceCall:
        """Return the function of ``count`` windows in any order.

        It maps windows and the parameters to values (count, ``width``), the GRU's inputs (count, 3 * units), 1 for
        windows that may advance a memory and 0 for others (count,), and zeros for the memories after the windows
        (count + 1, units), whose last row is for padding.
        """
        return self._call(("begin", count), self._begin, _floats(count, *self._window_shape))

    def advance(self, count: int, size: int, room: int, lines: int) -> DeviceCall:
        """Return the function of up to ``room`` successive windows, among ``count``, of ``size`` lines.

        It maps the GRU's inputs, the windows that may advance, the number of the window of every step and line (room,
        size; ``count`` for none), rows of the table (size,), the number of steps to compute (1,), the memories after
        the windows, the table and the parameters to the memories after the windows and the table.
        """
        inputs, usable, memories = _floats(count, 3 * self._units), _floats(count), _floats(count + 1, self._units)
        arguments = inputs, usable, _integers(room, size), _integers(size), _floats(1), memories, self._table(lines)
        return self._call(("advance", count, size, room, lines), self._advance, *arguments)

    def finish(self, count: int) -> DeviceCall:
        """Return the function from memories after ``count`` windows, values and usable windows to probabilities."""
        arguments = _floats(count + 1, self._units), _floats(count, self.width), _floats(count)
        return self._call(("finish", count), self._finish, *arguments)

    def take(self, count: int, lines: int) -> DeviceCall:
        """Return the function from rows (count,), the table and the parameters to the memories of these rows."""
        return self._call(("take", count, lines), self._take, _integers(count), self._table(lines))

    def put(self, count: int, lines: int) -> DeviceCall:
        """Return the function from rows (count,), their memories, the table and the parameters to the new table."""
        arguments = _integers(count), _floats(count, self._units), self._table(lines)
        return self._call(("put", count, lines), self._put, *arguments)

    def _table(self, lines: int) -> Argument:
        return _floats(lines + 1, self._units)

    def _call(self, key: Hashable, function: Callable[..., tuple[Any, ...]], *arguments: Argument) -> DeviceCall:
        """Return ``function`` for these arguments and the parameters, compiled at the first request for its key."""
        with self._compiling["on device", key]:
            call = self._on_device.get(key)
            if call is None:
                call = self._on_device[key] = compile_on_device(function, [*arguments, _floats(self._size)])
        return call

    def _advance_once(self, windows: Any, rows: Any, table: Any, parameters: Any) -> tuple[Any, Any]:
        before = ops.take(table, rows, axis=0)
        answers, after = self._one_step(windows, before, parameters)
        usable = ops.all(ops.isfinite(windows), axis=(1, 2)) & ops.all(ops.isfinite(after), axis=1)
        after = ops.where(usable[:, None], after, before)
        return _or_nan(usable, answers), ops.scatter_update(table, rows[:, None], after)

    def _begin(self, windows: Any, parameters: Any) -> tuple[Any, Any, Any, Any]:
        values, given = self._values_and_inputs(windows, parameters)
        usable = ops.all(ops.isfinite(windows), axis=(1, 2)) & ops.all(ops.abs(values) < _LARGEST, axis=1)
        return values, given, ops.cast(usable, "float32"), ops.zeros((windows.shape[0] + 1, self._units), "float32")

    def _advance(
        self, given: Any, usable: Any, at: Any, rows: Any, end: Any, memories: Any, table: Any, parameters: Any
    ) -> tuple[Any, Any]:
        count = given.shape[0]
        place = ops.minimum(at, count - 1)
        use = ops.take(usable, place, axis=0) * ops.cast(at < count, "float32")
        before = ops.take(table, rows, axis=0)
        (after,) = self._in_order(ops.take(given, place, axis=0), before, use, end, parameters)
        last = ops.take(after, ops.cast(end[0], "int32") - 1, axis=0)
        memories = ops.scatter_update(memories, ops.reshape(at, (-1, 1)), ops.reshape(after, (-1, self._units)))
        return memories, ops.scatter_update(table, rows[:, None], last)

    def _finish(self, memories: Any, values: Any, usable: Any, parameters: Any) -> tuple[Any]:
        (answers,) = self._answers(memories[:-1], values, parameters)
        return (_or_nan(usable > 0, answers),)

    def _take(self, rows: Any, table: Any, _: Any) -> tuple[Any]:
        return (ops.take(table, rows, axis=0),)

    def _put(self, rows: Any, memories: Any, table: Any, _: Any) -> tuple[Any]:
        finite = ops.all(ops.isfinite(memories), axis=1, keepdims=True)
        return (ops.scatter_update(table, rows[:, None], ops.where(finite, memories, 0.0)),)


def _floats(*shape: int) -> Argument:
    return shape, "float32"


def _integers(*shape: int) -> Argument:
    return shape, "int32"


@dataclass
class Copied:
    """Bytes copied between the host and the device."""

    to_device: int = 0
    to_host: int = 0


class DeviceMemories:
    """Memories of lines that stay on the device; ``Engine.device_memories`` makes them, all of them cold.

    The answers are those of ``Engine.follow``. The object serves one thread at a time.

    Args:
        computation: the compiled functions.
        parameters: temperature and weights of the model, a tensor of the backend.
        lines: number of lines.
        buckets: numbers of windows to compile for, ascending. A larger batch is computed in several parts.
        blocks: numbers of lines, and the largest number of steps for each.
        check: raises EngineError if windows have another type or shape, or the engine is closed.

    Attributes:
        copied: bytes copied so far.
    """

    def __init__(
        self,
        computation: DeviceComputation,
        parameters: Any,
        lines: int,
        *,
        buckets: Sequence[int],
        blocks: Sequence[tuple[int, int]],
        check: Callable[[Array], None],
    ) -> None:
        if lines < 1:
            raise EngineError(f"memories are for at least one line, got {lines}")
        self.copied = Copied()
        self._computation, self._parameters, self._lines = computation, parameters, lines
        self._buckets, self._blocks, self._check = tuple(buckets), tuple(blocks), check
        self._table = ops.zeros((lines + 1, computation.units), "float32")

    def __len__(self) -> int:
        """Return the number of lines."""
        return self._lines

    def warm(self) -> Self:
        """Compile everything now, so that no window waits for the compiler; return the memories."""
        for compile_one in self._compilations():
            compile_one()
        return self

    def follow(self, windows: Array, line: NDArray[np.intp]) -> Array:
        """Return the probability of every class for successive windows of lines, and advance the lines' memories.

        Args:
            windows: float32 (n, samples, channels), per unit; n may be 0. The windows of a line are in order.
            line: integers (n,): the line of every window.

        Returns:
            Probabilities float32 (n, classes); NaN for a window that is not finite, which advances nothing.

        Raises:
            EngineError: an argument has another type or shape, a line is unknown, or the engine is closed.
        """
        self._check(windows)
        line = self._checked(line, len(windows))
        answers = []
        for rows, bucket in self._parts(len(windows)):
            own = self._to_device(_padded(windows[rows], bucket, 0.0))
            present, which, counts = np.unique(line[rows], return_inverse=True, return_counts=True)
            if len(present) == len(which):
                given = self._to_device(self._padded_rows(line[rows], bucket))
                call = self._computation.advance_once(bucket, self._lines)
                found, self._table = call(own, given, self._table, self._parameters)
            else:
                found = self._in_order(own, bucket, present, which, counts)
            answers.append((found, rows.stop - rows.start))
        if not answers:
            return np.empty((0, self._computation.classes), np.float32)
        return np.concatenate([self._to_host(found)[:count] for found, count in answers])

    def read(self, lines: NDArray[np.intp]) -> Array:
        """Return the memories float32 (n, units) of lines (n,).

        Raises:
            EngineError: a line is unknown.
        """
        lines = self._checked(lines, len(lines))
        found = []
        for rows, bucket in self._parts(len(lines)):
            call = self._computation.take(bucket, self._lines)
            own = self._to_device(self._padded_rows(lines[rows], bucket))
            (memories,) = call(own, self._table, self._parameters)
            found.append((memories, rows.stop - rows.start))
        if not found:
            return np.empty((0, self._computation.units), np.float32)
        return np.concatenate([self._to_host(memories)[:count] for memories, count in found])

    def write(self, lines: NDArray[np.intp], memories: Array) -> None:
        """Replace the memories of lines; a memory that is not finite becomes cold.

        Args:
            lines: integers (n,), each at most once.
            memories: float32 (n, units); zeros for a line that begins.

        Raises:
            EngineError: a line is unknown, or the memories have another type or shape.
        """
        lines = self._checked(lines, len(lines))
        units = self._computation.units
        if memories.dtype != np.float32 or memories.shape != (len(lines), units):
            raise EngineError(
                f"memories must be float32 ({len(lines)}, {units}); got {memories.dtype} {memories.shape}"
            )
        for rows, bucket in self._parts(len(lines)):
            call = self._computation.put(bucket, self._lines)
            own = self._to_device(self._padded_rows(lines[rows], bucket))
            # A copy, since a backend may read the array after this call, and even share its bytes.
            given = self._to_device(_padded(memories[rows], bucket, 0.0, copy=True))
            (self._table,) = call(own, given, self._table, self._parameters)

    def _in_order(
        self, windows: Any, bucket: int, present: NDArray[np.intp], which: NDArray[np.intp], counts: NDArray[np.intp]
    ) -> Any:
        """Return the probabilities (bucket, classes) of padded windows on the device.

        Args:
            windows: tensor of ``bucket`` windows, of which the first ``len(which)`` count.
            bucket: number of windows.
            present: lines of these windows, in the order of their numbers.
            which: index in ``present`` of every window.
            counts: number of windows of every line in ``present``.
        """
        computation, parameters = self._computation, self._parameters
        values, given, usable, memories = computation.begin(bucket)(windows, parameters)
        order = np.argsort(which, kind="stable")
        ends = np.cumsum(counts)
        starts = ends - counts
        for one in plan(counts, 1, self._blocks):
            for block in one.blocks:
                own = one.lines[block.begin : block.begin + block.lines]
                step = starts[own] + block.first + np.arange(block.steps)[:, None]
                at = np.full((block.room, block.size), bucket, np.int32)
                window = order[np.minimum(step, ends[own] - 1)]
                at[: block.steps, : block.lines] = np.where(step < ends[own], window, bucket)
                rows = self._padded_rows(present[own], block.size)
                host = (at, rows, np.array([block.steps], np.float32))
                call = computation.advance(bucket, block.size, block.room, self._lines)
                arguments = (given, usable, *map(self._to_device, host), memories, self._table, parameters)
                memories, self._table = call(*arguments)
        return computation.finish(bucket)(memories, values, usable, parameters)[0]

    def _compilations(self) -> Iterator[Callable[[], object]]:
        computation, lines = self._computation, self._lines
        for bucket in reversed(self._buckets):
            for size, room in self._blocks:
                yield partial(computation.advance, bucket, size, room, lines)
            yield partial(computation.begin, bucket)
            yield partial(computation.finish, bucket)
            for function in (computation.advance_once, computation.take, computation.put):
                yield partial(function, bucket, lines)

    def _parts(self, count: int) -> Iterator[tuple[slice, int]]:
        """Yield slices of ``count`` rows and the bucket of each."""
        largest = self._buckets[-1]
        for start in range(0, count, largest):
            stop = min(start + largest, count)
            yield slice(start, stop), min(bucket for bucket in self._buckets if bucket >= stop - start)

    def _checked(self, line: NDArray[np.intp], count: int) -> NDArray[np.intp]:
        if not np.issubdtype(line.dtype, np.integer) or line.shape != (count,):
            raise EngineError(f"lines must be an integer for each of {count} rows; got {line.dtype} {line.shape}")
        if count and not (line.min() >= 0 and line.max() < self._lines):
            raise EngineError(
                f"lines must be from 0 to {self._lines - 1}; got numbers from {line.min()} to {line.max()}"
            )
        return line

    def _padded_rows(self, lines: NDArray[np.intp], count: int) -> NDArray[np.int32]:
        return _padded(lines.astype(np.int32), count, self._lines)

    def _to_device(self, array: NDArray[Any]) -> Any:
        self.copied.to_device += array.nbytes
        return ops.convert_to_tensor(array)

    def _to_host(self, tensor: Any) -> Array:
        array: Array = ops.convert_to_numpy(tensor)
        self.copied.to_host += array.nbytes
        return array


def _or_nan(usable: Any, answers: Any) -> Any:
    return ops.where(usable[:, None], answers, float("nan"))


def _padded(array: NDArray[Any], count: int, value: float, copy: bool = False) -> NDArray[Any]:
    """Return ``count`` rows: those of ``array``, then rows of ``value``."""
    if len(array) == count and not copy:
        return np.ascontiguousarray(array)
    padded = np.full((count, *array.shape[1:]), value, array.dtype)
    padded[: len(array)] = array
    return padded
