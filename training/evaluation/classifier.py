"""Classify whole records, window by window, in bounded memory."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model.spec import SignalSpec
from stream.windowing import cut_windows
from training.data.classifier import Classifier

__all__ = ["WINDOWS_AT_ONCE", "classify_at_ends", "classify_record"]

WINDOWS_AT_ONCE = 32_768
"""Largest number of windows classified in one call, unless a single record has more: 24 MiB of `line` windows."""


def classify_record(classify: Classifier, samples: NDArray[np.float32], spec: SignalSpec) -> NDArray[np.float32]:
    """Return the probabilities (records, windows, classes) of all windows of records (n, t, channels).

    Every record is a line of its own that begins cold.
    """
    windows = cut_windows(samples, spec)
    count, steps = windows.shape[:2]
    if not steps:
        return np.empty((count, 0, len(spec.classes)), np.float32)
    at_once = max(1, WINDOWS_AT_ONCE // steps)
    parts = [classify(np.ascontiguousarray(windows[k : k + at_once])) for k in range(0, count, at_once)]
    return np.concatenate([np.empty((0, steps, len(spec.classes)), np.float32), *parts])


def classify_at_ends(
    classify: Classifier,
    samples: NDArray[np.float32],
    record: NDArray[np.intp],
    end: NDArray[np.intp],
    spec: SignalSpec,
) -> NDArray[np.float32]:
    """Return the probabilities (k, classes) of windows that end anywhere in their records.

    A classifier with a memory has seen the record from its begin: the windows that end a multiple of the hop earlier
    precede the scored one.

    Args:
        classify: see ``Classifier``.
        samples: float32 (n, t, channels), the records.
        record: int (k,), number of the record of each window.
        end: int (k,), last sample of each window in its record, at least ``spec.samples - 1``.
        spec: spec of the windows.
    """
    first, steps = (end - spec.samples + 1) % spec.hop, (end - spec.samples + 1) // spec.hop + 1
    found = np.empty((len(end), len(spec.classes)), np.float32)
    most = int(steps.max(initial=1))
    at_once = max(1, WINDOWS_AT_ONCE // most)
    # Windows of similar ends are classified together: the classifier is causal, so windows after the scored one, which
    # repeat the record's last sample, have no influence.
    order = np.argsort(steps, kind="stable")
    for begin in range(0, len(order), at_once):
        chosen = order[begin : begin + at_once]
        length = (int(steps[chosen].max()) - 1) * spec.hop + spec.samples
        at = np.minimum(first[chosen, None] + np.arange(length), samples.shape[1] - 1)
        answers = classify(np.ascontiguousarray(cut_windows(samples[record[chosen, None], at], spec)))
        found[chosen] = answers[np.arange(len(chosen)), steps[chosen] - 1]
    return found
