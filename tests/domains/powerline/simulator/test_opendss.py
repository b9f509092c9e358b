"""The simulator against OpenDSS, an independent power-flow program: the same line between the same two sources.

Phasors at the measured terminal, before and during every fault type and phase combination.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from scipy.signal import butter, sosfreqz

from domains.powerline.simulator.faults import CLASSES, star
from domains.powerline.simulator.network import OVERSAMPLING, SAMPLES_PER_CYCLE, Network
from domains.powerline.simulator.solver import FILTER_CORNER, Command, Plan, solve
from domains.powerline.simulator.sweep import ParameterSweep, draw_networks

dss: Any = pytest.importorskip("opendssdirect", reason="the oracle needs OpenDSSDirect.py (the dev extra)")

POSITIONS = (0.05, 0.35, 0.65, 0.95)
RESISTANCES_OHM = (0.01, 1.0, 10.0, 100.0)
FAULT_AT = 16
SETTLED_CYCLES = 40  # ten times the longest time constant of the sources


def drawn(seed: int) -> tuple[Network, np.ndarray, list[str]]:
    """Return lines, their fault stars (n, 4) and classes: every class at every position and resistance."""
    cases = list(itertools.product(CLASSES[1:], POSITIONS, RESISTANCES_OHM))
    network = draw_networks(len(cases), np.random.default_rng(seed), sweep=ParameterSweep(unbalanced_share=0.5))
    network = network.moved(position=np.array([position for _, position, _ in cases]), angle=network.angle)
    # Arcs of different lengths in the phases, so that no part of the fault is symmetric.
    stars = np.array([star(name, ohm * np.array([1.0, 1.3, 0.8]), 0.6 * ohm) for name, _, ohm in cases])
    return network, stars, [name for name, _, _ in cases]


def phasors(samples: np.ndarray, network: Network, end: int) -> np.ndarray:
    """Return phasors (n, 6) over the cycle before sample ``end``, at each line's own frequency, referred to time zero.

    The anti-aliasing filter's response is removed.
    """
    index = np.arange(end - SAMPLES_PER_CYCLE, end)
    sos = butter(2, FILTER_CORNER / OVERSAMPLING, output="sos")
    found = np.empty((len(network), 6), complex)
    for k, (hz, nominal) in enumerate(zip(network.frequency_hz, network.nominal_hz, strict=True)):
        step = 2 * np.pi * hz / (nominal * SAMPLES_PER_CYCLE)
        basis = np.stack([np.cos(step * index), -np.sin(step * index)], axis=1)
        real, imaginary = np.linalg.lstsq(basis, samples[k, index].astype(float), rcond=None)[0]
        _, response = sosfreqz(sos, [step / OVERSAMPLING])
        found[k] = (real + 1j * imaginary) / response[0]
    return found


def matrix(values: np.ndarray) -> str:
    return "[" + " | ".join(" ".join(f"{value:.10g}" for value in row) for row in values) + "]"


def sequence_of(values: np.ndarray) -> tuple[float, float]:
    """Return the positive and zero sequence value of a balanced 3×3 matrix."""
    return float(values[0, 0] - values[0, 1]), float(values[0, 0] + 2 * values[0, 1])


def solved_by_opendss(network: Network, k: int, ohms: np.ndarray) -> np.ndarray:
    """Return phasors (6,) per unit at the measured terminal of line ``k`` under the fault star ``ohms`` (4,)."""
    hz, base, m = network.frequency_hz[k], network.base_ohm[k], network.position[k]
    volt = network.base_kv[k] * 1e3 / np.sqrt(3)
    omega = 2 * np.pi * hz

    def source(name: str, bus: str, emf: float, angle: float, r: np.ndarray, inductance: np.ndarray) -> str:
        (r1, r0), (x1, x0) = sequence_of(r * base), sequence_of(omega * inductance * base)
        return (
            f"{name} bus1={bus} basekv={network.base_kv[k]:.10g} pu={emf:.10g} angle={np.degrees(angle):.10g}"
            f" phases=3 R1={r1:.10g} X1={x1:.10g} R0={r0:.10g} X0={x0:.10g}"
        )

    def stretch(name: str, ends: str, part: float) -> str:
        r, x = part * network.r_line[k] * base, part * omega * network.l_line[k] * base
        return f"New Line.{name} {ends} phases=3 length=1 rmatrix={matrix(r)} xmatrix={matrix(x)} cmatrix=[0|0 0|0 0 0]"

    local, remote = network.angle[k], network.angle[k] + network.load_angle[k]
    nanofarad = network.c_line[k] / base * 1e9
    commands = [
        "Clear",
        f"Set DefaultBaseFrequency={hz:.10g}",
        "New " + source("Circuit.pair", "near", network.emf_local[k], local, network.r_local[k], network.l_local[k]),
        "New " + source("Vsource.far", "far", network.emf_remote[k], remote, network.r_remote[k], network.l_remote[k]),
        stretch("first", "bus1=near bus2=node", m),
        stretch("second", "bus1=node bus2=far", 1 - m),
        # All capacitance is at the node: a line of zero length with an open end.
        f"New Line.capacitance bus1=node bus2=nowhere phases=3 length=1 rmatrix={matrix(1e-6 * np.eye(3))}"
        f" xmatrix={matrix(1e-6 * np.eye(3))} cmatrix={matrix(nanofarad)}",
        *(f"New Fault.leak{p} phases=1 bus1=node.{p} r={base / network.shunt[k, p - 1]:.10g}" for p in (1, 2, 3)),
        *(
            f"New Fault.arc{p} phases=1 bus1=node.{p} bus2=star.1 r={ohms[p - 1]:.10g}"
            for p in (1, 2, 3)
            if np.isfinite(ohms[p - 1])
        ),
    ]
    if np.isfinite(ohms[3]):
        commands.append(f"New Fault.ground phases=1 bus1=star.1 r={ohms[3]:.10g}")
    commands += ["Set Tolerance=1e-9", "Set MaxIterations=200", "Solve"]
    for command in commands:
        dss.Text.Command(command)
    assert dss.Solution.Converged()
    dss.Circuit.SetActiveElement("Line.first")
    current = np.array(dss.CktElement.Currents()).view(complex)[:3] / (volt / base)
    dss.Circuit.SetActiveBus("near")
    voltage = np.array(dss.Bus.Voltages()).view(complex)[:3] / volt
    return np.concatenate([current, voltage])


def relative_error(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Return the largest error of the three currents and of the three voltages (n, 2), relative to their largest."""
    parts = (slice(0, 3), slice(3, 6))
    return np.stack(
        [np.abs(found[:, p] - expected[:, p]).max(axis=1) / np.abs(expected[:, p]).max(axis=1) for p in parts], axis=1
    )


def test_phasors_before_and_during_every_fault_agree_with_opendss_within_one_per_cent() -> None:
    network, stars, names = drawn(seed=31)
    plans = [Plan((Command(FAULT_AT + SAMPLES_PER_CYCLE, "fault", tuple(ohms)),)) for ohms in stars]
    samples = solve(network, plans, SETTLED_CYCLES * SAMPLES_PER_CYCLE).samples
    before = phasors(samples, network, FAULT_AT + SAMPLES_PER_CYCLE - 1)
    during = phasors(samples, network, samples.shape[1])

    healthy = np.full(4, np.inf)
    count = range(len(network))
    quiet = np.array([solved_by_opendss(network, k, healthy) for k in count])
    faulty = np.array([solved_by_opendss(network, k, stars[k]) for k in count])

    assert relative_error(before, quiet).max() < 0.01
    errors = relative_error(during, faulty)
    worst = int(errors.max(axis=1).argmax())
    assert errors.max() < 0.01, (names[worst], network.position[worst], stars[worst], errors[worst])
