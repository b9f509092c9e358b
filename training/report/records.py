"""Classify scenarios with a model. Evaluations score the result, and the report's failures come from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.spec import SignalSpec
from stream.detection.scoring import Episode, detect_episodes
from training.data.classifier import Classifier
from training.data.episodes import Event, Scenario
from training.data.windows import label_windows
from training.evaluation.classifier import classify_record

__all__ = ["ClassifiedScenario", "classified", "event_at"]


@dataclass(frozen=True)
class ClassifiedScenario:
    """A scenario with a model's predictions.

    Attributes:
        scenario: the scenario.
        probabilities: float32 (lines, windows, classes).
        found: the confirmed episodes.
        labels: int32 (lines, windows), the true classes.
        whole: bool (lines, windows), true for a window that lies fully in one state.
    """

    scenario: Scenario
    probabilities: NDArray[np.float32]
    found: tuple[Episode, ...]
    labels: NDArray[np.int32]
    whole: NDArray[np.bool_]


def classified(scenario: Scenario, classify: Classifier, spec: SignalSpec) -> ClassifiedScenario:
    """Classify every window of a scenario and detect its episodes."""
    probabilities = classify_record(classify, scenario.samples, spec)
    labels, weights = label_windows(scenario.labels, scenario.settled, spec)
    found = tuple(detect_episodes(probabilities, scenario.samples, spec))
    return ClassifiedScenario(scenario, probabilities, found, labels, weights >= 1.0)


def event_at(events: Sequence[Event], line: str | int, sample: int) -> Event | None:
    """Return the latest event of a line that began before or at a sample; None if there is none."""
    begun = [event for event in events if event.line == line and event.start <= sample]
    return max(begun, key=lambda event: event.start) if begun else None
