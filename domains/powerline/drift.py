"""Compute features of power-line windows for drift detection, each with the smallest change that counts as drift."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from domains.powerline.rejection import FEWEST_SAMPLES
from domains.powerline.spec import power_line_spec
from model.domain import SignalFeature
from model.spec import SignalSpec

__all__ = ["FEATURES", "measure"]

# Values, per unit, that are added before taking a logarithm: relative changes of smaller values mean nothing.
LEAST_LEVEL, LEAST_NOISE = 0.005, 0.003

# Voltages have a known base and vary by a few per cent. Loads vary by a factor of three during a day, and with them the
# currents, the current noise if it follows the signal, and the apparent unbalance that noise causes. Only larger
# changes of these features count as drift.
FEATURES: tuple[SignalFeature, ...] = (
    SignalFeature("voltage level (p.u.)", float(np.log(1.08)), logarithmic=True),
    SignalFeature("current level (p.u.)", float(np.log(4.0)), logarithmic=True),
    SignalFeature("voltage unbalance", 0.03),
    SignalFeature("current unbalance", 0.3),
    SignalFeature("voltage noise (p.u.)", float(np.log(2.0)), logarithmic=True),
    SignalFeature("current noise (p.u.)", float(np.log(4.0)), logarithmic=True),
)


def measure(windows: NDArray[np.float32], spec: SignalSpec) -> NDArray[np.float64]:
    """Return the features (n, ``len(FEATURES)``) of windows float32 (n, samples, channels); NaN for unknown ones."""
    found = np.full((len(windows), len(FEATURES)), np.nan)
    levels, noise = _levels_and_noise(windows, spec)
    voltage = np.array([name.startswith("v") for name in spec.channels])
    for column, group in enumerate((voltage, ~voltage)):
        if not group.any():
            continue
        own = levels[:, group]
        mean = own.mean(axis=1)
        found[:, column] = np.log(mean + LEAST_LEVEL)
        found[:, 2 + column] = (own.max(axis=1) - own.min(axis=1)) / (mean + 2 * LEAST_LEVEL)
        found[:, 4 + column] = np.log(np.sqrt(noise[:, group].mean(axis=1)) + LEAST_NOISE)
    return found


def _levels_and_noise(
    windows: NDArray[np.float32], spec: SignalSpec
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the fundamental's amplitude and the mean square of the remainder, both (n, channels).

    The remainder is the window without its fundamental, constant and linear drift.
    """
    if spec.samples < FEWEST_SAMPLES:
        level = np.abs(windows).mean(axis=1)
        return level, np.zeros_like(level)
    basis = _waves(spec.samples, power_line_spec(spec).samples_per_cycle)
    parts = np.einsum("nsc,sk->nkc", windows, basis)
    energy = np.einsum("nsc,nsc->nc", windows, windows)
    rest = np.maximum(energy - np.square(parts).sum(axis=1), 0) / spec.samples
    level = np.sqrt(np.square(parts[:, 1:3]).sum(axis=1) * (2 / spec.samples))
    return level, rest


@lru_cache(maxsize=8)
def _waves(samples: int, samples_per_cycle: int) -> NDArray[np.float32]:
    """Return an orthonormal basis (samples, 4) of a constant, the fundamental, and a drift orthogonal to them."""
    t = np.arange(samples)
    turned = 2 * np.pi * t / samples_per_cycle
    waves = np.stack([np.ones(samples), np.cos(turned), np.sin(turned), t - t.mean()], axis=1)
    return np.linalg.qr(waves)[0].astype(np.float32)
