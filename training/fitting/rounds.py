"""Fitting in rounds: between two of them, windows that the model still gets wrong are searched."""

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
    """A part of the epochs, and its learning rate at the height and, in parts of that, at the end."""

    share: float
    learning_rate: float
    final_rate: float


@dataclass(frozen=True)
class Fitted:
    """How every round went, and the hard windows that were found between them."""

    histories: tuple[FitHistory, ...]
    hard: Windows


def epochs_of(rounds: Sequence[Round], epochs: int) -> tuple[int, ...]:
    """Return the epochs of every round, at least one each."""
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
    """Fit ``network`` in place; it is left with the last round's best weights.

    Args:
        network: a Keras model from windows to logits.
        train: windows to learn from.
        validation: windows of other episodes.
        spec: of the windows.
        rounds: shares of the epochs, with their learning rates.
        options: ``epochs`` are those of all rounds together; the learning rates are the rounds'.
        search: finds hard windows after every round but the last.
        checkpoints: folder of one file per round; where they are, fitting goes on from there.
        on_epoch: told after every epoch, of its round's epochs so far.

    Raises:
        TrainingError: a checkpoint is another training's, or cannot be written.
    """
    hard = train.take(np.array([], int))
    histories: list[FitHistory] = []
    for number, (part, epochs) in enumerate(zip(rounds, epochs_of(rounds, options.epochs), strict=True), start=1):
        how = replace(options, epochs=epochs, learning_rate=part.learning_rate, final_rate=part.final_rate)
        checkpoint = checkpoints / f"{spec.name}-round-{number}.npz" if checkpoints else None
        histories.append(fit(network, train, validation, spec, how, checkpoint, on_epoch, beside=hard))
        gc.collect()  # compiled steps are part of reference cycles, with a copy of all windows
        if number < len(rounds):
            hard = Windows.joined([hard, search(number, len(rounds), classifier_of(network))])
    return Fitted(tuple(histories), hard)


def classifier_of(network: Any, temperature: float = 1.0) -> Classifier:
    """Return what gives a network's probabilities (n, classes) of windows."""

    def classify(data: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(softmax(logits_of(network, data) / temperature, axis=1), np.float32)

    return classify
