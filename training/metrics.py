"""Scores of a classifier of windows, per window; ``stream.detection.scoring`` has those per event."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model.spec import SignalSpec

Indices = NDArray[np.integer]


def confusion(truth: Indices, said: Indices, classes: int) -> NDArray[np.int64]:
    """Return how often truth (row) was called what (column), int64 (classes, classes)."""
    cells = np.asarray(truth).astype(np.int64) * classes + np.asarray(said)
    return np.bincount(cells, minlength=classes * classes).reshape(classes, classes)


def macro_f1(truth: Indices, said: Indices, classes: int) -> float:
    """Return the mean F1 score of the classes that occur in ``truth``.

    A class that is only said lowers the scores of those it is said of; it has no score of its own, else one stray
    window would halve the score of rows with a single class.
    """
    table = confusion(truth, said, classes)
    hits, total = np.diag(table), table.sum(axis=0) + table.sum(axis=1)
    present = table.sum(axis=1) > 0
    return float((2 * hits[present] / total[present]).mean()) if present.any() else 0.0


def window_scores(truth: Indices, said: Indices, spec: SignalSpec) -> dict[str, float]:
    """Return accuracy, macro-F1 and both again with the ungrounded and grounded three-phase faults as one."""
    merged = np.array(spec.merged_three_phase())
    classes = len(spec.classes)
    return {
        "accuracy": float((truth == said).mean()),
        "macro_f1": macro_f1(truth, said, classes),
        "merged_accuracy": float((merged[truth] == merged[said]).mean()),
        "merged_macro_f1": macro_f1(merged[truth], merged[said], classes),
    }
