"""What a robustness run found: one cell per condition and severity, and what is derived from all of them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from training.document import Document, is_absent

__all__ = ["CLEAN", "ConditionCell", "RobustnessResult"]

CLEAN = "clean"

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]


class ConditionCell(Document):
    """Scores under one condition at one severity. Level 0 is the clean reference's."""

    condition: str
    unit: str
    level: int = Field(ge=0, le=5)
    value: float | str = Field(description="The severity in the condition's unit, or what it is called.")
    episodes: Count
    windows: Count = Field(description="Scored windows: those that one state fills, or that the condition names.")
    macro_f1: Share
    merged_macro_f1: Share = Field(description="With classes that the spec calls equivalent as one.")
    merged_low: Share = Field(description="Lower end of the 95 % bootstrap interval over episodes.")
    merged_high: Share
    drawn: tuple[Share, ...] = Field(
        (), description="Merged macro-F1 of bootstrap samples; equal seeds and episodes draw the same records."
    )
    baselines: dict[str, Share] = Field(description="Merged macro-F1 of the baselines by name.")
    delay_cycles_median: float | None = Field(
        description="Inception to confirmation; None where nothing was found, or the spec has no cycles."
    )
    delay_cycles_p95: float | None
    delay_s_median: float | None = Field(None, exclude_if=is_absent, description="Where the spec has no cycles.")
    delay_s_p95: float | None = Field(None, exclude_if=is_absent)
    flip_rate: Share = Field(description="Part of neighbouring windows with one truth that are called differently.")
    false_alarms_per_line_hour: float | None = Field(description="None where nothing but one fault was recorded.")
    missed: Count | None = Field(description="Faults without an episode; None where there was no fault to find.")
    faults: Count

    @property
    def name(self) -> str:
        """Condition and level, as ``noise/3``."""
        return f"{self.condition}/{self.level}"


class RobustnessResult(Document):
    """All cells of one model, on frozen seeds."""

    schema_version: Literal[1] = 1
    model_id: str
    spec: str
    seed: int
    cells: tuple[ConditionCell, ...]
    clean: ConditionCell
    mean_corruption_error: dict[str, float] = Field(
        description="By baseline, in per cent: the model's errors in parts of the baseline's, mean over conditions."
    )
    worst: ConditionCell = Field(description="The cell with the lowest merged macro-F1.")
