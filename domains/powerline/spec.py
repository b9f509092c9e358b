"""Define specs of power lines: phases and ground of each class, windows in mains cycles, currents and voltages."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from model.errors import SpecError
from model.spec import MAX_CLASSES, FaultClass, SignalSpec, load_spec

__all__ = ["PowerLineClass", "PowerLineSpec", "load_line_spec", "power_line_spec"]

# Number of faulted phases, and involvement of ground, by the letters of the fault type. Other types are not checked.
_PHASES = {"none": 0, "lg": 1, "ll": 2, "llg": 2, "lll": 3, "lllg": 3}
_GROUND = {name: name.endswith("g") for name in _PHASES}


class PowerLineClass(FaultClass):
    """Phases and ground of a fault class.

    ``phases`` are the faulted phases, in the order of the class's usual name (``"CA"``); they are empty if the class
    does not name them, like ``LG`` of the spec ``instant``.
    """

    phases: str = Field(default="", pattern=r"^[ABC]{0,3}$")
    ground: bool = False

    @model_validator(mode="after")
    def _agrees_with_its_type(self) -> Self:
        if len(set(self.phases)) != len(self.phases):
            raise ValueError(f"class {self.name!r}: phases {self.phases!r} repeats a phase; name each phase once")
        if self.type not in _PHASES:
            return self
        expected = _PHASES[self.type]
        if self.phases and len(self.phases) != expected:
            raise ValueError(
                f"class {self.name!r}: type {self.type!r} has {expected} phase(s), not {self.phases!r};"
                " leave phases empty if the class does not name them"
            )
        if self.ground is not _GROUND[self.type]:
            raise ValueError(
                f"class {self.name!r}: type {self.type!r} needs ground = {str(_GROUND[self.type]).lower()}"
            )
        return self


class PowerLineSpec(SignalSpec):
    """Spec whose windows are sized in mains cycles, so that the same windows suit 50 and 60 Hz.

    Example:
        >>> spec = load_line_spec("line")
        >>> spec.currents, spec.voltages, spec.rate_hz
        ((0, 1, 2), (3, 4, 5), 1600.0)
    """

    rate_hz: float = Field(default=0.0, exclude=True)
    """Sampling rate at nominal frequency, which follows from ``samples_per_cycle`` and ``nominal_hz``."""
    classes: tuple[PowerLineClass, ...] = Field(min_length=2, max_length=MAX_CLASSES)
    samples_per_cycle: int = Field(ge=1, le=100_000)
    nominal_hz: float = Field(gt=0, le=1000)

    @model_validator(mode="before")
    @classmethod
    def _rate_follows(cls, value: Any) -> Any:
        if isinstance(value, Mapping) and "rate_hz" in value:
            raise ValueError("rate_hz follows from samples_per_cycle and nominal_hz; leave it out")
        return value

    @model_validator(mode="after")
    def _completed(self) -> Self:
        object.__setattr__(self, "rate_hz", self.samples_per_cycle * self.nominal_hz)
        if self.equivalent is None:
            object.__setattr__(self, "equivalent", self._three_phase())
        return self

    def _three_phase(self) -> tuple[tuple[str, ...], ...]:
        """Return the group of three-phase faults with and without ground.

        They cannot be distinguished on a balanced line, since no current flows to ground.
        """
        names = tuple(fault.name for fault in self.classes if fault.type in ("lll", "lllg"))
        return (names,) if len(names) > 1 else ()

    def _in_files(self, dumped: dict[str, Any]) -> dict[str, Any]:
        kept = super()._in_files(dumped)
        if self.equivalent == self._three_phase():
            del kept["equivalent"]
        cycles = {name: kept.pop(name) for name in ("samples_per_cycle", "nominal_hz")}
        # The earlier order is kept, so that the text of a spec in an existing store does not change.
        fields = list(kept.items())
        place = [name for name, _ in fields].index("hop") + 1
        return dict(fields[:place]) | cycles | dict(fields[place:])

    @property
    def period_samples(self) -> int:
        """Samples per mains cycle."""
        return self.samples_per_cycle

    @property
    def currents(self) -> tuple[int, ...]:
        """Indices of the channels that are currents: those whose name begins with ``i``."""
        return tuple(index for index, name in enumerate(self.channels) if name.startswith("i"))

    @property
    def voltages(self) -> tuple[int, ...]:
        """Indices of the channels that are voltages: those whose name begins with ``v``."""
        return tuple(index for index, name in enumerate(self.channels) if name.startswith("v"))

    @property
    def groups(self) -> Mapping[str, tuple[int, ...]]:
        """Indices of currents and of voltages."""
        return {"current": self.currents, "voltage": self.voltages}


def power_line_spec(spec: SignalSpec) -> PowerLineSpec:
    """Return the spec as a ``PowerLineSpec``.

    Raises:
        SpecError: the spec belongs to another domain.
    """
    if not isinstance(spec, PowerLineSpec):
        raise SpecError(
            f"spec {spec.name!r} belongs to the domain {spec.domain!r}; choose a spec of power lines, e.g. 'line'"
        )
    return spec


def load_line_spec(name_or_path: str | Path) -> PowerLineSpec:
    """Load a spec of power lines, as ``model.spec.load_spec`` does."""
    return power_line_spec(load_spec(name_or_path))
