"""Apply imperfections of measurements, each by a function of arrays.

Samples are float32 (n, t, 6): ia ib ic va vb vc of n records, ``SAMPLES_PER_CYCLE`` samples per nominal cycle. No
function changes its arguments. Random quantities are passed as numbers or drawn from a given generator.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from domains.powerline.simulator.matrices import Array
from domains.powerline.simulator.network import SAMPLES_PER_CYCLE

Samples = NDArray[np.float32]
Channels = NDArray[np.bool_]

HARMONICS = (3, 5, 7)
PHASE_LAG = 2 * np.pi / 3 * np.array([0, 1, 2, 0, 1, 2])


def with_harmonics(samples: Samples, parts: NDArray[np.complex128], frequency: Array | float = 1.0) -> Samples:
    """Add the harmonics ``HARMONICS`` to all channels, in a fixed relation to the fundamental of each phase.

    Args:
        samples: samples of the records.
        parts: amplitudes as shares of the record's own fundamental, complex (n, 3); the angle is that of the harmonic.
        frequency: frequency of the fundamental (n,) relative to nominal.
    """
    t = np.arange(samples.shape[1])
    turned = 2 * np.pi / SAMPLES_PER_CYCLE * np.broadcast_to(frequency, len(samples))[:, None] * t
    level = np.sqrt(2) * np.sqrt(np.square(samples, dtype=np.float64).mean(axis=1))
    added = np.zeros(samples.shape)
    for k, order in enumerate(HARMONICS):
        angle = order * (turned[:, :, None] - PHASE_LAG) + np.angle(parts[:, k])[:, None, None]
        added += np.abs(parts[:, k])[:, None, None] * np.cos(angle)
    return np.asarray(samples + added * level[:, None, :], np.float32)


def saturate(current: Samples, knee: Array, remanence: Array) -> Samples:
    """Return the secondary current (n, t, 3) of CTs with a resistive burden.

    The flux is the integral of the secondary current. Above the knee point ``knee`` (n,) the steep magnetising branch
    carries nearly all of the current. The integration uses the implicit Euler method, which is stable for any slope.
    """
    step = 2 * np.pi / SAMPLES_PER_CYCLE
    limit = knee[:, None] * np.ones(3)
    flux = remanence * limit
    slope = 60.0  # per radian: about nine tenths of the current above the knee point are lost
    seen = np.empty_like(current)
    for k in range(current.shape[1]):
        now = current[:, k]
        free = flux + step * now
        over = np.clip(np.abs(free) - limit, 0.0, None)
        flux = free - np.sign(free) * over * (step * slope / (1 + step * slope))
        magnetising = np.sign(flux) * np.clip(np.abs(flux) - limit, 0.0, None) * slope
        seen[:, k] = now - magnetising
    return seen


def permuted(samples: Samples, currents: NDArray[np.intp], voltages: NDArray[np.intp] | None = None) -> Samples:
    """Connect phase ``currents[:, k]`` (n, 3) to current input k; voltages by ``voltages``, by default likewise."""
    channels = np.concatenate([currents, (currents if voltages is None else voltages) + 3], axis=1)
    return np.take_along_axis(samples, channels[:, None, :], axis=2)


def reversed_polarity(samples: Samples, channels: Channels) -> Samples:
    """Reverse the polarity of ``channels`` (n, 6)."""
    return np.where(channels[:, None, :], -samples, samples)


def jittered(samples: Samples, deviation: Array, rng: np.random.Generator) -> Samples:
    """Sample all channels at instants with jitter of standard deviation ``deviation`` (n,), in samples.

    Between samples the waveform is a parabola through the three nearest samples.
    """
    late = (rng.standard_normal(samples.shape[:2]) * deviation[:, None]).clip(-1, 1)[:, :, None]
    padded = np.pad(samples, ((0, 0), (1, 1), (0, 0)), mode="edge")
    before, after = padded[:, :-2], padded[:, 2:]
    slope, bend = (after - before) / 2, after - 2 * samples + before
    return np.asarray(samples + late * slope + late * late / 2 * bend, np.float32)


def quantised(samples: Samples, lsb: Array) -> Samples:
    """Round to whole steps of ``lsb`` (n, 6) per unit."""
    step = lsb[:, None, :].astype(np.float32)
    return np.asarray(np.round(samples / step) * step)


def aron(samples: Samples) -> Samples:
    """Derive the current of phase B from CTs in A and C only: it is −(ia + ic), so the zero sequence is lost."""
    return from_residual(samples, np.zeros(samples.shape[:2], np.float32))


def from_residual(samples: Samples, residual: Samples) -> Samples:
    """Derive the current of phase B as ``residual`` (n, t) − ia − ic."""
    seen = samples.copy()
    seen[:, :, 1] = residual - samples[:, :, 0] - samples[:, :, 2]
    return seen


def phase_to_phase(samples: Samples) -> Samples:
    """Remove the zero sequence of the voltages, as VTs between the phases do not measure it."""
    seen = samples.copy()
    seen[:, :, 3:] -= samples[:, :, 3:].mean(axis=2, keepdims=True)
    return seen


def lost(samples: Samples, channels: Channels) -> Samples:
    """Set ``channels`` (n, 6) to zero."""
    return np.where(channels[:, None, :], np.float32(0), samples)


def stuck(samples: Samples, channels: Channels, since: NDArray[np.intp]) -> Samples:
    """Hold ``channels`` (n, 6) at their value of sample ``since`` (n,)."""
    held = samples[np.arange(len(samples)), since][:, None, :]
    after = np.arange(samples.shape[1])[None, :, None] >= since[:, None, None]
    return np.where(channels[:, None, :] & after, held, samples)


def with_gaps(samples: Samples, start: NDArray[np.intp], length: NDArray[np.intp]) -> Samples:
    """Hold all channels at their last value for ``length`` (n,) samples from sample ``start`` (n,) on."""
    t = np.arange(samples.shape[1])[None, :]
    missing = (t >= start[:, None]) & (t < (start + length)[:, None])
    last = np.where(missing, np.maximum(start - 1, 0)[:, None], t)
    return np.take_along_axis(samples, last[:, :, None], axis=1)
