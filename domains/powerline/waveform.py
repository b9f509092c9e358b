"""Measure the waveform for events: the inception sample in a window, and the window's quality flags."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from domains.powerline.spec import power_line_spec
from model.spec import SignalSpec

INCEPTION_SHARE = 0.3
"""Share of the kink's maximum; the first sample above it is the inception, which lies before the maximum."""
INCEPTION_OVER_NOISE = 3.5
"""Multiple of the residual noise that the kink must also reach.

The noise is the median of the filter's output over the window, since a kink is short.
"""
FLAT_SAMPLES = 4
"""Number of equal samples at a current's extreme that indicates clipping: a sine at 32 samples per cycle has two."""
DEAD_SHARE = 1e-4
"""Peak-to-peak value, as a share of its group's largest, below which a channel counts as missing."""


def inception_samples(windows: NDArray[np.float32], spec: SignalSpec) -> NDArray[np.intp]:
    """Return the sample of each window at which the waveform left its steady state.

    A sampled sine obeys x[t] − 2·cos(ω)·x[t−1] + x[t−2] = 0 (the second-order annihilating filter of Prony's
    method). This filter therefore leaves only the kink at the inception, at any previous amplitude and phase.

    Args:
        windows: float32 (n, samples, channels), per unit; the first windows of suspected faults.
        spec: spec of the windows, for its samples per cycle and the channels that are currents and voltages.

    Returns:
        Indices (n,) in 0 … samples − 1; 0 if the windows are too short.
    """
    count, samples, _ = windows.shape
    if samples < 4:
        return np.zeros(count, np.intp)
    line = power_line_spec(spec)
    x = windows.astype(np.float64)
    kink = np.abs(x[:, 2:] - 2.0 * np.cos(2.0 * np.pi / line.samples_per_cycle) * x[:, 1:-1] + x[:, :-2])
    total = np.zeros(kink.shape[:2])
    for group in (line.currents, line.voltages):
        if group:
            channels = list(group)
            swing = np.abs(x[:, :, channels]).max(axis=(1, 2))[:, None]
            part = kink[:, :, channels].max(axis=2)
            total = np.maximum(total, np.divide(part, swing, out=np.zeros_like(part), where=swing > 0.0))
    peak = total.max(axis=1)
    # The median is taken from sorted values: np.median takes several times as long for a few dozen numbers.
    ranked = np.sort(total, axis=1)
    median = (ranked[:, (samples - 3) // 2] + ranked[:, (samples - 2) // 2]) / 2
    above = np.minimum(np.maximum(INCEPTION_SHARE * peak, INCEPTION_OVER_NOISE * median), peak)
    return np.where(peak > 0.0, (total >= above[:, None]).argmax(axis=1) + 2, 0)


def waveform_flags(
    windows: NDArray[np.float32], spec: SignalSpec
) -> list[set[Literal["missing-channel", "saturation"]]]:
    """Return the quality flags of each window, float32 (n, samples, channels), per unit."""
    flags: list[set[Literal["missing-channel", "saturation"]]] = [set() for _ in windows]
    if windows.shape[1] < FLAT_SAMPLES:
        return flags
    line = power_line_spec(spec)
    # The peak-to-peak value of extreme float32 values exceeds the range of float32.
    x = windows.astype(np.float64)
    swing = np.ptp(x, axis=1)
    missing = np.zeros(len(x), bool)
    for group in (line.currents, line.voltages):
        if group:
            of_group = swing[:, list(group)]
            largest = of_group.max(axis=1)
            missing |= (largest > 0.0) & (of_group.min(axis=1) < DEAD_SHARE * largest)
    currents = list(line.currents)
    values = np.abs(x[:, :, currents])
    top = values >= values.max(axis=1, keepdims=True) * (1.0 - 1e-6)
    clipped = ((swing[:, currents] > 0.0) & (top.sum(axis=1) >= FLAT_SAMPLES)).any(axis=1)
    for index in np.flatnonzero(missing):
        flags[index].add("missing-channel")
    for index in np.flatnonzero(clipped):
        flags[index].add("saturation")
    return flags
