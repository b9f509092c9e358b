"""Decide between sampling rates by the frequency that the signal has at each of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from domains.powerline.waveforms.channel_values import ChannelValues
from domains.powerline.waveforms.record import MAX_HZ, MIN_HZ

NOMINAL_HZ = (50.0, 60.0)
MAINS_TOLERANCE = 0.1
"""Relative deviation from the nominal frequency up to which a signal at an assumed rate is the mains."""
MOST_CHANNELS = 12
MOST_SAMPLES = 8192
FEWEST_SAMPLES = 16
PADDING = 4
"""Factor by which the samples are extended by zeros, so that the peak of the spectrum is located between its lines."""
LOBE = 2 * PADDING
"""Half width of a sine's peak in the padded spectrum."""
PURE = 0.6
"""Share of a channel's power in its highest peak from which it is a signal of one frequency."""

STRONG = 0.3
"""Ratio of fundamental to highest sample from which the phase of a cycle counts."""
SAME_PHASE = 0.12
"""Difference of phase in radians up to which a waveform runs on."""
FEWEST_CONTINUING = 2


class Signal:
    """Mains signal of a record.

    Args:
        source: values of the channels, which are read only if a decision needs them.
        mains_hz: mains frequency that the header states, if it does.

    Example:
        >>> from domains.powerline.waveforms.channel_values import StoredValues
        >>> wave = np.sin(2 * np.pi * 50 * np.arange(400) / 1000).astype(np.float32)
        >>> Signal(StoredValues(wave[None]), 50.0).best_rate((20.0, 1000.0))
        1000.0
    """

    def __init__(self, source: ChannelValues, mains_hz: float | None) -> None:
        self._source = source
        self._cycles: float | None = None
        self._known = False
        self.mains_hz = mains_hz if mains_hz is not None and MIN_HZ <= mains_hz <= MAX_HZ else None

    @property
    def cycles_per_sample(self) -> float | None:
        """Frequency of the signal in cycles per sample; None if most channels have no single frequency."""
        if not self._known:
            self._cycles, self._known = _cycles_per_sample(self._source), True
        return self._cycles

    def continues(self, samples: Sequence[int]) -> bool:
        """Return True if the phase of most waveforms runs on at all of some samples, as if no time passed before."""
        cycles = self.cycles_per_sample
        if cycles is None:
            return False
        length = max(round(1 / cycles), 4)
        waves = self._source.read(_some(self._source.shape[0]))
        return all(_runs_on(waves[:, max(k - length, 0) : k + length], cycles, length) for k in samples)

    def best_rate(self, rates: Sequence[float]) -> float | None:
        """Return the first rate at which the signal has the mains frequency; None if there is none."""
        cycles = self.cycles_per_sample
        if cycles is None:
            return None
        for nominal in ((self.mains_hz,) if self.mains_hz else (), NOMINAL_HZ):
            for rate in rates:
                if any(abs(cycles * rate / hz - 1) <= MAINS_TOLERANCE for hz in nominal):
                    return rate
        return None


def _cycles_per_sample(source: ChannelValues) -> float | None:
    found = []
    for row in source.read(_some(source.shape[0])):
        wave = np.nan_to_num(row[:MOST_SAMPLES].astype(np.float64), posinf=0.0, neginf=0.0)
        if len(wave) < FEWEST_SAMPLES or not np.ptp(wave) > 0:
            continue
        spectrum = np.abs(np.fft.rfft((wave - wave.mean()) * np.hanning(len(wave)), PADDING * len(wave))) ** 2
        peak = LOBE + int(np.argmax(spectrum[LOBE:]))
        if spectrum[max(0, peak - LOBE) : peak + LOBE + 1].sum() >= PURE * spectrum.sum():
            found.append(peak / (PADDING * len(wave)))
    if not found:
        return None
    usual = float(np.median(found))
    agreeing = sum(abs(cycles / usual - 1) <= MAINS_TOLERANCE for cycles in found)
    return usual if 2 * agreeing > len(found) else None


def _runs_on(waves: NDArray[np.float32], cycles: float, length: int) -> bool:
    """Return True if the phase of most of the waveforms is the same in the first and the second cycle."""
    if waves.shape[1] < 2 * length:
        return False
    values = np.nan_to_num(waves.astype(np.float64), posinf=0.0, neginf=0.0)
    values -= values.mean(axis=1, keepdims=True)
    phasors = values * np.exp(-2j * np.pi * cycles * np.arange(2 * length))
    before, after = phasors[:, :length].sum(axis=1), phasors[:, length:].sum(axis=1)
    strong = np.minimum(abs(before), abs(after)) > STRONG * length / 2 * np.abs(values).max(axis=1)
    turned = np.abs(np.angle(after * before.conj())) > SAME_PHASE
    return bool(strong.sum() >= FEWEST_CONTINUING and 3 * (turned & strong).sum() <= strong.sum())


def _some(count: int) -> list[int]:
    """Return the indices of some channels, evenly spread."""
    return sorted({int(k) for k in np.linspace(0, count - 1, min(count, MOST_CHANNELS))})
