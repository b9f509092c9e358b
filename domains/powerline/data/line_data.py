"""The windows that the `line` model learns from, and the hard ones that are added once a first model has learned."""

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

PART = 1024  # episodes simulated and cut at a time, so that whole records never pile up in memory
MIXED_CYCLES, BRIEF_CYCLES = 40.0, 8.0
MIXED = ScenarioMix(fault_share=0.5)
FAULTS_ONLY = ScenarioMix(fault_share=1.0)  # short records around the inception, where classes are hardest to tell
NON_FAULTS_ONLY = ScenarioMix(fault_share=0.0)
# Ten ohms weigh the more, the lower the voltage: on lines of 3 and 6 kV, and on lines like those of transmission at a
# fraction of their voltage, a network learns what a hundred are.
# On feeders with loads of one phase it learns that some unbalance is no fault.
TRAINING_SWEEP = ParameterSweep(kilovolt=(LOWEST_KV, np.inf), unbalanced_share=0.4)
# In turns, part by part: of noise and imprecision alone a network learns to doubt what usual instruments show clearly,
# such as a fault of fifty ohm. What is broken or wired wrongly is so in both, as often.
INSTRUMENTS = (HARSH, replace(USUAL, faulty=HARSH.faulty))
RESISTIVE_SWEEP, RESISTIVE_SHARE = ParameterSweep(kilovolt=(66.0, np.inf), scale=(0.05, 0.5)), 0.5
# Of so many episodes all instructive windows are kept, of more as many windows, so that memory and an epoch's time are
# bounded: windows of further lines teach what further windows of one line do not. The recipe keeps some 3.6 million,
# 2.8 GB, and at its height a training takes 9.
WHOLLY_KEPT = 250_000
DOUBTFUL = 0.75  # a window whose right class has less probability than this is hard
MOST_MINED = 40_000


@dataclass(frozen=True)
class Batches:
    """Numbers of episodes: mixed long ones, brief ones around a fault, fresh ones to be searched for hard windows."""

    mixed: int
    brief: int
    mined: int  # in every round

    @classmethod
    def of(cls, episodes: int) -> Batches:
        """Share ``episodes`` out."""
        return cls(mixed=int(0.06 * episodes), brief=int(0.89 * episodes), mined=int(0.025 * episodes))


def training_windows(batches: Batches, spec: SignalSpec, seed: int, parts: int = 1) -> Windows:
    """Simulate episodes and keep their instructive windows.

    Args:
        batches: how many episodes of each kind.
        spec: of the windows.
        seed: of the episodes.
        parts: of a training set that these episodes are one of; all are thinned as the whole is.
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
    """Simulate fresh episodes, mostly without a fault, and keep the windows that ``classify`` doubts.

    Args:
        count: of episodes.
        spec: of the windows.
        seed: other than that of the training windows.
        classify: probabilities (n, classes) of windows.
        first_episode: number of the first of the episodes.
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
    """Keep the windows that ``classify`` doubts, at most ``MOST_MINED`` of them at random.

    They weigh what others do. Nine in ten are no fault: the more they weigh, the rarer a quiet window is taken for a
    fault, and the more often a three-phase fault far out for the start of a motor.
    """
    merged = np.array(spec.equivalent_indices())
    kept = [Windows.empty(spec)]
    for windows in parts:
        # The two three-phase faults cannot be told apart: doubt between them is no fault of the model.
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
