"""Estimate how much the scores of two models differ by chance, from the records on which both were scored."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from training.evaluation.conditions.results import RECORD, ConditionCell, RobustnessResult

__all__ = ["ALL", "ALL_LIVES", "WIDTH", "standard_errors"]

ALL, ALL_LIVES = "all", "all on lives"
WIDTH = 2 * 1.96  # width of a 95 % interval, in standard errors


def standard_errors(candidate: RobustnessResult, champion: RobustnessResult) -> dict[str, float]:
    """Return the standard errors of the differences of merged macro-F1 between two models.

    With equal seeds and episodes, both models were scored on the same bootstrap samples of the same records. The
    difference is then computed sample by sample, so that the difficulty of a record, which is the same for both
    models, cancels, in single cells and in means of cells. Without samples, or with different records, the two
    intervals count as independent, and the cells of a mean as fully dependent.

    Args:
        candidate: results of one model.
        champion: results of the other model.

    Returns:
        Standard errors by cell ("noise/3"), by family ("noise" or "noise on lives", for the mean of its levels), for
        ALL (the mean of all cells of records) and for ALL_LIVES (the mean of all cells of lives).
    """
    other = {cell.name: cell for cell in champion.all_cells}
    pairs = {cell.name: (cell, other[cell.name]) for cell in candidate.all_cells if cell.name in other}
    same = candidate.seed == champion.seed and all(_comparable(*pair) for pair in pairs.values())
    families = {name: [name] for name in pairs} | _by_condition(pairs)
    if same:
        drawn = {name: _differences(*pair) for name, pair in pairs.items()}
        return {
            family: float(np.mean([drawn[name] for name in names], axis=0).std(ddof=1))
            for family, names in families.items()
        }
    apart = {name: float(np.hypot(_error(pair[0]), _error(pair[1]))) for name, pair in pairs.items()}
    return {family: float(np.mean([apart[name] for name in names])) for family, names in families.items()}


def _by_condition(pairs: Mapping[str, tuple[ConditionCell, ConditionCell]]) -> dict[str, list[str]]:
    families: dict[str, list[str]] = {}
    for name, (cell, _) in pairs.items():
        families.setdefault(ALL if cell.kind == RECORD else ALL_LIVES, []).append(name)
        families.setdefault(cell.family, []).append(name)
    return families


def _comparable(candidate: ConditionCell, champion: ConditionCell) -> bool:
    return candidate.episodes == champion.episodes and len(candidate.drawn) == len(champion.drawn) > 1


def _differences(candidate: ConditionCell, champion: ConditionCell) -> NDArray[np.float64]:
    return np.subtract(candidate.drawn, champion.drawn, dtype=np.float64)


def _error(cell: ConditionCell) -> float:
    return (cell.merged_high - cell.merged_low) / WIDTH
