"""Define the results of cross-validation: per fold, and over all folds."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, stdev
from typing import Literal, Self

from pydantic import Field

from model.frozen import FrozenModel

__all__ = ["Disturbances", "Faults", "Fold", "Folds", "Spread", "WindowScores"]


class WindowScores(FrozenModel):
    """Scores of windows that lie fully in one state; merged scores count the two three-phase faults as one class."""

    windows: int
    accuracy: float
    macro_f1: float
    merged_accuracy: float
    merged_macro_f1: float


class Faults(FrozenModel):
    """Results for faults on new lines, after confirmation; the delay counts from inception to confirmation."""

    injected: int
    missed: int
    wrong: int
    delay_cycles_median: float | None
    delay_cycles_p95: float | None


class Disturbances(FrozenModel):
    """Results for disturbances without a fault, after confirmation."""

    dealt: dict[str, int] = Field(description="Number of disturbances by kind.")
    line_hours: float = Field(description="Line-hours that the disturbances stand for, at sixty per hour.")
    quiet_hours: float = Field(description="Simulated line-hours without a disturbance.")
    alarms: dict[str, int] = Field(description="False alarms by kind of disturbance; quiet: outside disturbances.")
    alarms_per_line_hour: float = Field(
        description="Alarms at disturbances per line_hours, plus alarms in quiet time scaled to that of an hour."
    )


class Fold(FrozenModel):
    """Result of one fold: the size of its training data, and its scores."""

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
        """Return the figures that are compared between folds, by their table heading."""
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
    """Mean, standard deviation (n − 1), minimum and maximum over the folds."""

    mean: float
    deviation: float
    least: float
    most: float


class Folds(FrozenModel):
    """Results of all folds, with the spread of every figure that all folds have."""

    schema_version: Literal[1] = 1
    fingerprint: str
    folds: tuple[Fold, ...]
    spread: dict[str, Spread]

    @classmethod
    def of(cls, fingerprint: str, folds: Sequence[Fold]) -> Self:
        """Summarise two or more folds."""
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
