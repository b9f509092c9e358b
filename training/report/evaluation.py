"""An evaluation as it is handed to the report, its usual parts, and the latency of the compiled engine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.engine import Engine
from model.spec import SignalSpec
from training.report.data import DataSummary, Elsewhere, Events, Failure, Latency, LeakageCheck, Slice
from training.report.scores import Predictions

BATCHES = (1, 8, 64, 512, 4096)
LATENCY_SECONDS = 0.4  # per batch size
MOST_FAILURES = 6  # shown
WORST = 12
FEWEST_WINDOWS = 50  # a slice of fewer says nothing

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Evaluation:
    """An evaluation of one model."""

    predictions: Predictions
    data: DataSummary
    slices: tuple[Slice, ...]
    failures: tuple[Failure, ...]
    events: Events | None = None
    elsewhere: Elsewhere | None = None
    holdout: float = 0.0
    """The score that the gate takes: merged macro-F1 of what training had no neighbour of."""
    holdout_is_predicted: bool = True
    """Whether ``holdout`` is of ``predictions``, so that the comparison with a champion tells how sure it is."""


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
    known = [part for part in slices if part.windows >= FEWEST_WINDOWS]
    return tuple(sorted(known, key=lambda part: (part.accuracy, -part.windows))[:count])


def slice_of(
    dimension: str, band: str, inside: NDArray[np.bool_], predictions: Predictions, spec: SignalSpec
) -> Iterator[Slice]:
    """Yield how much is right of the predictions ``inside`` (n,); nothing where there are none."""
    if inside.any():
        merged = np.array(spec.equivalent_indices())
        right = merged[predictions.y_pred[inside]] == merged[predictions.labels[inside]]
        yield Slice(
            dimension=dimension,
            band=band,
            episodes=len(np.unique(predictions.episode[inside])),
            windows=int(inside.sum()),
            accuracy=round(float(right.mean()), 4),
        )


def class_slices(predictions: Predictions, spec: SignalSpec) -> Iterator[Slice]:
    """Yield a slice per class."""
    for k, name in enumerate(spec.class_names):
        yield from slice_of("class", name, predictions.labels == k, predictions, spec)


def fingerprints(windows: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return a number for every window (n, samples, channels), the same for windows equal to a thousandth."""
    flat = np.round(np.ascontiguousarray(windows).reshape(len(windows), -1) * 1000).astype(np.int64)
    keys = np.random.default_rng(1).integers(1, 2**62, flat.shape[1])
    with np.errstate(over="ignore"):
        prints: NDArray[np.int64] = flat @ keys
    return prints


def repeated_windows(evaluated: NDArray[np.float32], learned: NDArray[np.float32]) -> LeakageCheck:
    """Count the evaluated windows (n, samples, channels) that are among windows learned from."""
    known = fingerprints(learned)
    found = np.isin(fingerprints(evaluated), known)
    return LeakageCheck(
        question=f"evaluation windows found among {len(known):,} training windows simulated again",
        found=int(found.sum()),
        of=len(found),
    )
