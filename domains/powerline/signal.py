"""Measure single windows of a power line, through the interface of the generic core."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from domains.powerline import drift
from domains.powerline.waveform import inception_samples, waveform_flags
from model.domain import Signal
from model.spec import SignalSpec

__all__ = ["PowerLineSignal"]


class PowerLineSignal(Signal):
    """Inception sample, quality flags and drift features of currents and voltages."""

    features = drift.FEATURES

    def inception_sample(self, window: NDArray[np.float32], spec: SignalSpec) -> int:
        """Return the sample at which the waveform left its steady state."""
        return int(inception_samples(window[None], spec)[0])

    def quality_flags(self, window: NDArray[np.float32], spec: SignalSpec) -> set[str]:
        """Return ``missing-channel`` and ``saturation`` if the window shows them."""
        return self.quality_flags_of(window[None], spec)[0]

    def inception_samples(self, windows: NDArray[np.float32], spec: SignalSpec) -> NDArray[np.intp]:
        """Return the sample at which each waveform left its steady state, (n,)."""
        return inception_samples(windows, spec)

    def quality_flags_of(self, windows: NDArray[np.float32], spec: SignalSpec) -> list[set[str]]:
        """Return ``missing-channel`` and ``saturation`` for each window that shows them."""
        return [set(flags) for flags in waveform_flags(windows, spec)]

    def measure(self, windows: NDArray[np.float32], spec: SignalSpec) -> NDArray[np.float64]:
        """Return the values of ``features`` for each window."""
        return drift.measure(windows, spec)
