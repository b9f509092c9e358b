"""Splits of a data set: by episode, and whole bands of parameters that are never trained on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from domains.powerline.data.datasets import BEYOND_OHM, DataSet
from training.errors import TrainingError

HELD_OUT = ("resistance", "position", "source")
TAIL = 0.10  # of the line at either end
WEAK = 5.0  # short-circuit current in multiples of the rated one: the weakest tenth of the sources


def held_out(index: Mapping[str, NDArray[Any]], band: str) -> NDArray[np.bool_]:
    """Return which episodes lie in a band that is never trained on.

    Args:
        index: of a data set.
        band: "resistance" (faults of 20 ohm and more), "position" (faults within a tenth of either end), "source"
            (the weakest tenth of the measured end's sources).
    """
    ohm, faulty = np.nan_to_num(index["resistance_ohm"].astype(float)), index["kind"] == "fault"
    match band:
        case "resistance":
            return np.asarray(ohm >= BEYOND_OHM[0])
        case "position":
            return np.asarray(faulty & (np.abs(index["position"] - 0.5) > 0.5 - TAIL))
        case "source":
            return np.asarray(index["strength_local"] < WEAK)
    raise TrainingError(f"no held-out band {band!r}; there are: {', '.join(HELD_OUT)}")


def splits(dataset: DataSet, seed: int, shares: Mapping[str, float] | None = None) -> dict[str, NDArray[np.int64]]:
    """Return the episodes' numbers by the name of their part; whole episodes, no number in two parts.

    An episode of several bands goes to the first of ``HELD_OUT``, as "held-out-resistance" and so on. The others are
    shuffled and dealt out by ``shares``, by default 70 % training and 10 % each validation, calibration and test.

    Raises:
        TrainingError: the shares do not add up to 1.
    """
    shares = shares or {"training": 0.7, "validation": 0.1, "calibration": 0.1, "test": 0.1}
    if not np.isclose(sum(shares.values()), 1.0):
        raise TrainingError(f"the shares of a split must add up to 1, not {sum(shares.values()):g}")
    numbers, left = dataset.index["episode"], np.ones(len(dataset), bool)
    parts = {}
    for band in HELD_OUT:
        inside = left & held_out(dataset.index, band)
        parts[f"held-out-{band}"] = numbers[inside]
        left &= ~inside
    shuffled = np.random.default_rng(seed).permutation(numbers[left])
    bounds = np.round(np.cumsum(list(shares.values()))[:-1] * len(shuffled)).astype(int)
    dealt = zip(shares, np.split(shuffled, bounds), strict=True)
    return {**{name: np.sort(part) for name, part in dealt}, **parts}
