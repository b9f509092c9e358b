"""Choose a balanced subset of labelled windows: large groups lose windows, the oldest first. No side effects."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def fair_shares(counts: NDArray[np.integer], budget: int) -> NDArray[np.int64]:
    """Return equal shares of ``budget``, none larger than its count; large groups receive what small groups leave.

    Args:
        counts: size of every group, (n,).
        budget: the number to share, at least 0.

    Returns:
        int64 (n,).

    Example:
        >>> fair_shares(np.array([2, 100, 50]), 60).tolist()
        [2, 29, 29]
    """
    shares = np.zeros(len(counts), np.int64)
    left = budget
    ascending = np.argsort(counts, kind="stable")
    for place, one in enumerate(ascending):
        shares[one] = min(int(counts[one]), left // (len(counts) - place))
        left -= shares[one]
    return shares


def balanced(levels: Sequence[NDArray[np.integer]], age: NDArray[np.integer], budget: int) -> NDArray[np.bool_]:
    """Choose at most ``budget`` of n items, as evenly as possible over the groups of the first level, then the next.

    Args:
        levels: group of every item, each (n,): for example classes, then lines, then days.
        age: position in time, (n,), higher is newer; a group of the last level keeps its newest items.
        budget: largest number of items to keep.

    Returns:
        bool (n,), true for the items to keep.
    """
    keep = np.zeros(len(age), bool)
    _choose(np.arange(len(age)), levels, age, budget, keep)
    return keep


def rarest_classes(labels: NDArray[np.integer], weights: NDArray[np.floating]) -> NDArray[np.int64]:
    """Return, for every sequence, that class of its weighted windows which has the least total weight overall.

    A sequence nearly always contains many quiet windows; the class by which it is balanced is the one that it has and
    few others have.

    Args:
        labels: class index of each window, (n, steps).
        weights: weight of each window, (n, steps); windows of weight 0 are ignored.

    Returns:
        int64 (n,); −1 for a sequence without a weighted window.

    Example:
        >>> rarest_classes(np.array([[0, 0, 2], [0, 0, 1]]), np.array([[1, 1, 1], [1, 1, 0]])).tolist()
        [2, 0]
    """
    counted = weights > 0
    if not counted.any():
        return np.full(len(labels), -1, np.int64)
    total = np.bincount(labels[counted], weights[counted])
    scarcity = np.where(counted, total[np.where(counted, labels, 0)], np.inf)
    chosen = labels[np.arange(len(labels)), scarcity.argmin(axis=1)].astype(np.int64)
    return np.where(counted.any(axis=1), chosen, -1)


def _choose(
    own: NDArray[np.intp],
    levels: Sequence[NDArray[np.integer]],
    age: NDArray[np.integer],
    budget: int,
    keep: NDArray[np.bool_],
) -> None:
    if len(own) <= budget:
        keep[own] = True
    elif not levels:
        keep[own[np.argsort(-age[own], kind="stable")[:budget]]] = True
    else:
        _, which, counts = np.unique(levels[0][own], return_inverse=True, return_counts=True)
        # Sorting once is faster: selecting every group by a mask would take groups × windows steps.
        ordered = own[np.argsort(which, kind="stable")]
        stops = np.cumsum(counts)
        for group, share in enumerate(fair_shares(counts, budget)):
            part = ordered[stops[group] - counts[group] : stops[group]]
            _choose(part, levels[1:], age, int(share), keep)
