"""Compute the phase-domain matrices of three-phase elements from their sequence values."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# The eigenvalues of this matrix are +j for the positive sequence, −j for the negative and 0 for the zero sequence.
ROTATION = np.array([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]]) / np.sqrt(3)


def sequence_matrix(positive: Array, zero: Array) -> Array:
    """Return the phase-domain matrices (n, 3, 3) of balanced elements from their sequence values (n,)."""
    mutual = (zero - positive) / 3.0
    return np.asarray(positive[:, None, None] * np.eye(3) + mutual[:, None, None] * np.ones((3, 3)))


def positive_and_zero(matrix: Array) -> tuple[Array, Array]:
    """Return the mean sequence values (n,) of symmetric phase-domain matrices (n, 3, 3): positive and zero sequence."""
    own = np.trace(matrix, axis1=1, axis2=2) / 3
    mutual = (matrix.sum(axis=(1, 2)) - 3 * own) / 6
    return np.asarray(own - mutual), np.asarray(own + 2 * mutual)
