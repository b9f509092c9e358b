"""Compute scores of a classifier per window; ``stream.detection.scoring`` computes the scores per event."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model.spec import SignalSpec

Indices = NDArray[np.integer]


def confusion(y_true: Indices, y_pred: Indices, classes: int) -> NDArray[np.int64]:
    """Return the number of windows of each true class (row) by predicted class (column), int64 (classes, classes)."""
    cells = np.asarray(y_true).astype(np.int64) * classes + np.asarray(y_pred)
    return np.bincount(cells, minlength=classes * classes).reshape(classes, classes)


def macro_f1(y_true: Indices, y_pred: Indices, classes: int) -> float:
    """Return the mean F1 score of the classes that occur in ``y_true``.

    A class that is predicted but does not occur lowers the scores of the classes that it is mistaken for. It has no
    score of its own; otherwise one wrong window would halve the score of data with a single class.
    """
    table = confusion(y_true, y_pred, classes)
    hits, total = np.diag(table), table.sum(axis=0) + table.sum(axis=1)
    present = table.sum(axis=1) > 0
    return float((2 * hits[present] / total[present]).mean()) if present.any() else 0.0


def window_scores(y_true: Indices, y_pred: Indices, spec: SignalSpec) -> dict[str, float]:
    """Return accuracy and macro-F1, and both again with the spec's equivalent classes counted as one."""
    merged = np.array(spec.equivalent_indices())
    classes = len(spec.classes)
    return {
        "accuracy": float((y_true == y_pred).mean()),
        "macro_f1": macro_f1(y_true, y_pred, classes),
        "merged_accuracy": float((merged[y_true] == merged[y_pred]).mean()),
        "merged_macro_f1": macro_f1(merged[y_true], merged[y_pred], classes),
    }
