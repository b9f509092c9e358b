"""Normalise windows of power lines before the first trained layer."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from model.normalisation import Normalisation

__all__ = ["PowerLineNormalisation"]


class PowerLineNormalisation(Normalisation):
    """Per-channel conditioning, and whether phasors are measured beside.

    ``"asinh"`` suits lines because a fault current of thirty times the rating must not drown everything else.
    """

    phasors: bool = Field(
        False,
        description="Whether the network is also given what a relay measures of a window of one cycle of three "
        "currents and three voltages: see domains.powerline.phasors.",
    )

    @model_validator(mode="after")
    def _has_phasors_of_six_channels(self) -> Self:
        if self.phasors and len(self.scale) != 6:
            raise ValueError("phasors are those of three currents and three voltages: six channels")
        return self

    @property
    def feature_layer(self) -> str | None:
        """Return ``phasors`` where they are measured."""
        return "phasors" if self.phasors else None
