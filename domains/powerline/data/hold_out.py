"""Split a data set by episode, and hold out whole bands of parameters from training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from domains.powerline.data.datasets import BEYOND_OHM, DataSet
from training.errors import TrainingError

HELD_OUT = ("resistance", "position", "source")
TAIL = 0.10  # share of the line at either end
WEAK = 5.0  # short-circuit current in multiples of rated current; a tenth of the sources are weaker than this


def held_out(index: Mapping[str, NDArray[Any]], band: str) -> NDArray[np.bool_]:
    """Return a mask of the episodes in a band that is held out from training.

    Args:
        index: index of a data set.
        band: "resistance" (faults of 20 ohm and more), "position" (faults within a tenth of the line from either end),
            "source" (the weakest tenth of the sources at the measured end).

    Raises:
        TrainingError: the name of the band is unknown.
    """
    ohm, faulty = np.nan_to_num(index["resistance_ohm"].astype(float)), index["kind"] == "fault"
    match band:
        case "resistance":
            return np.asarray(ohm >= BEYOND_OHM[0])
        case "position":
            return np.asarray(faulty & (np.abs(index["position"] - 0.5) > 0.5 - TAIL))
        case "source":
            return np.asarray(index["strength_local"] < WEAK)
    raise TrainingError(f"unknown held-out band {band!r}; choose one of {', '.join(HELD_OUT)}")


def splits(dataset: DataSet, seed: int, shares: Mapping[str, float] | None = None) -> dict[str, NDArray[np.int64]]:
    """Return the numbers of the episodes in each part, by its name; every episode is in exactly one part.

    An episode of a held-out band goes to the first band of ``HELD_OUT`` that contains it ("held-out-resistance" and so
    on). The others are shuffled and divided by ``shares``: by default 70 % training and 10 % each validation,
    calibration and test.

    Raises:
        TrainingError: the shares do not add up to 1.
    """
    shares = shares or {"training": 0.7, "validation": 0.1, "calibration": 0.1, "test": 0.1}
    if not np.isclose(sum(shares.values()), 1.0):
        raise TrainingError(f"the shares of a split must add up to 1, but add up to {sum(shares.values()):g}")
    numbers, left = dataset.index["episode"], np.ones(len(dataset), bool)
    parts = {}
    for band in HELD_OUT:
        inside = left & held_out(dataset.index, band)
        parts[f"held-out-{band}"] = numbers[inside]
        left &= ~inside
    shuffled = np.random.default_rng(seed).permutation(numbers[left])
    bounds = np.round(np.cumsum(list(shares.values()))[:-1] * len(shuffled)).astype(int)
    divided = zip(shares, np.split(shuffled, bounds), strict=True)
    return {**{name: np.sort(part) for name, part in divided}, **parts}
