"""Compute class probabilities of windows with a compiled network; any thread may call the engine.

A batch is cut into pieces of a few fixed sizes (buckets), because a compiled function has one shape. Pieces run in
parallel, one core each: a piece's arrays stay in that core's cache, and cores do not wait for one another in every
time step.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Self

import numpy as np
import structlog
from numpy.typing import NDArray

from model.artefact import Artefact
from model.engine.compile import compute_in_callers, has_accelerator, use_full_precision
from model.engine.computation import Computation
from model.engine.device import DeviceComputation, DeviceMemories
from model.engine.host import HostParts
from model.engine.memory_computation import MemoryComputation
from model.engine.run import MemoryRunner, Runner
from model.errors import EngineError
from model.rejection import Rejection
from model.spec import SignalSpec

__all__ = ["ACCELERATOR_BLOCKS", "ACCELERATOR_BUCKETS", "CPU_BLOCKS", "CPU_BUCKETS", "Engine"]

log = structlog.get_logger(__name__)

# Batch sizes on a CPU. From 64 windows on, a core spends its time on arithmetic rather than on the call; more than 512
# windows gain nothing.
CPU_BUCKETS = (1, 8, 32, 64, 256, 512)
# Batch sizes on a GPU, which is fastest with few and large calls.
ACCELERATOR_BUCKETS = (1, 32, 256, 1024, 4096)

# Lines and largest number of steps of the blocks in which a memory advances: few shapes, since each must be compiled. A
# core needs nearly the same time for a step of one line, whether lines are computed together or one after the other.
CPU_BLOCKS = ((1, 128), (8, 64), (64, 8))
ACCELERATOR_BLOCKS = ((1, 128), (32, 128), (256, 16), (4096, 2))
# Largest number of windows of records that are computed at once: it bounds the copies of overlapping windows.
_RECORD_WINDOWS = 16_384


class Engine:
    """Classify windows with one artefact. Calls are synchronous and safe from several threads at once.

    Args:
        artefact: a verified artefact; its tensors are compared with those of its architecture before anything is
            loaded.
        threads: number of calls that run in parallel; by default the number of cores that this process may use, or
            one on a GPU.
        buckets: batch sizes to compile for; by default ``CPU_BUCKETS`` or ``ACCELERATOR_BUCKETS``.
        like: an engine whose compiled functions are reused if only weights and temperature differ; it may be closed
            before or after this one.

    Raises:
        ShapeArtefactError: the artefact's tensors do not fit its architecture and spec.
        EngineError: ``threads`` or a bucket is less than 1.

    Example:
        >>> engine = Engine(shipped("line"))  # doctest: +SKIP
        >>> engine.classify(np.zeros((3, 32, 6), np.float32)).shape  # doctest: +SKIP
        (3, 12)
    """

    _computation: Computation

    def __init__(
        self,
        artefact: Artefact,
        *,
        threads: int | None = None,
        buckets: Iterable[int] | None = None,
        like: Engine | None = None,
    ) -> None:
        accelerated = has_accelerator()
        if accelerated:
            use_full_precision()
        self._threads = _default_threads(accelerated) if threads is None else threads
        if not accelerated and not compute_in_callers():
            log.debug("engine-not-in-its-callers", reason="the backend was in use before the engine was made")
        self._artefact = artefact
        default = ACCELERATOR_BUCKETS if accelerated else CPU_BUCKETS
        self._buckets = tuple(sorted(set(default if buckets is None else buckets)))
        if self._threads < 1 or not self._buckets or self._buckets[0] < 1:
            raise EngineError(f"threads and buckets must be at least 1, got {self._threads} and {self._buckets}")
        shared = None if like is None else like._computation
        self._computation = shared if shared and shared.serves(artefact) else _computation_of(artefact)
        self._closed = False
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="engine")
        self._runner = self._runner_of(accelerated)

    @property
    def model_id(self) -> str:
        """Model id of the artefact."""
        return self._artefact.model_id

    @property
    def memory_units(self) -> int:
        """Number of values of a line's memory; 0 for a model without a memory."""
        return self._artefact.manifest.memory_units

    @property
    def spec(self) -> SignalSpec:
        """Signal spec of the artefact: the windows' shape and the meaning of the output's columns."""
        return self._artefact.manifest.spec

    @property
    def rejection(self) -> Rejection | None:
        """Bounds of the training distribution; None if the artefact has none."""
        return self._artefact.manifest.rejection

    def warm(self) -> Self:
        """Compile everything now, in parallel, so that no window waits for the compiler; return the engine."""
        for _ in self._pool.map(lambda compile_one: compile_one(), self._runner.compilations()):
            pass
        return self

    def classify(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the probability of every class for every window.

        A window's probabilities depend on that window alone: for a model with a memory, every window is the first of
        its line. Neighbours have no influence (a window that is not finite affects only its own row), nor has the way
        the batch is cut, up to rounding below 1e-5.

        Args:
            windows: float32 (n, samples, channels), per unit; n may be 0.

        Returns:
            float32 (n, classes); every row sums to 1.

        Raises:
            EngineError: the windows have another type or shape, or the engine is closed.
        """
        self._check(windows)
        memory = np.zeros((len(windows), self.memory_units), np.float32)
        return self._runner.follow(windows, np.arange(len(windows)), memory)[0]

    def follow(
        self, windows: NDArray[np.float32], line: NDArray[np.intp], memory: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the probability of every class for successive windows of lines, and the lines' memories after them.

        The answers for a line depend on its memory and its own windows alone: other lines have no influence, nor has
        the way a line's windows are divided among calls, up to rounding below 1e-5. A window that is not finite, or
        whose values overflow in the network, has probabilities NaN and does not advance the memory. A memory that is
        not finite counts as cold. Without a memory (``memory_units`` is 0) the probabilities are those of ``classify``.

        Args:
            windows: float32 (n, samples, channels), per unit; n may be 0. The windows of a line are in order.
            line: integers (n,): the row of ``memory`` that belongs to the window's line.
            memory: float32 (lines, ``memory_units``): what the model remembers of every line; zeros for a line that
                begins. It is not changed.

        Returns:
            Probabilities float32 (n, classes), and the memories after the windows, float32 (lines, ``memory_units``).

        Raises:
            EngineError: an argument has another type or shape, a line has no memory, or the engine is closed.
        """
        self._check(windows)
        self._check_lines(len(windows), line, memory)
        return self._runner.follow(windows, line, memory)

    def follow_records(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the probability of every class for the successive windows of lines that begin with the first window.

        Args:
            windows: float32 (lines, steps, samples, channels), per unit.

        Returns:
            float32 (lines, steps, classes).

        Raises:
            EngineError: the windows have another type or shape, or the engine is closed.
        """
        self._check(windows, "lines, steps")
        lines, steps = windows.shape[:2]
        answer = np.empty((lines, steps, len(self.spec.classes)), np.float32)
        some_steps = min(steps, _RECORD_WINDOWS) or 1
        some_lines = max(1, _RECORD_WINDOWS // some_steps)
        for first in range(0, lines, some_lines):
            rows = slice(first, first + some_lines)
            memory = np.zeros((len(windows[rows]), self.memory_units), np.float32)
            for step in range(0, steps, some_steps):
                part = windows[rows, step : step + some_steps]
                flat = np.ascontiguousarray(part).reshape(-1, *self.spec.window_shape)
                found, memory = self.follow(flat, np.repeat(np.arange(len(part)), part.shape[1]), memory)
                answer[rows, step : step + some_steps] = found.reshape(*part.shape[:2], -1)
        return answer

    def device_memories(self, lines: int) -> DeviceMemories:
        """Return memories of lines that stay on the device between calls, for callers that read them rarely.

        ``follow`` takes and returns memories as arrays, which are copied to and from an accelerator in every call.

        Args:
            lines: number of lines; all of them begin cold.

        Raises:
            EngineError: the model has no memory, or ``lines`` is less than 1.
        """
        computation = self._computation
        if not isinstance(computation, DeviceComputation):
            raise EngineError(f"model {self.model_id} has no memory that could stay on the device")
        parameters = computation.parameters(self._artefact)
        blocks = ACCELERATOR_BLOCKS if has_accelerator() else CPU_BLOCKS
        return DeviceMemories(computation, parameters, lines, buckets=self._buckets, blocks=blocks, check=self._check)

    def is_ood(self, windows: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Return a mask (n,) of the windows that are out of distribution, for which the output means nothing.

        The mask is False for all windows if the artefact has no rejection bounds.
        """
        return np.zeros(len(windows), bool) if self.rejection is None else self.rejection.is_ood(windows)

    def close(self) -> None:
        """Stop the engine's threads after the running calls. Closing twice is allowed."""
        self._closed = True
        self._pool.shutdown(wait=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _runner_of(self, accelerated: bool) -> Runner:
        computation = self._computation
        parameters = computation.parameters(self._artefact)
        given = (computation, parameters, self._pool, self._threads, self._buckets, len(self.spec.classes))
        if not isinstance(computation, MemoryComputation):
            return Runner(*given)
        if accelerated:
            return MemoryRunner(computation, *given, blocks=ACCELERATOR_BLOCKS)
        return MemoryRunner(HostParts(computation, self._artefact), *given, blocks=CPU_BLOCKS)

    def _check(self, windows: NDArray[np.float32], before: str = "n") -> None:
        if self._closed:
            raise EngineError("the engine is closed: make a new one from the artefact")
        samples, channels = self.spec.window_shape
        dimensions = len(before.split(", ")) + 2
        expected = f"float32 ({before}, {samples}, {channels}) for spec {self.spec.name!r}"
        if not isinstance(windows, np.ndarray):
            raise EngineError(f"windows must be a numpy array, {expected}; got {type(windows).__name__}")
        if windows.dtype != np.float32 or windows.ndim != dimensions or windows.shape[-2:] != (samples, channels):
            raise EngineError(f"windows must be {expected}; got {windows.dtype} {windows.shape}")

    def _check_lines(self, count: int, line: NDArray[np.intp], memory: NDArray[np.float32]) -> None:
        if memory.dtype != np.float32 or memory.ndim != 2 or memory.shape[1] != self.memory_units:
            raise EngineError(
                f"memory must be float32 (lines, {self.memory_units}) for model {self.model_id};"
                f" got {memory.dtype} {memory.shape}"
            )
        if not np.issubdtype(line.dtype, np.integer) or line.shape != (count,):
            raise EngineError(f"line must hold an integer for each of {count} windows; got {line.dtype} {line.shape}")
        if count and not (line.min() >= 0 and line.max() < len(memory)):
            raise EngineError(
                f"line must refer to the {len(memory)} rows of memory; got numbers from {line.min()} to {line.max()}"
            )


def _computation_of(artefact: Artefact) -> Computation:
    return DeviceComputation(artefact) if artefact.manifest.memory_units else Computation(artefact)


def _default_threads(accelerated: bool) -> int:
    if accelerated:
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return cores or 1
