"""Define the result of a robustness run: one cell per condition and severity, and the figures derived from them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from training.document import Document, is_absent

__all__ = ["CLEAN", "ConditionCell", "RobustnessResult"]

CLEAN = "clean"

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]


class ConditionCell(Document):
    """Scores under one condition at one severity; level 0 is the clean reference."""

    condition: str
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
    false_alarms_per_line_hour: float | None = Field(description="Null if the record holds a single fault only.")
    missed: Count | None = Field(description="Number of faults without an episode; null if there was no fault.")
    faults: Count

    @property
    def name(self) -> str:
        """Condition and level, such as ``noise/3``."""
        return f"{self.condition}/{self.level}"


class RobustnessResult(Document):
    """All cells of one model, on fixed seeds."""

    schema_version: Literal[1] = 1
    model_id: str
    spec: str
    seed: int
    cells: tuple[ConditionCell, ...]
    clean: ConditionCell
    mean_corruption_error: dict[str, float] = Field(
        description="The model's errors relative to each baseline's, mean over conditions, in per cent."
    )
    worst: ConditionCell = Field(description="The cell with the lowest merged macro-F1.")
