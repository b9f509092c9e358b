"""The draws of usual lines, events and instruments do not depend on what was added later."""

from __future__ import annotations

import hashlib
from dataclasses import fields, replace

import numpy as np
import pytest

from domains.powerline.simulator.disturbances import NON_FAULTS
from domains.powerline.simulator.episodes import ScenarioMix, simulate
from domains.powerline.simulator.events import LIFELIKE
from domains.powerline.simulator.measurement import EXTENDED, HARSH, Faulty, draw_chains
from domains.powerline.simulator.sweep import ParameterSweep
from training.data.episodes import Episodes

ADDED = {"phase_to_phase", "aron", "residual"}
# Digests of labels, states and the whole plans. Samples differ in their last bits between processors.
KNOWN = {
    "usual": "889298902481e6e7",
    "quiet": "52f6bdb8f1c88a86",
    "lifelike": "218b331abd0cf575",
}
SAMPLES = {
    "usual": [3.42235174, 3.3758926, 3.61316099, 0.678686598, 0.672738125, 0.669033453],
    "quiet": [0.386342023, 0.382457833, 0.389524122, 0.707112928, 0.704865877, 0.703996725],
    "lifelike": [2.25301384, 3.40295288, 1.06259629, 0.582656931, 0.593445791, 0.624045337],
}


def records(name: str) -> Episodes:
    if name == "usual":
        return simulate(24, 1, length_cycles=12)
    if name == "quiet":
        return simulate(24, 3, length_cycles=12, instruments=None, mix=ScenarioMix(fault_share=0.0))
    sweep = ParameterSweep(strength=(1.5, 40), unbalanced_share=0.3)
    mix = ScenarioMix(fault_share=0.65, disturbed_share=0.5)
    return simulate(24, 4, length_cycles=24, timing=LIFELIKE, instruments=HARSH, nominal_hz=50, mix=mix, sweep=sweep)


def digest(episodes: Episodes) -> str:
    found = hashlib.sha256()
    found.update(episodes.labels.tobytes())
    found.update(episodes.settled.tobytes())
    for events in episodes.events:
        for event in events:
            found.update(repr((event.kind, event.start, event.stop, event.stages, event.moments)).encode())
    return found.hexdigest()[:16]


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_todays_seeds_give_the_records_that_they_gave(name: str) -> None:
    episodes = records(name)
    assert digest(episodes) == KNOWN[name]
    levels = np.sqrt(np.square(episodes.samples.astype(float)).mean(axis=(0, 1)))
    np.testing.assert_allclose(levels, SAMPLES[name], rtol=1e-5)


def test_the_usual_mix_and_the_harsh_instruments_hold_what_they_held() -> None:
    kinds = ("pole_open", "energising", "load_step", "capacitor", "inrush", "swing", "sag", "motor_start")
    assert tuple(NON_FAULTS) == ScenarioMix().non_faults == kinds
    for added in ADDED:
        assert getattr(Faulty(), added) == getattr(HARSH.faulty, added) == 0


def test_shares_of_missing_phases_leave_everything_else_of_a_chain_unchanged() -> None:
    more = replace(HARSH, faulty=replace(HARSH.faulty, phase_to_phase=0.3, aron=0.3, residual=0.3))
    chain, other = (draw_chains(500, np.random.default_rng(1), instruments) for instruments in (HARSH, more))
    for field in fields(chain):
        if field.name not in ADDED:
            np.testing.assert_array_equal(getattr(chain, field.name), getattr(other, field.name))
    assert not (other.aron & other.residual).any()


def test_extended_instruments_lack_phases_as_often_as_they_say() -> None:
    chain = draw_chains(20_000, np.random.default_rng(2), EXTENDED)
    for name, share in (("phase_to_phase", 0.06), ("aron", 0.05), ("residual", 0.04)):
        assert getattr(chain, name).mean() == pytest.approx(share, abs=0.006)
    assert chain.lost[:, 3:].all(axis=1).mean() == pytest.approx(0.08, abs=0.01)
