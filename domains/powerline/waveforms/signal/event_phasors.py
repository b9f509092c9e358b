"""Measure a line's phasors and sequence components before and during the event of a record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from domains.powerline.waveforms.record import Segment
from domains.powerline.waveforms.signal.cycles import (
    PER_CYCLE,
    STEADY_CURRENT,
    STEADY_VOLTAGE,
    cycle_phasors,
    first_usable,
)
from domains.powerline.waveforms.signal.resample import FEWEST_PER_CYCLE, resampled
from domains.powerline.waveforms.signal.sequences import sequence_components
from domains.powerline.waveforms.stretches import stretches

HOP = PER_CYCLE // 4
"""Samples from one phasor to the next where the event is searched."""
BLOCK = 1 << 12
"""Number of phasors that are computed at a time, to limit memory."""
LEAST_CHANGE = 0.02
"""Change in per unit below which nothing has happened."""
SETTLED = 0.1
"""Relative change over half a cycle up to which a phasor counts as steady."""
FLOWING = 0.2
"""Share of the current before the event below which the line counts as switched off."""
CLEAR = 0.05
"""Share of the highest phasor of a quantity from which a phasor's angle is a reference."""

_GROUPS = ((slice(0, 3), STEADY_CURRENT), (slice(3, 6), STEADY_VOLTAGE))

Phasor = NDArray[np.complex128]


@dataclass(frozen=True, slots=True)
class SteadyState:
    """Phasors of ia ib ic va vb vc, complex (6,), peak values, and the time from which they are measured."""

    phasors: Phasor
    start_s: float
    stop_s: float

    @property
    def currents(self) -> Phasor:
        """Zero, positive and negative sequence of the currents, (3,)."""
        return sequence_components(self.phasors[:3])

    @property
    def voltages(self) -> Phasor:
        """Zero, positive and negative sequence of the voltages, (3,)."""
        return sequence_components(self.phasors[3:])

    @property
    def reference(self) -> tuple[str, float]:
        """Name and angle, in radians, of the phasor from which angles are counted.

        It is va. If va has collapsed it is the positive sequence of the voltages, and without voltages that of ia.
        """
        for first, names in ((3, ("va", "V1")), (0, ("ia", "I1"))):
            phases = self.phasors[first : first + 3]
            highest = float(np.abs(phases).max())
            for name, value in zip(names, (phases[0], sequence_components(phases)[1]), strict=True):
                if highest > LEAST_CHANGE and abs(value) > CLEAR * highest:
                    return name, float(np.angle(value))
        return "va", 0.0


@dataclass(frozen=True, slots=True)
class EventPhasors:
    """States of a line before and during its event; ``during`` is None if nothing changes."""

    before: SteadyState
    during: SteadyState | None


def event_phasors(
    samples: NDArray[np.float32], segments: Sequence[Segment], frequency_hz: float
) -> EventPhasors | None:
    """Measure the steady state at the start of a record, and the cycle that differs most from it.

    Sequence components are compared by their magnitudes, so a frequency that drifts is no event. A state in which the
    currents have stopped counts only if there is no other.

    Args:
        samples: float32 (t, 6), ia ib ic va vb vc in per unit.
        segments: segments of the record.
        frequency_hz: mains frequency.

    Returns:
        The states before and during the event; None if no segment holds a whole cycle.
    """
    before = state_before(samples, segments, frequency_hz)
    if before is None:
        return None
    return EventPhasors(before, _most_changed(before, _moving_phasors(samples, segments, frequency_hz), frequency_hz))


def state_before(samples: NDArray[np.float32], segments: Sequence[Segment], frequency_hz: float) -> SteadyState | None:
    """Measure the steady state at the start of a record; None if no segment holds a whole cycle.

    If a record begins with a transient or just before the event, it is the cycle before the sharpest change.
    """
    cycles = cycle_phasors(samples, segments, frequency_hz)
    first = first_usable(segments, frequency_hz)
    if cycles is None or first is None or cycles.steady < 2 <= len(cycles.values):
        moving = _moving_phasors(samples, segments, frequency_hz)
        return _before_jump(moving, frequency_hz) if len(moving.times) else None
    # The last cycle before a change is left out: the event may begin in it and not yet exceed the limit.
    steady = max(1, cycles.steady - (cycles.steady < len(cycles.values)))
    mean = cycles.values[:steady].mean(axis=0)
    return SteadyState(mean, first.start_s, first.start_s + steady / frequency_hz)


@dataclass(frozen=True, slots=True)
class _Moving:
    """Phasors (n, 6) of the cycles that begin at ``times`` (n,), four in each cycle.

    ``drift`` (n,) is their relative change over half a cycle, ``jump`` (n,) their change from the cycle before.
    """

    times: NDArray[np.float64]
    values: Phasor
    drift: NDArray[np.float64]
    jump: NDArray[np.float64]


