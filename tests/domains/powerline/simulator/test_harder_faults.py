"""Self-clearing and arcing faults, faults during swings, and several events in one record."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from domains.powerline.simulator.episodes import HARDER_MIX, ScenarioMix, draw_life, plan_of, simulate, simulate_lives
from domains.powerline.simulator.events import BRISK, LineContext
from domains.powerline.simulator.faults import CLASSES
from domains.powerline.simulator.harder_faults import arcing, fault_in_swing, incipient
from domains.powerline.simulator.measurement import EXTENDED
from domains.powerline.simulator.network import SAMPLES_PER_CYCLE
from domains.powerline.simulator.solver import solve
from domains.powerline.simulator.sweep import ParameterSweep, draw_networks
from domains.powerline.simulator.swings import reactor

N, START = 30, 64
NETWORK = draw_networks(N, np.random.default_rng(8), 50)
CONTEXTS = [LineContext.of(NETWORK, k, BRISK) for k in range(N)]


@pytest.mark.parametrize("milliseconds", [2, 10, 20, 40, 80])
def test_an_incipient_fault_burns_for_about_its_duration(milliseconds: int) -> None:
    rng = np.random.default_rng(1)
    events = [
        incipient(context, rng, START, name, duration_s=(milliseconds / 1e3,) * 2)
        for context, name in zip(CONTEXTS, ("AG", "BC", "CAG") * 10, strict=True)
    ]
    labels = solve(NETWORK, [plan_of([event]) for event in events], 10 * SAMPLES_PER_CYCLE).labels
    burning = (labels > 0).sum(axis=1) / (50 * SAMPLES_PER_CYCLE) * 1e3
    assert (burning > 0).all()
    assert np.median(burning) == pytest.approx(milliseconds, rel=0.2, abs=5)
    assert (burning < milliseconds + 18).all()
    for event, line in zip(events, labels, strict=True):
        assert START <= event.start <= START + SAMPLES_PER_CYCLE // 2 + 1
        assert set(line) == {0, CLASSES.index(event.classes[0])}
        assert (line[event.stop :] == 0).all()


def test_an_arc_changes_its_resistance_in_every_half_cycle_and_keeps_its_class() -> None:
    rng = np.random.default_rng(2)
    for context in CONTEXTS:
        event = arcing(context, rng, START, "AG", clearing="arc")
        ohms = [command.value[0] for command in event.commands if command.action == "fault"]
        samples = [command.sample for command in event.commands]
        assert samples == sorted(samples)
        assert len(set(ohms)) == len(ohms) >= 3
        out = samples[-1]
        assert len(ohms) == pytest.approx(2 * (out - START) / 16, abs=2 * 6.0 * 2 + 3)
        labels = solve(NETWORK.take(np.array([CONTEXTS.index(context)])), [plan_of([event])], event.stop + 8).labels[0]
        assert (labels[START:out] == CLASSES.index("AG")).all()


@pytest.mark.parametrize("slipping", [0.0, 1.0])
def test_a_fault_in_a_swing_begins_while_the_swing_lasts(slipping: float) -> None:
    rng = np.random.default_rng(3)
    for context in CONTEXTS:
        swing, fault = fault_in_swing(context, rng, START, "BCG", slipping=slipping)
        assert swing.kind == ("pole_slip" if slipping else "wide_swing")
        assert swing.start == START < fault.start < swing.stop
        assert fault.classes == ("BCG",)
        assert not slipping or fault.parameters["clearing"] == "arc"


def test_a_life_holds_events_one_after_another_with_quiet_between() -> None:
    rng = np.random.default_rng(4)
    mix = replace(HARDER_MIX, swinging_share=0.0, disturbed_share=0.0)
    quiet = []
    for context in CONTEXTS:
        events = draw_life(context, rng, mix, 50, 4000)
        # A fault that clears itself may begin up to half a cycle late.
        assert 50 <= events[0].start <= 50 + SAMPLES_PER_CYCLE // 2 + 1
        assert all(event.start < 4000 for event in events)
        quiet += [(b.start - a.stop) / SAMPLES_PER_CYCLE for a, b in pairwise(events)]
    assert min(quiet) >= 2
    assert max(quiet) <= 40.6
    assert 9 < np.mean(quiet) < 15


def test_lives_are_repeatable_and_begin_within_their_bounds() -> None:
    def lives(seed: int, first: tuple[float, float]) -> np.ndarray:
        episodes = simulate_lives(
            4, seed, 1500, mix=HARDER_MIX, instruments=EXTENDED, sweep=ParameterSweep(), first=first
        )
        assert episodes.samples.shape == (4, 1500, 6)
        assert episodes.samples.dtype == np.float32
        assert np.isfinite(episodes.samples).all()
        for events in episodes.events:
            if events:  # a line may be out of service
                low, high = (round(bound * SAMPLES_PER_CYCLE) for bound in first)
                assert low <= events[0].start <= high + SAMPLES_PER_CYCLE // 2 + 1
        return episodes.samples

    np.testing.assert_array_equal(lives(1, (3.0, 9.0)), lives(1, (3.0, 9.0)))
    assert (lives(1, (3.0, 9.0)) != lives(2, (30.0, 30.0))).any()


def test_every_harder_kind_occurs_in_the_harder_mix() -> None:
    episodes = simulate(300, 6, length_cycles=3, mix=HARDER_MIX, instruments=None)
    kinds = {event.kind for events in episodes.events for event in events}
    assert kinds == {"fault", *HARDER_MIX.non_faults}
    faults = [event for events in episodes.events for event in events if event.kind == "fault"]
    assert any("duration_s" in event.parameters for event in faults)
    assert any(event.parameters.get("arc") == "restriking" for event in faults)
    assert any("pole_slip" in {event.kind for event in events} and len(events) == 2 for events in episodes.events)


def test_a_mix_may_plan_every_fault_and_bring_its_own_non_faults() -> None:
    brief = ScenarioMix(1.0, plan_fault=lambda line, rng, start, name: (incipient(line, rng, start, name),))
    parameters = [event.parameters for events in simulate(5, 1, mix=brief).events for event in events]
    assert all("duration_s" in drawn for drawn in parameters)
    slow = ScenarioMix(0.0, non_faults=("mine",), builders={"mine": reactor})
    assert {event.kind for events in simulate(5, 1, mix=slow).events for event in events} == {"reactor"}
