"""Features of windows that drift detection compares, and how far each may move before it matters. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from model.rejection import FEWEST_SAMPLES, Rejection
from model.spec import SignalSpec

# Added before a logarithm, per unit: smaller values are silence, whose relative changes mean nothing.
LEAST_LEVEL, LEAST_NOISE = 0.005, 0.003


@dataclass(frozen=True)
class Feature:
    """A feature of windows.

    ``name`` is for people; ``matters`` is the change that matters, of the logarithm where ``logarithmic``; with
    ``share``, a line counts with its mean (a share of windows) instead of its median.
    """

    name: str
    matters: float
    logarithmic: bool = False
    share: bool = False

    def plain(self, value: float) -> float:
        """Return the value in its own unit."""
        return float(np.exp(value)) if self.logarithmic else value


# Voltages have a known base and stay within some per cent. Loads change by a factor of three through a day, and with
# them the currents, their noise where it follows the signal, and what unbalance noise feigns: only more is drift.
FEATURES: tuple[Feature, ...] = (
    Feature("voltage level (p.u.)", float(np.log(1.08)), logarithmic=True),
    Feature("current level (p.u.)", float(np.log(4.0)), logarithmic=True),
    Feature("voltage unbalance", 0.03),
    Feature("current unbalance", 0.3),
    Feature("voltage noise (p.u.)", float(np.log(2.0)), logarithmic=True),
    Feature("current noise (p.u.)", float(np.log(4.0)), logarithmic=True),
    Feature("share of windows unlike training", 0.2, share=True),
    Feature("share of windows judged faulty", 0.2, share=True),
    Feature("uncertainty of quiet windows", 0.05),
)
SIGNAL = 6  # the first so many are measured on the signal itself, where it is quiet


def drift_features(
    windows: NDArray[np.float32],
    probabilities: NDArray[np.float32] | None,
    spec: SignalSpec,
    rejection: Rejection | None = None,
) -> NDArray[np.float64]:
    """Return the features (n, ``len(FEATURES)``) of windows float32 (n, samples, channels); NaN where not known.

    With the champion's ``probabilities`` (n, classes), windows that it classifies as faulty say nothing of the signal.
    """
    n = len(windows)
    found = np.full((n, len(FEATURES)), np.nan)
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
    if rejection is not None:
        found[:, SIGNAL] = rejection.is_ood(windows)
    if probabilities is not None:
        faulty = probabilities.argmax(axis=1) != spec.none_index
        found[faulty, :SIGNAL] = np.nan
        found[:, SIGNAL + 1] = faulty
        found[~faulty, SIGNAL + 2] = 1.0 - probabilities[~faulty].max(axis=1)
    return found


def _levels_and_noise(
    windows: NDArray[np.float32], spec: SignalSpec
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the fundamental's amplitude and the mean square of the rest, both (n, channels).

    The rest is the window without fundamental, constant and drift.
    """
    if spec.samples < FEWEST_SAMPLES:
        level = np.abs(windows).mean(axis=1)
        return level, np.zeros_like(level)
    basis = _waves(spec.samples, spec.samples_per_cycle)
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


def by_line(lines: NDArray[np.int64], features: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the lines (m,) and the medians and means (m, features) of the windows of each; NaN for none."""
    names, which = np.unique(lines, return_inverse=True)
    summed = np.full((len(names), features.shape[1]), np.nan)
    for column, feature in enumerate(FEATURES):
        value = features[:, column]
        there = np.isfinite(value)
        group, value = which[there], value[there]
        count = np.bincount(group, minlength=len(names))
        some = count > 0
        if feature.share:
            summed[some, column] = np.bincount(group, value, minlength=len(names))[some] / count[some]
        else:
            value = value[np.lexsort((value, group))]
            first = np.cumsum(count) - count
            low, high = (first + (count - 1) // 2)[some], (first + count // 2)[some]
            summed[some, column] = (value[low] + value[high]) / 2
    return names, summed
