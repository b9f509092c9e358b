"""Measure the engine alone on all cores, without a broker, which is the upper bound of any stream processing.

python -m benchmarks.engine.alone FILE      # prints windows/s and CPU s per million windows
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from benchmarks.harness.windows import SampleWindows
from model.artefact import Artefact, shipped
from model.frozen import FrozenModel


class EngineRun(FrozenModel):
    """Settings of a run."""

    samples: str
    artefact: str | None = None
    batch_windows: int = 2048
    seconds: float = 5.0


def windows_per_s(run: EngineRun) -> tuple[float, float]:
    """Classify the same batch repeatedly; return windows/s and CPU seconds per million windows."""
    # The import is here so that the harness, which imports this module, does not load TensorFlow.
    from model.engine import Engine

    artefact = shipped("line") if run.artefact is None else Artefact.load(Path(run.artefact))
    lifelike = SampleWindows.load(Path(run.samples)).lifelike
    windows = lifelike.reshape(-1, *lifelike.shape[2:])[: run.batch_windows]
    with Engine(artefact).warm() as engine:
        engine.classify(windows)
        cpu_s, began_s, done = time.process_time(), time.perf_counter(), 0
        while (took_s := time.perf_counter() - began_s) < run.seconds:
            engine.classify(windows)
            done += len(windows)
        cpu_s = time.process_time() - cpu_s
    return done / took_s, cpu_s / done * 1e6


if __name__ == "__main__":
    print(*windows_per_s(EngineRun.model_validate_json(Path(sys.argv[1]).read_bytes())))
