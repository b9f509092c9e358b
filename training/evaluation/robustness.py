"""How a classifier of windows fares where the world differs from training, beside fixed baselines.

Mean corruption error after Hendrycks and Dietterich, "Benchmarking neural network robustness to common corruptions
and perturbations" (ICLR 2019): of every condition the errors at all severities, added up, are divided by the same sum
of a fixed baseline; the mean over conditions, in per cent. An error is 1 − merged macro-F1 here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from domains.powerline.baselines import BASELINES
from domains.powerline.data.line_data import Classifier
from domains.powerline.simulator.faults import CLASSES
from domains.powerline.simulator.network import SAMPLES_PER_CYCLE
from model.spec import SignalSpec
from stream.windowing import cut_windows
from training.errors import TrainingError
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
from training.evaluation.conditions.condition import LEVELS, Condition, Trial, Value, resimulated
from training.evaluation.conditions.results import CLEAN, ConditionCell, RobustnessResult

__all__ = ["EPISODES", "QUICK_EPISODES", "SEED", "check_spec", "evaluate", "mean_corruption_error"]

SEED = 31_000_000  # frozen: no recipe simulates from it
EPISODES, QUICK_EPISODES = 440, 110
DIGITS = 4
# Below it an error is no more than a handful of windows, and a ratio of two such says nothing.
LEAST_ERROR = 1e-3

Progress = Callable[[str, int], None]


@dataclass(frozen=True)
class _Run:
    classify: Classifier
    spec: SignalSpec
    seed: int

    def cell(self, trial: Trial, condition: str, unit: str, level: int, value: Value) -> ConditionCell:
        spec, records = self.spec, trial.episodes.samples
        probabilities = self._probabilities(records)
        said = probabilities.argmax(axis=2)
        scored = scored_windows(trial, spec)
        windows = scored.windows(records, spec.samples)
        mine = self.classify(windows).argmax(axis=1) if trial.ends is not None else scored.at(said, spec)
        first_cycle = records[scored.record, : spec.samples]
        merge = spec.equivalent_indices()
        per_record = tables(scored, mine, len(records), spec)
        drawn = resampled_scores(per_record, spec, self.seed)
        low, high = interval(drawn)
        rivals = {
            name: float(macro_f1(tables(scored, rival(windows, first_cycle), len(records), spec).sum(axis=0), merge))
            for name, rival in BASELINES.items()
        }
        happened = events(trial, probabilities, spec)
        found = happened.found > 0
        return ConditionCell(
            condition=condition,
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
            baselines={name: round(score, DIGITS) for name, score in rivals.items()},
            delay_cycles_median=round(happened.delay_cycles_median, DIGITS) if found else None,
            delay_cycles_p95=round(happened.delay_cycles_p95, DIGITS) if found else None,
            flip_rate=round(flip_rate(trial, said, spec), DIGITS),
            false_alarms_per_line_hour=round(happened.false_alarms / happened.line_hours, DIGITS),
            missed=happened.missed if happened.injected else None,
            faults=happened.injected,
        )

    def _probabilities(self, records: NDArray[np.float32]) -> NDArray[np.float32]:
        windows = cut_windows(records, self.spec)
        flat = np.ascontiguousarray(windows).reshape(-1, *self.spec.window_shape)
        return self.classify(flat).reshape(*windows.shape[:2], -1)


def evaluate(
    classifier: Classifier,
    spec: SignalSpec,
    conditions: Sequence[Condition],
    seed: int = SEED,
    episodes: int = EPISODES,
    *,
    model_id: str = "",
    progress: Progress | None = None,
) -> RobustnessResult:
    """Score a classifier under conditions, five severities each.

    Args:
        classifier: probabilities (k, classes) of windows float32 (k, samples, channels).
        spec: the `line` spec or one with its channels, classes and rate.
        conditions: as ``training.evaluation.conditions.chosen`` returns them.
        seed: the same seed gives the same records; results compare on equal seeds only.
        episodes: records per cell; each holds one occurrence, about two thirds of them faults.
        model_id: for the result.
        progress: called with the name of a condition and its level before each cell; level 0 is the clean one.

    Raises:
        TrainingError: no conditions, too few episodes, or a spec whose windows cannot be simulated.
    """
    check_spec(spec)
    if not conditions or episodes < 2:
        raise TrainingError("robustness needs at least one condition and two episodes")
    run = _Run(classifier, spec, seed)
    tell = progress or (lambda name, level: None)
    tell(CLEAN, 0)
    records = resimulated(episodes, seed)
    clean = run.cell(Trial(records), CLEAN, "", 0, "as trained")
    cells = []
    for condition in conditions:
        for level in range(1, LEVELS + 1):
            tell(condition.name, level)
            trial = condition.trial(records, level, seed)
            cells.append(run.cell(trial, condition.name, condition.unit, level, condition.value(level)))
    return RobustnessResult(
        model_id=model_id,
        spec=spec.name,
        seed=seed,
        cells=tuple(cells),
        clean=clean,
        mean_corruption_error={name: mean_corruption_error(cells, name) for name in BASELINES},
        worst=min(cells, key=lambda cell: cell.merged_macro_f1),
    )


def mean_corruption_error(cells: Sequence[ConditionCell], baseline: str) -> float:
    """Return the mean corruption error against a baseline, in per cent: below 100 the model errs less."""
    mine: dict[str, float] = {}
    theirs: dict[str, float] = {}
    for cell in cells:
        mine[cell.condition] = mine.get(cell.condition, 0.0) + 1 - cell.merged_macro_f1
        theirs[cell.condition] = theirs.get(cell.condition, 0.0) + 1 - cell.baselines[baseline]
    ratios = [mine[name] / max(theirs[name], LEAST_ERROR) for name in mine]
    return round(100 * float(np.mean(ratios)), 2)


def check_spec(spec: SignalSpec) -> None:
    """Raise TrainingError where the simulator's records cannot be cut into windows of ``spec``."""
    wanted = ("ia", "ib", "ic", "va", "vb", "vc")
    if spec.channels != wanted or spec.class_names != CLASSES or spec.period_samples != SAMPLES_PER_CYCLE:
        raise TrainingError(
            f"conditions are simulated for windows like those of spec 'line', which {spec.name!r} has not:"
            f" channels {' '.join(wanted)}, {SAMPLES_PER_CYCLE} samples a cycle, twelve classes"
        )
    if spec.samples > SAMPLES_PER_CYCLE:
        raise TrainingError(f"spec {spec.name!r}: windows longer than the first cycle, which is before any fault")
