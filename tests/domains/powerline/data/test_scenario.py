"""The contents of simulated episodes and scenarios."""

from __future__ import annotations

import numpy as np
import pytest

from domains.powerline.data.scenario import scenario
from domains.powerline.simulator.disturbances import NON_FAULTS
from domains.powerline.simulator.episodes import ScenarioMix, simulate
from domains.powerline.simulator.events import BRISK, LineContext
from domains.powerline.simulator.fault_plans import FAULT_CLASSES, fault
from domains.powerline.simulator.faults import CLASSES, classes_of, conductance, phases_of, star
from domains.powerline.simulator.imperfections import saturate
from domains.powerline.simulator.network import SAMPLES_PER_CYCLE
from domains.powerline.simulator.solver import Plan, solve
from domains.powerline.simulator.sweep import draw_networks
from model.spec import load_spec
from stream.detection.truth import injected_faults
from training.errors import TrainingError


def test_the_simulator_counts_classes_as_the_spec_does() -> None:
    assert load_spec("line").class_names == CLASSES


def test_every_class_is_recognised_from_its_star() -> None:
    stars = np.array([star(name, np.ones(3), 1.0) for name in CLASSES])
    assert classes_of(stars).tolist() == list(range(len(CLASSES)))


def test_a_fault_without_ground_carries_no_zero_sequence_current() -> None:
    stars = np.array([star(name, np.array([0.5, 2.0, 1.0]), 1.0) for name in FAULT_CLASSES])
    to_ground = conductance(stars) @ np.ones(3)
    for name, current in zip(FAULT_CLASSES, to_ground, strict=True):
        assert (np.abs(current).max() > 0.1) == name.endswith("G")
        assert np.abs(current[~phases_of(name)]).max(initial=0.0) == 0.0


def test_the_same_seed_gives_the_same_arrays_and_another_seed_others() -> None:
    one, same, other = simulate(6, seed=4), simulate(6, seed=4), simulate(6, seed=5)
    np.testing.assert_array_equal(one.samples, same.samples)
    np.testing.assert_array_equal(one.labels, same.labels)
    assert not np.array_equal(one.samples, other.samples)


def test_labels_begin_at_the_planned_sample_with_the_planned_class() -> None:
    episodes = simulate(64, seed=2, length_cycles=8, mix=ScenarioMix(fault_share=1.0, disturbed_share=0.0))
    for labels, (what,) in zip(episodes.labels, episodes.events, strict=True):
        start, name = what.stages[0]
        assert (labels[:start] == 0).all()
        assert CLASSES[labels[start]] == name


@pytest.mark.parametrize("kind", sorted(NON_FAULTS))
def test_what_is_no_fault_is_labelled_none_and_changes_the_waveform(kind: str) -> None:
    network = draw_networks(16, np.random.default_rng(8))
    rng = np.random.default_rng(9)
    plans = []
    for n in range(16):
        what = NON_FAULTS[kind](LineContext.of(network, n, BRISK), rng, 64)
        plans.append(Plan(what.commands, what.modulations))
    waves = solve(network, plans, 640)
    quiet = solve(network, [Plan()] * 16, 640)
    assert (waves.labels == 0).all()
    np.testing.assert_array_equal(waves.samples[:, :60], quiet.samples[:, :60])
    changed = np.abs(waves.samples - quiet.samples).max(axis=(1, 2))
    assert (changed > 1e-3).all()


