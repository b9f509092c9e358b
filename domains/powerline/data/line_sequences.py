"""Simulate the sequences from which the `line` network learns: stretches of lives, cut at random.

A network with a memory could learn when things happen instead of what happens: on records that begin some cycles before
their only event it learns the clock. So a sequence begins anywhere in a life, also within a fault, the quiet before the
first event lasts from nothing to most of the sequence, and several events may follow one another.

Quiet is a steady state, so it is not simulated: the sinusoids of a record's second cycle are extended backwards. Its
first cycle is dropped, since the instruments' filters settle in it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from domains.powerline.simulator.episodes import HARDER_MIX, ScenarioMix, simulate_lives
from domains.powerline.simulator.measurement import EXTENDED, USUAL, Instruments, draw_chains, measure, renamed
from domains.powerline.simulator.network import SAMPLES_PER_CYCLE
from domains.powerline.simulator.sweep import LOWEST_KV, ParameterSweep
from model.spec import SignalSpec
from stream.windowing import cut_windows
from training.data.classifier import Classifier
from training.data.episodes import Episodes
from training.data.sequences import Sequences, kept, samples_of
from training.data.windows import QUIET_SHARE, interest, label_windows, weighted_by_interest

STEPS = 128
"""Windows of a sequence: .64 s at 50 Hz."""
PART = 1024
"""Sequences simulated at a time, so that memory never holds all records."""
GROUPS = 4
"""Records of a part are solved in groups of similar length."""
# Quiet before the first event, in windows. A negative number is the number of windows cut off from the record.
QUIET = (-56, 112)
SETTLING = SAMPLES_PER_CYCLE  # samples that are dropped at the beginning of a record
FIRST_EVENT_CYCLES = (2, 5)  # bounds of the first event's start in a record, before samples are dropped
# The effect of ten ohms increases as the voltage decreases. On lines of 3 and 6 kV, and on transmission lines scaled to
# a fraction of their voltage, a network therefore learns the effect of a hundred ohms. On feeders with single-phase
# loads it learns that some unbalance is not a fault.
POSITION = (0.005, 0.995)
TRAINING_SWEEP = ParameterSweep(position=POSITION, kilovolt=(LOWEST_KV, np.inf), unbalanced_share=0.4)
RESISTIVE_SWEEP = ParameterSweep(position=POSITION, kilovolt=(66.0, np.inf), scale=(0.05, 0.5), unbalanced_share=0.2)
# Harsh instruments whose channels differ more in gain and of which more are reversed: a network that has seen a line
# for a while can learn what is constant about it.
DIFFERENT = replace(EXTENDED, gain_error=(0.001, 0.14), faulty=replace(EXTENDED.faulty, turned=0.1))
# Parts of the training set take turns with these instruments. A network trained only on noisy and inaccurate
# instruments becomes unsure about faults that usual instruments show clearly, such as a fault of fifty ohms. Broken and
# miswired instruments are equally frequent in both.
INSTRUMENTS = (DIFFERENT, replace(USUAL, faulty=DIFFERENT.faulty))
# The instruments of the parts that a full training learns from last, from part ``MILD_PARTS`` on: very noisy, and often
# with two reversed channels.
WORST = replace(
    DIFFERENT, noise_db=(6.0, 25.0), faulty=replace(DIFFERENT.faulty, turned=0.25, turned_again=0.25, lost=0.15)
)
MILD_PARTS = 136
# A network that only meets faults cleared at once learns how long a fault lasts, and takes a longer one for load.
LONG_SHARE = 0.25
USUAL_FAULTS = ScenarioMix(fault_share=0.8, long_share=LONG_SHARE)
# Starts of large motors and load steps are twice as frequent, since most of the false alarms were theirs. With three
# times as many starts, the network took distant three-phase faults for them.
HARDER = replace(
    HARDER_MIX,
    fault_share=0.5,
    non_faults=(*HARDER_MIX.non_faults, "large_motor", "load_step"),
    long_share=LONG_SHARE,
)
EARLY = 0.7
"""Power of the share that a fault covers, for the weights of windows in which a fault has just begun. With 1, fewer
faults were found in the first tenth of a cycle."""


@dataclass(frozen=True)
class Kind:
    """A kind of life in the training set: its events and its lines."""

    mix: ScenarioMix
    sweep: ParameterSweep


# Parts take turns with these kinds, too.
KINDS = (
    Kind(USUAL_FAULTS, TRAINING_SWEEP),
    Kind(HARDER, TRAINING_SWEEP),
    Kind(USUAL_FAULTS, RESISTIVE_SWEEP),
)

NATURAL = Kind(ScenarioMix(), ParameterSweep())


@dataclass(frozen=True)
class Lives:
    """Distribution of the lives of a training.

    Attributes:
        kinds: kinds of lives that the training set's parts take turns with.
        instruments: instruments that the parts take turns with.
        worst: instruments of the parts from ``MILD_PARTS`` on.
        natural: kind of the lives for calibration and test, with events as often as they occur.
        usual: instruments of the lives for calibration and test.
    """

    kinds: tuple[Kind, ...] = KINDS
    instruments: tuple[Instruments, ...] = INSTRUMENTS
    worst: Instruments = WORST
    natural: Kind = NATURAL
    usual: Instruments = USUAL


LIVES = Lives()
"""The lives from which the shipped model learns."""


def training_part(
    number: int, size: int, spec: SignalSpec, seed: int, folder: Path | None = None, lives: Lives = LIVES
) -> Sequences:
    """Simulate a part of the training set.

    Args:
        number: number of the part, from 0. Parts take turns with the kinds of lives and with the instruments.
        size: sequences of the part.
        spec: spec of the windows.
        seed: seed of the training set; equal seeds give equal parts.
        folder: folder in which parts are kept, so that a resumed training does not simulate them again.
        lives: distribution of the lives.
    """
    # Instruments change after every round of kinds, so that every kind meets all instruments.
    turn = number // len(lives.kinds) % len(lives.instruments)
    instruments = lives.instruments[turn] if number < MILD_PARTS else lives.worst
    kind = lives.kinds[number % len(lives.kinds)]
    own = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])

    def simulated() -> Sequences:
        return life_sequences(size, own, spec, kind, instruments, first_episode=number * PART)

    if folder is None:
        return simulated()
    decisive = repr((seed, number, size, spec.digest, kind, instruments, STEPS, QUIET))
    key = hashlib.blake2b(decisive.encode(), digest_size=8).hexdigest()
    return kept(folder / f"sequences-{number:04d}-{key}.npz", simulated)


def life_sequences(
    n: int,
    seed: int,
    spec: SignalSpec,
    kind: Kind,
    instruments: Instruments,
    *,
    steps: int = STEPS,
    first_episode: int = 0,
) -> Sequences:
    """Simulate ``n`` sequences of one kind of life.

    Args:
        n: number of sequences.
        seed: seed of the lives, instruments and cuts.
        spec: spec of the windows.
        kind: events and lines.
        instruments: distribution from which each line's instruments are drawn.
        steps: windows of a sequence.
        first_episode: number of the first sequence.
    """
    rng = np.random.default_rng(seed)
    episodes, shares, frequency = _lives(n, rng, spec, kind, steps)
    chain = draw_chains(n, rng, instruments)
    samples = measure(episodes.samples, chain, rng, frequency)
    labels, weights = label_windows(renamed(episodes.labels, chain), episodes.settled, spec, early=EARLY)
    numbers = np.arange(first_episode, first_episode + n)
    return Sequences(samples, labels, weighted_by_interest(weights, shares), numbers)


def natural_sequences(n: int, spec: SignalSpec, seed: int, *, steps: int = STEPS, lives: Lives = LIVES) -> Sequences:
    """Simulate ``n`` sequences of natural lives with usual instruments; weight 1 marks windows fully in one state."""
    rng = np.random.default_rng(seed)
    episodes, _, frequency = _lives(n, rng, spec, lives.natural, steps)
    chain = draw_chains(n, rng, lives.usual)
    samples = measure(episodes.samples, chain, rng, frequency)
    labels, weights = label_windows(renamed(episodes.labels, chain), episodes.settled, spec)
    return Sequences(samples, labels, weights, np.arange(n))


def _lives(
    n: int, rng: np.random.Generator, spec: SignalSpec, kind: Kind, steps: int
) -> tuple[Episodes, NDArray[np.float32], NDArray[np.float64]]:
    """Return cut lives without instruments, the interest (n, steps) of their windows, and relative frequencies."""
    # Sorted, so that records of a group have about the same length.
    quiet = np.sort(rng.integers(QUIET[0], round(QUIET[1] * steps / STEPS), n, endpoint=True))
    length = samples_of(steps, spec)
    parts, shares, frequencies = [], [], []
    for own in np.array_split(quiet, GROUPS):
        if not len(own):
            continue
        needed = SETTLING + length - int(own.min()) * spec.hop
        record = simulate_lives(
            len(own), int(rng.integers(2**31)), needed, mix=kind.mix, sweep=kind.sweep, first=FIRST_EVENT_CYCLES
        )
        frequency = np.array([float(line["frequency_hz"]) / float(line["nominal_hz"]) for line in record.lines])
        share = interest(record, spec)[:, SETTLING // spec.hop :]
        record = replace(
            record,
            samples=record.samples[:, SETTLING:],
            labels=record.labels[:, SETTLING:],
            settled=record.settled[:, SETTLING:],
        )
        before = steady_state(record.samples, max(0, int(own.max())) * spec.hop, frequency)
        parts.append(_cut(record, before, own, length, spec))
        shares.append(np.stack([_window_shares(row, q, steps) for row, q in zip(share, own, strict=True)]))
        frequencies.append(frequency)
    return Episodes.joined(parts), np.concatenate(shares), np.concatenate(frequencies)


def steady_state(samples: NDArray[np.float32], count: int, frequency: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the ``count`` samples before records that begin with one cycle of a steady state.

    Args:
        samples: records float32 (n, t, channels), without imperfections of instruments.
        count: number of samples to return per record.
        frequency: frequency of every record relative to nominal, (n,).

    Returns:
        float32 (n, count, channels), the last one directly before the record.
    """
    turn = 2 * np.pi * frequency[:, None] * np.arange(-count, SAMPLES_PER_CYCLE) / SAMPLES_PER_CYCLE
    waves = np.stack([np.cos(turn), np.sin(turn)], axis=2)
    seen, earlier = waves[:, count:], waves[:, :count]
    parts = np.linalg.pinv(seen) @ samples[:, :SAMPLES_PER_CYCLE].astype(np.float64)
    return np.asarray(earlier @ parts, np.float32)


