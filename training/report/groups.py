"""Summarise a robustness result by condition: seen in training or not, on records and on lives, and zero-shot."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from training.evaluation.conditions.results import ConditionCell, RobustnessResult, mean_by_condition

__all__ = ["ConditionGroup", "condition_groups", "group_sentence"]


@dataclass(frozen=True)
class ConditionGroup:
    """Mean over the levels of one condition.

    Attributes:
        name: name of the condition.
        seen: True if training contains such records.
        records: merged macro-F1 on records.
        lives: merged macro-F1 on lives; None if not measured.
        zero_shot: merged macro-F1 on records of a model trained without the condition; None if not measured.
        missed: missed faults on records and lives together; None if no cell has a fault.
        faults: faults on records and lives together.
    """

    name: str
    seen: bool
    records: float
    lives: float | None
    zero_shot: float | None
    missed: int | None
    faults: int

    @property
    def worse(self) -> float:
        """Lower of the scores on records and on lives."""
        return self.records if self.lives is None else min(self.records, self.lives)


def condition_groups(
    conditions: RobustnessResult | None, zero_shot: RobustnessResult | None = None
) -> tuple[ConditionGroup, ...]:
    """Return one group per condition, the worst first.

    Args:
        conditions: results of the model; None for no groups.
        zero_shot: results of models that were trained without the condition that they are scored on.
    """
    if conditions is None:
        return ()
    lives = mean_by_condition(conditions.lives)
    without = {} if zero_shot is None else mean_by_condition(zero_shot.cells)
    groups = [
        ConditionGroup(name, cells[0].seen, score, lives.get(name), without.get(name), *_missed(cells))
        for name, score in mean_by_condition(conditions.cells).items()
        for cells in [[cell for cell in conditions.all_cells if cell.condition == name]]
    ]
    return tuple(sorted(groups, key=lambda group: group.worse))


def group_sentence(groups: Sequence[ConditionGroup]) -> str:
    """Return the mean of the conditions that training contains, of the others, and the worst condition."""
    if not groups:
        return ""
    parts = [
        f"{label} ({len(own)}): {_means(own)}"
        for label, seen in (("Conditions seen in training", True), ("conditions never seen", False))
        for own in [[group for group in groups if group.seen == seen]]
        if own
    ]
    return f"{'; '.join(parts)}. Worst condition: {groups[0].name.replace('_', ' ')}, {groups[0].worse:.3f}."


def _means(groups: Sequence[ConditionGroup]) -> str:
    lives = [group.lives for group in groups if group.lives is not None]
    on_lives = f", {fmean(lives):.4f} on lives" if lives else ""
    return f"mean {fmean(group.records for group in groups):.4f}{on_lives}"


def _missed(cells: Iterable[ConditionCell]) -> tuple[int | None, int]:
    known = [(cell.missed, cell.faults) for cell in cells if cell.missed is not None]
    return (sum(missed for missed, _ in known), sum(faults for _, faults in known)) if known else (None, 0)