@pytest.mark.parametrize("name", ["AG", "BCG", "CA", "ABC"])
def test_after_a_trip_the_line_is_dead_unlabelled_and_comes_back_healthy(name: str) -> None:
    network = draw_networks(8, np.random.default_rng(3))
    rng = np.random.default_rng(4)
    whats = [fault(LineContext.of(network, n, BRISK), rng, 64, name, clearing="three_pole") for n in range(8)]
    waves = solve(network, [Plan(w.commands, w.modulations) for w in whats], 1280)
    for n, what in enumerate(whats):
        closing = min(c.sample for c in what.commands if c.action.startswith("close_local"))
        tripped = next(c.sample for c in what.commands if c.action == "open_local")
        dead = slice(tripped + 3 * SAMPLES_PER_CYCLE, closing - 2)
        assert np.abs(waves.samples[n, dead, :3]).max() < 0.01
        assert (waves.labels[n, tripped + 3 * SAMPLES_PER_CYCLE :] == 0).all()
        np.testing.assert_allclose(np.abs(waves.samples[n, -32:, 3:]).max(axis=0), 1.0, atol=0.15)


def test_an_evolving_fault_is_one_run_of_labels_with_two_classes() -> None:
    network = draw_networks(8, np.random.default_rng(3))
    rng = np.random.default_rng(4)
    whats = [fault(LineContext.of(network, n, BRISK), rng, 64, "AG", evolving=True) for n in range(8)]
    labels = solve(network, [Plan(w.commands, w.modulations) for w in whats], 960).labels
    found = injected_faults(labels)
    assert len(found) == 8
    for run, what in zip(found, whats, strict=True):
        assert [CLASSES[c] for c in run.classes] == [*what.classes]


def test_current_transformers_saturate_only_beyond_their_knee() -> None:
    t = np.arange(320) * 2 * np.pi / SAMPLES_PER_CYCLE
    current = (20 * np.cos(t)[None, :, None] * np.ones(3)).astype(np.float32)
    sound = saturate(current, np.array([100.0]), np.zeros((1, 3)))
    np.testing.assert_array_equal(sound, current)
    saturated = saturate(current, np.array([5.0]), np.zeros((1, 3)))
    assert 0 < np.abs(saturated).sum() < 0.7 * np.abs(current).sum()


def test_a_scenario_holds_every_fault_and_every_kind_of_disturbance() -> None:
    record = scenario(10, 16, seed=3)
    assert record.samples.shape == (10, 25_600, 6)
    assert record.samples.dtype == np.float32
    assert {name for event in record.events for name in event.classes} == set(FAULT_CLASSES)
    assert {event.kind for event in record.events} == {"fault", *NON_FAULTS}


def test_a_scenario_is_quiet_for_a_second_before_everything_that_happens() -> None:
    record = scenario(4, 13, seed=5)
    for line in range(4):
        mine = sorted((e.start, e.stop) for e in record.events if e.line == line)
        ends = [0, *(stop for _, stop in mine)]
        assert all(start - end >= record.rate_hz for (start, _), end in zip(mine, ends, strict=False))


def test_the_joints_of_a_scenario_are_not_seen() -> None:
    record = scenario(6, 9.7, seed=6, fault_share=0.0)
    rate = int(record.rate_hz)
    for joint in (int(3.2 * rate), int(6.4 * rate)):
        # A sine obeys x(t+1) + x(t-1) = 2 cos(w) x(t); the residual at a joint must not exceed that elsewhere.
        x = record.samples[:, joint - 200 : joint + 200].astype(float)
        kink = x[:, 2:] - 2 * np.cos(2 * np.pi / SAMPLES_PER_CYCLE) * x[:, 1:-1] + x[:, :-2]
        at, before = np.abs(kink[:, 190:240]).max(axis=(1, 2)), np.abs(kink[:, :150]).max(axis=(1, 2))
        assert (at < 2 * before + 0.01).all()


def test_events_agree_with_labels() -> None:
    record = scenario(5, 13, seed=9)
    faults = [e for e in record.events if e.classes]
    for event in faults:
        stages = record.labels[event.line, event.start : event.stop]
        assert (stages != 0).all()
        assert CLASSES[stages[0]] == event.classes[0]
        assert record.labels[event.line, event.start - 1] == 0
    assert len(faults) == len(injected_faults(record.labels))


def test_an_impossible_scenario_says_what_is_needed() -> None:
    with pytest.raises(TrainingError, match="at least one line"):
        scenario(0, 10, seed=1)
