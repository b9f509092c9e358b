"""The gate: may a candidate become the champion? Pure: scores and thresholds in, a verdict with its reasons out.

Every criterion has one limit. Without a champion it is an absolute one; with a champion the comparison is added, so
that a candidate must both be good enough and not lose what the champion has.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

__all__ = [
    "Criterion",
    "EventScores",
    "GateScores",
    "GateThresholds",
    "InstantThresholds",
    "Verdict",
    "field_criterion",
    "gate",
]

Share = Annotated[float, Field(ge=0, le=1)]
# Scores are rounded to four digits where they are kept: what differs by less than this is equal.
ROUNDING = 1e-9
CELL = "condition "  # begins the name of a criterion about one condition and level


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class EventScores(_Model):
    """What the episodes made of the windows are worth; only where windows follow one another on a line."""

    false_alarms_per_line_hour: float = Field(ge=0, description="Episodes that belong to no fault.")
    missed: Share = Field(description="Part of the faults without an episode.")
    delay_cycles_p95: float = Field(ge=0, description="From inception to confirmation, 95th percentile, in cycles.")


class GateScores(_Model):
    """The scores of one model that the gate looks at."""

    holdout: Share = Field(description="Merged macro-F1 on episodes never trained on.")
    cells: dict[str, Share] = Field({}, description="Merged macro-F1 by condition and level, as 'noise/3'.")
    rule_cells: dict[str, Share] = Field({}, description="The same of openXDA's rule, the fixed rule to beat.")
    ece: Share = Field(description="Expected calibration error of the merged classes.")
    events: EventScores | None = None


class GateThresholds(BaseSettings):
    """Limits; each is an environment variable ``FAULTLINE_GATE_<NAME>``. The defaults are those of `line`."""

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
    cell_margin: float = Field(
        0.02,
        ge=0,
        description="A cell has few episodes: half of its usual 95 % interval. Both models see the same ones.",
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
    delay_cycles_p95: float = Field(1.0, gt=0, description="A fault is told before the next mains cycle is over.")
    delay_margin_cycles: float = Field(0.25, ge=0, description="One hop: the resolution of a detection time.")
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

    @classmethod
    def of_spec(cls, name: str) -> GateThresholds:
        """The thresholds for models of a spec; those of `line` for any that has none of its own."""
        return InstantThresholds() if name == "instant" else cls()


class InstantThresholds(GateThresholds):
    """Limits of `instant`, judged on the time-blocked split of one line's record, where single instants repeat."""

    holdout_floor: float = Field(
        0.80, ge=0, le=1, description="Merged, on time blocks: stretches of the waveforms unseen."
    )
    holdout_margin: float = Field(0.01, ge=0, description="About 1,570 rows: one point is twice their standard error.")
    ece: float = Field(
        0.05, ge=0, le=1, description="1,570 rows in ten bins are themselves off by two to three points."
    )


class Criterion(_Model):
    """One question of the gate and its answer."""

    name: str
    value: float | None = Field(description="The candidate's; null where it was not measured.")
    limit: float
    champion: float | None = None
    passed: bool
    text: str

    @property
    def room(self) -> float:
        """Distance of the value from the limit; infinite where nothing was measured."""
        return float("inf") if self.value is None else abs(self.value - self.limit)


class Verdict(_Model):
    """Passed only when every criterion has."""

    passed: bool
    criteria: tuple[Criterion, ...]

    @classmethod
    def of(cls, criteria: tuple[Criterion, ...]) -> Self:
        """The verdict that follows from the criteria."""
        return cls(passed=all(criterion.passed for criterion in criteria), criteria=criteria)

    @property
    def failed(self) -> tuple[Criterion, ...]:
        """The criteria that were not met."""
        return tuple(criterion for criterion in self.criteria if not criterion.passed)


