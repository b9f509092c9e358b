"""Which windows are unlike anything that a model was trained on, so that its answer would mean nothing.

Decided by the window alone, not by the network's logits: a softmax is as sure of white noise as of a healthy line.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from model.frozen import FiniteModel

__all__ = ["Rejection"]


class Rejection(FiniteModel, ABC):
    """Bounds of what is like training. They travel in the artefact's manifest; a domain says which there are."""

    @property
    @abstractmethod
    def positions(self) -> tuple[int, ...]:
        """Positions of the channels that are looked at."""

    @abstractmethod
    def is_ood(self, windows: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Return which windows lie outside a bound, or hold a value that is not finite.

        Args:
            windows: float32 (n, samples, channels), per unit.

        Returns:
            bool (n,).
        """
