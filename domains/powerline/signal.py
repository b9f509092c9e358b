"""Measure single windows of a power line, through the interface of the generic core."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from domains.powerline import drift
from domains.powerline.waveform import inception_sample, waveform_flags
from model.domain import Signal
from model.spec import SignalSpec

__all__ = ["PowerLineSignal"]


class PowerLineSignal(Signal):
    """Inception sample, quality flags and drift features of currents and voltages."""

    features = drift.FEATURES

    def inception_sample(self, window: NDArray[np.float32], spec: SignalSpec) -> int:
        """Return the sample at which the waveform left its steady state."""
        return inception_sample(window, spec)

    def quality_flags(self, window: NDArray[np.float32], spec: SignalSpec) -> set[str]:
        """Return ``missing-channel`` and ``saturation`` if the window shows them."""
        return set(waveform_flags(window, spec))

    def measure(self, windows: NDArray[np.float32], spec: SignalSpec) -> NDArray[np.float64]:
        """Return the values of ``features`` for each window."""
        return drift.measure(windows, spec)
