"""Compare all architectures on ``classData.csv``, by the reference report's protocol and by a split without leakage."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from domains.powerline.data.classdata import Split, read_classdata, split_classdata
from domains.powerline.recipes.instant import REFERENCE, fit_reference
from model.architectures import ARCHITECTURES, memory_units
from model.artefact import Artefact
from model.engine import Engine
from model.frozen import FrozenModel
from model.normalisation import Normalisation
from model.spec import SignalSpec, load_spec
from training.data.windows import Windows
from training.fitting.fit import FitHistory, logits_of, stay_on_one_core
from training.metrics import window_scores

COMPARED = tuple(name for name in ARCHITECTURES if not memory_units(name))
"""Architectures that classify single instants: a memory needs successive windows, which the file does not have."""
# Number of single windows classified to time the engine; one delay does not shift the median of this many.
TIMED_WINDOWS = 300


class SplitScores(FrozenModel):
    """Scores of the epoch with the best validation accuracy; ``merged`` counts the two three-phase classes as one."""

    validation_accuracy: float
    last_validation_accuracy: float
    test_accuracy: float
    macro_f1: float
    merged_macro_f1: float
    best_epoch: int
    training_s: float


class Outcome(FrozenModel):
    """Result of one architecture.

    The split ``random`` puts neighbouring instants into training and test; ``blocks`` separates them in time.
    """

    architecture: str
    parameters: int
    random: SplitScores
    blocks: SplitScores
    prediction_ms: float


class Comparison(FrozenModel):
    """Result of ``faultline compare``. ``rows`` are the windows for training, validation and test, by split."""

    schema_version: int = 1
    seed: int
    epochs: int
    rows: dict[str, tuple[int, int, int]]
    outcomes: tuple[Outcome, ...]


def compare(
    data: Path,
    seed: int,
    epochs: int = REFERENCE.epochs,
    architectures: Sequence[str] = COMPARED,
    on_epoch: Callable[[str], None] | None = None,
) -> Comparison:
    """Train every architecture on both splits with the same options, scaled by the training part's statistics.

    Args:
        data: path of ``classData.csv``.
        seed: seed of the split, the weights, dropout and the order of windows.
        epochs: number of epochs of every training.
        architectures: names of the architectures; see ``model.architectures``.
        on_epoch: called after every epoch with the names of architecture and split.

    Raises:
        DataSetError: the file is not ``classData.csv``.
    """
    spec = load_spec("instant")
    windows = read_classdata(data, spec)
    stay_on_one_core()
    splits: dict[Split, tuple[Windows, Windows, Windows]] = {
        "random": split_classdata(windows, "random", seed),
        "blocks": split_classdata(windows, "blocks", seed),
    }
    options = replace(REFERENCE, epochs=epochs, seed=seed, show_progress=False)
    outcomes = []
    for architecture in architectures:
        scores = {}
        for split, (train, validation, test) in splits.items():

            def report(_: FitHistory, name: str = f"{architecture}, {split}") -> None:
                if on_epoch:
                    on_epoch(name)

            network, normalisation, history = fit_reference(
                architecture, spec, train, validation, options, on_epoch=report
            )
            scores[split] = _scores(network, history, test, spec)
            if split == "random":
                milliseconds = prediction_ms(network, architecture, spec, normalisation, test)
        outcomes.append(
            Outcome(
                architecture=architecture,
                parameters=network.count_params(),
                random=scores["random"],
                blocks=scores["blocks"],
                prediction_ms=milliseconds,
            )
        )
    rows = {split: (len(parts[0]), len(parts[1]), len(parts[2])) for split, parts in splits.items()}
    return Comparison(seed=seed, epochs=epochs, rows=rows, outcomes=tuple(outcomes))


def _scores(network: Any, history: FitHistory, test: Windows, spec: SignalSpec) -> SplitScores:
    scores = window_scores(test.labels, logits_of(network, test.data).argmax(axis=1), spec)
    return SplitScores(
        validation_accuracy=history.scores[history.best_epoch - 1]["accuracy"],
        last_validation_accuracy=history.scores[-1]["accuracy"],
        test_accuracy=scores["accuracy"],
        macro_f1=scores["macro_f1"],
        merged_macro_f1=scores["merged_macro_f1"],
        best_epoch=history.best_epoch,
        training_s=round(history.seconds, 3),
    )


def prediction_ms(
    network: Any, architecture: str, spec: SignalSpec, normalisation: Normalisation, windows: Windows
) -> float:
    """Return the median time in ms that the worker's engine takes to classify a single window."""
    artefact = Artefact.from_model(network, spec, normalisation=normalisation, architecture=architecture)
    took = []
    with Engine(artefact, threads=1, buckets=(1,)).warm() as engine:
        for k in range(TIMED_WINDOWS):
            window = windows.data[[k % len(windows)]]
            begun = time.perf_counter()
            engine.classify(window)
            took.append(time.perf_counter() - begun)
    return round(float(np.median(took)) * 1e3, 4)
