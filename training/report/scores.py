"""Compute scores, confusion, calibration and the difference of two models from predictions, with intervals."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model.spec import SignalSpec
from training.evaluation.evaluation import Predictions
from training.fitting.calibration import brier_score, expected_calibration_error, merge_equivalent, reliability
from training.metrics import confusion, window_scores
from training.report.data import (
    Calibration,
    CalibrationBin,
    ChampionComparison,
    Classification,
    ClassRow,
    Difference,
    Scores,
)

RESAMPLES = 1000  # 25 resamples then lie beyond each end of a 95 % interval, which makes the ends stable to one digit
BOOTSTRAP_SEED = 20_25


def classify_scores(predictions: Predictions, spec: SignalSpec) -> Classification:
    """Return the scores, the table by class and the confusion matrix."""
    classes = len(spec.classes)
    table = confusion(predictions.labels, predictions.y_pred, classes)
    scores = window_scores(predictions.labels, predictions.y_pred, spec)
    tables = _tables(predictions, spec)
    low, high = np.percentile(_merged_f1(_resampled(tables)), [2.5, 97.5])
    return Classification(
        source=predictions.source,
        scores=Scores(
            windows=len(predictions.labels),
            episodes=len(tables),
            merged_low=round(float(low), 4),
            merged_high=round(float(high), 4),
            **{name: round(value, 4) for name, value in scores.items()},
        ),
        classes=tuple(_row(name, k, table) for k, name in enumerate(spec.class_names)),
        confusion=tuple(tuple(int(count) for count in row) for row in table),
    )


def _row(name: str, k: int, table: NDArray[np.int64]) -> ClassRow:
    hits, actual, predicted = int(table[k, k]), int(table[k].sum()), int(table[:, k].sum())
    return ClassRow(
        name=name,
        windows=actual,
        precision=round(hits / predicted, 4) if predicted else 0.0,
        recall=round(hits / actual, 4) if actual else 0.0,
        f1=round(2 * hits / (actual + predicted), 4) if actual + predicted else 0.0,
    )


def _tables(predictions: Predictions, spec: SignalSpec) -> NDArray[np.float64]:
    """Return the confusion matrix of the merged classes of every episode, (episodes, classes, classes)."""
    classes, merged = len(spec.classes), np.array(spec.equivalent_indices())
    _, number = np.unique(predictions.episode, return_inverse=True)
    cells = (number * classes + merged[predictions.labels]) * classes + merged[predictions.y_pred]
    count = int(number.max()) + 1
    return np.bincount(cells, minlength=count * classes**2).reshape(count, classes, classes).astype(float)


def _resampled(tables: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the summed tables (resamples, classes, classes) of bootstrap samples, which are always the same."""
    count = len(tables)
    drawn = np.random.default_rng(BOOTSTRAP_SEED).multinomial(count, np.full(count, 1 / count), RESAMPLES)
    summed: NDArray[np.float64] = (drawn @ tables.reshape(count, -1)).reshape(RESAMPLES, *tables.shape[1:])
    return summed


def _merged_f1(tables: NDArray[np.float64]) -> NDArray[np.float64]:
    hits = np.einsum("bkk->bk", tables)
    total = tables.sum(axis=1) + tables.sum(axis=2)
    present = total > 0
    f1 = np.divide(2 * hits, total, out=np.zeros_like(hits), where=present)
    scores: NDArray[np.float64] = f1.sum(axis=1) / np.maximum(present.sum(axis=1), 1)
    return scores


def merged_macro_f1(predictions: Predictions, spec: SignalSpec) -> float:
    """Return the macro-F1 with equivalent classes counted as one."""
    return float(_merged_f1(_tables(predictions, spec).sum(axis=0)[None])[0])


def calibrate_scores(predictions: Predictions, spec: SignalSpec, temperature: float) -> Calibration:
    """Return calibration error and Brier score of the merged classes, with the temperature and without."""
    # The softmax of logits/T, raised to the power of T, is the softmax of the logits up to a factor.
    raw = predictions.probabilities.astype(np.float64) ** temperature
    raw /= raw.sum(axis=1, keepdims=True)
    after = merge_equivalent(predictions.probabilities, predictions.labels, spec)
    before = merge_equivalent(raw, predictions.labels, spec)
    return Calibration(
        temperature=round(temperature, 4),
        ece=round(expected_calibration_error(*after), 5),
        ece_before=round(expected_calibration_error(*before), 5),
        brier=round(brier_score(*after), 5),
        brier_before=round(brier_score(*before), 5),
        bins=tuple(
            CalibrationBin(
                low=round(part.low, 4),
                high=round(part.high, 4),
                windows=part.windows,
                confidence=round(part.confidence, 4),
                accuracy=round(part.accuracy, 4),
            )
            for part in reliability(*after)
        ),
    )


def compare(candidate: Predictions, champion: Predictions, champion_id: str, spec: SignalSpec) -> ChampionComparison:
    """Return the differences of two models' scores on the same windows, with 95 % intervals of the merged scores.

    The bootstrap is paired: both models are scored on the same resampled episodes.
    """
    own, other = _tables(candidate, spec), _tables(champion, spec)
    own_draws, other_draws = _resampled(own), _resampled(other)
    rows = [
        _difference(
            "merged macro-F1",
            float(_merged_f1(own.sum(axis=0)[None])[0]),
            float(_merged_f1(other.sum(axis=0)[None])[0]),
            _merged_f1(own_draws) - _merged_f1(other_draws),
        ),
        _difference(
            "merged accuracy",
            _accuracy(own.sum(axis=0)[None])[0],
            _accuracy(other.sum(axis=0)[None])[0],
            _accuracy(own_draws) - _accuracy(other_draws),
        ),
    ]
    own_scores = window_scores(candidate.labels, candidate.y_pred, spec)
    other_scores = window_scores(champion.labels, champion.y_pred, spec)
    rows += [
        _difference(name.replace("_f1", "-F1").replace("_", " "), own_scores[name], other_scores[name])
        for name in ("macro_f1", "accuracy")
    ]
    return ChampionComparison(
        model_id=champion_id,
        resamples=RESAMPLES,
        episodes=len(own),
        disagreeing_windows=int((candidate.y_pred != champion.y_pred).sum()),
        windows=len(candidate.labels),
        rows=tuple(rows),
    )


def _accuracy(tables: NDArray[np.float64]) -> NDArray[np.float64]:
    scores: NDArray[np.float64] = np.einsum("bkk->b", tables) / np.maximum(tables.sum(axis=(1, 2)), 1)
    return scores


def _difference(score: str, candidate: float, champion: float, drawn: NDArray[np.float64] | None = None) -> Difference:
    low, high = (None, None) if drawn is None else np.percentile(drawn, [2.5, 97.5])
    return Difference(
        score=score,
        candidate=round(float(candidate), 4),
        champion=round(float(champion), 4),
        difference=round(float(candidate) - float(champion), 4),
        low=None if low is None else round(float(low), 4),
        high=None if high is None else round(float(high), 4),
    )
