"""Fault events of machines: the generic event, and the part of the machine that has the fault."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

import faultline

PARTS = {"imbalance": "rotor", "bearing": "bearing"}
"""Part of a machine by the type of its fault."""


class MachineFaultEvent(faultline.FaultEvent):
    """Onset, update or clearing of a machine's fault."""

    part: str = Field(description="Part of the machine that has the fault.")

    @classmethod
    def own_fields(
        cls,
        spec: faultline.SignalSpec,
        fault_class: int,
        probabilities: NDArray[np.float64],
        duration_s: float | None,
        rate_hz: float,
    ) -> dict[str, Any]:
        """Return the fields that the generic event does not have."""
        return {"part": PARTS[spec.classes[fault_class].type]}

    def meaning(self) -> str:
        """Return these fields in words, as `faultline subscribe` prints them."""
        return f"of the {self.part}"
