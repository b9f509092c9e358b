"""Normalise a window before the first trained layer. The numbers are stored in the artefact's manifest."""

from __future__ import annotations

from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from model.frozen import FiniteModel

__all__ = ["Normalisation"]


class Normalisation(FiniteModel):
    """Per-channel conditioning: ``(x - centre) / scale``, and for ``"asinh"`` the inverse hyperbolic sine of that.

    ``"asinh"`` is linear around the centre and logarithmic far from it, so that a value during a fault of thirty times
    the normal value does not dominate all others. Each channel has one centre and one scale, per unit. A subclass may
    additionally name a layer that computes features of the window.
    """

    kind: Literal["standard", "asinh"] = "standard"
    centre: tuple[float, ...]
    scale: tuple[float, ...]

    @model_validator(mode="after")
    def _can_be_applied(self) -> Self:
        if len(self.centre) != len(self.scale):
            raise ValueError(f"centre has {len(self.centre)} channels but scale has {len(self.scale)}")
        if any(scale <= 0 for scale in self.scale):
            raise ValueError("every scale must be greater than 0")
        return self

    @property
    def feature_layer(self) -> str | None:
        """Name of the domain's layer whose features the network also receives; None if there is none."""
        return None

    @classmethod
    def fitted(cls, windows: NDArray[np.float32], kind: Literal["standard", "asinh"] = "standard") -> Self:
        """Return a normalisation with the windows' mean and standard deviation, taken over all axes but the last.

        Args:
            windows: windows used for training only, float32 (..., channels), per unit. A constant channel gets scale 1.
            kind: kind of normalisation.
        """
        rows = np.asarray(windows, dtype=np.float64).reshape(-1, windows.shape[-1])
        deviation = rows.std(axis=0)
        scale = np.where(deviation > 1e-12, deviation, 1.0)
        return cls(kind=kind, centre=tuple(rows.mean(axis=0).tolist()), scale=tuple(scale.tolist()))

    @classmethod
    def identity(cls, channels: int) -> Self:
        """Return a normalisation that leaves windows of ``channels`` channels as they are."""
        return cls(kind="standard", centre=(0.0,) * channels, scale=(1.0,) * channels)
