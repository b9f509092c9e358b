"""Decide by scores and thresholds whether a candidate may become the champion, and give the reasons.

Every criterion has one limit. Without a champion, the limits are absolute. With a champion, comparisons are added: the
candidate must be good enough and must not be worse than the champion. A comparison allows for chance, because one of
two equally good models may be several margins worse in a cell of few records.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import sqrt
from statistics import NormalDist
from typing import Annotated, Self

from pydantic import Field

from training.document import Document, is_absent
from training.gate.thresholds import GateThresholds

__all__ = [
    "Criterion",
    "EventScores",
    "GateScores",
    "GateThresholds",
    "Verdict",
    "feedback_criterion",
    "gate",
]

Share = Annotated[float, Field(ge=0, le=1)]
# Tolerance of comparisons. Stored scores are rounded to four digits, so a smaller difference is a rounding error.
ROUNDING = 1e-9
CELL = "condition "  # prefix of a criterion's name that concerns one condition and level
HOLDOUT, ALL, ALL_LIVES = "hold-out", "all", "all on lives"
ON_LIVES = " on lives"  # suffix of a condition's name in the cells of lives
"""Keys of standard errors, in addition to those of conditions ("noise") and cells ("noise/3")."""


class EventScores(Document):
    """Scores of the detected episodes, for models whose windows follow one another on a line."""

    false_alarms_per_line_hour: float = Field(ge=0, description="Episodes without a fault, per line-hour.")
    missed: Share = Field(description="Share of the faults without an episode.")
    delay_cycles_p95: float | None = Field(
        None, ge=0, description="From inception to confirmation, 95th percentile, in cycles."
    )
    delay_s_p95: float | None = Field(
        None, ge=0, exclude_if=is_absent, description="The same in seconds, only if the spec has no cycles."
    )
    faults: int | None = Field(None, ge=0, description="Number of faults; null if unknown.")
    line_hours: float | None = Field(None, ge=0, description="Time in which false alarms were counted, in line-hours.")


class GateScores(Document):
    """The scores of one model that the gate evaluates."""

    holdout: Share = Field(description="Merged macro-F1 on episodes unseen in training.")
    cells: dict[str, Share] = Field(
        {}, description="Merged macro-F1 by condition and level, such as 'noise/3' or 'noise on lives/3'."
    )
    rule_cells: dict[str, Share] = Field({}, description="The same for the fixed rule that the model is compared with.")
    ece: Share = Field(description="Expected calibration error of the merged classes.")
    events: EventScores | None = None


class Criterion(Document):
    """One criterion of the gate with its limit and result."""

    name: str
    value: float | None = Field(description="The candidate's value; null if it was not measured.")
    limit: float
    champion: float | None = None
    passed: bool
    text: str

    @property
    def room(self) -> float:
        """Distance of the value from the limit; infinite if the value was not measured."""
        return float("inf") if self.value is None else abs(self.value - self.limit)


class Verdict(Document):
    """The gate's decision: it passes if every criterion passes."""

    passed: bool
    criteria: tuple[Criterion, ...]
    note: str | None = Field(
        None, exclude_if=is_absent, description="Reason for which the champion was not compared, if it was not."
    )

    @classmethod
    def of(cls, criteria: tuple[Criterion, ...], note: str | None = None) -> Self:
        """Return the verdict that follows from the criteria."""
        return cls(passed=all(criterion.passed for criterion in criteria), criteria=criteria, note=note)

    @property
    def failed(self) -> tuple[Criterion, ...]:
        """The criteria that were not met."""
        return tuple(criterion for criterion in self.criteria if not criterion.passed)


