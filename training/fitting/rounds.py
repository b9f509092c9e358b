"""Fit in rounds. Between two rounds, windows that the model still misclassifies are searched for and added."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from model.spec import SignalSpec
from training.data.classifier import Classifier, Search
from training.data.windows import Windows
from training.fitting.fit import FitHistory, FitOptions, fit, logits_of


@dataclass(frozen=True)
class Round:
    """A share of the epochs, with its peak learning rate and the final rate as a fraction of the peak."""

    share: float
    learning_rate: float
    final_rate: float


@dataclass(frozen=True)
class Fitted:
    """The history of every round, and the hard windows that were found between rounds."""

    histories: tuple[FitHistory, ...]
    hard: Windows


def epochs_of(rounds: Sequence[Round], epochs: int) -> tuple[int, ...]:
    """Return the number of epochs of every round, at least one each."""
    return tuple(max(1, round(part.share * epochs)) for part in rounds)


def fit_rounds(
    network: Any,
    train: Windows,
    validation: Windows,
    spec: SignalSpec,
    rounds: Sequence[Round],
    options: FitOptions,
    *,
    search: Search,
    checkpoints: Path | None = None,
    on_epoch: Callable[[FitHistory], None] | None = None,
) -> Fitted:
    """Fit ``network`` in place and leave it with the best weights of the last round.

    Args:
        network: a Keras model that maps windows to logits.
        train: training windows.
        validation: windows of other episodes.
        spec: spec of the windows.
        rounds: shares of the epochs, with their learning rates.
        options: options of the fit; ``epochs`` is the total of all rounds, and the rounds set the learning rates.
        search: finds hard windows after every round but the last.
        checkpoints: folder with one file per round; if the files exist, fitting resumes from them.
        on_epoch: called after every epoch with the history of its round so far.

    Returns:
        The histories of the rounds, and the hard windows.

    Raises:
        TrainingError: a checkpoint belongs to another training, or cannot be written.
    """
    hard = train.take(np.array([], int))
    histories: list[FitHistory] = []
    for number, (part, epochs) in enumerate(zip(rounds, epochs_of(rounds, options.epochs), strict=True), start=1):
        how = replace(options, epochs=epochs, learning_rate=part.learning_rate, final_rate=part.final_rate)
        checkpoint = checkpoints / f"{spec.name}-round-{number}.npz" if checkpoints else None
        histories.append(fit(network, train, validation, spec, how, checkpoint, on_epoch, beside=hard))
        gc.collect()  # compiled steps are in reference cycles that hold a copy of all windows
        if number < len(rounds):
            hard = Windows.joined([hard, search(number, len(rounds), classifier_of(network))])
    return Fitted(tuple(histories), hard)


def classifier_of(network: Any, temperature: float = 1.0) -> Classifier:
    """Return a function that computes a network's probabilities (n, classes) of windows."""

    def classify(data: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(softmax(logits_of(network, data) / temperature, axis=1), np.float32)

    return classify
