"""How good a classifier of windows is: per window, and per event after m-of-n confirmation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from model.spec import SignalSpec

Indices = NDArray[np.integer]


def confusion(truth: Indices, said: Indices, classes: int) -> NDArray[np.int64]:
    """Return how often truth (row) was called what (column), int64 (classes, classes)."""
    cells = np.asarray(truth).astype(np.int64) * classes + np.asarray(said)
    return np.bincount(cells, minlength=classes * classes).reshape(classes, classes)


def macro_f1(truth: Indices, said: Indices, classes: int) -> float:
    """Return the mean F1 score of the classes that occur in ``truth``.

    A class that is only said lowers the scores of those it is said of; it has no score of its own, else one stray
    window would halve the score of rows with a single class.
    """
    table = confusion(truth, said, classes)
    hits, total = np.diag(table), table.sum(axis=0) + table.sum(axis=1)
    present = table.sum(axis=1) > 0
    return float((2 * hits[present] / total[present]).mean()) if present.any() else 0.0


def window_scores(truth: Indices, said: Indices, spec: SignalSpec) -> dict[str, float]:
    """Return accuracy, macro-F1 and both again with the ungrounded and grounded three-phase faults as one."""
    merged = np.array(spec.merged_three_phase())
    classes = len(spec.classes)
    return {
        "accuracy": float((truth == said).mean()),
        "macro_f1": macro_f1(truth, said, classes),
        "merged_accuracy": float((merged[truth] == merged[said]).mean()),
        "merged_macro_f1": macro_f1(merged[truth], merged[said], classes),
    }


@dataclass(frozen=True)
class Injected:
    """A fault that was there: record, first and last+1 sample, class index of each of its stages."""

    record: int
    start: int
    stop: int
    classes: tuple[int, ...]


@dataclass(frozen=True)
class Detected:
    """A confirmed episode: record, sample at which it was confirmed, the class then and the class at its end."""

    record: int
    sample: int
    onset_class: int
    last_class: int


@dataclass(frozen=True)
class EventScore:
    """Counts over records. ``wrong``: found, but called another class in the end; ``onset_correct``: also called
    right from the first; ``delay_cycles_p95``: inception to confirmation."""

    injected: int
    found: int
    correct: int
    onset_correct: int
    wrong: int
    missed: int
    false_alarms: int
    repeated: int
    line_hours: float
    delay_cycles_median: float
    delay_cycles_p95: float

    def as_metrics(self) -> dict[str, float]:
        """Return the counts and the false alarms per line-hour, rounded for a manifest."""
        values = {key: round(float(value), 4) for key, value in asdict(self).items()}
        rate = self.false_alarms / self.line_hours if self.line_hours else 0.0
        return {**values, "false_alarms_per_line_hour": round(rate, 4)}


def injected_faults(labels: NDArray[np.int8], none_index: int = 0) -> list[Injected]:
    """Return the faults in labels (n, t): runs of faulty samples, a change of class being a stage of one fault."""
    found = []
    for record, row in enumerate(labels):
        faulty = np.concatenate([[False], row != none_index, [False]])
        edges = np.flatnonzero(faulty[1:] != faulty[:-1])
        for start, stop in zip(edges[::2], edges[1::2], strict=True):
            run = row[start:stop]
            stages = run[np.concatenate([[True], run[1:] != run[:-1]])]
            found.append(Injected(record, int(start), int(stop), tuple(int(c) for c in stages)))
    return found


def detected_episodes(probabilities: NDArray[np.floating], spec: SignalSpec) -> list[Detected]:
    """Return the episodes that plain m-of-n confirmation makes of (records, windows, classes) probabilities.

    An episode opens when ``confirm`` of the last ``of`` windows are faulty with the policy's ``certainty``, with the
    most probable fault of their mean; takes another class when that was said ``confirm`` times in a row; ends after
    ``clear`` quiet windows.
    """
    policy, none, merged = spec.episode, spec.none_index, np.array(spec.merged_three_phase())
    said = probabilities.argmax(axis=2)
    probabilities = probabilities.astype(np.float64)  # as the worker's mean is, so that near ties fall the same way
    found = []
    for record, row in enumerate(said):
        faulty = row != none
        sure = faulty & (1.0 - probabilities[record, :, none] >= policy.certainty)
        now: Detected | None = None
        quiet = rivals = 0
        rival = none
        for k in np.flatnonzero(np.convolve(faulty, np.ones(policy.clear + policy.of))[: len(row)] > 0):
            if now is None:
                recent = np.arange(max(0, int(k) - policy.of + 1), int(k) + 1)
                recent = recent[sure[recent]]
                if len(recent) >= policy.confirm:
                    mean = probabilities[record, recent].mean(axis=0)
                    mean[none] = -1.0
                    opened = int(mean.argmax())
                    now = Detected(record, int(k * spec.hop + spec.samples), opened, opened)
                    quiet = rivals = 0
                continue
            quiet = 0 if faulty[k] else quiet + 1
            if not faulty[k] or merged[row[k]] == merged[now.last_class]:
                rivals = 0
            else:
                rivals = rivals + 1 if merged[row[k]] == merged[rival] else 1
                rival = int(row[k])
                if rivals >= policy.confirm:
                    now, rivals = Detected(record, now.sample, now.onset_class, rival), 0
            if quiet >= policy.clear:
                found.append(now)
                now = None
        if now is not None:
            found.append(now)
    return found


def score_events(
    injected: Sequence[Injected], detected: Sequence[Detected], spec: SignalSpec, samples: int, rate_hz: float
) -> EventScore:
    """Match episodes to faults.

    Args:
        injected: what was there.
        detected: what was found.
        spec: for the tolerance, one window after a fault's end, and the merged classes.
        samples: length of all records together, in samples.
        rate_hz: samples per second.

    A fault is correct when an episode opened while it lasted and ended with the class of its last stage (the
    three-phase classes being one), and correct at onset when it also opened with the class of a stage. An episode
    that belongs to no fault is a false alarm; a further one of the same fault is repeated.
    """
    merged = np.array(spec.merged_three_phase())
    left = list(detected)
    correct = onset_correct = wrong = missed = repeated = 0
    delays = []
    for fault in injected:
        reach = fault.stop + spec.samples
        mine = [d for d in left if d.record == fault.record and fault.start < d.sample <= reach]
        left = [d for d in left if d not in mine]
        if not mine:
            missed += 1
            continue
        repeated += len(mine) - 1
        delays.append((mine[0].sample - fault.start) / spec.samples_per_cycle)
        stages = merged[list(fault.classes)]
        right = merged[mine[-1].last_class] == stages[-1]
        onset_correct += bool(right and merged[mine[0].onset_class] in stages)
        correct, wrong = correct + bool(right), wrong + (not right)
    return EventScore(
        injected=len(injected),
        found=len(injected) - missed,
        correct=correct,
        onset_correct=onset_correct,
        wrong=wrong,
        missed=missed,
        false_alarms=len(left),
        repeated=repeated,
        line_hours=samples / rate_hz / 3600,
        delay_cycles_median=float(np.median(delays)) if delays else 0.0,
        delay_cycles_p95=float(np.percentile(delays, 95)) if delays else 0.0,
    )
