"""Limits of the gate for models of power lines."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from training.gate.thresholds import GateThresholds

__all__ = ["InstantThresholds", "LineThresholds"]


class LineThresholds(GateThresholds):
    """Limits of `line`, which are the defaults of the gate."""

    rule_name: ClassVar[str] = "openXDA's rule"


class InstantThresholds(LineThresholds):
    """Limits of `instant`, evaluated on the time-blocked split of one line's record, where single instants repeat."""

    holdout_floor: float = Field(
        0.80, ge=0, le=1, description="Merged, on time blocks: stretches of the waveforms unseen."
    )
    holdout_margin: float = Field(0.01, ge=0, description="About 1,570 rows: one point is twice their standard error.")
    ece: float = Field(
        0.05, ge=0, le=1, description="1,570 rows in ten bins are themselves off by two to three points."
    )
