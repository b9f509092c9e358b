"""Collect a training's command, history and scores for the manifest, and create the artefact."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from model.artefact import Artefact
from model.normalisation import Normalisation
from model.rejection import Rejection
from model.spec import SignalSpec
from stream.windowing import cut_windows
from training.data.sequences import Sequences
from training.data.windows import Windows
from training.fitting.defaults import DEFAULT_ARCHITECTURE
from training.fitting.fit import FitHistory, cross_entropy, logits_of, sequence_logits_of
from training.metrics import window_scores
from training.versions import tensorflow_distribution, version_of


class Asked(Protocol):
    """Facts about a training that every recipe provides."""

    @property
    def seed(self) -> int:
        """Seed of all random numbers."""

    @property
    def architecture(self) -> str:
        """Architecture of the network."""

    @property
    def command(self) -> str:
        """The command that reproduces the model."""


def changed_options(architecture: str, patience: int | None, default: str = DEFAULT_ARCHITECTURE) -> str:
    """Return the command's options that differ from their defaults, with a space before each."""
    given = "" if architecture == default else f" --architecture {architecture}"
    return given if patience is None else f"{given} --patience {patience}"


def history_record(histories: Sequence[FitHistory]) -> dict[str, Any]:
    """Return the manifest's record of successive fits: lists by epoch, and ``best_epoch`` counted from 1.

    The best epoch is that of the last fit, from which the network's weights come.
    """
    scores = [epoch for history in histories for epoch in history.scores]
    return {
        "loss": [round(value, 5) for history in histories for value in history.loss],
        "val_loss": [round(value, 5) for history in histories for value in history.val_loss],
        "val_accuracy": [round(epoch["accuracy"], 4) for epoch in scores],
        "val_merged_macro_f1": [round(epoch["merged_macro_f1"], 4) for epoch in scores],
        "best_epoch": sum(len(history.loss) for history in histories[:-1]) + histories[-1].best_epoch,
    }


def training_scores(network: Any, train: Windows, spec: SignalSpec) -> dict[str, float]:
    """Score the finished network on its training windows; the gap to the validation scores shows overfitting."""
    logits = logits_of(network, train.data)
    scores = window_scores(train.labels, logits.argmax(axis=1), spec)
    return rounded({**scores, "loss": cross_entropy(logits, train.labels, train.weights)})


def sequence_scores(network: Any, train: Sequences, spec: SignalSpec) -> dict[str, float]:
    """Score the finished network on training sequences; the gap to the validation scores shows overfitting."""
    learned = train.weights > 0
    logits, labels = sequence_logits_of(network, cut_windows(train.data, spec))[learned], train.labels[learned]
    scores = window_scores(labels, logits.argmax(axis=1), spec)
    return rounded({**scores, "loss": cross_entropy(logits, labels, train.weights[learned])})


def validation_scores(history: FitHistory) -> dict[str, float]:
    """Return the validation scores of the epoch whose weights were kept."""
    return rounded(history.scores[history.best_epoch - 1])


def rounded(scores: Mapping[str, float]) -> dict[str, float]:
    """Return scores rounded to four digits, the resolution that the number of windows supports."""
    return {name: round(value, 4) for name, value in scores.items()}


def trained_artefact(
    network: Any,
    spec: SignalSpec,
    options: Asked,
    *,
    normalisation: Normalisation,
    temperature: float,
    metrics: dict[str, Any],
    fitting_s: float,
    rejection: Rejection | None = None,
    source: Mapping[str, Any] | None = None,
) -> Artefact:
    """Return the artefact of a finished training.

    Args:
        network: a Keras model that maps windows to logits.
        spec: spec of the windows.
        options: facts about the training.
        normalisation: the normalisation inside the network.
        temperature: divides the logits before the softmax.
        metrics: the model's scores.
        fitting_s: duration of the fit in seconds; the model's id does not depend on it.
        rejection: bounds beyond which a window is out of distribution.
        source: identification of the training file, in addition to its name in the command.
    """
    packages = ("keras", tensorflow_distribution(), "numpy", "scipy")
    return Artefact.from_model(
        network,
        spec,
        normalisation=normalisation,
        architecture=options.architecture,
        temperature=temperature,
        rejection=rejection,
        metrics=metrics,
        provenance={
            "command": options.command,
            "seed": options.seed,
            **({} if source is None else {"data": dict(source)}),
            "run": {"training_seconds": round(fitting_s, 2)},
            "versions": {"python": platform.python_version(), **{name: version_of(name) for name in packages}},
            "platform": f"{sys.platform}-{platform.machine()}",
        },
    )
