"""Simulate the vibration of machines: a healthy shaft, a shaft out of balance, and a bearing with a pit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

import faultline

NORMAL, IMBALANCE, BEARING = range(3)
"""Classes in the order of the spec."""
STRETCH_S = 0.32
"""One condition of one machine: nine windows."""


def vibration(
    conditions: Sequence[int], stretch_s: float, spec: faultline.SignalSpec, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Return samples (T, 2) of one machine that goes through conditions, and the class of every sample (T,)."""
    labels = np.repeat(np.asarray(conditions, np.int32), round(stretch_s * spec.rate_hz))
    t = np.arange(len(labels)) / spec.rate_hz
    speed_hz = rng.uniform(25, 45)
    turn = 2 * np.pi * (speed_hz * t[:, None] + rng.uniform() + np.array([0.0, 0.25]))
    # A balanced shaft is never quite balanced; out of balance it shakes several times as much.
    shaft = np.where(labels == IMBALANCE, rng.uniform(0.5, 1.5), rng.uniform(0.05, 0.2))[:, None] * np.sin(turn)
    # A ball hits the pit some three to five times per turn, and the housing rings.
    since_s = np.mod(t, 1 / (rng.uniform(3, 5) * speed_hz))[:, None]
    ringing = np.exp(-since_s / 0.003) * np.sin(2 * np.pi * rng.uniform(250, 400) * since_s)
    struck = np.where(labels == BEARING, rng.uniform(0.6, 1.5), 0.0)[:, None] * ringing * rng.uniform(0.6, 1.0, 2)
    return (shaft + struck + rng.normal(0, 0.06, shaft.shape)).astype(np.float32), labels


def labelled_windows(spec: faultline.SignalSpec, seed: int, machines: int) -> faultline.Windows:
    """Return the windows of a number of machines, each in one condition and in its own episode.

    An episode is never divided between training and test. Here an episode is a machine, so that no model is evaluated
    on windows of a machine on which it was trained.
    """
    parts = []
    for machine in range(machines):
        condition = machine % len(spec.classes)
        samples, _ = vibration([condition], STRETCH_S, spec, np.random.default_rng((seed, machine)))
        windows = faultline.cut_windows(samples, spec).copy()
        count = len(windows)
        labels, weights = np.full(count, condition, np.int32), np.ones(count, np.float32)
        parts.append(faultline.Windows(windows, labels, weights, np.full(count, machine)))
    return faultline.Windows.joined(parts)
