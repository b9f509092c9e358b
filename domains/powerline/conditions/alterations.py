"""Alter records as conditions require, beyond the simulator's own imperfections. All functions of arrays are pure.

Samples are float32 (n, t, 6): ia ib ic va vb vc of n records, ``SAMPLES_PER_CYCLE`` samples per nominal cycle.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d
from scipy.signal import bilinear, lfilter

from domains.powerline.simulator.imperfections import HARMONICS, PHASE_LAG, Samples
from domains.powerline.simulator.matrices import Array
from domains.powerline.simulator.network import SAMPLES_PER_CYCLE

SILENT_RMS = 0.01  # per unit: lowest level that noise refers to, since noise does not vanish with the signal
CVT_DECAY_CYCLES = 1.0


def cycle_rms(samples: Samples) -> Samples:
    """Return the RMS value (n, t, 6) of the cycle around every sample."""
    power = uniform_filter1d(np.square(samples, dtype=np.float64), SAMPLES_PER_CYCLE, axis=1, mode="nearest")
    return np.asarray(np.sqrt(power.clip(0)), np.float32)


def noisy(samples: Samples, snr_db: float, rng: np.random.Generator) -> Samples:
    """Add white noise ``snr_db`` below the RMS value of the surrounding cycle, per channel."""
    deviation = np.maximum(cycle_rms(samples), SILENT_RMS) * np.float32(10 ** (-snr_db / 20))
    return np.asarray(samples + rng.standard_normal(samples.shape, dtype=np.float32) * deviation)


def distorted(samples: Samples, total: float, rng: np.random.Generator) -> Samples:
    """Add harmonics 3, 5 and 7 in a mix drawn per record; their sum is the share ``total`` of the cycle's RMS."""
    n, length = samples.shape[:2]
    shares = np.sqrt(rng.dirichlet(np.ones(len(HARMONICS)), n)) * total * np.sqrt(2)
    angles = rng.uniform(0, 2 * np.pi, (n, len(HARMONICS)))
    turned = 2 * np.pi / SAMPLES_PER_CYCLE * np.arange(length)[:, None] - PHASE_LAG
    shape = np.zeros(samples.shape)
    for k, order in enumerate(HARMONICS):
        shape += shares[:, k, None, None] * np.cos(order * turned + angles[:, k, None, None])
    return np.asarray(samples + shape * cycle_rms(samples), np.float32)


def subsiding(samples: Samples, part: float) -> Samples:
    """Return the records as measured by capacitive voltage transformers.

    The share ``part`` of the voltage passes through the loop of coupling capacitor and compensating reactor. The loop
    is tuned to the nominal frequency and rings for about a cycle after every change (the subsidence of IEC 61869-5).
    """
    # Bandwidth in radians per sample; the envelope of the ringing decays with half of it.
    bandwidth = 2 / (CVT_DECAY_CYCLES * SAMPLES_PER_CYCLE)
    omega = 2 * np.tan(np.pi / SAMPLES_PER_CYCLE)  # prewarped, so that the discrete loop is tuned to the cycle
    numerator, denominator = bilinear([bandwidth, 0], [1, bandwidth, omega**2], fs=1.0)
    settling = int(8 * CVT_DECAY_CYCLES) * SAMPLES_PER_CYCLE
    voltage = samples[:, :, 3:].astype(np.float64)
    before = np.tile(voltage[:, :SAMPLES_PER_CYCLE], (1, settling // SAMPLES_PER_CYCLE, 1))
    loop = lfilter(numerator, denominator, np.concatenate([before, voltage], axis=1), axis=1)[:, settling:]
    seen = samples.copy()
    seen[:, :, 3:] = (1 - part) * voltage + part * loop
    return seen


def resampled(samples: Samples, positions: Array) -> Samples:
    """Return the waveform at fractional sample ``positions`` (m,) by cubic (Catmull-Rom) interpolation."""
    last = samples.shape[1] - 1
    base = np.floor(positions).astype(np.intp)
    f = (positions - base)[None, :, None].astype(np.float32)
    p0, p1, p2, p3 = (samples[:, np.clip(base + k, 0, last)] for k in (-1, 0, 1, 2))
    slope, bend = p2 - p0, 2 * p0 - 5 * p1 + 4 * p2 - p3
    return np.asarray(p1 + 0.5 * f * (slope + f * (bend + f * (3 * (p1 - p2) + p3 - p0))), np.float32)


def coarser(samples: Samples, per_cycle: float) -> Samples:
    """Sample only ``per_cycle`` times per cycle and interpolate linearly, like a gateway that resamples."""
    length = samples.shape[1]
    ratio = SAMPLES_PER_CYCLE / per_cycle
    kept = resampled(samples, np.arange(0, length - 1 + ratio, ratio))
    at = np.arange(length) / ratio
    base = np.floor(at).astype(np.intp)
    f = (at - base)[None, :, None].astype(np.float32)
    return np.asarray(kept[:, base] * (1 - f) + kept[:, np.minimum(base + 1, kept.shape[1] - 1)] * f, np.float32)


def one_of_three(n: int, currents: int, voltages: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Select ``currents`` current and ``voltages`` voltage channels of every record at random, as a mask (n, 6)."""
    ranks = np.concatenate([rng.random((n, 3)).argsort(axis=1), rng.random((n, 3)).argsort(axis=1)], axis=1)
    return np.asarray(ranks < np.array([currents] * 3 + [voltages] * 3))


def absent(samples: Samples, channels: NDArray[np.bool_], start: NDArray[np.intp], length: int) -> Samples:
    """Set ``channels`` (n, 6) to zero for ``length`` samples from sample ``start`` (n,) on."""
    t = np.arange(samples.shape[1])[None, :]
    while_gone = (t >= start[:, None]) & (t < (start + length)[:, None])
    return np.where(while_gone[:, :, None] & channels[:, None, :], np.float32(0), samples)
