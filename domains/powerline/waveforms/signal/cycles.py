"""Measure one phasor per mains cycle, and the cycles before the event."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from domains.powerline.waveforms.record import Segment
from domains.powerline.waveforms.signal.resample import FEWEST_PER_CYCLE, resampled

PER_CYCLE = 32
POINTS_PER_CYCLE = 16
"""Number of sliding phasors per cycle."""
LEAST_RATIO = 2.5
"""Smallest number of samples per cycle for which sliding phasors are measured."""
MOST_SECONDS = 10.0
"""Length of the beginning of a record that is analysed; longer records are continuous recordings."""
STEADY_VOLTAGE, STEADY_CURRENT = 0.05, 0.15
"""Relative change from the first cycle up to which a cycle still counts as before the event."""


@dataclass(frozen=True, slots=True)
class CyclePhasors:
    """One phasor per cycle, complex (cycles, channels), peak values; the first ``steady`` cycles precede the event."""

    values: NDArray[np.complex128]
    steady: int

    @property
    def before(self) -> NDArray[np.complex128]:
        """Mean phasors before the event, (channels,)."""
        return np.asarray(self.values[: self.steady].mean(axis=0))


def cycle_phasors(
    samples: NDArray[np.float32],
    segments: Sequence[Segment],
    frequency_hz: float,
    groups: Sequence[tuple[slice, float]] = ((slice(0, 3), STEADY_CURRENT), (slice(3, 6), STEADY_VOLTAGE)),
) -> CyclePhasors | None:
    """Return the phasors of the cycles of the first segment that is fast enough and holds a cycle.

    Args:
        samples: float32 (t, channels).
        segments: segments of the record.
        frequency_hz: mains frequency.
        groups: columns of one quantity each, and the relative change up to which it counts as steady.

    Returns:
        The phasors; None if no segment holds a whole cycle.
    """
    waves = one_cycle_waves(samples, segments, frequency_hz)
    if not len(waves):
        return None
    values = fundamental(waves)
    return CyclePhasors(values, _steady_cycles(values, groups))


def one_cycle_waves(
    samples: NDArray[np.float32], segments: Sequence[Segment], frequency_hz: float
) -> NDArray[np.float32]:
    """Return the whole cycles of the segment of ``first_usable``, float32 (cycles, PER_CYCLE, channels).

    Args:
        samples: float32 (t, channels).
        segments: segments of the record.
        frequency_hz: mains frequency.
    """
    none = np.empty((0, PER_CYCLE, samples.shape[1]), np.float32)
    first = first_usable(segments, frequency_hz)
    if first is None:
        return none
    stop = first.first + min(len(first), int(MOST_SECONDS * first.rate_hz))
    waves, _ = resampled(samples, [replace(first, stop=stop)], PER_CYCLE * frequency_hz)
    cycles = len(waves) // PER_CYCLE
    if cycles == 0:
        return none
    return waves[: cycles * PER_CYCLE].reshape(cycles, PER_CYCLE, -1)


def first_usable(segments: Sequence[Segment], frequency_hz: float) -> Segment | None:
    """Return the first segment that is fast enough and holds a cycle; None if there is none."""
    return next(
        (
            segment
            for segment in segments
            if segment.rate_hz >= FEWEST_PER_CYCLE * frequency_hz and len(segment) >= segment.rate_hz / frequency_hz
        ),
        None,
    )


def fundamental(waves: NDArray[np.floating]) -> NDArray[np.complex128]:
    """Return the phasors of cycles (n, PER_CYCLE, channels), complex (n, channels), peak values."""
    turn = np.exp(-2j * np.pi * np.arange(PER_CYCLE) / PER_CYCLE)
    return np.asarray(2 / PER_CYCLE * np.einsum("nkc,k->nc", waves, turn))


def _steady_cycles(values: NDArray[np.complex128], groups: Sequence[tuple[slice, float]]) -> int:
    """Return the number of cycles from the start whose phasors stay close to the first one."""
    change = np.abs(values - values[0])
    moved = np.zeros(len(values), np.bool_)
    for group, share in groups:
        size = float(np.abs(values[0, group]).max())
        top = float(np.abs(values[:, group]).max())
        moved |= (change[:, group] > max(share * size, 0.01 * top, 1e-30)).any(axis=1)
    return int(np.argmax(moved)) if moved.any() else len(values)


def sliding_phasors(
    values: NDArray[np.floating], segment: Segment, frequency_hz: float
) -> tuple[NDArray[np.float64], NDArray[np.complex128]]:
    """Return times in seconds, (n,), and phasors over the cycle around each time, (n, channels), peak values.

    The phasors stand still at the mains frequency. Both are empty if the segment is shorter than a cycle.

    Args:
        values: samples of the segment, (t, channels).
        segment: the segment.
        frequency_hz: mains frequency.
    """
    per_cycle = segment.rate_hz / frequency_hz
    if per_cycle < LEAST_RATIO or len(segment) < per_cycle + 1:
        return np.empty(0), np.empty((0, values.shape[1]), np.complex128)
    turned = values * np.exp(-2j * np.pi * frequency_hz * _seconds(segment))[:, None]
    total = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(turned, axis=0)])
    middles = np.arange(per_cycle / 2, len(segment) - per_cycle / 2, per_cycle / POINTS_PER_CYCLE)

    def until(position: NDArray[np.float64]) -> NDArray[np.complex128]:
        low = np.minimum(position.astype(np.int64), len(segment) - 1)
        return np.asarray(total[low] + (position - low)[:, None] * (total[low + 1] - total[low]))

    phasors = 2 / per_cycle * (until(middles + per_cycle / 2) - until(middles - per_cycle / 2))
    return segment.start_s + (middles - 0.5) / segment.rate_hz, phasors


def waves_of(
    phasors: NDArray[np.complex128], times: NDArray[np.float64], segment: Segment, frequency_hz: float
) -> NDArray[np.float32]:
    """Return the waveforms float32 (t, channels) of a segment from sliding phasors (n, channels)."""
    seconds = _seconds(segment)
    turn = np.exp(2j * np.pi * frequency_hz * seconds)
    waves = np.empty((len(segment), phasors.shape[1]), np.float32)
    for column, values in enumerate(phasors.T):
        between = np.interp(seconds, times, values.real) + 1j * np.interp(seconds, times, values.imag)
        waves[:, column] = (between * turn).real
    return waves


def _seconds(segment: Segment) -> NDArray[np.float64]:
    return segment.start_s + np.arange(len(segment)) / segment.rate_hz
