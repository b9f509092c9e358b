"""Rejection: out-of-distribution windows and non-finite answers count as no fault, with and without an engine."""

from __future__ import annotations

import numpy as np

from domains.powerline.rejection import PowerLineRejection
from model.spec import load_spec
from stream.detection.classify import Classify, classify_windows, is_rejected, reject, with_rejection

SPEC = load_spec("line")
AG = SPEC.class_index("AG")


class Bounded:
    """Classifier with bounds that predicts AG for every window; a window that begins with 3 overflows."""

    model_id = "bounded"
    bounds = PowerLineRejection.for_spec(SPEC, most_current=10, most_voltage=10, least_change=0, most_roughness=None)

    def classify(self, windows: np.ndarray) -> np.ndarray:
        rows = np.tile(np.eye(len(SPEC.classes), dtype=np.float32)[AG], (len(windows), 1))
        rows[windows[:, 0, 0] == 3] = np.nan
        return rows

    memory_units = 0

    def follow(self, windows: np.ndarray, line: np.ndarray, memory: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.classify(windows), memory

    def is_ood(self, windows: np.ndarray) -> np.ndarray:
        return self.bounds.is_ood(windows)


def of_lines(classifier: Bounded) -> Classify:
    def classify(windows: np.ndarray) -> np.ndarray:
        return classifier.classify(windows.reshape(-1, *SPEC.window_shape)).reshape(
            *windows.shape[:2], len(SPEC.classes)
        )

    return classify


WINDOWS = np.stack([np.full(SPEC.window_shape, level, np.float32) for level in (1, 100, 2, 3)])


def test_out_of_distribution_windows_and_answers_that_are_not_finite_are_certainly_no_fault() -> None:
    probabilities, counts = classify_windows(Bounded(), WINDOWS, SPEC.none_index)
    assert probabilities.argmax(axis=1).tolist() == [AG, SPEC.none_index, AG, SPEC.none_index]
    assert probabilities[[1, 3], SPEC.none_index].tolist() == [1, 1]
    assert dict(counts) == {"unknown": 1, "unanswered": 1}


def test_rejected_rows_are_recognised_even_beside_certain_ones() -> None:
    sure = np.full((1, len(SPEC.classes)), 1e-11, np.float32)
    sure[0, SPEC.none_index] = 1
    answers, _ = reject(np.repeat(sure, 3, axis=0), np.array([False, True, False]), SPEC.none_index)
    assert is_rejected(answers).tolist() == [False, True, False]


def test_a_network_without_an_engine_is_answered_for_as_a_worker_answers() -> None:
    classifier = Bounded()
    expected, _ = classify_windows(classifier, WINDOWS, SPEC.none_index)
    answer = with_rejection(of_lines(classifier), classifier.bounds, SPEC)
    np.testing.assert_array_equal(answer(WINDOWS[:, None])[:, 0], expected)
    np.testing.assert_array_equal(answer(WINDOWS[None])[0], expected)
    np.testing.assert_array_equal(answer(WINDOWS[:0, None])[:, 0], expected[:0])


def test_without_bounds_every_window_is_answered() -> None:
    answer = with_rejection(of_lines(Bounded()), None, SPEC)
    assert answer(WINDOWS[None])[0].argmax(axis=1).tolist() == [AG, AG, AG, SPEC.none_index]
