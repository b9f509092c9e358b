"""Mains frequency of a waveform, whatever a header says."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from domains.powerline.waveforms.record import MAX_HZ, MIN_HZ

ENOUGH_HZ = 2000.0
"""Rate down to which samples are averaged before the estimate: 25 a cycle of the fastest mains."""
MOST_SECONDS = 4.0
"""Longer stretches tell nothing more."""
LEAST_CYCLES = 1.5
STEADY = 0.03
"""Change of the amplitude over a cycle up to which it counts as steady."""


def estimate_frequency(samples: NDArray[np.floating], rate_hz: float) -> float | None:
    """Frequency of a set of three phases (or fewer), Hz; None where no mains is seen.

    The phases are joined to one turning vector; averaged over a cycle it turns at the mains frequency, and the
    median of its speed over the steady stretches is the estimate: neither a fault nor a switching moves it.

    Args:
        samples: (t, k) with k ≤ 3 channels of one quantity, any unit.
        rate_hz: samples per second.

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
    """Frequency in the band of mains frequencies with the highest peak, and how high."""
    size = 1 << int(np.ceil(np.log2(max(len(vector), rate) * 4)))
    spectrum = np.abs(np.fft.fft(vector * np.hanning(len(vector) + 2)[1:-1], size))
    frequencies = np.fft.fftfreq(size, 1 / rate)
    band = (frequencies >= MIN_HZ) & (frequencies <= min(MAX_HZ, rate / 2))
    if not band.any():
        return 0.0, 0.0
    k = int(np.argmax(np.where(band, spectrum, 0.0)))
    # A peak that does not stand out of the band is no mains but a slope or noise.
    if spectrum[k] < 3 * np.median(spectrum[band]) and len(vector) > 4 * rate / MIN_HZ:
        return 0.0, 0.0
    return float(frequencies[k]), float(spectrum[k])


def _turning_speed(vector: NDArray[np.complex128], rate: float, near_hz: float) -> float | None:
    cycle = max(2, round(rate / near_hz))
    if len(vector) < cycle + 2:
        return near_hz
    still = vector * np.exp(-2j * np.pi * near_hz * np.arange(len(vector)) / rate)
    # Averaged over a cycle twice where there is room: what turns the other way (unbalance) drops out.
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
    """The first estimate that can be made: of voltages, else of currents."""
    for samples in groups:
        if samples.shape[1] and float(np.abs(samples).max(initial=0.0)) > 0.0:
            found = estimate_frequency(samples, rate_hz)
            if found is not None:
                return found
    return None
