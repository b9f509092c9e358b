"""Feedback, single windows or sequences: the held-out part, the weights of the others, scores on the held-out part."""

from __future__ import annotations

import numpy as np
import pytest

from model.spec import load_spec
from training.data.feedback import (
    MAX_SEQUENCES,
    MAX_SHARE,
    MAX_WEIGHT,
    MAX_WINDOWS,
    feedback_scores,
    labelled_count,
    split_feedback,
    weighted_feedback,
)
from training.data.sequences import Sequences, samples_of
from training.data.windows import Windows

SPEC = load_spec("line")


def some(labels: list[int], *, episodes: int = 1, weight: float = 1.0) -> Windows:
    """Return windows whose every value is the number of their class."""
    n = len(labels)
    truth = np.array(labels, np.int32)
    data = np.broadcast_to(truth[:, None, None], (n, *SPEC.window_shape)).astype(np.float32)
    return Windows(data, truth, np.full(n, weight, np.float32), np.arange(n) % episodes)


def some_sequences(labels: list[list[int]], weights: list[list[float]], episodes: int = 1) -> Sequences:
    """Return sequences of windows whose first sample is the number of their class."""
    truth = np.array(labels, np.int32)
    n, steps = truth.shape
    data = np.zeros((n, samples_of(steps, SPEC), len(SPEC.channels)), np.float32)
    data[:, : steps * SPEC.hop : SPEC.hop] = truth[:, :, None]
    return Sequences(data, truth, np.array(weights, np.float32), np.arange(n) % episodes)


def says_what_it_is(data: np.ndarray) -> np.ndarray:
    """Classify windows (lines, steps, samples, channels) by their first sample."""
    return np.asarray(np.eye(12, dtype=np.float32)[data[:, :, 0, 0].astype(int)])


def test_an_episode_is_on_one_side_and_stays_there_when_others_come() -> None:
    rng = np.random.default_rng(0)
    numbers = rng.integers(0, 2**62, 400)
    windows = some([0] * 2000, episodes=400)
    windows = Windows(windows.data, windows.labels, windows.weights, numbers[windows.episode])
    parts = split_feedback(windows)
    held = set(parts.hold_out.episode.tolist())
    assert not held & set(parts.train.episode.tolist())
    assert 0.15 < len(held) / 400 < 0.35
    fewer = split_feedback(windows.take(np.isin(windows.episode, numbers[:100])))
    assert set(fewer.hold_out.episode.tolist()) == held & set(numbers[:100].tolist())


@pytest.mark.parametrize("episodes", [2, 3, 5])
def test_with_two_episodes_or_more_both_sides_have_some(episodes: int) -> None:
    parts = split_feedback(some([0] * 20, episodes=episodes))
    assert len(parts.train)
    assert len(parts.hold_out)
    assert len(parts.train) + len(parts.hold_out) == 20


def test_classes_weigh_alike_and_the_field_never_drowns_the_simulator() -> None:
    field = weighted_feedback(some([0] * 900 + [1] * 90 + [2] * 5), 1000.0, seed=1)
    of_class = np.bincount(field.labels, field.weights)
    total = MAX_SHARE / (1 - MAX_SHARE) * 1000
    assert of_class.sum() == pytest.approx(total, rel=0.01)
    assert of_class[2] == pytest.approx(5 * MAX_WEIGHT)
    assert of_class[0] == pytest.approx(of_class[1], rel=0.01)


def test_few_windows_weigh_at_most_so_much_and_too_many_are_chosen_evenly() -> None:
    few = weighted_feedback(some([1] * 3, weight=3.0), 10_000.0, seed=1)
    assert few.weights.tolist() == [3 * MAX_WEIGHT] * 3
    many = Windows(
        np.zeros((MAX_WINDOWS + 5000, 1, 1), np.float32),
        np.repeat([0, 1], [MAX_WINDOWS, 5000]).astype(np.int32),
        np.ones(MAX_WINDOWS + 5000, np.float32),
        np.arange(MAX_WINDOWS + 5000),
    )
    chosen = weighted_feedback(many, 100.0, seed=1)
    assert len(chosen) == MAX_WINDOWS
    assert (chosen.labels == 1).sum() == 5000
    assert len(weighted_feedback(some([]), 1.0, seed=1)) == 0


