"""Wide swings, pole slips and large equipment against circuit theory."""

from __future__ import annotations

import numpy as np
import pytest

from domains.powerline.simulator.episodes import plan_of
from domains.powerline.simulator.events import BRISK, LineContext, PlannedEvent
from domains.powerline.simulator.network import SAMPLES_PER_CYCLE, Network
from domains.powerline.simulator.solver import Plan, Waveforms, solve
from domains.powerline.simulator.sweep import draw_networks
from domains.powerline.simulator.swings import HARDER_NON_FAULTS, PoleSlip, Reactor, pole_slip, second_circuit

N, START = 8, 64


def lines(n: int = N) -> Network:
    network = draw_networks(n, np.random.default_rng(8), 50)
    return Network(**{**vars(network), "frequency_hz": network.nominal_hz.copy()})


def planned(kind: str, network: Network) -> list[PlannedEvent]:
    rng = np.random.default_rng(2)
    return [HARDER_NON_FAULTS[kind](LineContext.of(network, k, BRISK), rng, START) for k in range(len(network))]


def solved(network: Network, events: list[PlannedEvent]) -> Waveforms:
    length = max(event.stop for event in events) + 4 * SAMPLES_PER_CYCLE
    return solve(network, [plan_of([event]) for event in events], length)


def amplitudes(samples: np.ndarray) -> np.ndarray:
    """Return the amplitude of the fundamental of every whole cycle (n, cycles, 6)."""
    whole = samples.shape[1] // SAMPLES_PER_CYCLE * SAMPLES_PER_CYCLE
    cycles = samples[:, :whole].reshape(len(samples), -1, SAMPLES_PER_CYCLE, 6).astype(float)
    turn = np.exp(-2j * np.pi * np.arange(SAMPLES_PER_CYCLE) / SAMPLES_PER_CYCLE)
    return np.asarray(np.abs(np.einsum("nktc,t->nkc", cycles, turn)) * 2 / SAMPLES_PER_CYCLE)


@pytest.mark.parametrize("kind", sorted(set(HARDER_NON_FAULTS) - {"second_circuit"}))
def test_no_disturbance_is_labelled_and_the_line_returns_to_its_state(kind: str) -> None:
    network = lines()
    waves = solved(network, planned(kind, network))
    assert (waves.labels == 0).all()
    assert waves.settled.all()
    found = amplitudes(waves.samples)
    np.testing.assert_allclose(found[:, -1], found[:, 0], atol=0.03)
    assert (np.abs(found - found[:, :1]).max(axis=(1, 2)) > 0.005).all()


def test_a_second_circuit_changes_the_load_for_good() -> None:
    network = lines()
    rng = np.random.default_rng(4)
    events = [second_circuit(LineContext.of(network, k, BRISK), rng, START) for k in range(N)]
    after = amplitudes(solve(network, [plan_of([event]) for event in events], 40 * SAMPLES_PER_CYCLE).samples)[:, -1]
    angles = np.array([float(event.parameters["load_angle"]) for event in events])
    loaded = Network(**{**vars(network), "load_angle": angles})
    expected = amplitudes(solve(loaded, [Plan()] * N, 2 * SAMPLES_PER_CYCLE).samples)[:, -1]
    np.testing.assert_allclose(after, expected, atol=0.02)
    assert (np.abs(angles) <= np.radians(50) + 1e-9).all()


@pytest.mark.parametrize("turns", [1, -3])
def test_a_pole_slip_passes_all_angles_and_agrees_with_the_steady_state_at_each(turns: int) -> None:
    network = lines()
    seconds = 3.0 * abs(turns)  # so slow that every cycle is nearly in steady state
    slip = PoleSlip(0.1, 0.1 + seconds, turns, local=0.9, remote=1.0)
    waves = solve(network, [Plan(modulations=(slip,))] * N, round((seconds + 0.3) * 50) * SAMPLES_PER_CYCLE)
    found = amplitudes(waves.samples)
    middle = round((0.1 + seconds / 2) * 50)  # the cycle that begins at half of all turns
    turned = Network(
        **{**vars(network), "load_angle": network.load_angle + np.pi * turns, "emf_local": 0.9 * network.emf_local}
    )
    expected = amplitudes(solve(turned, [Plan()] * N, SAMPLES_PER_CYCLE).samples)[:, 0]
    np.testing.assert_allclose(found[:, middle], expected, rtol=0.05, atol=0.04)
    np.testing.assert_allclose(found[:, -1], found[:, 0], atol=1e-3)


def test_the_voltage_at_the_electrical_centre_is_nearly_zero_at_opposition() -> None:
    network = lines(20)
    rng = np.random.default_rng(5)
    contexts = [LineContext.of(network, k, BRISK) for k in range(20)]
    events = [pole_slip(context, rng, START, slip_hz=(1.0, 2.0), centred=1.0) for context in contexts]
    found = amplitudes(solved(network, events).samples)
    lowest, current = found[:, :, 3:].min(axis=(1, 2)), found[:, :, :3].max(axis=(1, 2))
    for k, context in enumerate(contexts):
        # The magnitudes move the centre as far as they may: the voltage at the measured end follows from the divider.
        ratio = float(events[k].parameters["emf_ratio"])
        local, remote = network.emf_local[k] * min(ratio, 1.0), network.emf_remote[k] * min(1 / ratio, 1.0)
        at_end = abs(local - (local + remote) * context.source_share)
        assert lowest[k] == pytest.approx(at_end, abs=0.2)
        assert current[k] == pytest.approx((local + remote) / context.total_x, rel=0.25)
    assert np.quantile(lowest, 0.2) < 0.2


def test_slips_and_turns_are_within_their_bounds() -> None:
    network, rng = lines(), np.random.default_rng(9)
    events = [pole_slip(LineContext.of(network, k % N, BRISK), rng, START) for k in range(300)]
    turns = {int(float(event.parameters["turns"])) for event in events}
    slips = [float(event.parameters["slip_hz"]) for event in events]
    assert turns == {1, 2, 3, 4, 5}
    assert 0.2 <= min(slips) < 0.3
    assert 5.0 < max(slips) <= 7.0


def test_a_reactor_draws_an_offset_lagging_current_that_ends_at_a_zero() -> None:
    network = lines()
    waves = solve(network, [Plan(modulations=(Reactor(0.05, 0.6, 0.5, 0.05),))] * N, 50 * SAMPLES_PER_CYCLE).samples
    without = solve(network, [Plan()] * N, 50 * SAMPLES_PER_CYCLE).samples
    added = (waves - without)[:, :, :3].astype(float)
    cycles = added.reshape(N, -1, SAMPLES_PER_CYCLE, 3)
    assert (np.abs(cycles.mean(axis=2))[:, 3].max(axis=1) > 10 * np.abs(cycles.mean(axis=2))[:, 28].max(axis=1)).all()
    assert np.abs(cycles[:, 36:]).max() < 0.02
    steady = amplitudes(waves - without)[:, 28, :3]
    assert (steady > 0.02).all()
    assert (steady < 0.55).all()
