"""Reject windows that are out of the training distribution, for which a model's output means nothing.

The decision uses only the window and not the network's logits: a softmax is as certain about white noise as about a
healthy line.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from model.frozen import FiniteModel

__all__ = ["Rejection"]


class Rejection(FiniteModel, ABC):
    """Bounds of the training distribution, stored in the artefact's manifest. A domain defines which bounds exist."""

    @property
    @abstractmethod
    def positions(self) -> tuple[int, ...]:
        """Positions of the channels that the bounds apply to."""

    @abstractmethod
    def is_ood(self, windows: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Return a mask of the windows that lie outside a bound or hold a value that is not finite.

        Args:
            windows: float32 (n, samples, channels), per unit.

        Returns:
            bool (n,), True for a window that is out of distribution.
        """
