"""Windows that carry their own class, so that every delivery test knows which events a worker must publish.

The classifier is exact, which a network is not, so a missing or doubled event is an error of the record path and not
of the model. The record path around it is the real one.
"""

from __future__ import annotations

import os
import signal
import time

import numpy as np
from numpy.typing import NDArray

from domains.powerline.spec import load_line_spec
from stream.windowing import encode_windows

SPEC = load_line_spec("line")
RATE_HZ = SPEC.rate_hz
HOP_NS = round(SPEC.hop * 1e9 / RATE_HZ)


class MarkedClassifier:
    """Read the class that ``marked_windows`` wrote into the first sample.

    Its memory of a line is the number of the line's windows, which shows in the probability of every answer, see
    ``share``. A worker that loses, repeats or restarts a memory therefore publishes other confidences.

    Args:
        raise_at: number of the call that raises (1 is the first); 0 for none.
        delay_s: duration of every call, so that batches are in flight.
    """

    model_id = "marked"
    memory_units = 1

    def __init__(self, raise_at: int = 0, delay_s: float = 0.0) -> None:
        self._raise_at = raise_at
        self._delay_s = delay_s
        self._calls = 0

    def classify(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the answers to windows that are each the first of its line."""
        return self.follow(windows, np.arange(len(windows)), np.zeros((len(windows), 1), np.float32))[0]

    def follow(
        self, windows: NDArray[np.float32], line: NDArray[np.intp], memory: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the marked class with the probability ``share``, with the rest shared among the others."""
        self._calls += 1
        if self._calls == self._raise_at:
            raise RuntimeError("the engine raises, as the test asked")
        time.sleep(self._delay_s)
        memory, classes = memory.copy(), len(SPEC.classes)
        answer = np.empty((len(windows), classes), np.float32)
        for index, (row, marked) in enumerate(zip(line.tolist(), windows[:, 0, 0].astype(int).tolist(), strict=True)):
            mark = share(int(memory[row, 0]))
            answer[index] = (1 - mark) / (classes - 1)
            answer[index, marked] = mark
            memory[row] += 1
        return answer, memory

    def is_ood(self, windows: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Return False for every window: all are marked, so none is out of distribution."""
        return np.zeros(len(windows), bool)


def share(followed: int) -> float:
    """Return the probability of the marked class after a number of earlier windows of the line."""
    return 0.9 - 0.001 * (followed % 89)


def marked_windows(classes: list[int]) -> NDArray[np.float32]:
    """Return windows of a sine whose first sample is the class."""
    phase = 2 * np.pi * np.arange(SPEC.samples) / SPEC.samples_per_cycle
    windows = np.tile(np.sin(phase)[None, :, None], (len(classes), 1, len(SPEC.channels))).astype(np.float32)
    windows[:, 0, 0] = classes
    return windows


def marked_message(sequence: int, classes: list[int], start_ns: int) -> bytes:
    """Return one value of ``sensor-windows`` whose windows carry these classes; ``start_ns`` is that of sequence 0."""
    return encode_windows(
        marked_windows(classes), SPEC, sequence=sequence, start_ns=start_ns + sequence * HOP_NS, rate_hz=RATE_HZ
    )


def class_of(line: int, sequence: int) -> int:
    """Return the class of a window: ten of every fifty windows are a fault, with changing class, shifted by line."""
    period, place = divmod(sequence + 7 * line, 50)
    return 1 + (period + line) % (len(SPEC.classes) - 2) if place < 10 else SPEC.none_index


def die(number: int = signal.SIGKILL) -> None:
    """Kill this process without any clean-up, like a power cut."""
    os.kill(os.getpid(), number)
