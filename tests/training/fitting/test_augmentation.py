"""Outages are drawn as often, as long and where they are wanted."""

from __future__ import annotations

import numpy as np
import pytest

from training.fitting.augmentation import Outages

NOWHERE = np.zeros(0, np.intp)
GROUPS = ((0, 3), (1, 4), (2, 5))


def outages(zero_share: float, held_share: float, at_inception: float = 0.5) -> Outages:
    return Outages(GROUPS, zero_share, (10, 40), held_share, (5, 20), at_inception)


def sequence(length: int = 400) -> np.ndarray:
    return np.random.default_rng(1).normal(3, 0.1, (length, 6)).astype(np.float32)


def test_a_group_of_channels_reads_zero_for_a_while_and_the_sequence_itself_is_not_changed() -> None:
    data, rng = sequence(), np.random.default_rng(2)
    kept = data.copy()
    groups = set()
    for _ in range(100):
        absent = outages(1.0, 0.0).applied(data, NOWHERE, rng) == 0
        channels = tuple(np.flatnonzero(absent.any(axis=0)))
        groups.add(channels)
        if channels:
            where = np.flatnonzero(absent[:, channels[0]])
            assert len(where) <= 40
            assert np.ptp(where) == len(where) - 1
    assert groups - {()} == set(GROUPS)
    np.testing.assert_array_equal(data, kept)


def test_all_channels_keep_the_value_before_the_outage() -> None:
    data, rng = sequence(), np.random.default_rng(3)
    for _ in range(50):
        changed = outages(0.0, 1.0).applied(data, NOWHERE, rng)
        where = np.flatnonzero((changed != data).any(axis=1))
        if len(where):
            np.testing.assert_array_equal(changed[where], np.broadcast_to(data[where[0] - 1], (len(where), 6)))


def test_shares_are_kept_and_most_sequences_stay_as_they_are() -> None:
    data, rng = sequence(), np.random.default_rng(4)
    changed = [outages(0.2, 0.1).applied(data, NOWHERE, rng) for _ in range(2000)]
    zero = np.mean([(one == 0).any() for one in changed])
    held = np.mean([(one != data).any() and not (one == 0).any() for one in changed])
    assert zero == pytest.approx(0.2, abs=0.04)
    assert held == pytest.approx(0.1, abs=0.03)


def test_outages_at_an_inception_overlap_it() -> None:
    data, rng = sequence(), np.random.default_rng(5)
    inceptions = np.array([90, 250])
    overlapped = set()
    for _ in range(200):
        absent = (outages(1.0, 0.0, at_inception=1.0).applied(data, inceptions, rng) == 0).any(axis=1)
        assert absent[inceptions].any()
        overlapped |= set(inceptions[absent[inceptions]])
    assert overlapped == {90, 250}
