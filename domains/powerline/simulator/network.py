"""Hold the parameters of lines, and of the grids behind their two ends.

All quantities are per unit of the line's nominal phase voltage and rated current (both peak); impedances are per unit
of the ratio of these. Time is in seconds, so an inductance is a reactance per unit divided by 2π·50 or 2π·60.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from domains.powerline.simulator.matrices import Array

SAMPLES_PER_CYCLE = 32
OVERSAMPLING = 4  # solver steps per sample: capacitance and inductance resonate above the output's Nyquist frequency


@dataclass(frozen=True)
class Network:
    """Parameters of ``n`` lines. Vectors have shape (n,) if not stated otherwise, matrices (n, 3, 3).

    The module's docstring gives the units. ``position`` is the fault node on the line (0…1 from the measured end),
    where the line's capacitance is lumped. ``line_vt`` is True if the VTs are on the line side of the circuit breaker.
    """

    nominal_hz: Array
    frequency_hz: Array
    angle: Array  # rad, of the local source's phase A at time zero
    load_angle: Array  # rad by which the remote source leads
    emf_local: Array
    emf_remote: Array
    position: Array
    line_vt: NDArray[np.bool_]
    base_ohm: Array
    base_kv: Array
    r_local: Array
    l_local: Array
    r_remote: Array
    l_remote: Array
    r_line: Array
    l_line: Array
    c_line: Array
    shunt: Array  # (n, 3) conductance to ground: insulation, VTs, single-phase loads
    unearthed: NDArray[np.bool_]  # loads have no connection to earth, as in networks with an isolated neutral
    arrester: Array  # per unit: voltage to earth to which surge arresters limit the node, inf for none

    def __len__(self) -> int:
        return len(self.frequency_hz)

    @property
    def step_s(self) -> Array:
        """Time step of the solver in seconds, (n,)."""
        return np.asarray(1.0 / (self.nominal_hz * SAMPLES_PER_CYCLE * OVERSAMPLING))

    def strength(self, end: Literal["local", "remote"]) -> Array:
        """Return the short-circuit current (n,) of an end, per unit: the inverse of its source's impedance."""
        resistance, inductance = (self.r_local, self.l_local) if end == "local" else (self.r_remote, self.l_remote)
        reactance = (2 * np.pi * self.nominal_hz)[:, None, None] * inductance
        impedance = resistance[:, 0] - resistance[:, 1] + 1j * (reactance[:, 0] - reactance[:, 1])
        return np.asarray(1 / np.abs(impedance[:, 0]))

    def take(self, index: NDArray[np.intp]) -> Network:
        """Return the lines at ``index``, in this order and with repetitions."""
        return Network(**{f.name: getattr(self, f.name)[index] for f in fields(self)})

    def moved(self, *, position: Array, angle: Array) -> Network:
        """Return the same lines with other fault positions and another phase angle at time zero."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return Network(**{**values, "position": position, "angle": angle})
