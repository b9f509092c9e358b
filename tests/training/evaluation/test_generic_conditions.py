"""Conditions of labelled windows have their described effect on windows of any spec, and rows of a file are scored."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from model.spec import load_spec
from training.data.episodes import Episodes
from training.data.windows import Windows
from training.evaluation.conditions.condition import LEVELS
from training.evaluation.conditions.generic import WINDOWS_PER_RECORD, WindowReference, window_conditions
from training.evaluation.robustness import evaluate
from training.recipe import recipe_of

SPEC = load_spec("instant")
CONDITIONS = window_conditions(SPEC)
CLASSES = len(SPEC.classes)
ROWS = 400


def rows() -> Windows:
    """Return rows whose first channel is a hundred times their class and whose other channels are random."""
    rng = np.random.default_rng(3)
    labels = np.sort(rng.integers(0, CLASSES, ROWS)).astype(np.int32)
    data = rng.normal(0, 1, (ROWS, 1, 6)).astype(np.float32)
    data[:, 0, 0] = 100 * labels
    return Windows(data, labels, np.ones(ROWS, np.float32), labels.astype(np.int64))


def first_channel(windows: np.ndarray) -> np.ndarray:
    """Classify by the first channel."""
    nearest = np.clip(np.round(windows[:, :, -1, 0] / 100), 0, CLASSES - 1).astype(int)
    return np.eye(CLASSES, dtype=np.float32)[nearest]


@pytest.fixture(scope="module")
def clean() -> Episodes:
    return WindowReference(SPEC, rows()).clean_records(ROWS, seed=1)


def altered(name: str, clean: Episodes, level: int) -> Episodes:
    return CONDITIONS[name].trial(clean, level, 1).episodes


def test_a_reference_draws_windows_and_keeps_their_order() -> None:
    reference = WindowReference(SPEC, rows())
    some = reference.clean_records(4, seed=1)
    assert len(some) == 4 * WINDOWS_PER_RECORD
    assert (np.diff(some.labels[:, 0]) >= 0).all()
    assert len(reference.clean_records(ROWS, seed=1)) == ROWS
    assert reference.clean_lives(4, seed=1) is None


def test_all_conditions_are_there_with_five_severities() -> None:
    assert set(CONDITIONS) == {"noise", "gain", "offset", "quantisation", "lost", "stuck", "swapped", "time_block"}
    assert all(len(set(condition.values)) == LEVELS for condition in CONDITIONS.values())
    assert set(recipe_of(SPEC).conditions) == set(CONDITIONS)


@pytest.mark.parametrize("name", sorted(set(CONDITIONS) - {"time_block"}))
def test_an_alteration_grows_with_its_severity_and_leaves_clean_windows_alone(name: str, clean: Episodes) -> None:
    before = clean.samples.copy()
    changes = [np.abs(altered(name, clean, level).samples - before).sum() for level in (1, 5)]
    assert 0 < changes[0] < changes[1]
    np.testing.assert_array_equal(clean.samples, before)
    np.testing.assert_array_equal(altered(name, clean, 5).samples, altered(name, clean, 5).samples)
    assert altered(name, clean, 5).samples.dtype == np.float32


def test_noise_and_offset_are_relative_to_each_channel(clean: Episodes) -> None:
    rms = np.sqrt(np.square(clean.samples, dtype=float).mean(axis=(0, 1)))
    noise = (altered("noise", clean, 3).samples - clean.samples).std(axis=(0, 1))
    np.testing.assert_allclose(noise / rms, 0.1, rtol=0.15)
    offset = np.abs(altered("offset", clean, 5).samples - clean.samples).max(axis=(0, 1))
    np.testing.assert_allclose(offset / rms, 0.25, rtol=0.05)


def test_one_channel_is_lost_at_the_mildest_severity_and_about_half_at_the_hardest(clean: Episodes) -> None:
    for name in ("lost", "stuck"):
        changed = (altered(name, clean, 1).samples != clean.samples).sum(axis=(1, 2))
        assert changed.max() == 1
    lost = (altered("lost", clean, 5).samples == 0).all(axis=1).mean()
    assert 0.5 < lost < 0.7
    assert not altered("lost", clean, 1).samples.all()


def test_swapped_channels_stay_in_their_group(clean: Episodes) -> None:
    seen = altered("swapped", clean, 5).samples[:, 0]
    for group in SPEC.groups.values():
        own = list(group)
        np.testing.assert_array_equal(np.sort(seen[:, own], axis=1), np.sort(clean.samples[:, 0, own], axis=1))
    moved = (seen != clean.samples[:, 0]).sum(axis=1)
    assert set(moved.tolist()) == {3}


def test_blocks_of_time_are_disjoint_and_in_order(clean: Episodes) -> None:
    blocks = [altered("time_block", clean, level) for level in range(1, 6)]
    places = [np.array([line["place"] for line in block.lines], float) for block in blocks]
    assert sum(len(block) for block in blocks) == ROWS
    assert all(a.max() <= b.min() for a, b in pairwise(places))
    np.testing.assert_array_equal(np.concatenate([np.unique(b.labels) for b in blocks[:1]]), np.arange(CLASSES))


def test_rows_are_scored_as_windows_without_events() -> None:
    reference = WindowReference(SPEC, rows())
    found = evaluate(first_channel, reference, CONDITIONS.chosen(["gain", "lost", "time_block"]), episodes=ROWS)
    assert found.clean.merged_macro_f1 == 1.0
    assert (found.clean.missed, found.clean.false_alarms_per_line_hour, found.clean.delay_cycles_p95) == (None,) * 3
    assert found.lives == ()
    scores = {cell.name: cell.merged_macro_f1 for cell in found.cells}
    assert scores["gain/5"] < scores["gain/1"] == 1
    assert scores["lost/5"] < scores["lost/1"] < 1
    assert all(scores[f"time_block/{level}"] == 1 for level in range(1, 6))
