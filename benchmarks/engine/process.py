"""Run each contender of the engine table in a separate process, so that threads and settings do not interfere."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from benchmarks.engine.contenders import ARRANGEMENTS, Arrangement, Classify
from model.artefact import Artefact
from model.errors import EngineError

__all__ = ["Contender"]

# Duration of one trial of an arrangement, and number of trials, which are interleaved; the fastest trial counts.
_TRY_S, _TRIES = 0.15, 4


class Contender:
    """The process of a contender, idle until it gets a command. Use it as a context manager.

    Args:
        name: one of ``ARRANGEMENTS``.
        artefact: the model; sent as bytes.
        windows: float32 (n, samples, channels); a batch consists of the first of them.
    """

    def __init__(self, name: str, artefact: Artefact, windows: NDArray[np.float32]) -> None:
        """Start the process."""
        # A forked process would inherit this one's TensorFlow.
        context = multiprocessing.get_context("spawn")
        self.name = name
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, name, artefact.to_bytes(), windows), daemon=True)
        self._process.start()
        theirs.close()

    def arrange(self, batch: int) -> str:
        """Try all arrangements on a batch, keep the fastest one for it, and return its description."""
        return str(self._ask("arrange", batch))

    def answers(self, batch: int) -> NDArray[np.float32]:
        """Return the probabilities (batch, classes)."""
        found: NDArray[np.float32] = self._ask("answers", batch)
        return found

    def windows_per_s(self, batch: int, seconds: float) -> float:
        """Classify the batch repeatedly for ``seconds``, and return the windows/s."""
        return float(self._ask("time", batch, seconds))

    def __enter__(self) -> Self:
        """Return the contender."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """Terminate the process, which is idle and holds no state."""
        self._pipe.close()
        self._process.terminate()
        self._process.join()

    def _ask(self, *question: Any) -> Any:
        try:
            self._pipe.send(question)
            good, answer = self._pipe.recv()
        except (EOFError, OSError) as error:
            raise EngineError(f"{self.name}: the process ended with status {self._process.exitcode}") from error
        if not good:
            raise EngineError(f"{self.name}: {answer}")
        return answer


def _serve(pipe: Connection, name: str, artefact: bytes, windows: NDArray[np.float32]) -> None:
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    made: _Server | Exception
    try:
        made = _Server(list(ARRANGEMENTS[name](Artefact.from_bytes(artefact))), windows)
    except Exception as error:
        made = error
    while True:
        try:
            task, *arguments = pipe.recv()
        except EOFError:
            return
        try:
            if isinstance(made, Exception):
                raise made
            tasks: dict[str, Callable[..., Any]] = {
                "arrange": made.arrange,
                "answers": made.answers,
                "time": made.time,
            }
            pipe.send((True, tasks[task](*arguments)))
        except Exception as error:
            pipe.send((False, f"{type(error).__name__}: {error}"))


class _Server:
    def __init__(self, arrangements: list[Arrangement], windows: NDArray[np.float32]) -> None:
        self._arrangements = arrangements
        self._windows = windows
        self._chosen: dict[int, Classify] = {}

    def arrange(self, batch: int) -> str:
        prepared = [(label, prepare(batch)) for label, prepare in self._arrangements]
        for _, classify in prepared:
            classify(self._windows[:batch])
        best = [0.0] * len(prepared)
        for turn in range(_TRIES if len(prepared) > 1 else 0):
            for index in range(len(prepared))[:: -1 if turn % 2 else 1]:
                best[index] = max(best[index], self._rate(prepared[index][1], batch, _TRY_S))
        label, self._chosen[batch] = prepared[best.index(max(best))]
        return label

    def answers(self, batch: int) -> NDArray[np.float32]:
        return self._chosen[batch](self._windows[:batch])

    def time(self, batch: int, seconds: float) -> float:
        return self._rate(self._chosen[batch], batch, seconds)

    def _rate(self, classify: Classify, batch: int, seconds: float) -> float:
        windows = self._windows[:batch]
        began, done = time.perf_counter(), 0
        while (took := time.perf_counter() - began) < seconds:
            classify(windows)
            done += batch
        return done / took
