"""Conditions of the network are simulated as described."""

from __future__ import annotations

import numpy as np
import pytest

from domains.powerline.conditions import CONDITIONS
from domains.powerline.conditions.records import resimulated
from domains.powerline.simulator.network import SAMPLES_PER_CYCLE
from training.data.episodes import Episodes

SEED, COUNT = 6, 24


@pytest.fixture(scope="module")
def clean() -> Episodes:
    return resimulated(COUNT, SEED)


def simulated(name: str, clean: Episodes, level: int) -> Episodes:
    return CONDITIONS[name].trial(clean, level, SEED).episodes


def of_lines(episodes: Episodes, name: str) -> np.ndarray:
    return np.array([line[name] for line in episodes.lines], float)


def test_the_same_seed_simulates_the_same_records(clean: Episodes) -> None:
    for name in ("fault_position", "evolving"):
        first, again = simulated(name, clean, 4), simulated(name, clean, 4)
        np.testing.assert_array_equal(first.samples, again.samples)
        assert len(first) == COUNT


def test_resistances_are_those_of_the_severity(clean: Episodes) -> None:
    for level, ohm in ((1, 15), (5, 100)):
        drawn = [
            float(o.parameters["resistance_ohm"])
            for what in simulated("fault_resistance", clean, level).events
            for o in what
            if o.kind == "fault"
        ]
        assert max(drawn) == pytest.approx(ohm, rel=2e-3)


def test_positions_are_at_both_ends(clean: Episodes) -> None:
    positions = of_lines(simulated("fault_position", clean, 4), "position")
    assert sorted({round(float(p), 6) for p in positions}) == [0.01, 0.99]


def test_sources_are_as_weak_as_it_says_and_weaker_than_in_training(clean: Episodes) -> None:
    weak = simulated("source_strength", clean, 5)
    np.testing.assert_allclose(of_lines(weak, "strength_local"), 1.5, rtol=1e-6)
    assert of_lines(clean, "strength_local").min() >= 4


def test_load_angles_go_beyond_those_of_training(clean: Episodes) -> None:
    angles = np.abs(of_lines(simulated("load_angle", clean, 5), "load_angle_deg"))
    assert 30 < angles.max() <= 60 + 1e-6
    assert np.abs(of_lines(clean, "load_angle_deg")).max() <= 30 + 1e-6


def test_frequencies_lie_above_and_below_the_nominal_one(clean: Episodes) -> None:
    off = simulated("frequency", clean, 3)
    difference = of_lines(off, "frequency_hz") - of_lines(off, "nominal_hz")
    np.testing.assert_allclose(np.unique(difference.round(6)), [-3, 3])


def test_an_untransposed_line_is_less_balanced(clean: Episodes) -> None:
    def unbalance(episodes: Episodes) -> float:
        before = episodes.samples[:, :SAMPLES_PER_CYCLE, :3].astype(float)
        loaded = before[np.abs(before).max(axis=(1, 2)) > 0]  # a line may be out of service
        return float(np.median(np.abs(loaded.sum(axis=2)).max(axis=1) / np.abs(loaded).max(axis=(1, 2))))

    assert unbalance(simulated("untransposed", clean, 5)) > 1.5 * unbalance(clean)


def test_loads_of_one_phase_draw_a_residual_current_before_anything_happens(clean: Episodes) -> None:
    def residual(episodes: Episodes) -> float:
        before = episodes.samples[:, :SAMPLES_PER_CYCLE, :3].astype(float)
        return float(np.quantile(np.abs(before.sum(axis=2)).max(axis=1), 0.9))

    mild, strong = (residual(simulated("unbalanced_load", clean, level)) for level in (1, 5))
    assert strong > 2 * mild > 2 * residual(clean)
    # Up to half of the rated current in each phase, of which the measured end feeds a part.
    assert 0.1 < strong < 0.6


def test_a_sixty_hertz_line_has_fewer_samples_a_cycle_at_the_rate_of_a_fifty_hertz_meter(clean: Episodes) -> None:
    def samples_per_cycle(level: int) -> float:
        voltage = simulated("sixty_hz", clean, level).samples[:, :, 3:].astype(float)
        lit = voltage[:, :SAMPLES_PER_CYCLE].std(axis=1).min(axis=1) > 0.3
        clarke = (voltage @ np.exp(2j * np.pi / 3 * np.arange(3)))[lit, :30]
        turned = np.unwrap(np.angle(clarke), axis=1)
        return float(np.median(2 * np.pi / np.abs((turned[:, -1] - turned[:, 0]) / 29)))

    assert samples_per_cycle(1) == pytest.approx(32, rel=0.02)
    assert samples_per_cycle(5) == pytest.approx(32 * 50 / 60, rel=0.02)


def test_every_fault_evolves_after_the_time_that_it_says(clean: Episodes) -> None:
    evolving = simulated("evolving", clean, 4)
    for labels in evolving.labels:
        run = labels[labels > 0]
        stages = np.flatnonzero(np.diff(run)) + 1
        assert len(stages) == 1
        assert stages[0] == SAMPLES_PER_CYCLE


def test_non_faults_are_of_their_kind_and_never_labelled(clean: Episodes) -> None:
    seen = set()
    for level in range(1, 6):
        records = simulated("non_faults", clean, level)
        kinds = {o.kind for what in records.events for o in what}
        assert kinds <= set(str(CONDITIONS["non_faults"].value(level)).split())
        assert (records.labels == 0).all()
        seen |= kinds
    assert len(seen) == 8


def test_windows_hold_as_much_of_the_fault_as_it_says(clean: Episodes) -> None:
    faulty = (clean.labels != 0).any(axis=1)
    for level, share in enumerate((1.0, 0.75, 0.5, 0.25, 0.09375), start=1):
        ends = CONDITIONS["window_position"].trial(clean, level, SEED).ends
        assert ends is not None
        covered = [
            [(labels[end - SAMPLES_PER_CYCLE + 1 : end + 1] != 0).mean() for end in two]
            for labels, two in zip(clean.labels[faulty], ends[faulty], strict=True)
        ]
        np.testing.assert_allclose(np.mean(covered, axis=0), [0, share])
