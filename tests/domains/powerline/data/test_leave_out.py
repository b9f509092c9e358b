"""A condition that is left out of a training is in none of its sequences, and everything else stays."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from domains.powerline.conditions import CONDITIONS
from domains.powerline.data.leave_out import INSTRUMENTS_WITHOUT, KINDS_WITHOUT, lives_without
from domains.powerline.data.line_sequences import KINDS, LIVES, STEPS, Lives, training_part
from domains.powerline.recipes.line import LineOptions, train_line
from domains.powerline.simulator.episodes import ScenarioMix, simulate
from domains.powerline.simulator.measurement import draw_chains
from domains.powerline.simulator.sweep import ParameterSweep
from model.spec import load_spec
from training.errors import TrainingError

SPEC = load_spec("line")
INHERENT = {"quantisation", "dc_offset", "window_position"}


def changed(one: Any, other: Any) -> set[str]:
    """Return the names of the fields in which two dataclasses differ."""
    return {f.name for f in fields(one) if getattr(one, f.name) != getattr(other, f.name)}


def test_nothing_left_out_is_the_training_of_the_shipped_model() -> None:
    assert lives_without(()) is LIVES
    assert Lives() == LIVES


def test_every_condition_that_training_contains_can_be_left_out_except_inherent_ones() -> None:
    seen = {name for name, condition in CONDITIONS.items() if condition.seen}
    assert seen - INHERENT == INSTRUMENTS_WITHOUT.keys() | KINDS_WITHOUT.keys()
    assert not INSTRUMENTS_WITHOUT.keys() & KINDS_WITHOUT.keys()
    for name in INHERENT:
        with pytest.raises(TrainingError, match=f"every training contains {name}"):
            lives_without([name])


def test_a_condition_that_training_never_contains_changes_nothing() -> None:
    for name, condition in CONDITIONS.items():
        if not condition.seen:
            assert lives_without([name]) == LIVES


def test_an_unknown_condition_is_refused() -> None:
    with pytest.raises(TrainingError, match="there is no condition 'thunder'"):
        lives_without(["thunder"])


@pytest.mark.parametrize("name", INSTRUMENTS_WITHOUT)
def test_all_instruments_change_in_what_the_condition_is(name: str) -> None:
    left = lives_without([name])
    assert left.kinds == LIVES.kinds
    assert left != LIVES
    for before, after in zip((*LIVES.instruments, LIVES.usual), (*left.instruments, left.usual), strict=True):
        assert len(changed(before, after)) <= 1
        assert max(len(changed(before.faulty, after.faulty)), 1) <= 3


@pytest.mark.parametrize("name", KINDS_WITHOUT)
def test_all_kinds_of_lives_change_in_what_the_condition_is(name: str) -> None:
    left = lives_without([name])
    assert left.instruments == LIVES.instruments
    assert left != LIVES
    for before, after in zip(LIVES.kinds, left.kinds, strict=True):
        assert len(changed(before.mix, after.mix)) + len(changed(before.sweep, after.sweep)) <= 2


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("lost_channel", "lost"),
        ("stuck_channel", "stuck"),
        ("gap", "gap"),
        ("aron", "aron"),
        ("harmonics", "harmonics"),
    ],
)
def test_no_instrument_is_drawn_with_a_fault_left_out(name: str, field: str) -> None:
    left = lives_without([name, "phase_loss"])
    for before, after in zip(LIVES.instruments, left.instruments, strict=True):
        assert np.any(getattr(draw_chains(1000, np.random.default_rng(1), before), field))
        assert not np.any(getattr(draw_chains(1000, np.random.default_rng(1), after), field))


def test_all_chains_have_the_right_polarity_and_order_without_wrong_wiring() -> None:
    for instruments in lives_without(["reversed_ct", "swapped_phases"]).instruments:
        chain = draw_chains(1000, np.random.default_rng(1), instruments)
        assert (chain.gain > 0).all()
        assert (chain.order == np.arange(3)).all()
        assert (chain.voltage_order == np.arange(3)).all()


@pytest.mark.parametrize(
    ("name", "event"), [("stable_swing", "wide_swing"), ("pole_slip", "pole_slip"), ("large_motor", "large_motor")]
)
def test_no_event_is_drawn_that_is_left_out(name: str, event: str) -> None:
    def kinds(mix: ScenarioMix) -> set[str]:
        drawn = simulate(200, 2, length_cycles=2, mix=mix, instruments=None)
        return {happened.kind for events in drawn.events for happened in events}

    harder = next(number for number, kind in enumerate(KINDS) if kind.mix.swinging_share)
    assert event in kinds(KINDS[harder].mix)
    assert event not in kinds(lives_without([name]).kinds[harder].mix)


def test_no_fault_evolves_if_evolving_is_left_out() -> None:
    def stages(share: float) -> int:
        mix = ScenarioMix(fault_share=1.0, evolving_share=share)
        drawn = simulate(60, 3, length_cycles=2, mix=mix, instruments=None)
        return max(len(event.stages) for events in drawn.events for event in events)

    assert stages(ScenarioMix().evolving_share) > 1
    assert stages(0.0) == 1
    assert all(kind.mix.evolving_share == 0.0 for kind in lives_without(["evolving"]).kinds)


def test_without_disturbances_only_the_harder_ones_and_faults_remain() -> None:
    left = lives_without(["non_faults"])
    usual, harder, _ = left.kinds
    assert usual.mix.fault_share == left.natural.mix.fault_share == 1.0
    assert usual.mix.disturbed_share == 0.0
    assert harder.mix.fault_share == KINDS[1].mix.fault_share
    assert not set(harder.mix.non_faults) & set(ScenarioMix().non_faults)
    assert harder.mix.non_faults


def test_ten_ohms_stay_below_the_condition_on_every_line_without_high_resistances() -> None:
    for name in ("fault_resistance", "high_impedance"):
        for kind in lives_without([name]).kinds:
            assert kind.sweep.kilovolt[0] >= 66
            assert kind.sweep.scale == ParameterSweep().scale


def test_a_part_without_a_condition_is_another_one_and_kept_in_another_file(tmp_path: Any) -> None:
    whole, without, again = (
        training_part(0, 2, SPEC, 3, tmp_path, lives)
        for lives in (LIVES, lives_without(["current_rating"]), lives_without(["current_rating"]))
    )
    assert whole.data.shape == without.data.shape
    assert whole.steps == STEPS
    assert not np.array_equal(whole.data, without.data)
    np.testing.assert_array_equal(without.data, again.data)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_data_set_is_learned_from_as_it_is(tmp_path: Any) -> None:
    options = LineOptions(data=tmp_path / "set.parquet", without=("gap",))
    with pytest.raises(TrainingError, match="not of a data set"):
        train_line(options)
    with pytest.raises(TrainingError, match="there is no condition"):
        train_line(replace(options, data=None, without=("thunder",)))