def _moving_phasors(samples: NDArray[np.float32], segments: Sequence[Segment], frequency_hz: float) -> _Moving:
    turn = (2 / PER_CYCLE * np.exp(-2j * np.pi * np.arange(PER_CYCLE) / PER_CYCLE)).astype(np.complex64)
    usable = [segment for segment in segments if segment.rate_hz >= FEWEST_PER_CYCLE * frequency_hz]
    none = np.empty(0)
    parts = [_Moving(none, np.empty((0, samples.shape[1]), np.complex128), none, none)]
    for stretch in stretches(usable):
        waves, start_s = resampled(samples, stretch, PER_CYCLE * frequency_hz)
        if len(waves) < PER_CYCLE:
            continue
        windows = np.lib.stride_tricks.sliding_window_view(waves, PER_CYCLE, axis=0)[::HOP]
        number = np.arange(len(windows))
        # Every quarter of a cycle turns the phasor by a quarter.
        blocks = [windows[first : first + BLOCK] @ turn for first in range(0, len(windows), BLOCK)]
        values = np.concatenate(blocks).astype(np.complex128) * (-1j) ** (number % 4)[:, None]
        times = start_s + number * HOP / (PER_CYCLE * frequency_hz)
        drift = np.full(len(values), np.inf)
        drift[:-2] = _change(values, 2)[2:]
        drift[2:] = np.minimum(drift[2:], _change(values, 2)[2:])
        parts.append(_Moving(times, values, drift, _change(values, 4)))
    return _Moving(*(np.concatenate([getattr(part, name) for part in parts]) for name in _Moving.__slots__))


def _change(values: Phasor, hops: int) -> NDArray[np.float64]:
    """Return the relative change of phasors (n, 6) from those some hops earlier, (n,); zero for the first ones."""
    change = np.zeros(len(values))
    for group, _ in _GROUPS if len(values) > hops else ():
        size = np.abs(values[:, group]).max(axis=1)
        moved = np.abs(values[hops:, group] - values[:-hops, group]).max(axis=1)
        top = np.maximum(np.maximum(size[hops:], size[:-hops]), LEAST_CHANGE)
        change[hops:] = np.maximum(change[hops:], moved / top)
    return change


def _before_jump(moving: _Moving, frequency_hz: float) -> SteadyState:
    """Return the cycle before the sharpest change of a record that does not begin with a steady state."""
    # The cycle before the changed one may hold the beginning of the change.
    index = max(0, int(np.argmax(moving.jump)) - 6)
    return SteadyState(moving.values[index], float(moving.times[index]), float(moving.times[index]) + 1 / frequency_hz)


def _most_changed(before: SteadyState, moving: _Moving, frequency_hz: float) -> SteadyState | None:
    """Return the steady cycle that differs most from the state before; None if none differs."""
    after = moving.times >= before.stop_s - 1e-9
    if not after.any():
        return None
    times, values, drift = moving.times[after], moving.values[after], moving.drift[after]
    score, highest = np.zeros(len(times)), np.zeros(len(times))
    for group, share in _GROUPS:
        old, new = before.phasors[group], values[:, group]
        size, top = float(np.abs(old).max()), float(np.abs(new).max())
        limit = max(share * size, 0.01 * top, LEAST_CHANGE)
        change = np.abs(np.abs(sequence_components(new)) - np.abs(sequence_components(old))) / limit
        score += change.sum(axis=1)
        highest = np.maximum(highest, change.max(axis=1))
    moved = highest > 1
    if not moved.any():
        return None
    load = float(np.abs(before.phasors[:3]).max())
    current = np.abs(values[:, :3]).max(axis=1)
    settled = drift <= SETTLED
    # A cycle in which the line is switched off mixes two states, so it has less current than before and is not settled.
    flowing = moved & (current >= FLOWING * load) & (settled | (current > (1 + STEADY_CURRENT) * load + LEAST_CHANGE))
    candidates = next(mask for mask in (flowing, moved & settled, moved) if mask.any())
    score = np.where(candidates, score, 0)
    # Of almost equal cycles the steadiest is taken: it is farthest from the beginning and the end of the event.
    steady = np.where(settled, score, 0)
    candidates = steady >= 0.97 * steady.max() if steady.max() >= score.max() / 2 else score >= score.max() / 2
    best = int(np.argmin(np.where(candidates, np.minimum(drift, 1e9), np.inf)))
    return SteadyState(values[best], float(times[best]), float(times[best]) + 1 / frequency_hz)
