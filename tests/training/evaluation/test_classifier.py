"""Records are classified whole, in chunks, and a window that ends anywhere has the context of its record."""

from __future__ import annotations

import numpy as np
import pytest

from model.spec import load_spec
from stream.windowing import cut_windows
from training.data.classifier import classify_single
from training.evaluation import classifier
from training.evaluation.classifier import classify_at_ends, classify_record

SPEC = load_spec("line")
CLASSES = len(SPEC.classes)


def remembering(windows: np.ndarray) -> np.ndarray:
    """Return the sum of the first and of the last samples of all windows so far, and their number."""
    assert windows.ndim == 4
    assert windows.dtype == np.float32
    answers = np.zeros((*windows.shape[:2], CLASSES), np.float32)
    answers[:, :, 0] = windows[:, :, 0, 0].cumsum(axis=1)
    answers[:, :, 1] = windows[:, :, -1, 0].cumsum(axis=1)
    answers[:, :, 2] = np.arange(1, windows.shape[1] + 1)
    return answers


def records(count: int, length: int) -> np.ndarray:
    return np.random.default_rng(2).integers(0, 9, (count, length, 6)).astype(np.float32)


@pytest.mark.parametrize("at_once", [1, 20, 10_000])
def test_the_size_of_a_chunk_changes_no_answer(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = records(5, 100)
    whole = remembering(np.ascontiguousarray(cut_windows(samples, SPEC)))
    sizes: list[int] = []

    def classify(windows: np.ndarray) -> np.ndarray:
        sizes.append(windows.shape[0] * windows.shape[1])
        return remembering(windows)

    monkeypatch.setattr(classifier, "WINDOWS_AT_ONCE", at_once)
    np.testing.assert_array_equal(classify_record(classify, samples, SPEC), whole)
    assert max(sizes) <= max(at_once, whole.shape[1])


def test_no_records_and_records_shorter_than_a_window_have_no_windows() -> None:
    assert classify_record(remembering, records(0, 100), SPEC).shape == (0, 9, CLASSES)
    assert classify_record(remembering, records(3, 31), SPEC).shape == (3, 0, CLASSES)


def test_single_windows_are_lines_of_one_step() -> None:
    answers = classify_single(remembering, records(4, 32))
    assert answers[:, 2].tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize("at_once", [7, 10_000])
def test_a_window_that_ends_anywhere_has_the_context_of_its_record(
    at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = records(3, 100)
    record, end = np.array([0, 1, 2, 2, 0]), np.array([31, 99, 45, 40, 71])
    monkeypatch.setattr(classifier, "WINDOWS_AT_ONCE", at_once)
    answers = classify_at_ends(remembering, samples, record, end, SPEC)
    for answer, number, last in zip(answers, record, end, strict=True):
        ends = np.arange((last + 1) % SPEC.hop + SPEC.samples - 1, last + 1, SPEC.hop)
        assert ends[-1] == last
        assert answer[1] == samples[number, ends, 0].sum()
        assert answer[0] == samples[number, ends - SPEC.samples + 1, 0].sum()
        assert answer[2] == len(ends)
