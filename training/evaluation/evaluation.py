"""Evaluate one model, independently of the domain: predictions, slices, leakage checks, failures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.spec import SignalSpec
from training.evaluation.documents import DataSummary, Elsewhere, Events, Failure, LeakageCheck, Slice

MOST_FAILURES = 6  # largest number of failures shown in a report
WORST = 12
FEWEST_WINDOWS = 50  # smallest number of windows of a significant slice

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Predictions:
    """Labels and predicted probabilities of the evaluated windows.

    Attributes:
        labels: int (n,), class indices.
        probabilities: float32 (n, classes).
        episode: int (n,), number of the episode that each window comes from; the bootstrap resamples whole episodes.
        source: description of the data.
    """

    labels: NDArray[np.integer]
    probabilities: NDArray[np.float32]
    episode: NDArray[np.integer]
    source: str

    @property
    def y_pred(self) -> NDArray[np.intp]:
        """Index of the most probable class, int (n,)."""
        y_pred: NDArray[np.intp] = self.probabilities.argmax(axis=1)
        return y_pred


@dataclass(frozen=True)
class Evaluation:
    """Results of the evaluation of one model."""

    predictions: Predictions
    data: DataSummary
    slices: tuple[Slice, ...]
    failures: tuple[Failure, ...]
    events: Events | None = None
    elsewhere: Elsewhere | None = None
    holdout: float = 0.0
    """The score that the gate uses: merged macro-F1 on data with no neighbours in the training data."""
    holdout_is_predicted: bool = True
    """True if ``holdout`` is a score of ``predictions``, so that a comparison with a champion has standard errors."""


def worst(slices: list[Slice], count: int = WORST) -> tuple[Slice, ...]:
    """Return the ``count`` slices with the lowest accuracy, except those with few windows."""
    known = [part for part in slices if part.windows >= FEWEST_WINDOWS]
    return tuple(sorted(known, key=lambda part: (part.accuracy, -part.windows))[:count])


def slice_of(
    dimension: str, band: str, inside: NDArray[np.bool_], predictions: Predictions, spec: SignalSpec
) -> Iterator[Slice]:
    """Yield a slice with the accuracy of the predictions in the mask ``inside`` (n,), or nothing if it is empty."""
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
    """Return a number (n,) for every window (n, samples, channels), equal for windows that agree to a thousandth."""
    flat = np.round(np.ascontiguousarray(windows).reshape(len(windows), -1) * 1000).astype(np.int64)
    keys = np.random.default_rng(1).integers(1, 2**62, flat.shape[1])
    with np.errstate(over="ignore"):
        prints: NDArray[np.int64] = flat @ keys
    return prints


def repeated_windows(evaluated: NDArray[np.float32], training: NDArray[np.float32]) -> LeakageCheck:
    """Count the evaluated windows (n, samples, channels) that are among the training windows."""
    known = fingerprints(training)
    found = np.isin(fingerprints(evaluated), known)
    return LeakageCheck(
        question=f"evaluation windows found among {len(known):,} training windows simulated again",
        found=int(found.sum()),
        of=len(found),
    )
