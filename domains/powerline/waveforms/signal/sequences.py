"""Compute the symmetrical components of three phases."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_TURN = np.exp(2j * np.pi / 3)
_TO_SEQUENCES = np.array([[1, 1, 1], [1, _TURN, _TURN**2], [1, _TURN**2, _TURN]]) / 3


def sequence_components(phases: NDArray[np.complex128]) -> NDArray[np.complex128]:
    """Return zero, positive and negative sequence of phases A, B and C in the last axis.

    Example:
        >>> turn = np.exp(2j * np.pi / 3)
        >>> np.abs(sequence_components(np.array([1, 1 / turn, turn]))).round(6).tolist()
        [0.0, 1.0, 0.0]
    """
    return np.asarray(phases @ _TO_SEQUENCES.T)
