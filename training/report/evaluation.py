"""What an evaluation hands to the report, whatever the spec; and the latency of the compiled engine."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from model.engine import Engine
from model.spec import SignalSpec
from training.report.data import DataSummary, Elsewhere, Events, Failure, Latency, Slice
from training.report.scores import Judged

BATCHES = (1, 8, 64, 512, 4096)
LATENCY_SECONDS = 0.4  # per batch size
GALLERY = 6
WORST = 12
FEWEST_WINDOWS = 50  # a slice of fewer says nothing

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Evidence:
    """An evaluation of one model."""

    judged: Judged
    data: DataSummary
    slices: tuple[Slice, ...]
    failures: tuple[Failure, ...]
    events: Events | None = None
    elsewhere: Elsewhere | None = None
    holdout: float = 0.0
    """The score that the gate takes: merged macro-F1 of what training had no neighbour of."""


def measure_latency(engine: Engine, spec: SignalSpec, seed: int) -> tuple[Latency, ...]:
    """Time single calls of a warm engine on noise, batch by batch."""
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


def worst(slices: list[Slice], count: int = WORST) -> tuple[Slice, ...]:
    """Return the slices with the least accuracy; those of few windows are left out."""
    told = [part for part in slices if part.windows >= FEWEST_WINDOWS]
    return tuple(sorted(told, key=lambda part: (part.accuracy, -part.windows))[:count])
