"""Define fault events of power lines: the generic event with phases, ground and the duration in cycles."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from domains.powerline.spec import power_line_spec
from model.spec import SignalSpec
from stream.contract import FaultEvent

__all__ = ["PowerLineFaultEvent"]


class PowerLineFaultEvent(FaultEvent):
    """Onset, update or clearing of a fault on a power line."""

    fault_class: str = Field(description="Class of the spec, e.g. AG.")
    phases: str = Field(description="Phases involved, e.g. AB; empty where the spec does not resolve them.")
    ground: bool = Field(description="Whether the class involves ground.")
    ground_probability: float = Field(ge=0, le=1, description="Sum of the probabilities of classes with ground.")
    duration_cycles: float | None = Field(None, description="The same in cycles of the line.")

    @classmethod
    def own_fields(
        cls,
        spec: SignalSpec,
        fault_class: int,
        probabilities: NDArray[np.float64],
        duration_s: float | None,
        rate_hz: float,
    ) -> dict[str, Any]:
        """Return the fields that only power lines have, by name."""
        line = power_line_spec(spec)
        ground = sum(p for p, known in zip(probabilities.tolist(), line.classes, strict=True) if known.ground)
        cycles = None if duration_s is None else duration_s * rate_hz / line.samples_per_cycle
        return {
            "phases": line.classes[fault_class].phases,
            "ground": line.classes[fault_class].ground,
            "ground_probability": round(min(max(ground, 0.0), 1.0), 6),
            "duration_cycles": None if cycles is None else round(cycles, 3),
        }

    def meaning(self) -> str:
        """Return the phases in words."""
        return (f"phases {self.phases}" if self.phases else "phases ?") + (" to ground" if self.ground else "")

    def duration(self) -> str:
        """Return the fault's duration as text, in ms and cycles."""
        return f"{super().duration()}, {self.duration_cycles or 0:.1f} cycles"

    def sampling_hz(self, spec: SignalSpec) -> float:
        """Return the line's own sampling rate if it follows from the event, else the nominal one."""
        if not self.duration_cycles or not self.duration_s:
            return super().sampling_hz(spec)
        return self.duration_cycles / self.duration_s * power_line_spec(spec).samples_per_cycle


def _in_order_of_the_wire() -> None:
    """Order the domain's fields as in published events: after the fault type, and after the duration."""
    fields = PowerLineFaultEvent.__pydantic_fields__
    follow = {"fault_type": ("phases", "ground", "ground_probability"), "duration_s": ("duration_cycles",)}
    moved = {name: fields.pop(name) for names in follow.values() for name in names}
    for name in list(fields):
        fields[name] = fields.pop(name)
        for own in follow.get(name, ()):
            fields[own] = moved[own]
    PowerLineFaultEvent.model_rebuild(force=True)


_in_order_of_the_wire()
