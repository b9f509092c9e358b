"""Change the grids behind lines: neutrals that are isolated or compensated, and infeed by inverters.

Every function returns other networks and does not change its arguments.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from domains.powerline.simulator.matrices import ROTATION, Array, positive_and_zero, sequence_matrix
from domains.powerline.simulator.network import Network

DETUNING = (-0.1, 0.15)  # relative deviation of a coil's current from that of the capacitance; mostly overcompensated
COIL_DAMPING = (0.01, 0.04)  # resistance of a coil relative to its reactance
LEAKAGE = (0.01, 0.05)  # conductance of a phase to earth relative to its capacitive susceptance
# Zero-sequence impedance of a source without an earthed neutral, relative to the capacitive reactance to earth. With
# this much more resistance than reactance, the charge of a displaced neutral decays without an oscillation.
ISOLATED_OHM, ISOLATED_X = 50.0, 10.0

ARRESTER = 2.0  # per unit: voltage to earth to which surge arresters limit the line
INFEED = (0.1, 0.8)  # current of an inverter before a fault, per unit
POSITIVE_ANGLE = np.radians(70)  # of the positive-sequence impedance behind an inverter's voltage
NEGATIVE_X = 6.0  # negative-sequence reactance of an inverter, per unit


def with_neutral(
    network: Network,
    lines: NDArray[np.bool_],
    rng: np.random.Generator,
    earth_current: tuple[float, float],
    *,
    resonant: bool,
) -> Network:
    """Isolate the neutral of both sources of ``lines`` (n,), or earth that of the local one through a coil.

    The zero-sequence capacitance of the whole galvanically connected network is lumped at the line's node, so the
    measured current of a single-phase fault is that of the coil, or very small if the neutral is isolated. The
    voltages of the healthy phases rise to the phase-to-phase voltage.

    Args:
        network: n lines.
        lines: mask (n,) of the lines to change.
        rng: source of randomness.
        earth_current: bounds of the capacitive earth-fault current of the network, per unit of rated current.
        resonant: True for a coil that compensates the capacitance up to a deviation within ``DETUNING``.
    """
    n = len(network)
    omega = 2 * np.pi * network.nominal_hz
    least, most = (float(bound) for bound in np.log(earth_current))
    capacitive = np.exp(rng.uniform(least, most, n)) / 3  # current of one phase's capacitance, per unit
    detuning, damping = rng.uniform(*DETUNING, n), rng.uniform(*COIL_DAMPING, n)
    x_earth = 1 / capacitive
    positive, _ = positive_and_zero(network.c_line)
    c_zero = capacitive / omega
    c_line = sequence_matrix(np.maximum(positive, c_zero), c_zero)
    x_coil = x_earth / (1 + detuning)
    changed: dict[str, NDArray[np.generic]] = {
        "c_line": c_line,
        "shunt": np.repeat((capacitive * rng.uniform(*LEAKAGE, n))[:, None], 3, axis=1),
        "unearthed": np.ones(n, bool),
        "arrester": np.full(n, ARRESTER * np.sqrt(2)),  # in such networks they withstand the phase-to-phase voltage
    }
    for end in ("local", "remote"):
        tuned = resonant and end == "local"
        x_zero = x_coil if tuned else ISOLATED_X * x_earth
        r_zero = damping * x_coil if tuned else ISOLATED_OHM * x_earth
        changed[f"r_{end}"] = _with_zero_sequence(getattr(network, f"r_{end}"), r_zero)
        changed[f"l_{end}"] = _with_zero_sequence(getattr(network, f"l_{end}"), x_zero / omega)
    return _replaced(network, lines, changed)


def with_inverter(
    network: Network,
    lines: NDArray[np.bool_],
    rng: np.random.Generator,
    current_limit: tuple[float, float],
    end: Literal["local", "remote"],
) -> Network:
    """Replace one source of ``lines`` (n,) by an inverter with limited current and high negative-sequence impedance.

    The inverter is a linear model: a balanced voltage behind a positive-sequence impedance of such a magnitude that
    the current at a three-phase fault at its terminals is exactly the limit, which is drawn within ``current_limit``.
    The impedance contains a part in proportion to ``ROTATION``, which exchanges energy between the phases without
    loss, so that the impedance of the negative sequence is several times that of the positive sequence. The model
    settles in about a cycle, as a current control does. Its transformer earths the neutral. On a line that only the
    inverter energises, surge arresters limit the voltage.

    Args:
        network: n lines.
        lines: mask (n,) of the lines to change.
        rng: source of randomness.
        current_limit: bounds of the limit, per unit of the line's rated current.
        end: end of the inverter; "local" is the measured one.
    """
    n = len(network)
    omega = 2 * np.pi * network.nominal_hz
    limit, infeed = rng.uniform(*current_limit, n), rng.uniform(*INFEED, n)
    # The voltage is that of the other source plus the drop of the infeed at unity power factor: |1 + I Z| = limit |Z|.
    spare, cosine = limit**2 - infeed**2, infeed * np.cos(POSITIVE_ANGLE)
    magnitude = (cosine + np.sqrt(cosine**2 + spare)) / spare
    impedance = magnitude * np.exp(1j * POSITIVE_ANGLE)
    x_mean, x_turned = (NEGATIVE_X + impedance.imag) / 2, (NEGATIVE_X - impedance.imag) / 2
    _, r_zero = positive_and_zero(getattr(network, f"r_{end}"))
    _, l_zero = positive_and_zero(getattr(network, f"l_{end}"))
    base = network.emf_remote if end == "local" else network.emf_local
    voltage = base * (1 + infeed * impedance)
    changed: dict[str, NDArray[np.generic]] = {
        f"r_{end}": sequence_matrix(impedance.real, r_zero) - x_turned[:, None, None] * ROTATION,
        f"l_{end}": sequence_matrix(x_mean / omega, l_zero),
        f"emf_{end}": np.abs(voltage),
        "arrester": np.full(n, ARRESTER),
        "load_angle": np.angle(voltage) * (-1 if end == "local" else 1),
    }
    return _replaced(network, lines, changed)


def _with_zero_sequence(matrix: Array, zero: Array) -> Array:
    """Return matrices (n, 3, 3) with another zero-sequence value (n,), and all else unchanged."""
    _, present = positive_and_zero(matrix)
    return np.asarray(matrix + ((zero - present) / 3)[:, None, None])


def _replaced(network: Network, lines: NDArray[np.bool_], changed: dict[str, NDArray[Any]]) -> Network:
    """Return the networks with the arrays ``changed`` on ``lines``."""

    def chosen(name: str, value: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(np.where(lines.reshape(-1, *[1] * (value.ndim - 1)), value, getattr(network, name)))

    return replace(network, **{name: chosen(name, value) for name, value in changed.items()})
