"""Measure robustness: score a classifier under conditions that differ from training, together with fixed baselines.

The mean corruption error follows Hendrycks and Dietterich, "Benchmarking neural network robustness to common
corruptions and perturbations" (ICLR 2019): the errors of a condition, summed over all severities, are divided by the
same sum of a fixed baseline; the mean of these ratios over all conditions is given in per cent. Here an error is
1 − merged macro-F1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from model.spec import SignalSpec
from training.data.classifier import Baseline, Classifier
from training.data.episodes import Episodes
from training.document import delays
from training.errors import TrainingError
from training.evaluation.classifier import classify_at_ends, classify_record
from training.evaluation.conditions.cells import (
    KEPT,
    events,
    flip_rate,
    interval,
    macro_f1,
    resampled_scores,
    scored_windows,
    tables,
)
from training.evaluation.conditions.condition import LEVELS, Condition, Trial, Value
from training.evaluation.conditions.results import CLEAN, LIFE, RECORD, ConditionCell, Kind, RobustnessResult

__all__ = ["EPISODES", "QUICK_EPISODES", "SEED", "evaluate", "mean_corruption_error"]

SEED = 31_000_000  # fixed; no recipe simulates training data from it
EPISODES, QUICK_EPISODES = 440, 110
# Records for every life: a life is seven times as long, so lives take about as long as the records.
LIVES_PER_RECORDS = 8
DIGITS = 4
# Smallest error that is used in a ratio: smaller ones are a few windows, and a ratio of two such errors means nothing.
LEAST_ERROR = 1e-3

Progress = Callable[[str, int], None]


class Reference(Protocol):
    """The part of ``training.recipe.Recipe`` that robustness needs."""

    @property
    def spec(self) -> SignalSpec:
        """Spec of the windows."""

    @property
    def baselines(self) -> Mapping[str, Baseline]:
        """Fixed classifiers, by name, that are scored on the same windows."""

    def clean_records(self, n: int, seed: int) -> Episodes:
        """Return ``n`` records of the kind that training simulates, which the conditions then alter."""

    def clean_lives(self, n: int, seed: int) -> Episodes | None:
        """Return ``n`` longer records with several events after quiet times of any length; None without lives."""


@dataclass(frozen=True)
class _Run:
    classify: Classifier
    recipe: Reference
    seed: int
    kind: Kind = RECORD

    def cells(
        self, clean: Episodes, conditions: Sequence[Condition], progress: Progress
    ) -> tuple[ConditionCell, tuple[ConditionCell, ...]]:
        """Return the cell of clean records or lives, and the cells of the conditions."""
        progress(CLEAN, 0)
        reference = self.cell(Trial(clean), CLEAN, "", 0, "as trained")
        cells = []
        for condition in conditions:
            for level in range(1, LEVELS + 1):
                progress(condition.name, level)
                trial = condition.trial(clean, level, self.seed)
                cell = self.cell(trial, condition.name, condition.unit, level, condition.value(level))
                cells.append(cell.model_copy(update={"seen": condition.seen}))
        return reference, tuple(cells)

    def cell(self, trial: Trial, condition: str, unit: str, level: int, value: Value) -> ConditionCell:
        spec, records = self.recipe.spec, trial.episodes.samples
        probabilities = classify_record(self.classify, records, spec)
        y_pred = probabilities.argmax(axis=2)
        scored = scored_windows(trial, spec)
        windows = scored.windows(records, spec.samples)
        if trial.ends is None:
            scored_pred = scored.at(y_pred, spec)
        else:
            answers = classify_at_ends(self.classify, records, scored.record, scored.end, spec)
            scored_pred = answers.argmax(axis=1)
        first_windows = records[scored.record, : spec.samples]
        merge = spec.equivalent_indices()
        per_record = tables(scored, scored_pred, len(records), spec)
        drawn = resampled_scores(per_record, spec, self.seed)
        low, high = interval(drawn)
        baselines = {
            name: float(macro_f1(tables(scored, rule(windows, first_windows), len(records), spec).sum(axis=0), merge))
            for name, rule in self.recipe.baselines.items()
        }
        # Single windows hold no event that could be confirmed.
        single = probabilities.shape[1] < 2
        happened = None if single else events(trial, probabilities, spec, lives=self.kind == LIFE)
        found = None if happened is None or not happened.found else happened
        return ConditionCell(
            condition=condition,
            kind=self.kind,
            unit=unit,
            level=level,
            value=value,
            episodes=len(records),
            windows=len(scored.label),
            macro_f1=round(float(macro_f1(per_record.sum(axis=0))), DIGITS),
            merged_macro_f1=round(float(macro_f1(per_record.sum(axis=0), merge)), DIGITS),
            merged_low=round(low, DIGITS),
            merged_high=round(high, DIGITS),
            drawn=tuple(np.round(drawn[:KEPT], DIGITS).tolist()),
            baselines={name: round(score, DIGITS) for name, score in baselines.items()},
            **delays(
                spec,
                None if found is None else round(found.delay_cycles_median, DIGITS),
                None if found is None else round(found.delay_cycles_p95, DIGITS),
            ),
            flip_rate=round(flip_rate(trial, y_pred, spec), DIGITS),
            false_alarms_per_line_hour=(
                None if happened is None else round(happened.false_alarms / happened.line_hours, DIGITS)
            ),
            missed=happened.missed if happened is not None and happened.injected else None,
            faults=0 if happened is None else happened.injected,
        )


def evaluate(
    classifier: Classifier,
    recipe: Reference,
    conditions: Sequence[Condition],
    seed: int = SEED,
    episodes: int = EPISODES,
    *,
    lives: int | None = None,
    model_id: str = "",
    without: Sequence[str] = (),
    progress: Progress | None = None,
) -> RobustnessResult:
    """Score a classifier under conditions with five severities each.

    Args:
        classifier: see ``training.data.classifier.Classifier``; every record is a line that begins cold.
        recipe: recipe of the windows' spec, which supplies the clean records and the baselines.
        conditions: conditions as returned by ``recipe.conditions.chosen``.
        seed: the same seed gives the same records; only results on equal seeds are comparable.
        episodes: records per cell; each holds one event, and about two thirds of the events are faults.
        lives: lives per cell, an eighth of the number of records by default; 0 for none.
        model_id: model id to store in the result.
        without: conditions that the model's training left out, to store in the result.
        progress: called with a condition's name and level before each cell; level 0 is the clean reference. Cells of
            records come before those of lives.

    Raises:
        TrainingError: there are no conditions, too few episodes, or no records to alter.
    """
    if not conditions or episodes < 2:
        raise TrainingError("robustness needs at least one condition and two episodes")
    report = progress or (lambda name, level: None)
    run = _Run(classifier, recipe, seed)
    clean, cells = run.cells(recipe.clean_records(episodes, seed), conditions, report)
    several = episodes // LIVES_PER_RECORDS if lives is None else lives
    long = recipe.clean_lives(several, seed) if several else None
    clean_life, on_lives = (None, ()) if long is None else replace(run, kind=LIFE).cells(long, conditions, report)
    return RobustnessResult(
        model_id=model_id,
        spec=recipe.spec.name,
        seed=seed,
        cells=cells,
        clean=clean,
        lives=on_lives,
        clean_life=clean_life,
        without=tuple(without),
        mean_corruption_error={name: mean_corruption_error(cells, name) for name in recipe.baselines},
        worst=min(cells, key=lambda cell: cell.merged_macro_f1),
    )


def mean_corruption_error(cells: Sequence[ConditionCell], baseline: str) -> float:
    """Return the mean corruption error against a baseline, in per cent; below 100 the model has fewer errors."""
    own: dict[str, float] = {}
    fixed: dict[str, float] = {}
    for cell in cells:
        own[cell.condition] = own.get(cell.condition, 0.0) + 1 - cell.merged_macro_f1
        fixed[cell.condition] = fixed.get(cell.condition, 0.0) + 1 - cell.baselines[baseline]
    ratios = [own[name] / max(fixed[name], LEAST_ERROR) for name in own]
    return round(100 * float(np.mean(ratios)), 2)
