"""Functions from windows to classes: a model under training or evaluation, a search by it, a baseline beside it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from training.data.windows import Windows

__all__ = ["Baseline", "Classifier", "Search"]

Classifier = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Gives the probabilities float32 (n, classes) of windows float32 (n, samples, channels)."""

Search = Callable[[int, int, Classifier], Windows]
"""Finds hard windows for a classifier, after round k of n."""

Baseline = Callable[[NDArray[np.float32], NDArray[np.float32]], NDArray[np.intp]]
"""Gives the class indices (k,) of windows float32 (k, samples, channels) and, for each, the first window of its record,
of the same shape, which is before anything happens."""
