"""Compute the features that drift detection compares: the domain's features of the signal, and the model's. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from model.domain import SignalFeature, domain_of
from model.rejection import Rejection
from model.spec import SignalSpec

MODEL_FEATURES: tuple[SignalFeature, ...] = (
    SignalFeature("share of windows unlike training", 0.2, share=True),
    SignalFeature("share of windows judged faulty", 0.2, share=True),
    SignalFeature("uncertainty of quiet windows", 0.05),
)
"""Features of the model, the same for every domain; they follow the domain's features.

Their names are part of the state on disk.
"""


def watched_features(spec: SignalSpec) -> tuple[SignalFeature, ...]:
    """Return the descriptions of a spec's features in the order of ``drift_features``."""
    return (*domain_of(spec).signal.features, *MODEL_FEATURES)


def drift_features(
    windows: NDArray[np.float32],
    probabilities: NDArray[np.float32] | None,
    spec: SignalSpec,
    rejection: Rejection | None = None,
) -> NDArray[np.float64]:
    """Return the features (n, features) of windows float32 (n, samples, channels); NaN for unknown values.

    If the champion's ``probabilities`` (n, classes) are given, the features of the signal are NaN for windows that it
    classifies as faulty.
    """
    measured = domain_of(spec).signal.measure(windows, spec)
    found = np.full((len(windows), measured.shape[1] + len(MODEL_FEATURES)), np.nan)
    of_signal, ood_share, faulty_share, uncertainty = slice(measured.shape[1]), *range(-len(MODEL_FEATURES), 0)
    found[:, of_signal] = measured
    if rejection is not None:
        found[:, ood_share] = rejection.is_ood(windows)
    if probabilities is not None:
        faulty = probabilities.argmax(axis=1) != spec.none_index
        found[faulty, of_signal] = np.nan
        found[:, faulty_share] = faulty
        found[~faulty, uncertainty] = 1.0 - probabilities[~faulty].max(axis=1)
    return found


def by_line(
    lines: NDArray[np.int64], features: NDArray[np.float64], watched: Sequence[SignalFeature]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the lines (m,), and each feature's median per line, or its mean if it is a share (m, features).

    A feature without any value in a line is NaN.
    """
    names, which = np.unique(lines, return_inverse=True)
    summed = np.full((len(names), features.shape[1]), np.nan)
    for column, feature in enumerate(watched):
        value = features[:, column]
        there = np.isfinite(value)
        group, value = which[there], value[there]
        count = np.bincount(group, minlength=len(names))
        some = count > 0
        if feature.share:
            summed[some, column] = np.bincount(group, value, minlength=len(names))[some] / count[some]
        else:
            value = value[np.lexsort((value, group))]
            first = np.cumsum(count) - count
            low, high = (first + (count - 1) // 2)[some], (first + count // 2)[some]
            summed[some, column] = (value[low] + value[high]) / 2
    return names, summed
