"""Conditions of missing phases, other grids and harder events are as described."""

from __future__ import annotations

import numpy as np
import pytest

from domains.powerline.conditions import CONDITIONS
from domains.powerline.conditions.records import resimulated
from domains.powerline.simulator.network import SAMPLES_PER_CYCLE
from training.data.episodes import Episodes
from training.evaluation.conditions.condition import LEVELS

SEED = 7
PARTIAL = ("voltages_missing", "phase_to_phase", "aron", "residual_ct")
GRIDS = ("isolated_neutral", "resonant_neutral", "inverter")
FAULTS = ("arcing", "incipient", "fault_in_swing")
NON_FAULTS = {
    "stable_swing": "wide_swing",
    "pole_slip": "pole_slip",
    "large_motor": "large_motor",
    "reactor": "reactor",
    "large_capacitor": "large_capacitor",
}


@pytest.fixture(scope="module")
def clean() -> Episodes:
    return resimulated(8, SEED)


def trial(name: str, clean: Episodes, level: int) -> Episodes:
    return CONDITIONS[name].trial(clean, level, SEED).episodes


def test_the_added_conditions_are_registered_outside_the_base_group() -> None:
    added = {*PARTIAL, *GRIDS, *FAULTS, *NON_FAULTS, "long_fault"}
    assert added <= set(CONDITIONS)
    assert not added & {condition.name for condition in CONDITIONS.chosen("base")}
    for name in added:
        assert len(set(CONDITIONS[name].values)) == LEVELS


@pytest.mark.parametrize("name", [*GRIDS, *FAULTS, *NON_FAULTS])
def test_records_are_repeatable_and_finite(name: str, clean: Episodes) -> None:
    first, again = trial(name, clean, 5), trial(name, clean, 5)
    np.testing.assert_array_equal(first.samples, again.samples)
    assert first.samples.shape == clean.samples.shape
    assert np.isfinite(first.samples).all()
    assert (first.labels > 0).any() != (name in NON_FAULTS)


@pytest.mark.parametrize(("name", "kind"), sorted(NON_FAULTS.items()))
def test_records_of_non_faults_hold_their_kind_only(name: str, kind: str, clean: Episodes) -> None:
    events = trial(name, clean, 3).events
    assert {event.kind for those in events for event in those} == {kind}


def test_a_missing_phase_is_missing_in_all_records_at_the_highest_severity(clean: Episodes) -> None:
    assert (trial("voltages_missing", clean, 5).samples[:, :, 3:] == 0).all()
    assert np.abs(trial("phase_to_phase", clean, 5).samples[:, :, 3:].sum(axis=2)).max() < 1e-5
    assert np.abs(trial("aron", clean, 5).samples[:, :, :3].sum(axis=2)).max() < 1e-4
    mild, severe = (trial("aron", clean, level).samples for level in (1, 5))
    changed = [(seen != clean.samples).any(axis=(1, 2)).sum() for seen in (mild, severe)]
    assert changed[0] < changed[1]


@pytest.mark.parametrize(("level", "error"), [(1, 0.01), (5, 0.2)])
def test_the_residual_current_has_the_gain_error_of_the_severity(level: int, error: float, clean: Episodes) -> None:
    seen, true = (x.samples[:, :, :3].sum(axis=2, dtype=float) for x in (trial("residual_ct", clean, level), clean))
    strong = np.abs(true) > 1
    np.testing.assert_allclose(np.abs(seen[strong] / true[strong] - 1), error, rtol=0.02)


def test_swings_reach_the_load_angle_of_the_severity(clean: Episodes) -> None:
    episodes = trial("stable_swing", clean, 5)
    for events, line in zip(episodes.events, episodes.lines, strict=True):
        for event in events:
            peak = np.degrees(float(event.parameters["amplitude"])) + float(line["load_angle_deg"])
            assert abs(peak) == pytest.approx(175)


@pytest.mark.parametrize("level", [1, 3, 5])
def test_a_long_fault_lasts_as_long_as_its_severity_and_its_clearing_is_recorded(level: int, clean: Episodes) -> None:
    condition = CONDITIONS["long_fault"]
    wanted = float(condition.value(level))
    found = trial("long_fault", clean, level)
    faulty = (found.labels > 0).sum(axis=1)[(found.labels > 0).any(axis=1)] / SAMPLES_PER_CYCLE
    assert len(faulty) > 2
    # The current of an opened pole is interrupted at its next zero.
    assert ((faulty > wanted - 1.1) & (faulty < wanted + 4)).all()
    assert (found.labels[:, -1] == 0).all()
