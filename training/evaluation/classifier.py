"""Classify whole records, window by window."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model.spec import SignalSpec
from stream.windowing import cut_windows
from training.data.classifier import Classifier

__all__ = ["classify_record"]


def classify_record(classify: Classifier, samples: NDArray[np.float32], spec: SignalSpec) -> NDArray[np.float32]:
    """Return the probabilities (records, windows, classes) of all windows of records (n, t, channels)."""
    return np.stack([classify(np.ascontiguousarray(cut_windows(record, spec))) for record in samples])
