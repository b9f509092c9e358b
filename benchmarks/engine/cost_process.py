"""Measure the CPU time of one checkout's engine, on commands from standard input; started by ``cost``.

The process imports nothing but the packages of the checkout under ``PYTHONPATH``, so it also runs with an earlier one.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

BATCH, LINES, MICRO_BATCH, BACKLOG = 1024, 24, 4096, 100_000


def _windows(count: int, shape: tuple[int, ...]) -> Any:
    """Return windows of steady lines with a little noise, float32 (count, samples, channels)."""
    import numpy as np

    random = np.random.default_rng(1)
    samples, channels = shape
    turns = np.arange(samples)[:, None] / samples + np.arange(channels) / 3 + random.uniform(size=(count, 1, 1))
    return (np.sin(2 * np.pi * turns) + 0.01 * random.normal(size=(count, *shape))).astype(np.float32)


def _loads(engine: Any) -> dict[str, tuple[Callable[[], object], int]]:
    """Return a function for each load, and its number of windows."""
    import numpy as np

    windows = _windows(MICRO_BATCH, engine.spec.window_shape)

    def follow(count: int, lines: int) -> None:
        if hasattr(engine, "follow"):
            memory = np.zeros((lines, engine.memory_units), np.float32)
            engine.follow(windows[:count], np.arange(count) % lines, memory)
        else:
            engine.classify(windows[:count])

    def backlog() -> None:
        for at in range(0, BACKLOG, MICRO_BATCH):
            follow(min(MICRO_BATCH, BACKLOG - at), LINES)

    return {"batch": (lambda: follow(BATCH, BATCH), BATCH), "backlog": (backlog, BACKLOG)}


def _serve() -> None:
    cpu_s, began_s = time.process_time(), time.perf_counter()
    from model.artefact import Artefact, shipped
    from model.engine import Engine

    imported_s = time.process_time()
    artefact = Artefact.load(sys.argv[1]) if len(sys.argv) > 1 else shipped("line")
    engine = Engine(artefact).warm()
    ready = {
        "cpu_s": time.process_time() - cpu_s,
        "warm_cpu_s": time.process_time() - imported_s,
        "wall_s": time.perf_counter() - began_s,
    }
    print(json.dumps(ready), flush=True)
    loads = _loads(engine)
    for line in sys.stdin:
        compute, count = loads[line.strip()]
        repeats = max(1, BACKLOG // 4 // count)
        cpu_s, began_s = time.process_time(), time.perf_counter()
        for _ in range(repeats):
            compute()
        spent_s, took_s = time.process_time() - cpu_s, time.perf_counter() - began_s
        found = {"us": spent_s / repeats / count * 1e6, "windows_per_s": repeats * count / took_s}
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    # What a worker sets before NumPy is imported.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    _serve()
