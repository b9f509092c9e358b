"""Compute the scores of a cell from the probabilities under a condition: windows with intervals, and events."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.spec import SignalSpec
from stream.detection.scoring import EventScore, detect_episodes, score_events
from stream.detection.truth import injected_faults
from training.data.windows import label_windows, window_ends
from training.evaluation.conditions.condition import Trial

# Number of events in a line-hour as the gate counts it. Each record here holds one event, and each life several.
OCCURRENCES_PER_HOUR = 60
RESAMPLES = 500
KEPT = 100  # bootstrap samples stored in a cell for paired comparisons: enough for a standard error within 7 %
CONFIDENCE = 95.0

Tables = NDArray[np.float64]


@dataclass(frozen=True)
class Scored:
    """Windows that are scored.

    Attributes:
        record: int (k,), number of the record of each window.
        end: int (k,), position of each window's last sample in its record.
        label: int (k,), class index of each window.
    """

    record: NDArray[np.intp]
    end: NDArray[np.intp]
    label: NDArray[np.intp]

    def windows(self, samples: NDArray[np.float32], length: int) -> NDArray[np.float32]:
        """Return the windows, float32 (k, length, channels), cut from records (n, t, channels)."""
        return np.asarray(samples[self.record[:, None], self.end[:, None] + np.arange(1 - length, 1)])

    def at(self, classes: NDArray[np.intp], spec: SignalSpec) -> NDArray[np.intp]:
        """Return the entries (k,) of ``classes`` (n, windows at the spec's hop) for these windows."""
        return np.asarray(classes[self.record, (self.end - spec.samples + 1) // spec.hop])


def scored_windows(trial: Trial, spec: SignalSpec) -> Scored:
    """Return the windows of a trial that are scored."""
    episodes = trial.episodes
    if trial.ends is not None:
        record = np.repeat(np.arange(len(episodes)), trial.ends.shape[1])
        end = trial.ends.reshape(-1)
        return Scored(record, end, episodes.labels[record, end].astype(np.intp))
    labels, weights = label_windows(episodes.labels, episodes.settled, spec)
    record, k = np.nonzero(weights >= 1.0)
    return Scored(record, window_ends(episodes.samples.shape[1], spec)[k], labels[record, k].astype(np.intp))


def tables(scored: Scored, y_pred: NDArray[np.intp], records: int, spec: SignalSpec) -> Tables:
    """Return the confusion table of every record, float64 (records, classes, classes): true by predicted class."""
    classes = len(spec.classes)
    cells = (scored.record * classes + scored.label) * classes + y_pred
    return np.bincount(cells, minlength=records * classes**2).reshape(records, classes, classes).astype(float)


def macro_f1(table: Tables, merge: tuple[int, ...] | None = None) -> NDArray[np.float64]:
    """Return the macro-F1 scores (…) of confusion tables, as ``training.metrics.macro_f1`` defines them.

    Args:
        table: counts (…, classes, classes) by true and predicted class.
        merge: index under which every class is counted; None counts every class by itself.
    """
    if merge is not None:
        groups = np.equal.outer(np.array(merge), np.arange(len(merge))).astype(float)
        table = groups.T @ table @ groups
    hits = np.diagonal(table, axis1=-2, axis2=-1)
    truth = table.sum(axis=-1)
    total = truth + table.sum(axis=-2)
    f1 = 2 * hits / np.maximum(total, 1)
    present = truth > 0
    return np.asarray((f1 * present).sum(axis=-1) / np.maximum(present.sum(axis=-1), 1))


def resampled_scores(per_record: Tables, spec: SignalSpec, seed: int) -> NDArray[np.float64]:
    """Return the merged macro-F1 of RESAMPLES bootstrap samples of the records.

    Equal seeds draw the same records, so that two models, or two conditions, can be compared sample by sample.
    """
    n, classes = per_record.shape[:2]
    rng = np.random.default_rng(seed)
    often = rng.multinomial(n, np.full(n, 1 / n), RESAMPLES).astype(float)
    resampled = (often @ per_record.reshape(n, -1)).reshape(RESAMPLES, classes, classes)
    return macro_f1(resampled, spec.equivalent_indices())


def interval(scores: NDArray[np.float64]) -> tuple[float, float]:
    """Return the 95 % interval of resampled scores."""
    low, high = np.percentile(scores, [50 - CONFIDENCE / 2, 50 + CONFIDENCE / 2])
    return float(low), float(high)


def flip_rate(trial: Trial, y_pred: NDArray[np.intp], spec: SignalSpec) -> float:
    """Return the share of neighbouring windows with equal labels whose predictions ``y_pred`` (n, windows) differ."""
    labels, weights = label_windows(trial.episodes.labels, trial.episodes.settled, spec)
    merged = np.array(spec.equivalent_indices())
    whole = weights >= 1.0
    alike = whole[:, 1:] & whole[:, :-1] & (labels[:, 1:] == labels[:, :-1])
    differ = merged[y_pred[:, 1:]] != merged[y_pred[:, :-1]]
    return float(differ[alike].mean()) if alike.any() else 0.0


def events(trial: Trial, probabilities: NDArray[np.float32], spec: SignalSpec, *, lives: bool = False) -> EventScore:
    """Score the episodes that the worker's tracker derives from ``probabilities`` (n, windows, classes).

    Every event counts as one of the sixty events of a line-hour, that is, as one minute of which only the record's
    windows hold an event.

    Args:
        trial: the records.
        probabilities: float32 (n, windows, classes).
        spec: spec of the windows.
        lives: True if records hold several events; otherwise every record counts as one.
    """
    injected = injected_faults(trial.episodes.labels, spec.none_index)
    found = detect_episodes(probabilities, trial.episodes.samples, spec)
    occurrences = sum(max(1, len(happened)) for happened in trial.episodes.events) if lives else len(trial.episodes)
    return score_events(injected, found, spec, occurrences / OCCURRENCES_PER_HOUR)
