"""Find the voltage and the load of a line without a fault, also in a record that begins dead or in a fault."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from domains.powerline.waveforms.signal.cycles import CyclePhasors
from domains.powerline.waveforms.signal.sequences import sequence_components

STEADY_CYCLES = 3
"""Number of cycles in a row that a voltage must last to be the line's normal one."""
LEAST_BEFORE = 0.75
"""Ratio of the voltage before the event to the highest steady one below which it is not the normal voltage."""
LEAST_UNBALANCED, UNBALANCED_VOLTAGE = 0.95, 0.1
"""The same ratio for voltages whose zero or negative sequence is more than this share of the positive one."""
LEAST_HEALTHY = 0.8
"""Ratio of a cycle's voltage to the normal one from which its currents may be load."""
UNBALANCED = 0.4
"""Ratio of zero or negative to positive sequence of the currents from which they may be those of a fault."""
IDLE = 0.01
"""Ratio to the highest current below which a line is idle."""
CLEARLY_LOWER = 0.5
"""Ratio of a later load to the currents at the beginning from which these were those of a fault."""

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class HealthyLevels:
    """Peak values of voltage and current without a fault, 0 if unknown.

    ``voltage_before`` and ``load_before`` are true if they were measured before the event.
    """

    voltage: float = 0.0
    load: float = 0.0
    voltage_before: bool = True
    load_before: bool = True


def healthy_levels(phasors: CyclePhasors | None) -> HealthyLevels:
    """Return the levels of a line without a fault.

    The state before the event is the rule. A line that is energised later, or whose record begins in a fault, shows
    them later: its voltage is higher then, and its currents are balanced and lower.

    Args:
        phasors: phasors of every cycle, (cycles, 6), ia ib ic va vb vc; zeros for a missing channel.
    """
    if phasors is None:
        return HealthyLevels()
    volts = np.abs(phasors.values[:, 3:])
    count = max(1, phasors.steady)
    sequences = _sequences(phasors.values[:, 3:])
    complete = bool(volts.any(axis=0).all())
    voltages = sequences[:, 0] if complete else _typical(volts)
    before = float(voltages[:count].mean())
    steady = np.lib.stride_tricks.sliding_window_view(voltages, min(STEADY_CYCLES, len(voltages)))
    highest = float(steady.min(axis=1).max())
    unbalanced = complete and bool((sequences[:count, 1:].max(axis=1) > UNBALANCED_VOLTAGE * voltages[:count]).any())
    voltage_before = before >= (LEAST_UNBALANCED if unbalanced else LEAST_BEFORE) * highest
    voltage = before if voltage_before else highest
    load, load_before = _load(phasors, voltages >= LEAST_HEALTHY * voltage)
    return HealthyLevels(voltage, load, voltage_before, load_before)


def _typical(values: Array) -> Array:
    """Return the median of the phases that are alive in any cycle, (cycles,)."""
    alive = values[:, values.any(axis=0)]
    return np.asarray(np.median(alive, axis=1)) if alive.shape[1] else np.zeros(len(values))


def _sequences(phasors: NDArray[np.complex128]) -> Array:
    """Return the magnitudes of the greater rotating component, the smaller one and the zero sequence, (cycles, 3)."""
    zero, one, two = np.abs(sequence_components(phasors)).T
    return np.stack([np.maximum(one, two), np.minimum(one, two), zero], axis=1)


def _load(phasors: CyclePhasors, sound: NDArray[np.bool_]) -> tuple[float, bool]:
    """Return the load, and True if it is that before the event; ``sound`` are the cycles of normal voltage."""
    currents = np.abs(phasors.values[:, :3])
    count = max(1, phasors.steady)
    before = float(_typical(currents[:count]).mean())
    highest = float(currents.max(initial=0.0))
    if not currents.any(axis=0).all() or highest <= 0:
        return before, True
    sequences = _sequences(phasors.values[:, :3])
    alive = sequences[:, 0] > IDLE * highest
    balanced = sequences[:, 1:].max(axis=1) < UNBALANCED * sequences[:, 0]
    later = np.flatnonzero(alive & balanced & sound)
    later = later[later >= count]
    load_later = float(np.median(sequences[later, 0])) if len(later) >= STEADY_CYCLES else 0.0
    has_voltages = bool(phasors.values[:, 3:].any())
    if before <= IDLE * highest:
        # Without voltages, balanced currents after a dead time may be those of a fault.
        sure = has_voltages or load_later < CLEARLY_LOWER * highest
        return (load_later, False) if load_later and sure else (before, True)
    if (has_voltages and not sound[:count].any()) or not balanced[:count].any():
        if load_later:
            return (load_later, False) if load_later < CLEARLY_LOWER * before else (before, True)
        ends_idle = sequences[-1, 0] <= IDLE * highest
        return (0.0, False) if ends_idle or not sound[:count].any() else (before, True)
    return before, True
