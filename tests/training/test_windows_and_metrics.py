"""Windows, splits and scores."""

from __future__ import annotations

import numpy as np
import pytest

from domains.powerline.simulator.episodes import simulate
from model.spec import load_spec
from stream.windowing import cut_windows
from training.data.windows import (
    QUIET_SHARE,
    QUIET_WEIGHT,
    interest,
    label_windows,
    learned_weights,
    select,
    split_by_episode,
    window_ends,
)
from training.errors import TrainingError
from training.fitting.fit import cross_entropy, fit_temperature
from training.metrics import macro_f1, window_scores

SPEC = load_spec("line")
AG, BG, ABG, ABC, ABCG = (SPEC.class_index(name) for name in ("AG", "BG", "ABG", "ABC", "ABCG"))


def labels_of(length: int, *runs: tuple[int, int, int]) -> np.ndarray:
    labels = np.zeros((1, length), np.int8)
    for start, stop, label in runs:
        labels[0, start:stop] = label
    return labels


def test_windows_are_views_of_the_record_a_hop_apart() -> None:
    samples = np.arange(2 * 80 * 6, dtype=np.float32).reshape(2, 80, 6)
    windows = cut_windows(samples, SPEC)
    assert windows.shape == (2, 7, 32, 6)
    np.testing.assert_array_equal(windows[1, 3], samples[1, 24:56])
    assert window_ends(80, SPEC).tolist() == [31, 39, 47, 55, 63, 71, 79]


def test_a_window_weighs_as_much_as_its_fault_covers_of_it() -> None:
    labels = labels_of(160, (64, 128, AG))
    label, weight = label_windows(labels, np.ones(labels.shape, bool), SPEC)
    ends = window_ends(160, SPEC)
    by_end = dict(zip(ends.tolist(), zip(label[0].tolist(), weight[0].tolist(), strict=True), strict=True))
    assert by_end[63] == (0, 1.0)
    assert by_end[71] == (AG, 0.25)
    assert by_end[95] == (AG, 1.0)
    assert by_end[127] == (AG, 1.0)
    # A past fault is still in these: no class is correct, but another fault would be wrong.
    assert [by_end[end][0] for end in (135, 143, 151)] == [AG, 0, 0]
    assert all(0 < by_end[end][1] < 0.3 for end in (135, 143, 151))
    assert by_end[159] == (0, 1.0)


def test_a_window_in_which_a_fault_spreads_belongs_to_what_fills_most_of_it() -> None:
    labels = labels_of(160, (32, 96, AG), (96, 160, ABG))
    label, weight = label_windows(labels, np.ones(labels.shape, bool), SPEC)
    ends = window_ends(160, SPEC).tolist()
    assert label[0, [ends.index(end) for end in (95, 103, 119, 127)]].tolist() == [AG, AG, ABG, ABG]
    assert weight[0, ends.index(103)] < 0.3 < weight[0, ends.index(119)] < weight[0, ends.index(127)] == 1.0


def test_a_half_interrupted_fault_weighs_little() -> None:
    labels = labels_of(96, (0, 96, AG))
    settled = np.ones(labels.shape, bool)
    settled[0, 60] = False
    _, weight = label_windows(labels, settled, SPEC)
    ends = window_ends(96, SPEC)
    assert (weight[0][(ends >= 60) & (ends < 92)] < 0.5).all()
    assert weight[0, ends.tolist().index(55)] == 1.0


def test_windows_count_by_their_interest_and_quiet_ones_for_those_like_them() -> None:
    episodes = simulate(60, seed=1)
    labels, plain = label_windows(episodes.labels, episodes.settled, SPEC)
    share = interest(episodes, SPEC)
    quiet = share == np.float32(QUIET_SHARE)
    assert quiet.any()
    assert (labels[quiet] == SPEC.none_index).all()
    learned = learned_weights(plain, episodes, SPEC)
    assert set(learned[quiet]) == {np.float32(QUIET_SHARE) * np.float32(QUIET_WEIGHT)}
    np.testing.assert_array_equal(learned[~quiet], (plain * share)[~quiet])


def test_all_windows_with_a_weight_are_selected() -> None:
    episodes = simulate(60, seed=1)
    labels, plain = label_windows(episodes.labels, episodes.settled, SPEC)
    selected = select(episodes, SPEC)
    np.testing.assert_array_equal(selected.labels, labels[plain > 0])
    np.testing.assert_array_equal(selected.weights, plain[plain > 0])
    assert selected.weights.max() == 1.0


def test_a_split_never_parts_an_episode() -> None:
    windows = select(simulate(30, seed=1), SPEC)
    parts = split_by_episode(windows, (0.6, 0.2, 0.2), seed=3)
    episodes = [set(part.episode.tolist()) for part in parts]
    assert sum(len(part) for part in parts) == len(windows)
    assert not episodes[0] & episodes[1]
    assert not episodes[0] & episodes[2]
    assert not episodes[1] & episodes[2]
    assert [len(e) for e in episodes] == [18, 6, 6]


def test_a_split_that_cannot_be_made_is_refused() -> None:
    windows = select(simulate(3, seed=1), SPEC)
    with pytest.raises(TrainingError, match="add up to 1"):
        split_by_episode(windows, (0.5, 0.2), seed=1)
    with pytest.raises(TrainingError, match="more episodes"):
        split_by_episode(windows, (0.25,) * 4, seed=1)


def test_macro_f1_is_the_mean_over_the_classes_that_occur() -> None:
    truth, said = np.array([0, 0, 1, 1, 2]), np.array([0, 0, 1, 2, 2])
    assert macro_f1(truth, said, 5) == pytest.approx((1 + 2 / 3 + 2 / 3) / 3)


def test_merged_scores_take_three_phase_faults_as_one() -> None:
    scores = window_scores(np.array([ABC, ABCG, AG]), np.array([ABCG, ABC, AG]), SPEC)
    assert scores["macro_f1"] == pytest.approx(1 / 3)
    assert scores["merged_macro_f1"] == 1.0
    assert scores["merged_accuracy"] == 1.0


def test_the_fitted_temperature_recovers_one_that_was_applied() -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 2, (20_000, 5)).astype(np.float32)
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (chances.cumsum(axis=1) > rng.random((len(logits), 1))).argmax(axis=1).astype(np.int32)
    assert fit_temperature(3 * logits, labels) == pytest.approx(3.0, rel=0.05)
    assert cross_entropy(3 * logits, labels, temperature=3.0) < cross_entropy(3 * logits, labels)
