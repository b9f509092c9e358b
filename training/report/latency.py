"""Measure the latency of the compiled engine by batch size."""

from __future__ import annotations

import time

import numpy as np

from model.engine import Engine
from model.spec import SignalSpec
from training.report.data import Latency

BATCHES = (1, 8, 64, 512, 4096)
LATENCY_SECONDS = 0.4  # duration of the measurement of one batch size


def measure_latency(engine: Engine, spec: SignalSpec, seed: int) -> tuple[Latency, ...]:
    """Measure single calls of a warm engine on noise, for every batch size."""
    windows = np.random.default_rng(seed).normal(0, 1, (max(BATCHES), *spec.window_shape)).astype(np.float32)
    rows = []
    for batch in BATCHES:
        part = windows[:batch]
        engine.classify(part)
        taken: list[float] = []
        end = time.perf_counter() + LATENCY_SECONDS
        while time.perf_counter() < end or len(taken) < 5:
            begun = time.perf_counter()
            engine.classify(part)
            taken.append(time.perf_counter() - begun)
        median = float(np.median(taken))
        rows.append(
            Latency(
                batch=batch,
                median_ms=round(1000 * median, 4),
                p95_ms=round(1000 * float(np.percentile(taken, 95)), 4),
                windows_per_second=round(batch / median, 1),
            )
        )
    return tuple(rows)
