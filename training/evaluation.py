"""Judges a `line` classifier on scenarios that it has never seen: per window, and per event."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.spec import SignalSpec
from training.line_data import Classifier
from training.scenario import Scenario, scenario
from training.scores import detected_episodes, injected_faults, score_events, window_scores
from training.windows import cut, judge

TEST_SECONDS = 64.0


def evaluate_line(classify: Classifier, spec: SignalSpec, seed: int, lines: int) -> dict[str, Any]:
    """Score a classifier on a mixed scenario and on one of non-faults only, both of ``lines`` lines.

    Args:
        classify: probabilities (n, classes) of windows (n, samples, channels).
        spec: of the windows.
        seed: of the two scenarios.
        lines: in each; every line is recorded for 64 s with an occurrence in every 3.2 s.

    Returns:
        Scores of windows lying fully in one state, of events, and the false alarms among non-faults.
    """
    mixed = scenario(lines, TEST_SECONDS, seed)
    probabilities = classify_record(classify, mixed.samples, spec)
    labels, weights = judge(mixed.labels, mixed.settled, spec)
    whole = weights >= 1.0
    injected = injected_faults(mixed.labels, spec.none_index)
    events = score_events(injected, detected_episodes(probabilities, spec), spec, mixed.labels.size, mixed.rate_hz)
    per_window = window_scores(labels[whole], probabilities.argmax(axis=2)[whole], spec)
    return {
        "windows_fully_after_inception": {name: round(value, 4) for name, value in per_window.items()},
        "events": events.as_metrics(),
        "non_faults": evaluate_silence(classify, spec, seed + 1, lines),
    }


def evaluate_silence(classify: Classifier, spec: SignalSpec, seed: int, lines: int) -> dict[str, Any]:
    """Count the false alarms, in all and by kind, that a scenario without any fault causes."""
    quiet = scenario(lines, TEST_SECONDS, seed, fault_share=0.0)
    probabilities = classify_record(classify, quiet.samples, spec)
    found = detected_episodes(probabilities, spec)
    by_kind: dict[str, int] = {}
    for episode in found:
        kind = _kind_at(quiet, episode.record, episode.sample)
        by_kind[kind] = by_kind.get(kind, 0) + 1
    said = probabilities.argmax(axis=2) != spec.none_index
    return {
        "disturbances": len(quiet.events),
        "line_hours": round(quiet.labels.size / quiet.rate_hz / 3600, 4),
        "false_alarms": len(found),
        "by_kind": by_kind,
        "faulty_windows": int(said.sum()),
        "windows": int(said.size),
    }


def classify_record(classify: Classifier, samples: NDArray[np.float32], spec: SignalSpec) -> NDArray[np.float32]:
    """Return the probabilities (records, windows, classes) of all windows of records (n, t, channels)."""
    return np.stack([classify(np.ascontiguousarray(cut(record[None], spec)[0])) for record in samples])


def _kind_at(record: Scenario, line: int, sample: int) -> str:
    begun = [event for event in record.events if event.line == line and event.start <= sample]
    return max(begun, key=lambda event: event.start).kind if begun else "quiet"
