"""Isolated and compensated neutrals and inverters against an independent phasor solution and their definitions."""

from __future__ import annotations

import numpy as np
import pytest

from domains.powerline.simulator.faults import star
from domains.powerline.simulator.network import SAMPLES_PER_CYCLE, Network
from domains.powerline.simulator.solver import solve
from domains.powerline.simulator.sweep import ParameterSweep, draw_networks
from tests.domains.powerline.simulator.test_physics import last_cycle_phasors, nodal_phasors, with_fault

N = 8
LAG = np.exp(-2j * np.pi / 3 * np.arange(3))
SWEEPS = {
    "isolated": ParameterSweep(kilovolt=(10, 20), isolated_share=1.0),
    "resonant": ParameterSweep(kilovolt=(10, 20), resonant_share=1.0),
    "local": ParameterSweep(inverter_local_share=1.0),
    "remote": ParameterSweep(inverter_remote_share=1.0),
}


def lines(kind: str) -> Network:
    network = draw_networks(N, np.random.default_rng(4), 50, SWEEPS[kind])
    return Network(**{**vars(network), "frequency_hz": network.nominal_hz.copy()})


def faulted(network: Network, name: str, ohm: float = 0.01) -> np.ndarray:
    ohms = np.tile(star(name, np.full(3, ohm), ohm), (N, 1))
    return last_cycle_phasors(solve(network, with_fault(network, ohms), 60 * SAMPLES_PER_CYCLE).samples)


@pytest.mark.parametrize("kind", sorted(SWEEPS))
@pytest.mark.parametrize("name", ["AG", "BC", "ABCG"])
def test_steady_state_phasors_agree_with_a_nodal_solution(kind: str, name: str) -> None:
    network = lines(kind)
    expected = nodal_phasors(network, np.tile(star(name, np.full(3, 0.01), 0.01), (N, 1)))
    found = faulted(network, name)
    for part in (slice(0, 3), slice(3, 6)):
        error = np.abs(found[:, part] - expected[:, part]).max(axis=1)
        assert (error < 0.02 * np.abs(expected[:, part]).max(axis=1) + 0.01).all()


@pytest.mark.parametrize("kind", ["isolated", "resonant"])
def test_a_fault_to_earth_displaces_the_voltages_and_hardly_changes_the_currents(kind: str) -> None:
    network = lines(kind)
    before, after = nodal_phasors(network, np.full((N, 4), np.inf)), faulted(network, "AG")
    zero = after[:, 3:].mean(axis=1)
    np.testing.assert_allclose(np.abs(zero), np.abs(before[:, 3:]).mean(axis=1), rtol=0.12)
    assert (np.abs(after[:, 4:]) > 1.5 * np.abs(before[:, 4:])).all()
    assert np.abs(after[:, :3] - before[:, :3]).max() < 0.4


def test_the_measured_residual_current_is_that_of_the_coil() -> None:
    network = lines("resonant")
    after = faulted(network, "AG")
    omega = 2 * np.pi * 50
    residual, zero = after[:, :3].sum(axis=1), after[:, 3:].mean(axis=1)
    capacitance = network.c_line.sum(axis=(1, 2)) / 3 * 3 * omega  # of all three phases
    compensated = np.abs(residual) / np.abs(zero) / capacitance
    assert ((compensated > 0.85) & (compensated < 1.2)).all()


@pytest.mark.parametrize("end", ["local", "remote"])
def test_the_current_of_an_inverter_is_limited_and_without_negative_sequence(end: str) -> None:
    network = lines(end)
    resistance, inductance = getattr(network, f"r_{end}"), getattr(network, f"l_{end}")
    impedance = resistance + 2j * np.pi * 50 * inductance
    emf = getattr(network, f"emf_{end}")
    short = np.linalg.solve(impedance, (emf[:, None] * LAG)[:, :, None])[:, :, 0]
    np.testing.assert_allclose(np.abs(short), np.abs(short[:, :1]) * np.ones(3), rtol=1e-6)
    assert (
        np.abs(short) >= 1.1 * getattr(network, "emf_remote" if end == "local" else "emf_local")[:, None] - 1e-6
    ).all()
    assert (np.abs(short) <= 1.2 * 1.1).all()
    opposite = np.linalg.solve(impedance, np.tile(LAG.conj()[:, None], (N, 1, 1)))[:, :, 0]
    assert np.abs(opposite).max() < 0.18


def test_a_measured_inverter_delivers_no_more_than_its_limit_in_any_fault_between_phases() -> None:
    network = lines("local")
    for name in ("BC", "ABC"):
        currents = np.abs(faulted(network, name)[:, :3])
        assert currents.max() < 1.2 * 1.15


def test_other_grids_leave_the_remaining_lines_unchanged() -> None:
    usual = draw_networks(40, np.random.default_rng(4))
    mixed = draw_networks(40, np.random.default_rng(4), sweep=ParameterSweep(isolated_share=0.3, resonant_share=0.2))
    same = ~mixed.unearthed
    assert 5 < same.sum() < 35
    for name, value in vars(usual).items():
        np.testing.assert_array_equal(getattr(mixed, name)[same], value[same])


def test_arresters_limit_the_voltage_of_a_line_behind_an_inverter() -> None:
    network = draw_networks(40, np.random.default_rng(4), 50, SWEEPS["remote"])
    np.testing.assert_array_equal(network.arrester, 2.0)
    assert np.isinf(draw_networks(4, np.random.default_rng(4)).arrester).all()
