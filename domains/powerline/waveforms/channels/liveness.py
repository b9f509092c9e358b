"""Decide which sets of channels are live: a phase of a line carries mains, above the noise level of its converter."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from domains.powerline.waveforms.channels.loading import LoadedChannels
from domains.powerline.waveforms.channels.naming import PhaseSet
from domains.powerline.waveforms.signal.cycles import PER_CYCLE, fundamental, one_cycle_waves

NOISE_STEPS = 6.0
"""Range of a waveform, in steps of its converter, up to which it is noise."""
NOISE_VALUES = 8
"""Number of different values up to which a waveform without a clean fundamental is noise."""
DEAD_SHARE = 1e-3
"""Level of a set relative to the highest of its kind below which it is dead."""
COUNTED_SAMPLES = 20_000
"""Number of samples whose different values are counted."""
MAINS_SHARE, CLEAN_SHARE = 0.4, 0.8
"""Share of a cycle's alternating energy in the fundamental from which the cycle is one of mains, and a clean one."""
MEAN_SHARE = 0.5
"""Ratio of fundamental to mean below which a cycle is a magnitude or direct current; a full DC offset has 1."""
ACTIVE_SHARE = 0.05
"""Ratio of a cycle's fundamental to the highest one from which the cycle counts."""
FITTED_SHARE = 0.5
"""Ratio of fundamentals without and with a drift below which drift and fundamental only imitate another wave."""
ACTIVE_CYCLES = 0.3
"""Share of the counting cycles that must be mains."""
TURNED_SHARE = 0.9
"""Ratio of a sequence component to the mean magnitude from which three waveforms are a third of a turn apart."""

Waves = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class SetState:
    """State of a set of channels over the record.

    Attributes:
        found: the set.
        phasors: one phasor per cycle, complex (cycles, 3), peak A or V; zero for a missing channel; empty if no
            segment holds a whole cycle.
        level: highest fundamental of the set's typical phase, peak A or V.
        clean: typical share of the alternating energy in the fundamental.
        dead: reason for which the set is not judged; empty if it is live.
    """

    found: PhaseSet
    phasors: NDArray[np.complex128]
    level: float
    clean: float = 0.0
    dead: str = ""


def set_states(sets: Sequence[PhaseSet], loaded: LoadedChannels, frequency_hz: float) -> list[SetState]:
    """Return the state of every set.

    Args:
        sets: the sets of a record.
        loaded: waveforms of the channels of the sets.
        frequency_hz: mains frequency.
    """
    states = [_state(found, loaded, frequency_hz) for found in sets]
    highest: dict[str, float] = defaultdict(float)
    for state in states:
        highest[state.found.kind] = max(highest[state.found.kind], state.level)
    judged = []
    for state in states:
        # Without a unit the set may be given in kA or kV: then only a set without a clean wave is dead.
        comparable = loaded.has_unit(state.found.first) or state.clean < CLEAN_SHARE
        if not state.dead and comparable and state.level < DEAD_SHARE * highest[state.found.kind]:
            ratio = state.level / highest[state.found.kind]
            reason = f"dead: its level is {ratio:.2g} of the highest {state.found.kind} in the record"
            state = replace(state, dead=reason)
        judged.append(state)
    return judged


def _state(found: PhaseSet, loaded: LoadedChannels, frequency_hz: float) -> SetState:
    waves = np.zeros((loaded.rows, 3), np.float32)
    for column, index in enumerate(found.channels):
        if index is not None:
            waves[:, column] = -loaded[index] if found.reversed else loaded[index]
    indices = [index for index in found.channels if index is not None]
    ranges = [float(np.ptp(loaded[index])) for index in indices]
    if not any(ranges):
        return SetState(found, np.empty((0, 3), complex), 0.0, dead="dead: constant")
    cycles = one_cycle_waves(waves, loaded.segments, frequency_hz)
    phasors = fundamental(cycles)
    shares, amplitudes, means = _fitted(cycles)
    there = [k for k, index in enumerate(found.channels) if index is not None]
    level = float(np.median(amplitudes[:, there], axis=1).max(initial=0.0))
    active = (amplitudes >= ACTIVE_SHARE * amplitudes.max(axis=0, initial=0.0)) & (amplitudes > 0)
    clean = float(np.median(shares[active])) if active.any() else 0.0
    mains = active & (shares >= MAINS_SHARE) & (amplitudes >= MEAN_SHARE * means)
    mains &= np.abs(phasors) >= FITTED_SHARE * amplitudes
    dead = _reason(loaded, indices, ranges, clean, active, mains)
    if not dead and found.numbered and not _is_turned(phasors):
        dead = "the numbers in the names are no phases: the channels are not a third of a turn apart"
    return SetState(found, phasors, level, clean, dead)


def _is_turned(phasors: NDArray[np.complex128]) -> bool:
    """Return True if three waveforms are mostly of positive or negative sequence in the first or the last cycle."""
    turn = np.exp(2j * np.pi * np.arange(3) / 3)
    ends = phasors[[0, -1]] if len(phasors) else phasors
    sequences = np.abs(np.stack([ends @ turn, ends @ turn.conj()]))
    return bool((sequences.max(axis=0, initial=0.0) >= TURNED_SHARE * np.abs(ends).sum(axis=1) + 1e-30).any())


def _fitted(cycles: Waves) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Fit a mean, a linear drift and a fundamental to every cycle.

    Returns:
        The fundamental's share of the energy besides mean and drift, the fundamental's amplitude, and the size of the
        mean, each (cycles, 3).
    """
    steps = np.arange(PER_CYCLE)
    turns = 2 * np.pi * steps / PER_CYCLE
    basis = np.stack([np.ones(PER_CYCLE), steps - steps.mean(), np.cos(turns), np.sin(turns)], axis=1)
    parts = np.einsum("jk,nkc->njc", np.linalg.pinv(basis), cycles)
    rest = cycles - np.einsum("kj,njc->nkc", basis, parts)
    wave = np.square(parts[:, 2:]).sum(axis=1) / 2
    energy = wave + np.square(rest).mean(axis=1)
    # A pure ramp leaves only rounding errors of both.
    energy = np.maximum(energy, 1e-9 * np.square(cycles, dtype=np.float64).mean(axis=1) + 1e-30)
    return wave / energy, np.sqrt(2 * wave), np.abs(parts[:, 0])


def _reason(
    loaded: LoadedChannels,
    indices: Sequence[int],
    ranges: Sequence[float],
    clean: float,
    active: NDArray[np.bool_],
    mains: NDArray[np.bool_],
) -> str:
    """Return the reason for which a set is dead; empty if it is live.

    ``active`` and ``mains`` are the cycles of each phase that count and those that are mains, bool (cycles, 3).
    """
    steps = [width / max(loaded.step(index), 1e-30) for index, width in zip(indices, ranges, strict=True)]
    if max(steps) <= NOISE_STEPS:
        return f"dead: its range is at most {max(steps):.0f} steps of the converter"
    if not len(active):
        return ""
    values = max(len(np.unique(loaded[index][:COUNTED_SAMPLES])) for index in indices)
    if values <= NOISE_VALUES and clean < CLEAN_SHARE:
        return f"dead: it has only {values} different values"
    counted = active.sum(axis=0)
    least = np.maximum(np.minimum(2, counted), ACTIVE_CYCLES * counted)
    if not ((counted > 0) & (mains.sum(axis=0) >= least)).any():
        return "no mains: it is direct current, a magnitude or noise"
    return ""