def gate(candidate: GateScores, champion: GateScores | None, thresholds: GateThresholds) -> Verdict:
    """Judge a candidate.

    Args:
        candidate: its scores.
        champion: those of the model in use, measured on the same episodes and conditions; None for a first model.
        thresholds: limits and margins.

    Returns:
        The verdict. What the champion was measured on and the candidate was not counts as failed: a score that is
        missing is no proof of anything.

    Example:
        >>> scores = GateScores(holdout=0.999, ece=0.01)
        >>> gate(scores, None, GateThresholds()).passed
        True
    """
    return Verdict.of(
        (
            _at_least("hold-out score", candidate.holdout, thresholds.holdout_floor, "merged macro-F1"),
            *_against_champion(candidate, champion, thresholds),
            *_against_rule(candidate, thresholds),
            *_cells(candidate, champion, thresholds),
            _at_most("calibration error", candidate.ece, thresholds.ece, "expected calibration error"),
            *_events(candidate.events, champion, thresholds),
        )
    )


def field_criterion(
    candidate: float | None, champion: float | None, windows: int, thresholds: GateThresholds
) -> Criterion | None:
    """Judge by windows of the field that neither model has learned.

    Args:
        candidate: its merged accuracy on them.
        champion: that of the model in use; None for a first model.
        windows: how many there are.
        thresholds: margin, and the least windows.

    Returns:
        The criterion; None where there is no champion, or too little to judge by.
    """
    if champion is None or windows < thresholds.field_windows:
        return None
    limit = champion - thresholds.field_margin
    return _at_least("field windows beside the champion", candidate, limit, "merged accuracy", champion)


def _against_champion(
    candidate: GateScores, champion: GateScores | None, thresholds: GateThresholds
) -> Iterator[Criterion]:
    if champion is not None:
        limit = champion.holdout - thresholds.holdout_margin
        yield _at_least("hold-out score beside the champion", candidate.holdout, limit, "", champion.holdout)


def _against_rule(candidate: GateScores, thresholds: GateThresholds) -> Iterator[Criterion]:
    shared = sorted(candidate.cells.keys() & candidate.rule_cells.keys())
    if shared:
        mine = sum(candidate.cells[name] for name in shared) / len(shared)
        rule = sum(candidate.rule_cells[name] for name in shared) / len(shared)
        yield _at_least("mean of conditions beside openXDA's rule", mine, rule + thresholds.rule_margin, "")


def _cells(candidate: GateScores, champion: GateScores | None, thresholds: GateThresholds) -> Iterator[Criterion]:
    for name, reference in sorted((champion.cells if champion else {}).items()):
        limit = reference - thresholds.cell_margin
        yield _at_least(f"{CELL}{name}", candidate.cells.get(name), limit, "merged macro-F1", reference)


def _events(events: EventScores | None, champion: GateScores | None, thresholds: GateThresholds) -> Iterator[Criterion]:
    reference = champion.events if champion else None
    if events is None and reference is None:
        return
    for field, label, absolute, margin, unit in (
        (
            "false_alarms_per_line_hour",
            "false alarms",
            thresholds.false_alarms_per_line_hour,
            thresholds.false_alarm_margin,
            "per line-hour",
        ),
        ("missed", "missed faults", thresholds.missed, thresholds.event_margin, "of all faults"),
        (
            "delay_cycles_p95",
            "detection delay",
            thresholds.delay_cycles_p95,
            thresholds.delay_margin_cycles,
            "cycles, 95th percentile",
        ),
    ):
        value = None if events is None else float(getattr(events, field))
        yield _at_most(label, value, absolute, unit)
        if reference is not None:
            theirs = float(getattr(reference, field))
            yield _at_most(f"{label} beside the champion", value, theirs + margin, unit, theirs)


def _at_least(name: str, value: float | None, limit: float, unit: str, champion: float | None = None) -> Criterion:
    return _criterion(name, value, max(limit, 0.0), unit, champion, at_least=True)


def _at_most(name: str, value: float | None, limit: float, unit: str, champion: float | None = None) -> Criterion:
    return _criterion(name, value, limit, unit, champion, at_least=False)


def _criterion(
    name: str, value: float | None, limit: float, unit: str, champion: float | None, *, at_least: bool
) -> Criterion:
    """Compare, and say so in one line."""
    if value is None:
        passed, found = False, "not measured"
    else:
        passed = value >= limit - ROUNDING if at_least else value <= limit + ROUNDING
        found = f"{value:.4g}"
    beside = "" if champion is None else f" (champion {champion:.4g})"
    text = f"{name}: {found}{f' {unit}' if unit else ''}, {'at least' if at_least else 'at most'} {limit:.4g}{beside}"
    return Criterion(name=name, value=value, limit=limit, champion=champion, passed=passed, text=text)
