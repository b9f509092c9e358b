"""Calibration compared with the known values of drawn probabilities, and with scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import brier_score_loss

from model.spec import load_spec
from training.errors import TrainingError
from training.fitting.calibration import (
    CalibrationScores,
    brier_score,
    calibrate,
    expected_calibration_error,
    merge_equivalent,
    prior_offset,
    reliability,
)
from training.fitting.fit import fit_temperature

SPEC = load_spec("line")


def drawn(n: int, sharpness: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return logits ``sharpness`` times too large, and labels drawn from the correct probabilities."""
    rng = np.random.default_rng(seed)
    true = 2.0 * rng.standard_normal((n, len(SPEC.classes)))
    labels = (rng.random((n, 1)) > softmax(true, axis=1).cumsum(axis=1)).sum(axis=1)
    return (sharpness * true).astype(np.float32), labels.clip(0, len(SPEC.classes) - 1)


def test_probabilities_that_labels_are_drawn_from_are_calibrated_and_sharper_ones_are_not() -> None:
    logits, labels = drawn(40_000, 1.0)
    assert expected_calibration_error(softmax(logits, axis=1), labels) < 0.01
    assert expected_calibration_error(softmax(3 * logits, axis=1), labels) > 0.15


def test_the_calibration_error_of_a_hand_made_case() -> None:
    # Two windows at 0.9, one of them correct: 0.4 apart; two at 0.6, both correct: 0.4 apart.
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.4, 0.6]])
    labels = np.array([0, 1, 0, 1])
    assert expected_calibration_error(probabilities, labels) == pytest.approx(0.4)
    parts = reliability(probabilities, labels)
    assert [part.windows for part in parts] == [2, 2]
    assert parts[1].low < 0.9 <= parts[1].high


def test_a_window_that_is_certain_lies_in_the_last_bin() -> None:
    (part,) = reliability(np.array([[1.0, 0.0]]), np.array([0]))
    assert (part.high, part.confidence, part.accuracy) == (1.0, 1.0, 1.0)


def test_the_brier_score_is_scikit_learns() -> None:
    logits, labels = drawn(2_000, 1.4)
    probabilities = softmax(logits.astype(float), axis=1)
    expected = brier_score_loss(labels, probabilities, labels=np.arange(len(SPEC.classes)), scale_by_half=False)
    assert brier_score(probabilities, labels) == pytest.approx(expected)


class Said(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A fitted classifier of scikit-learn whose logits are its inputs."""

    def fit(self, x: np.ndarray, y: np.ndarray) -> Said:
        self.classes_ = np.unique(y)
        return self

    def decision_function(self, x: np.ndarray) -> np.ndarray:
        return x

    def predict(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(self.classes_[x.argmax(axis=1)])


def test_the_temperature_is_scikit_learns() -> None:
    logits, labels = drawn(4_000, 2.5)
    said = FrozenEstimator(Said().fit(logits, labels))
    reference = CalibratedClassifierCV(said, method="temperature", ensemble=False).fit(logits, labels)
    temperature = fit_temperature(logits, labels.astype(np.int32))
    np.testing.assert_allclose(softmax(logits / temperature, axis=1), reference.predict_proba(logits), atol=2e-3)


def test_merging_adds_the_three_phase_classes_and_keeps_the_sum() -> None:
    logits, labels = drawn(50, 1.0)
    probabilities = softmax(logits, axis=1)
    merged, truth = merge_equivalent(probabilities, labels, SPEC)
    np.testing.assert_allclose(merged.sum(axis=1), 1, rtol=1e-5)
    abc, abcg = SPEC.class_index("ABC"), SPEC.class_index("ABCG")
    np.testing.assert_allclose(merged[:, abc] + merged[:, abcg], probabilities[:, abc] + probabilities[:, abcg])
    assert not {abc, abcg} <= set(truth)


def test_doubt_between_the_three_phase_classes_counts_only_unmerged() -> None:
    abc, abcg = SPEC.class_index("ABC"), SPEC.class_index("ABCG")
    probabilities = np.zeros((10, len(SPEC.classes)))
    probabilities[:, [abc, abcg]] = 0.7, 0.3
    scores = CalibrationScores.of(probabilities, np.full(10, abcg), SPEC)
    assert scores.ece == pytest.approx(0.7)
    assert scores.merged_ece == pytest.approx(0.0, abs=1e-9)
    assert scores.merged_brier == pytest.approx(0.0, abs=1e-9)


def test_the_temperature_of_one_part_calibrates_another() -> None:
    result = calibrate(*drawn(5_000, 2.5, seed=1), *drawn(20_000, 2.5, seed=2), SPEC)
    assert result.temperature == pytest.approx(2.5, rel=0.05)
    assert result.after.ece < 0.015 < 0.1 < result.before.ece
    assert result.after.brier < result.before.brier
    assert result.after.merged_ece < result.before.merged_ece
    assert result.as_metrics()["merged_ece_before"] == round(result.before.merged_ece, 5)


def test_calibration_without_windows_is_refused() -> None:
    logits, labels = drawn(10, 1.0)
    with pytest.raises(TrainingError, match="more episodes"):
        calibrate(logits, labels, logits[:0], labels[:0], SPEC)


def test_a_class_that_training_saw_too_often_is_expected_as_often_as_it_occurs() -> None:
    rng = np.random.default_rng(4)
    labels = (rng.random(20_000) < 0.02).astype(np.int32)  # one in fifty
    evidence = np.where(labels == 1, 1.5, -1.5) + rng.normal(0, 1.5, len(labels))
    balanced = np.stack([np.zeros(len(labels)), evidence * 2 / 1.5], axis=1).astype(np.float32)
    offset = prior_offset(balanced, labels, none_index=0)
    assert offset == pytest.approx(np.log(49), abs=0.4)
