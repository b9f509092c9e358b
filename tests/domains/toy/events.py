"""Fault events of machines: what the generic event says, and the part that the fault is of."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from model.spec import SignalSpec
from stream.contract import FaultEvent
from tests.domains.toy.domain import PARTS


class MachineFaultEvent(FaultEvent):
    """One step in the life of a fault of a machine."""

    part: str = Field(description="Part of the machine that the fault is of.")

    @classmethod
    def own_fields(
        cls,
        spec: SignalSpec,
        fault_class: int,
        probabilities: NDArray[np.float64],
        duration_s: float | None,
        rate_hz: float,
    ) -> dict[str, Any]:
        """Return the part."""
        return {"part": PARTS[spec.classes[fault_class].type]}

    def meaning(self) -> str:
        """Return the part in words."""
        return f"of the {self.part}"
