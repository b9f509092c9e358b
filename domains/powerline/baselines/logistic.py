"""Classify windows by a fixed logistic regression, which shows how good a linear model of phasors can be.

The regression is fitted at first use to a small simulated set with a fixed seed, so it is the same everywhere.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from domains.powerline.simulator.episodes import ScenarioMix, simulate
from domains.powerline.simulator.network import SAMPLES_PER_CYCLE
from model.spec import load_spec
from training.data.windows import select

SEED = 20_190  # seed of the training set, far from the seeds of recipes and conditions
EPISODES, LENGTH_CYCLES, FAULT_SHARE = 900, 10, 0.75
MOST_WINDOWS = 12_000
ROTATE = np.exp(2j * np.pi / 3)
# Matrix from phase quantities to zero, positive and negative sequence.
SEQUENCES = np.array([[1, 1, 1], [1, ROTATE, ROTATE**2], [1, ROTATE**2, ROTATE]]) / 3
CURRENT_SCALE, FLOOR = 0.2, 1e-3  # per unit


def logistic(windows: NDArray[np.float32], first_cycle: NDArray[np.float32]) -> NDArray[np.intp]:
    """Return the classes (k,) of ``windows`` (k, samples, 6). The records' first cycles are not used."""
    del first_cycle
    return np.asarray(_fitted().predict(features(windows)), np.intp)


def features(windows: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the features (k, 23) of ``windows`` (k, samples, 6).

    The features are the magnitudes of the six phasors and of the sequence components, the unbalance of the currents,
    and the angle between the currents' negative and zero sequence, by which relays select the faulted phase.
    """
    t = np.arange(windows.shape[1])
    kernel = np.exp(-2j * np.pi * t / SAMPLES_PER_CYCLE) * 2 / windows.shape[1]
    phasors = np.einsum("t,ktc->kc", kernel, windows)
    current, voltage = phasors[:, :3] @ SEQUENCES.T, phasors[:, 3:] @ SEQUENCES.T
    level = np.maximum(np.abs(phasors[:, :3]).max(axis=1), FLOOR)[:, None]
    lean = current[:, 2] * np.conj(current[:, 0])
    lean /= np.maximum(np.abs(lean), FLOOR**2)
    turn = current[:, 2] * np.conj(current[:, 1])
    turn /= np.maximum(np.abs(turn), FLOOR**2)
    return np.column_stack(
        [
            np.arcsinh(np.abs(phasors[:, :3]) / CURRENT_SCALE),
            np.abs(phasors[:, 3:]),
            np.abs(phasors[:, :3]) / level,
            np.abs(current) / level,
            np.abs(voltage),
            np.column_stack([lean.real, lean.imag, turn.real, turn.imag]),
            np.log(level + FLOOR),
            np.abs(windows[:, -8:, :3]).max(axis=(1, 2)),
            np.sqrt(np.square(windows[:, :, :3].mean(axis=1)).sum(axis=1)),
            np.abs(phasors[:, 3:]).min(axis=1),
        ]
    )


@cache
def _fitted() -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    episodes = simulate(EPISODES, SEED, length_cycles=LENGTH_CYCLES, mix=ScenarioMix(fault_share=FAULT_SHARE))
    windows = select(episodes, load_spec("line"))
    windows = windows.take(windows.weights >= 1)
    index = np.sort(np.random.default_rng(SEED).permutation(len(windows))[:MOST_WINDOWS])
    windows = windows.take(index)
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=300)).fit(features(windows.data), windows.labels)
