"""Limits and margins of the gate, as settings."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

__all__ = ["GateThresholds"]


class GateThresholds(BaseSettings):
    """Limits; each is an environment variable ``FAULTLINE_GATE_<NAME>``. A recipe may have defaults of its own."""

    rule_name: ClassVar[str] = "the fixed rule"
    """Name of the baseline that a candidate must beat in the mean of all conditions."""

    model_config = SettingsConfigDict(env_prefix="FAULTLINE_GATE_", frozen=True, extra="ignore", allow_inf_nan=False)

    holdout_floor: float = Field(
        0.985,
        ge=0,
        le=1,
        description="Below it a fault type is being confused; rare classes have few windows, hence not .998.",
    )
    holdout_margin: float = Field(
        0.003, ge=0, description="Two trainings of one recipe with other seeds differ by about as much."
    )
    chance: float = Field(
        0.05,
        gt=0,
        lt=0.5,
        description="So often may chance refuse, in each kind of comparison, a candidate as good as the champion.",
    )
    cell_margin: float = Field(
        0.02, ge=0, description="Of one condition and level; beside what chance explains, which is more."
    )
    condition_margin: float = Field(0.02, ge=0, description="Of the mean of a condition's levels, beside chance.")
    mean_margin: float = Field(
        0.005, ge=0, description="Of the mean of all conditions: half a point lost everywhere is a worse model."
    )
    rule_margin: float = Field(
        0.0, ge=0, description="A network that a fixed rule beats in the mean of all conditions is not worth running."
    )
    false_alarms_per_line_hour: float = Field(
        10.0,
        ge=0,
        description="With a non-fault every 3.2 s, as the hold-out has it, about one in a hundred may raise an alarm.",
    )
    missed: float = Field(
        0.01, ge=0, le=1, description="Dependability: one fault in a hundred, evolving ones included."
    )
    ece: float = Field(
        0.02, ge=0, le=1, description="An operator reads .9 as nine in ten; two points off is still that."
    )
    delay_cycles_p95: float = Field(1.0, gt=0, description="A fault is reported before the next cycle is over.")
    delay_margin_cycles: float = Field(0.25, ge=0, description="One hop: the resolution of a detection time.")
    delay_s_p95: float = Field(1.0, gt=0, description="Of a spec without cycles: a fault is reported within a second.")
    delay_margin_s: float = Field(0.1, ge=0, description="A tenth of that.")
    event_margin: float = Field(
        0.005, ge=0, le=1, description="So much larger a part of faults may be missed than by the champion."
    )
    false_alarm_margin: float = Field(
        2.0, ge=0, description="False alarms per line-hour more than the champion's: one of the hold-out's half hour."
    )

    field_margin: float = Field(
        0.02, ge=0, le=1, description="Of the accuracy on labelled field windows held out: one window in fifty."
    )
    field_windows: int = Field(100, ge=1, description="Fewer of them, filled by one state, prove nothing.")