def _cut(
    record: Episodes, before: NDArray[np.float32], quiet: NDArray[np.intp], length: int, spec: SignalSpec
) -> Episodes:
    """Return records of ``length`` samples that begin ``quiet`` (n,) windows before the simulated ones."""
    # Steady states and records lie behind one another; every line takes its part.
    begin = before.shape[1] - quiet * spec.hop
    which = begin[:, None] + np.arange(length)
    samples = np.take_along_axis(np.concatenate([before, record.samples], axis=1), which[:, :, None], axis=1)
    steady = before.shape[:2]
    labels = np.concatenate([np.full(steady, spec.none_index, np.int8), record.labels], axis=1)
    settled = np.concatenate([np.ones(steady, bool), record.settled], axis=1)
    return Episodes(
        samples,
        np.take_along_axis(labels, which, axis=1),
        np.take_along_axis(settled, which, axis=1),
        record.events,
        record.lines,
    )


def _window_shares(share: NDArray[np.float32], quiet: int, steps: int) -> NDArray[np.float32]:
    """Return the interest (steps,) of a sequence's windows from that of its record's windows."""
    if quiet <= 0:
        return share[-quiet : steps - quiet]
    return np.concatenate([np.full(quiet, QUIET_SHARE, np.float32), share[: steps - quiet]])


def hard_sequences(sequences: Sequences, classify: Classifier, spec: SignalSpec, count: int) -> Sequences:
    """Return the ``count`` sequences that ``classify`` gets most wrong, by the weighted loss of their windows.

    The two three-phase faults cannot be distinguished, so doubt between them does not count.
    """
    merged = np.array(spec.equivalent_indices())
    loss = np.empty(len(sequences))
    for first in range(0, len(sequences), PART):
        part = sequences.take(np.arange(first, min(first + PART, len(sequences))))
        probabilities = classify(cut_windows(part.data, spec))
        right = (probabilities * (merged == merged[part.labels][..., None])).sum(axis=2)
        loss[first : first + len(part)] = (part.weights * -np.log(np.maximum(right, 1e-4))).sum(axis=1)
    return sequences.take(np.sort(np.argsort(-loss, kind="stable")[:count]))
