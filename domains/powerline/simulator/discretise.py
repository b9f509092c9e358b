"""Compute the matrices of one time step from a network and the state of its switches.

The state x (9) holds the local and remote currents into the fault node, and the node's voltages. The input u (9) holds
the local and remote source voltages, and the currents that loads draw from the node. With R, L of each side, and C and
G of the node,

    L₁ i₁' = e₁ − R₁ i₁ − v,   L₂ i₂' = e₂ − R₂ i₂ − v,   C v' = i₁ + i₂ − G v − j.

An open pole carries no current, so its row and column are removed from L before the inversion. The step is exact for
inputs that are linear within it (first-order hold), by the φ functions of exponential integrators (Hochbruck and
Ostermann, Acta Numerica 19, 2010).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from domains.powerline.simulator.faults import conductance
from domains.powerline.simulator.matrices import Array
from domains.powerline.simulator.network import Network

STATES, INPUTS, OUTPUTS = 9, 9, 3


@dataclass
class Switches:
    """State of the switches: closed poles (n, 3), fault star in ohm (n, 4), capacitor banks per unit (n, 3)."""

    local: Array
    remote: Array
    fault_ohm: Array
    bank: Array


def _inverse_of_closed(inductance: Array, closed: Array) -> Array:
    both = closed[:, :, None] * closed[:, None, :]
    kept = inductance * both + (1.0 - closed)[:, :, None] * np.eye(3)
    return np.asarray(np.linalg.inv(kept) * both)


def state_space(network: Network, switches: Switches) -> tuple[Array, Array, Array, Array]:
    """Return A (n, 9, 9), B (n, 9, 9) and the output map C (n, 3, 9), D (n, 3, 9) to the measured voltages."""
    n = len(network)
    m = network.position[:, None, None]
    inv1 = _inverse_of_closed(network.l_local + m * network.l_line, switches.local)
    inv2 = _inverse_of_closed(network.l_remote + (1 - m) * network.l_line, switches.remote)
    eye = np.eye(3)
    inv_c = np.linalg.inv(network.c_line + switches.bank[:, :, None] * eye)
    g = conductance(switches.fault_ohm) * network.base_ohm[:, None, None] + network.shunt[:, :, None] * eye

    A, B = np.zeros((n, STATES, STATES)), np.zeros((n, STATES, INPUTS))
    A[:, 0:3, 0:3] = -inv1 @ (network.r_local + m * network.r_line)
    A[:, 3:6, 3:6] = -inv2 @ (network.r_remote + (1 - m) * network.r_line)
    A[:, 0:3, 6:9], A[:, 3:6, 6:9] = -inv1, -inv2
    A[:, 6:9, 0:3] = A[:, 6:9, 3:6] = inv_c
    A[:, 6:9, 6:9] = -inv_c @ g
    B[:, 0:3, 0:3], B[:, 3:6, 3:6], B[:, 6:9, 6:9] = inv1, inv2, -inv_c

    C, D = np.zeros((n, OUTPUTS, STATES)), np.zeros((n, OUTPUTS, INPUTS))
    on_line = network.line_vt[:, None, None]
    # A VT on the line measures the node's voltage plus the drop up to the VT; a VT on the bus measures the source's
    # voltage minus the source's drop.
    inductance = np.where(on_line, m * network.l_line, -network.l_local)
    resistance = np.where(on_line, m * network.r_line, -network.r_local)
    C[:, :, 6:9] = np.where(on_line, eye, 0.0)
    C[:, :, 0:3] = resistance
    D[:, :, 0:3] = np.where(on_line, 0.0, eye)
    C += inductance @ A[:, 0:3]
    D += inductance @ B[:, 0:3]
    return A, B, C, D


def step_matrices(network: Network, switches: Switches) -> Array:
    """Return M (n, 12, 27) with [x(k+1); y(k)] = M [x(k); u(k); u(k+1)]."""
    A, B, C, D = state_space(network, switches)
    h = network.step_s[:, None, None]
    e, phi1, phi2 = _phi(A * h)
    M = np.zeros((len(network), STATES + OUTPUTS, STATES + 2 * INPUTS))
    M[:, :STATES, :STATES] = e
    M[:, :STATES, STATES : STATES + INPUTS] = (phi1 - phi2) @ B * h
    M[:, :STATES, STATES + INPUTS :] = phi2 @ B * h
    M[:, STATES:, :STATES] = C
    M[:, STATES:, STATES : STATES + INPUTS] = D
    return M


def _phi(z: Array) -> tuple[Array, Array, Array]:
    """Return e^z, φ₁(z) = (e^z − 1)/z and φ₂(z) = (φ₁(z) − 1)/z of matrices (n, 9, 9), by scaling and squaring."""
    norm = float(np.abs(z).sum(axis=2).max())
    squarings = max(0, int(np.ceil(np.log2(max(norm, 1e-12)))) + 2)
    z = z / 2.0**squarings
    eye = np.eye(z.shape[1])
    # Compute φ₂ by its Taylor series: at ‖z‖ ≤ 1/4 the eleventh term is below 1e-16. φ₁ and e^z follow from it.
    phi2 = np.broadcast_to(eye / 12.0, z.shape)
    phi2 = eye + z @ phi2
    for k in range(11, 2, -1):
        phi2 = eye + z @ phi2 / k
    phi2 = phi2 / 2.0
    phi1 = eye + z @ phi2
    e = eye + z @ phi1
    for _ in range(squarings):  # e^z is squared by itself: 1 + z φ₁ would lose all digits if z is stiff
        phi2 = 0.25 * (phi1 @ phi1) + 0.5 * phi2
        phi1 = 0.5 * (phi1 @ (e + eye))
        e = e @ e
    return e, phi1, phi2


def steady_state(network: Network, switches: Switches, phasors: Array) -> Array:
    """Return the state phasors, complex (n, 9), for input phasors complex (n, 9) at the networks' frequency."""
    A, B, _, _ = state_space(network, switches)
    omega = (2 * np.pi * network.frequency_hz)[:, None, None]
    system = 1j * omega * np.eye(STATES) - A
    return np.asarray(np.linalg.solve(system, B @ phasors[:, :, None])[:, :, 0])
