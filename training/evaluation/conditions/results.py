"""Define the result of a robustness run: one cell per condition and severity, and the figures derived from them."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import fmean
from typing import Annotated, Literal

from pydantic import Field

from training.document import Document, is_absent

__all__ = ["CLEAN", "LIFE", "RECORD", "ConditionCell", "Kind", "RobustnessResult", "mean_by_condition"]

CLEAN = "clean"
Kind = Literal["record", "life"]
RECORD: Kind = "record"
LIFE: Kind = "life"

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]


def _is_record(kind: str) -> bool:
    return kind == RECORD


def _is_empty(value: tuple[object, ...]) -> bool:
    return not value


def _is_false(value: bool) -> bool:
    return not value


class ConditionCell(Document):
    """Scores under one condition at one severity; level 0 is the clean reference."""

    condition: str
    kind: Kind = Field(
        RECORD,
        exclude_if=_is_record,
        description="record: one event early in each record. life: several events, after quiet times of any length.",
    )
    seen: bool = Field(
        False, exclude_if=_is_false, description="True if training contains such records, at least mildly altered."
    )
    unit: str
    level: int = Field(ge=0, le=5)
    value: float | str = Field(description="The severity in the condition's unit, or its name.")
    episodes: Count
    windows: Count = Field(
        description="Number of scored windows: those fully in one state, or those that the condition selects."
    )
    macro_f1: Share
    merged_macro_f1: Share = Field(description="Macro-F1 with the spec's equivalent classes counted as one.")
    merged_low: Share = Field(description="Lower end of the 95 % bootstrap interval over episodes.")
    merged_high: Share
    drawn: tuple[Share, ...] = Field(
        (), description="Merged macro-F1 of bootstrap samples; equal seeds and episodes draw the same records."
    )
    baselines: dict[str, Share] = Field(description="Merged macro-F1 of the baselines by name.")
    delay_cycles_median: float | None = Field(
        description="From inception to confirmation; null if no fault was found or the spec has no cycles."
    )
    delay_cycles_p95: float | None
    delay_s_median: float | None = Field(None, exclude_if=is_absent, description="Only if the spec has no cycles.")
    delay_s_p95: float | None = Field(None, exclude_if=is_absent)
    flip_rate: Share = Field(description="Share of neighbouring windows with the same label but other predictions.")
    false_alarms_per_line_hour: float | None = Field(description="Null if single windows are scored.")
    missed: Count | None = Field(description="Number of faults without an episode; null if there was no fault.")
    faults: Count

    @property
    def family(self) -> str:
        """Condition and kind of records, such as ``noise`` or ``noise on lives``."""
        return self.condition if self.kind == RECORD else f"{self.condition} on lives"

    @property
    def name(self) -> str:
        """Family and level, such as ``noise/3`` or ``noise on lives/3``."""
        return f"{self.family}/{self.level}"


class RobustnessResult(Document):
    """All cells of one model, on fixed seeds."""

    schema_version: Literal[1] = 1
    model_id: str
    spec: str
    seed: int
    cells: tuple[ConditionCell, ...] = Field(description="Cells of records with one event each.")
    clean: ConditionCell
    lives: tuple[ConditionCell, ...] = Field(
        (), exclude_if=_is_empty, description="The same conditions on lives: several events after any length of quiet."
    )
    clean_life: ConditionCell | None = Field(None, exclude_if=is_absent)
    without: tuple[str, ...] = Field(
        (),
        exclude_if=_is_empty,
        description="Conditions that the model's training left out, so that their scores are zero-shot.",
    )
    mean_corruption_error: dict[str, float] = Field(
        description="The model's errors relative to each baseline's, mean over conditions, in per cent."
    )
    worst: ConditionCell = Field(description="The cell with the lowest merged macro-F1.")

    @property
    def all_cells(self) -> tuple[ConditionCell, ...]:
        """Cells of both kinds, those of records first."""
        return (*self.cells, *self.lives)


def mean_by_condition(cells: Iterable[ConditionCell]) -> dict[str, float]:
    """Return the mean merged macro-F1 over the levels of each condition, in the order of the cells."""
    levels: dict[str, list[float]] = {}
    for cell in cells:
        levels.setdefault(cell.condition, []).append(cell.merged_macro_f1)
    return {name: fmean(scores) for name, scores in levels.items()}
