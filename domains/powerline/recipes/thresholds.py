"""Define the thresholds of the gate for models of power lines."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from training.gate.thresholds import GateThresholds

__all__ = ["InstantThresholds", "LineThresholds"]


class LineThresholds(GateThresholds):
    """Thresholds for `line`, which are the defaults of the gate."""

    rule_name: ClassVar[str] = "openXDA's rule"


class InstantThresholds(LineThresholds):
    """Thresholds for `instant`, which is evaluated on blocks of time of one line's record, where instants repeat."""

    holdout_floor: float = Field(
        0.80, ge=0, le=1, description="Lowest merged macro-F1 on blocks in time, i.e. on unseen stretches of waveform."
    )
    holdout_margin: float = Field(
        0.01, ge=0, description="One point is twice the standard error of the test part's 1,570 rows."
    )
    ece: float = Field(
        0.05, ge=0, le=1, description="The error of 1,570 rows in ten bins is itself two to three points."
    )
