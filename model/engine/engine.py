"""Compute class probabilities of windows with a compiled network; any thread may call the engine.

A batch is cut into pieces of a few fixed sizes (buckets), because a compiled function has one shape. Pieces run in
parallel, one core each: a piece's arrays stay in that core's cache, and cores do not wait for one another in every
time step.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Self

import numpy as np
import structlog
from numpy.typing import NDArray

from model.artefact import Artefact
from model.engine.compile import Call, compute_in_callers, has_accelerator
from model.engine.computation import Computation
from model.errors import EngineError
from model.rejection import Rejection
from model.spec import SignalSpec

__all__ = ["ACCELERATOR_BUCKETS", "CPU_BUCKETS", "Engine", "cut"]

log = structlog.get_logger(__name__)

# Batch sizes on a CPU. From 64 windows on, a core spends its time on arithmetic rather than on the call; more than 512
# windows gain nothing.
CPU_BUCKETS = (1, 8, 32, 64, 128, 256, 512)
# Batch sizes on a GPU, which is fastest with few and large calls.
ACCELERATOR_BUCKETS = (1, 32, 256, 1024, 4096)

# Fixed cost of a call, in windows: it takes about 0.1 ms, and a window takes 0.012 ms.
_CALL_COST = 8
# Largest factor by which a core's share is padded before it is cut into smaller calls.
_PADDING = 1.25
# Smallest share of a batch, in windows, that is worth passing to another core.
_SMALLEST_SHARE = 64


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
        self._threads = _default_threads(accelerated) if threads is None else threads
        if not accelerated and not compute_in_callers():
            log.debug("engine-not-in-its-callers", reason="the backend was in use before the engine was made")
        self._artefact = artefact
        default = ACCELERATOR_BUCKETS if accelerated else CPU_BUCKETS
        self._buckets = tuple(sorted(set(default if buckets is None else buckets)))
        if self._threads < 1 or not self._buckets or self._buckets[0] < 1:
            raise EngineError(f"threads and buckets must be at least 1, got {self._threads} and {self._buckets}")
        shared = None if like is None else like._computation
        self._computation = shared if shared and shared.serves(artefact) else Computation(artefact)
        self._parameters = self._computation.parameters(artefact)
        self._closed = False
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="engine")

    @property
    def model_id(self) -> str:
        """Model id of the artefact."""
        return self._artefact.model_id

    @property
    def spec(self) -> SignalSpec:
        """Signal spec of the artefact: the windows' shape and the meaning of the output's columns."""
        return self._artefact.manifest.spec

    @property
    def rejection(self) -> Rejection | None:
        """Bounds of the training distribution; None if the artefact has none."""
        return self._artefact.manifest.rejection

    def warm(self) -> Self:
        """Compile every bucket now, in parallel, so that no window waits for the compiler; return the engine."""
        for _ in self._pool.map(self._computation.call, reversed(self._buckets)):
            pass
        return self

    def classify(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the probability of every class for every window.

        A window's probabilities depend on that window alone. Its neighbours have no influence (a window that is not
        finite affects only its own row), nor has the way the batch is cut, up to rounding below 1e-5.

        Args:
            windows: float32 (n, samples, channels), per unit; n may be 0.

        Returns:
            float32 (n, classes); every row sums to 1.

        Raises:
            EngineError: the windows have another type or shape, or the engine is closed.
        """
        self._check(windows)
        answer = np.empty((len(windows), len(self.spec.classes)), np.float32)
        pieces = []
        start = 0
        for bucket in cut(len(windows), self._threads, self._buckets):
            stop = min(start + bucket, len(windows))
            pieces.append((self._computation.call(bucket), bucket, windows[start:stop], answer[start:stop]))
            start = stop
        if len(pieces) <= 1 or self._threads == 1:
            for piece in pieces:
                self._run(*piece)
        else:
            for _ in self._pool.map(lambda piece: self._run(*piece), pieces):
                pass
        return answer

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

    def _check(self, windows: NDArray[np.float32]) -> None:
        if self._closed:
            raise EngineError("the engine is closed: make a new one from the artefact")
        samples, channels = self.spec.window_shape
        expected = f"float32 (n, {samples}, {channels}) for spec {self.spec.name!r}"
        if not isinstance(windows, np.ndarray):
            raise EngineError(f"windows must be a numpy array, {expected}; got {type(windows).__name__}")
        if windows.dtype != np.float32 or windows.ndim != 3 or windows.shape[1:] != (samples, channels):
            raise EngineError(f"windows must be {expected}; got {windows.dtype} {windows.shape}")

    def _run(self, call: Call, bucket: int, windows: NDArray[np.float32], answer: NDArray[np.float32]) -> None:
        count = len(windows)
        if count < bucket:
            padded = np.zeros((bucket, *windows.shape[1:]), np.float32)
            padded[:count] = windows
            windows = padded
        answer[:] = call(windows, self._parameters)[:count]


def cut(count: int, threads: int, buckets: tuple[int, ...]) -> list[int]:
    """Return buckets that together hold ``count`` windows, the largest first; only the last is padded.

    Args:
        count: number of windows in the batch.
        threads: number of cores to spread them over.
        buckets: available sizes, ascending.

    Example:
        >>> cut(600, 2, (1, 8, 64, 256))
        [256, 256, 64, 8, 8, 8]
    """
    share = max(count / threads * _PADDING, _SMALLEST_SHARE)
    largest = max((bucket for bucket in buckets if bucket <= share), default=buckets[0])
    whole, rest = divmod(count, largest)
    return [largest] * whole + list(_cover(rest, buckets)[1])


@lru_cache(maxsize=4096)
def _cover(count: int, buckets: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
    """Return cost and buckets of the cheapest cover: pad to the next bucket, or fill a smaller one and continue."""
    if count == 0:
        return 0, ()
    above = min((bucket for bucket in buckets if bucket >= count), default=None)
    below = max((bucket for bucket in buckets if bucket < count), default=None)
    choices: list[tuple[int, tuple[int, ...]]] = []
    if above is not None:
        choices.append((above + _CALL_COST, (above,)))
    if below is not None:
        cost, rest = _cover(count - below, buckets)
        choices.append((below + _CALL_COST + cost, (below, *rest)))
    return min(choices)


def _default_threads(accelerated: bool) -> int:
    if accelerated:
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return cores or 1