def gate(
    candidate: GateScores,
    champion: GateScores | None,
    thresholds: GateThresholds,
    errors: Mapping[str, float] | None = None,
    note: str | None = None,
) -> Verdict:
    """Compare a candidate's scores with the limits and with the champion's scores.

    Args:
        candidate: the candidate's scores.
        champion: scores of the model in use on the same episodes and conditions; None for a first model.
        thresholds: limits and margins.
        errors: standard errors of the differences between the two models' scores, by cell, condition, ALL, ALL_LIVES
            and HOLDOUT; an absent one counts as 0.
        note: reason for which the champion in use is not compared, if it is not.

    Returns:
        The verdict. A criterion fails if the champion has the score and the candidate lacks it.

    Example:
        >>> scores = GateScores(holdout=0.999, ece=0.01)
        >>> gate(scores, None, GateThresholds()).passed
        True
    """
    known = errors or {}
    return Verdict.of(
        (
            _at_least("hold-out score", candidate.holdout, thresholds.holdout_floor, "merged macro-F1"),
            *_against_champion(candidate, champion, thresholds, known),
            *_against_rule(candidate, thresholds),
            *_means(candidate, champion, thresholds, known),
            *_cells(candidate, champion, thresholds, known),
            _at_most("calibration error", candidate.ece, thresholds.ece, "expected calibration error"),
            *_events(candidate.events, champion, thresholds),
        ),
        note,
    )


def feedback_criterion(
    candidate: float | None, champion: float | None, windows: int, thresholds: GateThresholds
) -> Criterion | None:
    """Compare both models on labelled production windows that neither was trained on.

    Args:
        candidate: merged accuracy of the candidate on these windows; None if it was not measured.
        champion: merged accuracy of the model in use; None for a first model.
        windows: number of the windows.
        thresholds: limits and margins, among them the margin and the least number of windows for this criterion.

    Returns:
        The criterion; None if there is no champion or there are too few windows.
    """
    if champion is None or windows < thresholds.field_windows:
        return None
    limit = champion - thresholds.field_margin
    return _at_least("field windows beside the champion", candidate, limit, "merged accuracy", champion)


def _against_champion(
    candidate: GateScores, champion: GateScores | None, thresholds: GateThresholds, errors: Mapping[str, float]
) -> Iterator[Criterion]:
    if champion is not None:
        chance = _sigmas(thresholds, 1) * errors.get(HOLDOUT, 0.0)
        limit = champion.holdout - thresholds.holdout_margin - chance
        yield _at_least("hold-out score beside the champion", candidate.holdout, limit, "", champion.holdout, chance)


def _against_rule(candidate: GateScores, thresholds: GateThresholds) -> Iterator[Criterion]:
    shared = _of_records(candidate.cells.keys() & candidate.rule_cells.keys())
    if shared:
        own, rule = _mean(candidate.cells, shared), _mean(candidate.rule_cells, shared)
        yield _at_least(f"mean of conditions beside {thresholds.rule_name}", own, rule + thresholds.rule_margin, "")


def _condition(cell: str) -> str:
    return cell.partition("/")[0]


def _of_records(cells: Iterable[str]) -> list[str]:
    """Return the names of the cells that hold one event a record, sorted."""
    return sorted(name for name in cells if not _condition(name).endswith(ON_LIVES))


def _mean(scores: Mapping[str, float], names: Sequence[str]) -> float:
    return sum(scores[name] for name in names) / len(names)


def _means(
    candidate: GateScores, champion: GateScores | None, thresholds: GateThresholds, errors: Mapping[str, float]
) -> Iterator[Criterion]:
    """Yield criteria on means over levels and over conditions, which reveal losses too small to show in one cell."""
    shared = sorted(candidate.cells.keys() & (champion.cells if champion else {}).keys())
    if champion is None or not shared:
        return
    levels: dict[str, list[str]] = {}
    for name in shared:
        levels.setdefault(_condition(name), []).append(name)
    lives = [name for name in shared if _condition(name).endswith(ON_LIVES)]
    families = [
        (label, error, cells, thresholds.mean_margin, 1)
        for label, error, cells in (
            ("mean of conditions beside the champion", ALL, _of_records(shared)),
            ("mean of conditions on lives beside the champion", ALL_LIVES, lives),
        )
        if cells
    ] + [
        *(
            (f"mean of condition {name}", name, cells, thresholds.condition_margin, len(levels))
            for name, cells in sorted(levels.items())
        ),
    ]
    for label, error, cells, margin, compared in families:
        own, reference = (_mean(scores, cells) for scores in (candidate.cells, champion.cells))
        chance = _sigmas(thresholds, compared) * errors.get(error, 0.0)
        yield _at_least(label, own, reference - margin - chance, "", reference, chance)


