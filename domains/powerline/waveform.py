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


def inception_sample(window: NDArray[np.float32], spec: SignalSpec) -> int:
    """Return the sample of a window at which the waveform left its steady state.

    A sampled sine obeys x[t] − 2·cos(ω)·x[t−1] + x[t−2] = 0 (the second-order annihilating filter of Prony's
    method). This filter therefore leaves only the kink at the inception, at any previous amplitude and phase.

    Args:
        window: float32 (samples, channels), per unit; the first window of a suspected fault.
        spec: spec of the window, for its samples per cycle and the channels that are currents and voltages.

    Returns:
        Index in 0 … samples − 1; 0 if the window is too short.
    """
    if len(window) < 4:
        return 0
    line = power_line_spec(spec)
    x = window.astype(np.float64)
    kink = x[2:] - 2.0 * np.cos(2.0 * np.pi / line.samples_per_cycle) * x[1:-1] + x[:-2]
    total = np.zeros(len(kink))
    for group in (line.currents, line.voltages):
        if group:
            part = np.abs(kink[:, list(group)]).max(axis=1)
            swing = float(np.abs(x[:, list(group)]).max())
            if swing > 0.0:
                total = np.maximum(total, part / swing)
    peak = float(total.max(initial=0.0))
    if peak <= 0.0:
        return 0
    # The median is taken from sorted values: np.median takes several times as long for a few dozen numbers.
    ranked = np.sort(total)
    median = (ranked[(len(ranked) - 1) // 2] + ranked[len(ranked) // 2]) / 2
    above = max(INCEPTION_SHARE * peak, INCEPTION_OVER_NOISE * float(median))
    return int(np.argmax(total >= min(above, peak))) + 2


def waveform_flags(samples: NDArray[np.float32], spec: SignalSpec) -> set[Literal["missing-channel", "saturation"]]:
    """Return the quality flags of one window, float32 (samples, channels), per unit."""
    flags: set[Literal["missing-channel", "saturation"]] = set()
    if len(samples) < FLAT_SAMPLES:
        return flags
    line = power_line_spec(spec)
    # The peak-to-peak value of extreme float32 values exceeds the range of float32.
    window = samples.astype(np.float64)
    swing = np.ptp(window, axis=0)
    for group in (line.currents, line.voltages):
        of_group = swing[list(group)]
        if len(of_group) and of_group.max() > 0.0 and of_group.min() < DEAD_SHARE * of_group.max():
            flags.add("missing-channel")
    for channel in line.currents:
        values = np.abs(window[:, channel])
        top = values >= values.max() * (1.0 - 1e-6)
        if swing[channel] > 0.0 and int(top.sum()) >= FLAT_SAMPLES:
            flags.add("saturation")
    return flags
