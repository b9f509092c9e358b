"""Simulate the training windows of the `line` model, and the hard windows that are added after the first round."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np

from domains.powerline.simulator.episodes import ScenarioMix, simulate
from domains.powerline.simulator.measurement import HARSH, USUAL
from domains.powerline.simulator.network import LOWEST_KV, ParameterSweep
from model.spec import SignalSpec
from training.data.classifier import Classifier
from training.data.episodes import Episodes
from training.data.windows import Windows, select

PART = 1024  # episodes simulated and cut at a time, so that memory never holds all records
MIXED_CYCLES, BRIEF_CYCLES = 40.0, 8.0
MIXED = ScenarioMix(fault_share=0.5)
FAULTS_ONLY = ScenarioMix(fault_share=1.0)  # short records around inception, where classes are hardest to distinguish
NON_FAULTS_ONLY = ScenarioMix(fault_share=0.0)
# The effect of ten ohms increases as the voltage decreases. On lines of 3 and 6 kV, and on transmission lines scaled to
# a fraction of their voltage, a network therefore learns the effect of a hundred ohms. On feeders with single-phase
# loads it learns that some unbalance is not a fault.
TRAINING_SWEEP = ParameterSweep(kilovolt=(LOWEST_KV, np.inf), unbalanced_share=0.4)
# Parts of the training set alternate between these instruments. A network trained only on noisy and inaccurate
# instruments becomes unsure about faults that usual instruments show clearly, such as a fault of fifty ohms. Broken and
# miswired instruments are equally frequent in both.
INSTRUMENTS = (HARSH, replace(USUAL, faulty=HARSH.faulty))
RESISTIVE_SWEEP, RESISTIVE_SHARE = ParameterSweep(kilovolt=(66.0, np.inf), scale=(0.05, 0.5)), 0.5
# Number of episodes up to which all instructive windows are kept. For more episodes the number of windows stays the
# same, which bounds memory and the time of an epoch: windows of more lines teach more than more windows of the same
# lines. The recipe keeps about 3.6 million windows, 2.8 GB, and a training takes up to 9 GB.
WHOLLY_KEPT = 250_000
DOUBTFUL = 0.75  # a window is hard if its true class has a lower probability than this
MOST_MINED = 40_000


@dataclass(frozen=True)
class Batches:
    """Number of episodes by kind: long and mixed, brief around a fault, and new ones searched for hard windows."""

    mixed: int
    brief: int
    mined: int  # per round

    @classmethod
    def of(cls, episodes: int) -> Batches:
        """Divide a number of episodes among the kinds."""
        return cls(mixed=int(0.06 * episodes), brief=int(0.89 * episodes), mined=int(0.025 * episodes))


def training_windows(batches: Batches, spec: SignalSpec, seed: int, parts: int = 1) -> Windows:
    """Simulate episodes and keep their instructive windows.

    Args:
        batches: number of episodes of each kind.
        spec: spec of the windows.
        seed: seed of the episodes.
        parts: number of parts that the training set is made of; these episodes are one part, and each part is thinned
            as the whole set would be.
    """
    mixed = _parts(batches.mixed, seed, MIXED_CYCLES, MIXED)
    resistive = int(RESISTIVE_SHARE * batches.brief)
    brief = _parts(batches.brief - resistive, seed + 1, BRIEF_CYCLES, FAULTS_ONLY)
    weak = _parts(resistive, seed + 2, BRIEF_CYCLES, FAULTS_ONLY, RESISTIVE_SWEEP)
    kept = min(1.0, WHOLLY_KEPT / max(1, parts * (batches.mixed + batches.brief)))
    windows = []
    first = 0
    for number, episodes in enumerate(chain(mixed, brief, weak)):
        windows.append(select(episodes, spec, first_episode=first, seed=seed + number, part=kept))
        first += len(episodes)
    return Windows.joined(windows)


def hard_windows(count: int, spec: SignalSpec, seed: int, classify: Classifier, first_episode: int) -> Windows:
    """Simulate new episodes, mostly without a fault, and keep the windows that are hard for ``classify``.

    Args:
        count: number of episodes.
        spec: spec of the windows.
        seed: seed of the episodes, other than that of the training windows.
        classify: function that returns the probabilities (n, classes) of windows.
        first_episode: number of the first episode.
    """
    quiet = _parts(count - count // 4, seed, MIXED_CYCLES, NON_FAULTS_ONLY)
    faulty = _parts(count // 4, seed + 1, MIXED_CYCLES, FAULTS_ONLY)

    def cut() -> Iterator[Windows]:
        first = first_episode
        for episodes in chain(quiet, faulty):
            yield select(episodes, spec, first_episode=first)
            first += len(episodes)

    return doubtful(cut(), spec, seed, classify)


def doubtful(parts: Iterable[Windows], spec: SignalSpec, seed: int, classify: Classifier) -> Windows:
    """Keep the windows that are hard for ``classify``: a random choice of at most ``MOST_MINED``.

    Hard windows have the same weight as other windows. Nine in ten contain no fault. With a higher weight, fewer quiet
    windows would be classified as faults, but more distant three-phase faults would be classified as motor starts.
    """
    merged = np.array(spec.equivalent_indices())
    kept = [Windows.empty(spec)]
    for windows in parts:
        # The two three-phase faults cannot be distinguished, so a window is not hard because of doubt between them.
        right = (classify(windows.data) * (merged == merged[windows.labels][:, None])).sum(axis=1)
        kept.append(windows.take((right < DOUBTFUL) & (windows.weights >= 0.5)))
    hard = Windows.joined(kept)
    chosen = np.random.default_rng(seed).permutation(len(hard))[:MOST_MINED]
    return hard.take(np.sort(chosen))


def _parts(
    count: int, seed: int, length_cycles: float, mix: ScenarioMix, sweep: ParameterSweep = TRAINING_SWEEP
) -> Iterator[Episodes]:
    seeds = np.random.SeedSequence(seed).generate_state(max(1, -(-count // PART)))
    for number in range(-(-count // PART)):
        size = min(PART, count - number * PART)
        instruments = INSTRUMENTS[number % len(INSTRUMENTS)]
        yield simulate(
            size, int(seeds[number]), length_cycles=length_cycles, mix=mix, instruments=instruments, sweep=sweep
        )
