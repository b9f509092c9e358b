"""Normalise windows of power lines before the first trained layer."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from model.normalisation import Normalisation

__all__ = ["PowerLineNormalisation"]


class PowerLineNormalisation(Normalisation):
    """Normalisation of each channel, and the choice of phasors as additional input.

    ``"asinh"`` suits power lines: without compression, a fault current of thirty times the rating would dominate all
    smaller values.
    """

    phasors: bool = Field(
        False,
        description="Also give the network what a relay measures in a window of one cycle of three currents and three "
        "voltages: see domains.powerline.phasors.",
    )

    @model_validator(mode="after")
    def _has_phasors_of_six_channels(self) -> Self:
        if self.phasors and len(self.scale) != 6:
            raise ValueError(
                f"phasors need three currents and three voltages: give 6 channels instead of {len(self.scale)}"
            )
        return self

    @property
    def feature_layer(self) -> str | None:
        """Return ``phasors`` if they are measured, else None."""
        return "phasors" if self.phasors else None
