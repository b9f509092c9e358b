"""What cross-validation found: per fold, and over the folds."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, stdev
from typing import Literal, Self

from pydantic import Field

from model.frozen import FrozenModel

__all__ = ["Disturbances", "Faults", "Fold", "Folds", "Spread", "WindowScores"]


class WindowScores(FrozenModel):
    """Of windows that one state fills; merged: with the two three-phase faults as one class."""

    windows: int
    accuracy: float
    macro_f1: float
    merged_accuracy: float
    merged_macro_f1: float


class Faults(FrozenModel):
    """Of faults on fresh lines, after confirmation; delay from inception to confirmation."""

    injected: int
    missed: int
    wrong: int
    delay_cycles_median: float | None
    delay_cycles_p95: float | None


class Disturbances(FrozenModel):
    """Of disturbances that are no faults, after confirmation."""

    dealt: dict[str, int] = Field(description="Disturbances by kind.")
    line_hours: float = Field(description="The disturbances as hours of sixty.")
    quiet_hours: float = Field(description="Simulated line-hours without a disturbance.")
    alarms: dict[str, int] = Field(description="False alarms by kind of disturbance; quiet: during none.")
    alarms_per_line_hour: float = Field(
        description="Alarms at disturbances over line_hours, and alarms in the quiet as often as an hour has of it."
    )


class Fold(FrozenModel):
    """One fold: what its model learned from, and how it was evaluated."""

    schema_version: Literal[1] = 1
    fingerprint: str
    fold: int
    windows: dict[str, int]
    held_out_faults: WindowScores
    held_out_all: WindowScores
    usual_faults: WindowScores
    usual_all: WindowScores
    faults: Faults
    disturbances: Disturbances
    seconds: float

    def figures(self) -> dict[str, float | None]:
        """Return what is compared between folds, by the heading it has in a table."""
        return {
            "held out, faults: merged macro-F1": self.held_out_faults.merged_macro_f1,
            "held out, faults: macro-F1": self.held_out_faults.macro_f1,
            "held out, all: merged macro-F1": self.held_out_all.merged_macro_f1,
            "held out, all: macro-F1": self.held_out_all.macro_f1,
            "usual instruments, faults: merged macro-F1": self.usual_faults.merged_macro_f1,
            "usual instruments, faults: macro-F1": self.usual_faults.macro_f1,
            "usual instruments, all: merged macro-F1": self.usual_all.merged_macro_f1,
            "usual instruments, all: macro-F1": self.usual_all.macro_f1,
            "delay p95, cycles": self.faults.delay_cycles_p95,
            "missed faults": self.faults.missed,
            "faults of wrong class": self.faults.wrong,
            "false alarms per line-hour": self.disturbances.alarms_per_line_hour,
        }


class Spread(FrozenModel):
    """Mean, standard deviation (n − 1), least and most over the folds."""

    mean: float
    deviation: float
    least: float
    most: float


class Folds(FrozenModel):
    """All folds, and the spread of every figure that all of them have."""

    schema_version: Literal[1] = 1
    fingerprint: str
    folds: tuple[Fold, ...]
    spread: dict[str, Spread]

    @classmethod
    def of(cls, fingerprint: str, folds: Sequence[Fold]) -> Self:
        """Sum up two folds or more."""
        spread = {}
        for name in folds[0].figures():
            values = [value for fold in folds if (value := fold.figures()[name]) is not None]
            if len(values) == len(folds):
                spread[name] = Spread(
                    mean=round(fmean(values), 5),
                    deviation=round(stdev(values), 5),
                    least=min(values),
                    most=max(values),
                )
        return cls(fingerprint=fingerprint, folds=tuple(folds), spread=spread)
