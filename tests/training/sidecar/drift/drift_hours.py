"""An hour of stream time of several simulated lines, sampled sparsely, as a drift detector receives it.

A minute of every line is simulated, with an event every 3.2 s. For every ten seconds of the hour, the detector receives
the next half second of that minute: at most 36,000 of 720,000 windows per line. Loads follow the course of a day
compressed into the hour (currents fall to a third and return, voltages vary by 3 % in the opposite direction). The
instruments drift: from the twentieth minute on, gains increase by up to a quarter, and noise to some 20 dB.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from domains.powerline.data.scenario import scenario
from model.spec import SignalSpec
from stream.windowing import cut_windows

HOUR_S, BUCKET_S = 3600.0, 10.0
SHOWN_WINDOWS = 24
BEGIN_NS = 1_767_225_600_000_000_000
DRIFT_FROM_S, DRIFT_UNTIL_S = 1200.0, 3000.0
GAIN, NOISE = 0.25, 0.07
Batch = tuple[list[str], NDArray[np.int64], NDArray[np.float32]]


def hour(
    spec: SignalSpec, seed: int, *, drifts: bool, lines: int = 6, fault_share: float = 0.55, day: bool = True
) -> Iterator[Batch]:
    """Yield line ids, start times and windows, a batch for every ten seconds."""
    windows = cut_windows(scenario(lines, 48.0, seed, fault_share=fault_share).samples, spec)
    rng = np.random.default_rng(seed)
    hop_ns = round(spec.hop / spec.rate_hz * 1e9)
    names = [f"line-{k}" for k in range(lines) for _ in range(SHOWN_WINDOWS)]
    for number in range(round(HOUR_S / BUCKET_S)):
        time_s = number * BUCKET_S
        first = (number * 97) % (windows.shape[1] - SHOWN_WINDOWS)
        shown = windows[:, first : first + SHOWN_WINDOWS].reshape(-1, *spec.window_shape).copy()
        if day:
            load = 1 - 0.667 * np.sin(np.pi * time_s / HOUR_S) ** 2
            shown[:, :, :3] *= load
            shown[:, :, 3:] *= 1 + 0.03 * (1 - load)
        if drifts:
            far = float(np.clip((time_s - DRIFT_FROM_S) / (DRIFT_UNTIL_S - DRIFT_FROM_S), 0, 1))
            shown *= 1 + GAIN * far
            shown += NOISE * far * rng.standard_normal(shown.shape, dtype=np.float32)
        start = BEGIN_NS + round(time_s * 1e9) + np.arange(SHOWN_WINDOWS) * hop_ns
        yield names, np.tile(start, lines), shown.astype(np.float32)
