"""Estimate the zero-sequence voltage, which phase-to-phase voltages lack, from their change in the event.

Most faults change few phases. Of all zero-sequence voltages the one is taken with which the three phase-to-ground
voltages change least in sum. This is exact for a fault of one phase to ground, and zero for faults without ground.

The point of the least sum of distances from three points is known as their Fermat point, or geometric median.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from domains.powerline.waveforms.record import Segment
from domains.powerline.waveforms.signal.cycles import POINTS_PER_CYCLE, sliding_phasors, waves_of
from domains.powerline.waveforms.signal.sequences import sequence_components

STEADY = 0.05
"""Relative change from cycle to cycle up to which the voltages are steady."""
BALANCED = 0.1
"""Ratio of negative to positive sequence up to which steady voltages are those without a fault."""
DEAD_SHARE = 0.2
"""Ratio to the present level below which the earlier voltages were those of a dead line."""
UNSTEADY_PER_POINT = 1e-4
"""Relative change between two phasors that counts as much as the distance of one phasor."""
LAG_CYCLES, TURN_CYCLES = 2, 8
"""Age of the voltages that are taken as those without a fault, and number of cycles that give their speed."""
LONGEST_EVENT_CYCLES, ENERGISED_CYCLES = 50, 3
"""Number of steady cycles after which changed voltages count as those without a fault: usually, and of a dead line."""

Values = NDArray[np.float32]
Phasors = NDArray[np.complex128]


def with_estimated_zero_sequence(
    balanced: NDArray[np.float64], segments: Sequence[Segment], frequency_hz: float
) -> tuple[Values, bool]:
    """Return phase-to-ground voltages, float32 (t, 3), and True if their zero sequence could be estimated.

    It is estimated from the balanced voltages before the event, and zero until there are any.

    Args:
        balanced: va, vb, vc without zero sequence, (t, 3).
        segments: segments of the record.
        frequency_hz: mains frequency.
    """
    volts = balanced.astype(np.float32)
    reference = _Reference()
    for segment in segments:
        part = slice(segment.first, segment.stop)
        times, phasors = sliding_phasors(balanced[part], segment, frequency_hz)
        if not len(times):
            continue
        before = reference.follow(phasors)
        zero = np.where(np.isnan(before[:, 0]), 0, least_change(phasors - np.nan_to_num(before)))
        zero = zero[_steadiest(phasors)]
        volts[part] += waves_of(zero[:, None], times, segment, frequency_hz)
    return volts, reference.found


def _steadiest(phasors: Phasors) -> NDArray[np.intp]:
    """Return for every phasor the index of the steadiest one about half a cycle around it, the nearest of equal ones.

    A phasor over a cycle in which the voltages change belongs neither to the state before nor to the one after.
    """
    count, reach = len(phasors), POINTS_PER_CYCLE // 2 + 1
    steps = np.abs(np.diff(phasors, axis=0)).max(axis=1, initial=0.0) / max(float(np.abs(phasors).max()), 1e-30)
    padded = np.concatenate([steps[:1], steps, steps[-1:]])
    unsteady = np.maximum(padded[:-1], padded[1:]) if count > 1 else np.zeros(count)
    here = np.arange(count)
    best, least = here, unsteady
    for offset in sorted(range(-reach, reach + 1), key=abs)[1:]:
        there = np.clip(here + offset, 0, count - 1)
        found = unsteady[there] + UNSTEADY_PER_POINT * abs(offset)
        best, least = np.where(found < least, there, best), np.minimum(found, least)
    return best


class _Reference:
    """Voltages without a fault, followed from cycle to cycle while they are steady."""

    def __init__(self) -> None:
        self._value: Phasors | None = None
        self._turn = 1.0 + 0j
        self._history: deque[Phasors] = deque(maxlen=LAG_CYCLES + TURN_CYCLES)
        self._last: Phasors | None = None
        self._unchanged = 0

    @property
    def found(self) -> bool:
        """Return True if there were balanced voltages."""
        return self._value is not None

    def follow(self, phasors: Phasors) -> Phasors:
        """Return the voltages without a fault at the time of each phasor (n, 3); NaN before the first ones."""
        known = np.full(phasors.shape, np.nan, np.complex128)
        for first in range(0, len(phasors), POINTS_PER_CYCLE):
            self._step(phasors[first])
            if self._value is not None:
                known[first : first + POINTS_PER_CYCLE] = self._value
        return known

    def _step(self, now: Phasors) -> None:
        unchanged = self._last is not None and _change(now, self._last) <= STEADY
        follows = self._last is not None and _change(now, self._last * self._turn) <= STEADY
        self._unchanged = self._unchanged + 1 if unchanged else 0
        self._last = now
        if self._value is None:
            self._begin(now)
            return
        self._value = self._value * self._turn
        if _change(now, self._value) <= STEADY:
            # The first cycle after an event may hold its end.
            if follows:
                self._history.append(now)
                self._refresh()
            return
        self._history.clear()
        was_dead = np.abs(self._value).max() < DEAD_SHARE * np.abs(now).max()
        if self._unchanged >= (ENERGISED_CYCLES if was_dead else LONGEST_EVENT_CYCLES):
            self._begin(now)

    def _begin(self, now: Phasors) -> None:
        if _is_balanced(now):
            self._value, self._turn = now, 1.0 + 0j
            self._history.append(now)

    def _refresh(self) -> None:
        """Take the value from some cycles ago, since the latest ones may hold the beginning of an event."""
        lag = LAG_CYCLES
        if len(self._history) <= lag:
            return
        older = self._history[-1 - lag]
        steps = len(self._history) - 1 - lag
        if steps >= 2:
            angle = np.angle((older * self._history[0].conj()).sum()) / steps
            self._turn = complex(np.exp(1j * angle))
        self._value = older * self._turn**lag


def _change(now: Phasors, earlier: Phasors) -> float:
    return float(np.abs(now - earlier).max()) / max(float(np.abs(earlier).max()), 1e-30)


def _is_balanced(values: Phasors) -> bool:
    low, high = sorted(np.abs(sequence_components(values)[1:]).tolist())
    return bool(high > 0 and low <= BALANCED * high)


def least_change(changes: Phasors) -> Phasors:
    """Return the value (n,) that, added to three changes (n, 3), gives the least sum of their magnitudes.

    It is the Fermat point of the triangle of the negative changes: a corner of 120° or more, or else the point from
    which all sides subtend 120°, with the barycentric coordinates sin α / sin(α + 60°) of each corner's angle α.

    Example:
        >>> one_phase = np.array([[2, -1, -1]]) / 3
        >>> least_change(one_phase.astype(complex)).round(3)
        array([0.333+0.j])
    """
    corners = -changes
    best = np.zeros(len(corners), np.complex128)
    sines = np.zeros((len(corners), 3))
    at_corner = np.zeros(len(corners), np.bool_)
    for k in range(3):
        sides = corners[:, [(k + 1) % 3, (k + 2) % 3]] - corners[:, [k]]
        sizes = np.abs(sides)
        units = sides / np.maximum(sizes, 1e-30)
        # The other corners pull with one unit each, a corner that coincides holds with one.
        wide = np.abs(units.sum(axis=1)) <= 1.0 + 1e-9
        best[wide & ~at_corner] = corners[wide & ~at_corner, k]
        at_corner |= wide
        angle = np.abs(np.angle(units[:, 0] * units[:, 1].conj()))
        sines[:, k] = np.sin(angle) / np.maximum(np.sin(angle + np.pi / 3), 1e-9)
    inside = ~at_corner
    weights = sines[inside] / sines[inside].sum(axis=1, keepdims=True)
    best[inside] = (weights * corners[inside]).sum(axis=1)
    return best
