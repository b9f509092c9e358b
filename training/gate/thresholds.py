"""Define the limits and margins of the gate as settings."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

__all__ = ["GateThresholds"]


class GateThresholds(BaseSettings):
    """Limits and margins of the gate, each an environment variable ``FAULTLINE_GATE_<NAME>``.

    A recipe may have other defaults.
    """

    rule_name: ClassVar[str] = "the fixed rule"
    """Name of the baseline that a candidate must beat in the mean of all conditions."""

    model_config = SettingsConfigDict(env_prefix="FAULTLINE_GATE_", frozen=True, extra="ignore", allow_inf_nan=False)

    holdout_floor: float = Field(
        0.985,
        ge=0,
        le=1,
        description="Least hold-out score. Below it the model confuses a fault type; it is not .998, because rare"
        " classes have few windows.",
    )
    holdout_margin: float = Field(
        0.003,
        ge=0,
        description="Largest loss of hold-out score against the champion. Two trainings of one recipe with different"
        " seeds differ by about as much.",
    )
    chance: float = Field(
        0.05,
        gt=0,
        lt=0.5,
        description="Probability, in each kind of comparison, that chance alone refuses a candidate as good as the"
        " champion.",
    )
    cell_margin: float = Field(
        0.02,
        ge=0,
        description="Largest loss in one condition and level, added to the allowance for chance, which is larger.",
    )
    condition_margin: float = Field(
        0.02,
        ge=0,
        description="Largest loss in the mean of a condition's levels, added to the allowance for chance.",
    )
    mean_margin: float = Field(
        0.005,
        ge=0,
        description="Largest loss in the mean of all conditions, added to the allowance for chance. A model that loses"
        " half a point everywhere is worse.",
    )
    rule_margin: float = Field(
        0.0,
        ge=0,
        description="Least advantage over the fixed rule in the mean of all conditions. A network that the rule beats"
        " is not worth running.",
    )
    false_alarms_per_line_hour: float = Field(
        10.0,
        ge=0,
        description="Most false alarms per line-hour. The hold-out has a non-fault every 3.2 s, so about one in a"
        " hundred may raise an alarm.",
    )
    missed: float = Field(
        0.01,
        ge=0,
        le=1,
        description="Largest share of missed faults (dependability): one fault in a hundred, evolving faults included.",
    )
    ece: float = Field(
        0.02,
        ge=0,
        le=1,
        description="Largest expected calibration error. An operator reads .9 as nine in ten, and .88 or .92 still as"
        " that.",
    )
    delay_cycles_p95: float = Field(
        1.0,
        gt=0,
        description="Longest detection delay in cycles, 95th percentile. A fault is reported before the next cycle"
        " ends.",
    )
    delay_margin_cycles: float = Field(
        0.25,
        ge=0,
        description="Largest increase of the delay against the champion, in cycles: one hop, the resolution of a"
        " detection time.",
    )
    delay_s_p95: float = Field(
        1.0, gt=0, description="Longest detection delay in seconds, 95th percentile, for a spec without cycles."
    )
    delay_margin_s: float = Field(
        0.1,
        ge=0,
        description="Largest increase of the delay against the champion, in seconds: a tenth of the default limit.",
    )
    event_margin: float = Field(
        0.005, ge=0, le=1, description="Largest increase of the share of missed faults against the champion."
    )
    false_alarm_margin: float = Field(
        2.0,
        ge=0,
        description="Largest increase of false alarms per line-hour against the champion: one false alarm in the"
        " hold-out's half hour.",
    )

    field_margin: float = Field(
        0.02,
        ge=0,
        le=1,
        description="Largest loss of accuracy on labelled production windows held out of training: one in fifty.",
    )
    field_windows: int = Field(
        100,
        ge=1,
        description="Least number of such windows, each lying fully in one state, for a comparison. Fewer prove"
        " nothing.",
    )
