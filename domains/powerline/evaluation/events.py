"""Score a classifier of power lines on unseen scenarios, per window and per event."""

from __future__ import annotations

from collections import Counter
from typing import Any

from domains.powerline.data.scenario import scenario
from domains.powerline.evaluation.fold_results import Disturbances, Faults
from model.spec import SignalSpec
from stream.detection.scoring import detect_episodes, score_events
from stream.detection.truth import injected_faults
from training.data.classifier import Classifier
from training.data.windows import label_windows
from training.evaluation.classifier import classify_record
from training.metrics import window_scores
from training.report.records import event_at

TEST_SECONDS = 64.0
DISTURBANCES_PER_HOUR = 60
SETTLING_S = 0.5  # seconds after a disturbance in which a false alarm still counts as caused by it
LINES_AT_ONCE = 10  # lines simulated at a time, so that memory never holds all records


def evaluate_line(classify: Classifier, spec: SignalSpec, seed: int, lines: int) -> dict[str, Any]:
    """Score a classifier on a mixed scenario and on one of non-faults only, both of ``lines`` lines.

    Args:
        classify: see ``training.data.classifier.Classifier``.
        spec: spec of the windows.
        seed: seed of the two scenarios.
        lines: number of lines in each scenario; every line is recorded for 64 s with one event in every 3.2 s.

    Returns:
        Scores of windows that lie fully in one state, scores of events, and false alarms among non-faults.
    """
    mixed = scenario(lines, TEST_SECONDS, seed)
    probabilities = classify_record(classify, mixed.samples, spec)
    labels, weights = label_windows(mixed.labels, mixed.settled, spec)
    whole = weights >= 1.0
    injected = injected_faults(mixed.labels, spec.none_index)
    episodes = detect_episodes(probabilities, mixed.samples, spec)
    events = score_events(injected, episodes, spec, mixed.labels.size / mixed.rate_hz / 3600)
    per_window = window_scores(labels[whole], probabilities.argmax(axis=2)[whole], spec)
    return {
        "windows_fully_after_inception": {name: round(value, 4) for name, value in per_window.items()},
        "events": events.as_metrics(),
        "non_faults": evaluate_silence(classify, spec, seed + 1, lines),
    }


def evaluate_silence(classify: Classifier, spec: SignalSpec, seed: int, lines: int) -> dict[str, Any]:
    """Count the false alarms in a scenario without faults, in total and by kind of event."""
    quiet = scenario(lines, TEST_SECONDS, seed, fault_share=0.0)
    probabilities = classify_record(classify, quiet.samples, spec)
    found = detect_episodes(probabilities, quiet.samples, spec)
    by_kind: dict[str, int] = {}
    for episode in found:
        event = event_at(quiet.events, episode.line, episode.at)
        kind = "quiet" if event is None else event.kind
        by_kind[kind] = by_kind.get(kind, 0) + 1
    faulty = probabilities.argmax(axis=2) != spec.none_index
    return {
        "disturbances": len(quiet.events),
        "line_hours": round(quiet.labels.size / quiet.rate_hz / 3600, 4),
        "false_alarms": len(found),
        "by_kind": by_kind,
        "faulty_windows": int(faulty.sum()),
        "windows": int(faulty.size),
    }


def score_faults(classify: Classifier, spec: SignalSpec, seed: int, lines: int) -> Faults:
    """Count found, missed and misclassified faults on ``lines`` new lines, 64 s each with one event in every 3.2 s."""
    record = scenario(lines, TEST_SECONDS, seed)
    episodes = detect_episodes(classify_record(classify, record.samples, spec), record.samples, spec)
    injected = injected_faults(record.labels, spec.none_index)
    score = score_events(injected, episodes, spec, record.labels.size / record.rate_hz / 3600)
    return Faults(
        injected=score.injected,
        missed=score.missed,
        wrong=score.wrong,
        delay_cycles_median=round(score.delay_cycles_median, 4) if score.found else None,
        delay_cycles_p95=round(score.delay_cycles_p95, 4) if score.found else None,
    )


def score_disturbances(classify: Classifier, spec: SignalSpec, seed: int, lines: int) -> Disturbances:
    """Count the false alarms on ``lines`` new lines with a disturbance in every 3.2 s and no fault.

    Each disturbance stands for one minute. The simulated quiet time is a sample of the quiet rest of these minutes, so
    the rate of alarms in it is scaled up to the quiet time of an hour.
    """
    dealt: Counter[str] = Counter()
    alarms: Counter[str] = Counter()
    recorded_s = disturbed_s = 0.0
    for number, first in enumerate(range(0, lines, LINES_AT_ONCE)):
        record = scenario(min(LINES_AT_ONCE, lines - first), TEST_SECONDS, seed + 10 * number, fault_share=0.0)
        settling = SETTLING_S * record.rate_hz
        dealt.update(event.kind for event in record.events)
        recorded_s += record.labels.size / record.rate_hz
        disturbed_s += sum(event.stop + settling - event.start for event in record.events) / record.rate_hz
        probabilities = classify_record(classify, record.samples, spec)
        for found in detect_episodes(probabilities, record.samples, spec):
            during = [
                event.kind
                for event in record.events
                if event.line == found.line and event.start <= found.at <= event.stop + settling
            ]
            alarms[during[-1] if during else "quiet"] += 1
    hours = dealt.total() / DISTURBANCES_PER_HOUR
    quiet_s = recorded_s - disturbed_s
    quiet_per_hour = alarms["quiet"] / quiet_s * (3600 - disturbed_s / hours)
    return Disturbances(
        dealt=dict(sorted(dealt.items())),
        line_hours=round(hours, 4),
        quiet_hours=round(quiet_s / 3600, 4),
        alarms={kind: count for kind, count in sorted(alarms.items()) if count},
        alarms_per_line_hour=round((alarms.total() - alarms["quiet"]) / hours + quiet_per_hour, 4),
    )
