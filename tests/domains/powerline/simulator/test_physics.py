"""The simulator against circuit theory: an independent phasor solution of the same network, and symmetries."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import butter, sosfreqz

from domains.powerline.simulator.faults import CLASSES, star
from domains.powerline.simulator.network import OVERSAMPLING, SAMPLES_PER_CYCLE, Network
from domains.powerline.simulator.solver import FILTER_CORNER, Command, Plan, solve
from domains.powerline.simulator.sweep import ParameterSweep, draw_networks

LAG = np.exp(-2j * np.pi / 3 * np.arange(3))
SETTLED_CYCLES = 40


def lines(n: int, seed: int = 3, nominal_hz: float = 50.0) -> Network:
    """Draw lines at exactly nominal frequency, so that one cycle is 32 samples and a phasor one DFT bin."""
    network = draw_networks(n, np.random.default_rng(seed), nominal_hz, ParameterSweep(unbalanced_share=0.5))
    return Network(**{**vars(network), "frequency_hz": network.nominal_hz.copy()})


def with_fault(network: Network, ohms: np.ndarray, sample: int = 16) -> list[Plan]:
    return [Plan((Command(sample, "fault", tuple(star_)),)) for star_ in ohms]


def last_cycle_phasors(samples: np.ndarray) -> np.ndarray:
    """Return the phasors (n, 6) of the last cycle, with the anti-aliasing filter's response removed."""
    window = samples[:, -SAMPLES_PER_CYCLE:].astype(float)
    turn = np.exp(-2j * np.pi * np.arange(SAMPLES_PER_CYCLE) / SAMPLES_PER_CYCLE)
    phasors = 2 / SAMPLES_PER_CYCLE * np.einsum("ntc,t->nc", window, turn)
    corner = butter(2, FILTER_CORNER / OVERSAMPLING, output="sos")
    _, response = sosfreqz(corner, [2 * np.pi / (SAMPLES_PER_CYCLE * OVERSAMPLING)])
    return phasors / response[0]


def nodal_phasors(network: Network, ohms: np.ndarray) -> np.ndarray:
    """Return measured phasors (n, 6) by one nodal equation per line, with the fault as branches to a star node."""
    measured = []
    for k in range(len(network)):
        w = 2j * np.pi * network.frequency_hz[k]
        m = network.position[k]
        line = network.r_line[k] + w * network.l_line[k]
        source = network.r_local[k] + w * network.l_local[k]
        y1 = np.linalg.inv(source + m * line)
        y2 = np.linalg.inv(network.r_remote[k] + w * network.l_remote[k] + (1 - m) * line)
        e1 = network.emf_local[k] * np.exp(1j * network.angle[k]) * LAG
        e2 = network.emf_remote[k] * np.exp(1j * (network.angle[k] + network.load_angle[k])) * LAG
        nodal = np.zeros((4, 4), complex)  # phases A, B, C and the star point
        nodal[:3, :3] = y1 + y2 + w * network.c_line[k] + np.diag(network.shunt[k])
        for phase in range(3):
            g = network.base_ohm[k] / ohms[k, phase] if np.isfinite(ohms[k, phase]) else 0.0
            nodal[phase, phase] += g
            nodal[3, 3] += g
            nodal[phase, 3] -= g
            nodal[3, phase] -= g
        nodal[3, 3] += network.base_ohm[k] / max(ohms[k, 3], 1e-9) if np.isfinite(ohms[k, 3]) else 1e-12
        v = np.linalg.solve(nodal, np.append(y1 @ e1 + y2 @ e2, 0))[:3]
        current = y1 @ (e1 - v)
        at_vt = v + m * line @ current if network.line_vt[k] else e1 - source @ current
        measured.append(np.concatenate([current, at_vt]))
    return np.array(measured)


@pytest.mark.parametrize("name", CLASSES)
def test_steady_state_phasors_of_every_fault_agree_with_a_nodal_solution(name: str) -> None:
    network = lines(12)
    positions = np.tile([0.05, 0.5, 0.95], 4)
    network = network.moved(position=positions, angle=network.angle)
    resistance = np.repeat([0.01, 0.5, 3.0, 10.0], 3)
    ohms = np.array([star(name, np.array([r, 1.3 * r, 0.8 * r]), 0.6 * r) for r in resistance])
    waves = solve(network, with_fault(network, ohms), SETTLED_CYCLES * SAMPLES_PER_CYCLE)
    simulated, expected = last_cycle_phasors(waves.samples), nodal_phasors(network, ohms)
    for part in (slice(0, 3), slice(3, 6)):
        error = np.abs(simulated[:, part] - expected[:, part]).max(axis=1)
        assert (error / np.abs(expected[:, part]).max(axis=1)).max() < 0.01


def test_the_record_begins_in_steady_state() -> None:
    network = lines(40)
    waves = solve(network, [Plan()] * 40, 3 * SAMPLES_PER_CYCLE)
    first, last = waves.samples[:, :SAMPLES_PER_CYCLE], waves.samples[:, -SAMPLES_PER_CYCLE:]
    np.testing.assert_allclose(first, last, atol=2e-3)
    none = np.full((40, 4), np.inf)
    np.testing.assert_allclose(last_cycle_phasors(waves.samples), nodal_phasors(network, none), atol=2e-3)


def test_an_opened_pole_carries_no_current_and_only_after_its_zero() -> None:
    network = lines(30, seed=5)
    trip = 64
    plans = [Plan((Command(trip, "open_local", (1, 0, 0)),))] * 30
    waves = solve(network, plans, 320).samples
    assert np.abs(waves[:, trip + 40 :, 0]).max() < 1e-3
    steps = np.abs(np.diff(waves[:, trip - 32 : trip + 32, 0], axis=1)).max(axis=1)
    usual = np.abs(np.diff(waves[:, :trip, 0], axis=1)).max(axis=1)
    assert (steps < 3 * usual + 0.05).all()  # no chopping: the current ends where it crosses zero


def test_no_waveform_runs_away() -> None:
    network = lines(200, seed=11)
    ohms = np.tile(star("ABG", np.full(3, 0.01), 0.01), (200, 1))
    waves = solve(network, with_fault(network, ohms), 20 * SAMPLES_PER_CYCLE).samples
    # No source delivers more than its own short-circuit current, doubled by full offset.
    assert np.abs(waves[:, :, :3]).max() < 2 * 40 * 1.2 * 1.1
    assert np.abs(waves[:, :, 3:]).max() < 3.5
