"""Types of functions that classify windows: a model, a search for what it gets wrong, and a baseline."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from training.data.sequences import Sequences

__all__ = ["Baseline", "Classifier", "Search", "classify_single"]

Classifier = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Returns the probabilities float32 (lines, steps, classes) of windows float32 (lines, steps, samples, channels).

The windows of a line follow one another, and a model with a memory begins every line cold. Single windows are lines of
one step."""

Search = Callable[[int, int, Classifier], Sequences]
"""Returns sequences that are hard for a classifier, after round k of n; called with k, n and the classifier."""

Baseline = Callable[[NDArray[np.float32], NDArray[np.float32]], NDArray[np.intp]]
"""Returns the class indices (k,) of windows float32 (k, samples, channels).

Its second argument, of the same shape, holds the first window of each window's record, which precedes any event."""


def classify_single(classify: Classifier, windows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the probabilities (n, classes) of windows (n, samples, channels), each of which is a line of its own."""
    return classify(np.ascontiguousarray(windows)[:, None])[:, 0]
