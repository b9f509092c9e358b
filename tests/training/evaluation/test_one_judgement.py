"""What training scores is what the worker does: the same episodes of the same probabilities, the same refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from model.rejection import Rejection
from model.spec import load_spec
from stream.detection.classify import classify_windows
from stream.detection.episodes import EpisodeTracker
from tests.stream.doubles import line_windows
from training.evaluation.evaluation import with_rejection
from training.metrics import detected_episodes

SPEC = load_spec("line")
MERGED = SPEC.merged_three_phase()


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), faulty=st.floats(0.05, 0.95), sure=st.floats(0.5, 30))
def test_episodes_that_are_scored_are_those_that_the_worker_confirms(seed: int, faulty: float, sure: float) -> None:
    rng = np.random.default_rng(seed)
    count, classes = 60, len(SPEC.classes)
    # Runs of a class, as faults are, with windows of another class thrown in.
    runs = np.repeat(np.where(rng.random(12) < faulty, rng.integers(0, classes, 12), SPEC.none_index), 5)
    shown = np.where(rng.random(count) < 0.15, rng.integers(0, classes, count), runs)
    logits = rng.normal(size=(count, classes))
    logits[np.arange(count), shown] += sure
    probabilities = (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)).astype(np.float32)

    said = probabilities.argmax(axis=1)
    windows = np.zeros((count, *SPEC.window_shape), np.float32)
    entry = line_windows(count, sequence=0, spec=SPEC)
    steps = EpisodeTracker(SPEC).judge(None, entry, windows, said, probabilities).steps
    onsets = [step for step in steps if step.state == "onset"]
    found = detected_episodes(probabilities[None], SPEC)

    windows_of = [(episode.sample - SPEC.samples) // SPEC.hop for episode in found]
    assert windows_of == [step.sequence for step in onsets]
    assert [episode.onset_class for episode in found] == [step.fault_class for step in onsets]
    last = {step.episode_id: step.fault_class for step in steps}
    assert [MERGED[episode.last_class] for episode in found] == [MERGED[held] for held in last.values()]


class Bounded:
    """A classifier that finds AG everywhere, with bounds."""

    bounds = Rejection.for_spec(SPEC, most_current=10, most_voltage=10, least_change=0, most_roughness=None)

    def classify(self, windows: np.ndarray) -> np.ndarray:
        return np.tile(np.eye(len(SPEC.classes), dtype=np.float32)[SPEC.class_index("AG")], (len(windows), 1))

    def is_ood(self, windows: np.ndarray) -> np.ndarray:
        return self.bounds.is_ood(windows)

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} is not asked for")


def test_windows_unlike_training_are_answered_as_the_worker_answers_them() -> None:
    windows = np.stack([np.full(SPEC.window_shape, level, np.float32) for level in (1, 100, 2)])
    classifier = Bounded()
    theirs, counts = classify_windows(classifier, windows, SPEC.none_index)
    np.testing.assert_array_equal(with_rejection(classifier.classify, classifier.bounds, SPEC)(windows), theirs)
    assert counts["unknown"] == 1
