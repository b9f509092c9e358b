"""Fit in rounds. Between two rounds, sequences that the model still gets wrong are searched for and added."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from model.spec import SignalSpec
from training.data.classifier import Classifier, Search
from training.data.sequences import Sequences
from training.fitting.augmentation import Outages
from training.fitting.fit import FitHistory, FitOptions, fit, has_memory, logits_of, sequence_logits_of

LEAST_EPOCHS = 0.25


@dataclass(frozen=True)
class Round:
    """A share of the epochs, with its peak learning rate and the final rate as a fraction of the peak.

    The round learns from the parts of the training data between the shares ``begin`` and ``part``, and if ``hard`` is
    true also from the hard sequences of the searches before it. ``outages`` augment them.
    """

    share: float
    learning_rate: float
    final_rate: float
    begin: float = 0.0
    part: float = 1.0
    hard: bool = True
    outages: Outages | None = None


@dataclass(frozen=True)
class Fitted:
    """The history of every round, and the hard sequences that were found between rounds."""

    histories: tuple[FitHistory, ...]
    hard: Sequences


def epochs_of(rounds: Sequence[Round], epochs: int) -> tuple[int, ...]:
    """Return the number of epochs of every round.

    A round of less than a quarter of an epoch is left out, unless it is the first; any other has at least one epoch.
    """
    shares = [part.share * epochs for part in rounds]
    return tuple(0 if number and own < LEAST_EPOCHS else max(1, round(own)) for number, own in enumerate(shares))


def fit_rounds(
    network: Any,
    train: Sequence[Sequences],
    validation: Sequences,
    spec: SignalSpec,
    rounds: Sequence[Round],
    options: FitOptions,
    *,
    search: Search,
    averaged: int = 1,
    checkpoints: Path | None = None,
    on_epoch: Callable[[FitHistory], None] | None = None,
) -> Fitted:
    """Fit ``network`` in place and leave it with the mean of the best weights of the last rounds.

    Rounds that start from each other's weights end near each other, and the mean of their weights generalises better
    than each of them (Izmailov et al., "Averaging weights leads to wider optima and better generalization", UAI 2018).

    Args:
        network: a Keras model with a memory.
        train: training sequences, in parts of similar composition.
        validation: sequences of other episodes.
        spec: spec of the windows.
        rounds: shares of the epochs, with their learning rates.
        options: options of the fit; ``epochs`` is the total of all rounds, and the rounds set the learning rates.
        search: finds hard sequences after every round whose successor learns from them.
        averaged: number of last rounds over whose weights the mean is taken, if no round is left out; 1 leaves the
            weights of the last round.
        checkpoints: folder with one file per round; if the files exist, fitting resumes from them.
        on_epoch: called after every epoch with the history of its round so far.

    Returns:
        The histories of the rounds, and the hard sequences.

    Raises:
        TrainingError: a checkpoint belongs to another training, or cannot be written.
    """
    hard = train[0].take(np.array([], int))
    histories: list[FitHistory] = []
    ends: list[list[NDArray[np.float32]]] = []
    lengths = epochs_of(rounds, options.epochs)
    if not all(lengths):
        averaged = 1
    kept = [(part, epochs) for part, epochs in zip(rounds, lengths, strict=True) if epochs]
    for number, (part, epochs) in enumerate(kept, start=1):
        how = replace(
            options,
            epochs=epochs,
            learning_rate=part.learning_rate,
            final_rate=part.final_rate,
            outages=part.outages,
        )
        checkpoint = checkpoints / f"{spec.name}-round-{number}.npz" if checkpoints else None
        begin = min(math.ceil(part.begin * len(train)), len(train) - 1)
        own = train[begin : max(begin + 1, math.ceil(part.part * len(train)))]
        beside = hard if part.hard else None
        histories.append(fit(network, own, validation, spec, how, checkpoint, on_epoch, beside=beside))
        if number > len(kept) - averaged:
            ends.append(network.get_weights())
        gc.collect()  # compiled steps are in reference cycles
        if number < len(kept) and kept[number][0].hard:
            hard = Sequences.joined([hard, search(number, len(kept), classifier_of(network))])
    network.set_weights([np.mean(values, axis=0) for values in zip(*ends, strict=True)])
    return Fitted(tuple(histories), hard)


def classifier_of(network: Any, temperature: float = 1.0) -> Classifier:
    """Return the function that computes a network's probabilities; see ``Classifier``."""

    def classify(windows: NDArray[np.float32]) -> NDArray[np.float32]:
        if has_memory(network):
            logits = sequence_logits_of(network, windows)
        else:
            flat = np.ascontiguousarray(windows).reshape(-1, *windows.shape[2:])
            logits = logits_of(network, flat).reshape(*windows.shape[:2], -1)
        return np.asarray(softmax(logits / temperature, axis=-1), np.float32)

    return classify