def test_scores_tell_false_alarms_and_misses() -> None:
    perfect = feedback_scores(says_what_it_is, some([0, 0, 1, 2]), SPEC)
    assert perfect["windows"] == 4
    assert (perfect["accuracy"], perfect["macro_f1"], perfect["false_alarms"], perfect["missed"]) == (1, 1, 0, 0)
    wrong = some([0, 0, 0, 0, 1, 1])
    wrong.data[0] = 3  # a quiet window that looks like a fault
    wrong.data[4] = 0  # a fault that looks quiet
    scores = feedback_scores(says_what_it_is, wrong, SPEC)
    assert (scores["false_alarms"], scores["missed"]) == (0.25, 0.5)
    assert feedback_scores(says_what_it_is, some([0, 0]), SPEC)["missed"] is None


def test_windows_that_a_fault_only_partly_fills_are_not_scored() -> None:
    assert feedback_scores(says_what_it_is, some([1, 1], weight=0.5), SPEC)["windows"] == 0
    assert feedback_scores(says_what_it_is, some([1, 1], weight=0.5), SPEC)["accuracy"] is None


def test_the_sequences_of_an_episode_are_on_one_side() -> None:
    feedback = some_sequences([[0, 0]] * 60, [[1, 1]] * 60, episodes=20)
    parts = split_feedback(feedback)
    assert len(parts.train)
    assert len(parts.hold_out)
    assert not set(parts.train.episode.tolist()) & set(parts.hold_out.episode.tolist())
    assert len(parts.train) + len(parts.hold_out) == 60
    same = split_feedback(some([0] * 60, episodes=20))
    assert set(same.hold_out.episode.tolist()) == set(parts.hold_out.episode.tolist())


def test_context_has_no_weight_in_a_training_and_classes_weigh_alike() -> None:
    labels = [[0, 0, 0, 0]] * 200 + [[0, 0, 1, 1]] * 60
    weights = [[1.0] * 4] * 200 + [[0.0, 0.0, 1.0, 3.0]] * 60
    field = weighted_feedback(some_sequences(labels, weights, episodes=260), 1000.0, seed=1)
    of_class = np.bincount(field.labels.ravel(), field.weights.ravel())
    assert of_class.sum() == pytest.approx(MAX_SHARE / (1 - MAX_SHARE) * 1000, rel=0.01)
    assert of_class[0] == pytest.approx(of_class[1], rel=0.01)
    mixed = field.weights[(field.labels == 1).any(axis=1)]
    assert (mixed[:, :2] == 0).all()
    assert mixed[:, 3] == pytest.approx(3 * mixed[:, 2])


def test_of_too_many_sequences_those_with_rare_classes_stay() -> None:
    n, steps = MAX_SEQUENCES + 100, 3
    labels, weights = np.zeros((n, steps), np.int32), np.ones((n, steps), np.float32)
    labels[:50, 2] = 2
    labels[50:90, 1], weights[50:90, 1] = 3, 0.0  # context: its class does not count
    data = np.zeros((n, 1, 1), np.float32)
    chosen = weighted_feedback(Sequences(data, labels, weights, np.arange(n)), 1.0, seed=1)
    assert len(chosen) == MAX_SEQUENCES
    assert (chosen.labels[:, 2] == 2).sum() == 50


def test_sequences_are_scored_where_they_have_a_label() -> None:
    truth = some_sequences([[0, 0, 1, 1], [0, 2, 2, 0]] * 50, [[0, 1, 0.5, 1], [0, 0, 3, 1]] * 50)
    perfect = feedback_scores(says_what_it_is, truth, SPEC)
    assert (perfect["windows"], perfect["accuracy"], perfect["missed"], perfect["false_alarms"]) == (200, 1, 0, 0)
    assert labelled_count(truth) == 250
    truth.data[1::2, 2 * SPEC.hop] = 0  # the fault of every second sequence looks quiet
    truth.data[0, SPEC.hop] = 7
    truth.data[2, 0] = 7  # a window without a label is not scored
    scores = feedback_scores(says_what_it_is, truth, SPEC)
    assert (scores["missed"], scores["false_alarms"]) == (0.5, 0.01)


def test_every_sequence_is_one_line_for_the_classifier() -> None:
    shapes = []

    def classify(data: np.ndarray) -> np.ndarray:
        shapes.append(data.shape[:2])
        return says_what_it_is(data)

    feedback_scores(classify, some_sequences([[0] * 5] * 7, [[1.0] * 5] * 7), SPEC)
    feedback_scores(classify, some([0] * 9), SPEC)
    assert shapes == [(7, 5), (9, 1)]


def test_no_sequences_have_no_score() -> None:
    empty = Sequences.empty(SPEC, 8)
    assert feedback_scores(says_what_it_is, empty, SPEC)["windows"] == 0
    assert len(weighted_feedback(empty, 1.0, seed=1)) == 0
    parts = split_feedback(empty)
    assert (len(parts.train), len(parts.hold_out)) == (0, 0)
