"""Estimate the mains frequency from a waveform, independently of the header."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from domains.powerline.waveforms.record import MAX_HZ, MIN_HZ

ENOUGH_HZ = 2000.0
"""Rate to which samples are reduced by averaging before the estimate: 25 per cycle at the highest mains frequency."""
MOST_SECONDS = 4.0
"""Longest stretch that is used; a longer one does not improve the estimate."""
LEAST_CYCLES = 1.5
STEADY = 0.03
"""Relative change of the amplitude over a cycle up to which it counts as steady."""


def estimate_frequency(samples: NDArray[np.floating], rate_hz: float) -> float | None:
    """Return the mains frequency of up to three phases in Hz; None if no mains frequency is found.

    The phases are combined into one rotating vector. Averaged over a cycle, the vector rotates at the mains
    frequency. The estimate is the median of its speed over the steady stretches, so that neither a fault nor a
    switching operation shifts it.

    Args:
        samples: (t, k) with k ≤ 3 channels of one quantity, in any unit.
        rate_hz: sampling rate in samples per second.

    Example:
        >>> t = np.arange(2000) / 4000
        >>> waves = np.stack([np.cos(2 * np.pi * (59.9 * t - k / 3)) for k in range(3)], axis=1)
        >>> round(estimate_frequency(waves, 4000.0), 3)
        59.9
    """
    samples = samples[: int(MOST_SECONDS * rate_hz)]
    stride = max(1, int(rate_hz // ENOUGH_HZ))
    count = len(samples) // stride
    rate = rate_hz / stride
    if count < LEAST_CYCLES * rate / MAX_HZ or count < 8:
        return None
    means = samples[: count * stride].astype(np.float64).reshape(count, stride, -1).mean(axis=1)
    means = means - means.mean(axis=0)
    turn = np.exp(2j * np.pi * np.arange(means.shape[1]) / 3)
    candidates = [means @ turn, means @ turn.conj()]
    first = [_spectral_peak(vector, rate) for vector in candidates]
    best = max(range(2), key=lambda k: first[k][1])
    peak_hz, strength = first[best]
    if strength <= 0.0:
        return None
    refined = _turning_speed(candidates[best], rate, peak_hz)
    return refined if refined is not None and MIN_HZ <= refined <= MAX_HZ else None


def _spectral_peak(vector: NDArray[np.complex128], rate: float) -> tuple[float, float]:
    """Return the frequency and height of the highest spectral peak among the mains frequencies."""
    size = 1 << int(np.ceil(np.log2(max(len(vector), rate) * 4)))
    spectrum = np.abs(np.fft.fft(vector * np.hanning(len(vector) + 2)[1:-1], size))
    frequencies = np.fft.fftfreq(size, 1 / rate)
    band = (frequencies >= MIN_HZ) & (frequencies <= min(MAX_HZ, rate / 2))
    if not band.any():
        return 0.0, 0.0
    k = int(np.argmax(np.where(band, spectrum, 0.0)))
    # A peak that does not stand out from the band is a slope or noise, not the mains frequency.
    if spectrum[k] < 3 * np.median(spectrum[band]) and len(vector) > 4 * rate / MIN_HZ:
        return 0.0, 0.0
    return float(frequencies[k]), float(spectrum[k])


def _turning_speed(vector: NDArray[np.complex128], rate: float, near_hz: float) -> float | None:
    cycle = max(2, round(rate / near_hz))
    if len(vector) < cycle + 2:
        return near_hz
    still = vector * np.exp(-2j * np.pi * near_hz * np.arange(len(vector)) / rate)
    # Average over a cycle, twice if the record is long enough: this removes the opposite rotation due to unbalance.
    for _ in range(2 if len(vector) >= 3 * cycle else 1):
        still = np.convolve(still, np.full(cycle, 1 / cycle), "valid")
    if len(still) < 2:
        return near_hz
    amplitude = np.abs(still)
    step = min(cycle, len(still) - 1)
    change = np.abs(amplitude[step:] - amplitude[:-step]) / max(float(amplitude.max()), 1e-30)
    speeds = np.angle(still[step:] * still[:-step].conj()) * rate / (2 * np.pi * step)
    strong = amplitude[step:] > 0.3 * float(amplitude.max())
    steady = strong & (change < STEADY)
    use = steady if steady.sum() >= max(2, len(speeds) // 20) else strong
    return near_hz + float(np.median(speeds[use])) if use.any() else near_hz


def frequency_of(groups: Sequence[NDArray[np.floating]], rate_hz: float) -> float | None:
    """Return the estimate from the first group of phases that gives one; None if none does."""
    for samples in groups:
        if samples.shape[1] and float(np.abs(samples).max(initial=0.0)) > 0.0:
            found = estimate_frequency(samples, rate_hz)
            if found is not None:
                return found
    return None