def _cells(
    candidate: GateScores, champion: GateScores | None, thresholds: GateThresholds, errors: Mapping[str, float]
) -> Iterator[Criterion]:
    references = champion.cells if champion else {}
    for name, reference in sorted(references.items()):
        chance = _sigmas(thresholds, len(references)) * errors.get(name, 0.0)
        limit = reference - thresholds.cell_margin - chance
        yield _at_least(f"{CELL}{name}", candidate.cells.get(name), limit, "merged macro-F1", reference, chance)


def _sigmas(thresholds: GateThresholds, compared: int) -> float:
    """Return the number of standard errors that chance exceeds at the set rate in any of ``compared`` differences.

    The rate is ``thresholds.chance``, divided among the comparisons (Bonferroni).
    """
    return NormalDist().inv_cdf(1 - thresholds.chance / compared)


def _events(events: EventScores | None, champion: GateScores | None, thresholds: GateThresholds) -> Iterator[Criterion]:
    champion_events = champion.events if champion else None
    if events is None and champion_events is None:
        return
    in_seconds = any(scores is not None and scores.delay_s_p95 is not None for scores in (events, champion_events))
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
            "delay_s_p95",
            "detection delay",
            thresholds.delay_s_p95,
            thresholds.delay_margin_s,
            "s, 95th percentile",
        )
        if in_seconds
        else (
            "delay_cycles_p95",
            "detection delay",
            thresholds.delay_cycles_p95,
            thresholds.delay_margin_cycles,
            "cycles, 95th percentile",
        ),
    ):
        value = None if events is None else getattr(events, field)
        yield _at_most(label, value, absolute, unit)
        reference = None if champion_events is None else getattr(champion_events, field)
        if champion_events is not None and reference is not None:
            chance = _sigmas(thresholds, 1) * _counting_error(field, events, champion_events)
            yield _at_most(f"{label} beside the champion", value, reference + margin + chance, unit, reference, chance)


def _counting_error(field: str, candidate: EventScores | None, champion: EventScores) -> float:
    """Return the standard error of the difference of two rates (a count over a total); 0 for a delay."""
    among = {"false_alarms_per_line_hour": "line_hours", "missed": "faults"}.get(field)
    if candidate is None or among is None:
        return 0.0
    variances = []
    for scores in (candidate, champion):
        total = getattr(scores, among)
        variances.append(float(getattr(scores, field)) / total if total else 0.0)
    return sqrt(sum(variances))


def _at_least(
    name: str, value: float | None, limit: float, unit: str, champion: float | None = None, chance: float = 0.0
) -> Criterion:
    return _criterion(name, value, max(limit, 0.0), unit, champion, chance, at_least=True)


def _at_most(
    name: str, value: float | None, limit: float, unit: str, champion: float | None = None, chance: float = 0.0
) -> Criterion:
    return _criterion(name, value, limit, unit, champion, chance, at_least=False)


def _criterion(
    name: str, value: float | None, limit: float, unit: str, champion: float | None, chance: float, *, at_least: bool
) -> Criterion:
    """Compare a value with its limit and describe the result in one line."""
    if value is None:
        passed, found = False, "not measured"
    else:
        passed = value >= limit - ROUNDING if at_least else value <= limit + ROUNDING
        found = f"{value:.4g}"
    explained = f", chance ±{chance:.2g}" if chance else ""
    beside = "" if champion is None else f" (champion {champion:.4g}{explained})"
    text = f"{name}: {found}{f' {unit}' if unit else ''}, {'at least' if at_least else 'at most'} {limit:.4g}{beside}"
    return Criterion(name=name, value=value, limit=limit, champion=champion, passed=passed, text=text)
