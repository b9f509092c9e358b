"""Fitting a network to windows: compiled steps, cosine learning rate, the best epoch's weights, temperature."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
from numpy.typing import NDArray
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from model.spec import SignalSpec
from training.scores import window_scores
from training.windows import Windows

SCORING_BATCH = 4096


@dataclass(frozen=True)
class FitOptions:
    """How a network is fitted. ``warm_up`` is the part of all steps in which the learning rate rises; it then
    falls along a cosine to ``final_rate`` of its height."""

    epochs: int = 20
    batch: int = 256
    learning_rate: float = 3e-3
    warm_up: float = 0.05
    final_rate: float = 0.01
    seed: int = 0
    show_progress: bool = True


@dataclass
class FitHistory:
    """Per epoch: training loss, validation loss, and scores of the validation windows."""

    loss: list[float] = field(default_factory=list)
    val_loss: list[float] = field(default_factory=list)
    scores: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = 0


def make_repeatable(seed: int) -> None:
    """Seed every generator of the process. XLA's operations on CPU are deterministic for a number of threads;
    TensorFlow's switch for determinism would forbid compilation."""
    keras.utils.set_random_seed(seed)


def logits_of(network: Any, data: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the network's logits (n, classes) of windows (n, samples, channels), compiled for one batch shape."""
    import tensorflow as tf

    forward = getattr(network, "_faultline_forward", None)
    if forward is None:
        forward = tf.function(lambda windows: network(windows, training=False), jit_compile=True)
        network._faultline_forward = forward
    padded = np.zeros((SCORING_BATCH, *data.shape[1:]), np.float32)
    parts = []
    for first in range(0, len(data), SCORING_BATCH):
        part = data[first : first + SCORING_BATCH]
        padded[: len(part)] = part
        parts.append(forward(padded).numpy()[: len(part)])
    return np.concatenate(parts)


def fit(network: Any, train: Windows, validation: Windows, spec: SignalSpec, options: FitOptions) -> FitHistory:
    """Fit ``network`` in place and leave it with the weights of its best epoch, by validation loss.

    Args:
        network: a Keras model from windows to logits.
        train: windows to learn from; their weights count.
        validation: windows of other episodes.
        spec: for the scores.
        options: see FitOptions.
    """
    steps = options.epochs * -(-len(train) // options.batch)
    warm_up = max(1, int(options.warm_up * steps))
    schedule = keras.optimizers.schedules.CosineDecay(
        options.learning_rate / 20,
        max(1, steps - warm_up),
        alpha=options.final_rate,
        warmup_target=options.learning_rate,
        warmup_steps=warm_up,
    )
    network.compile(
        keras.optimizers.Adam(schedule, clipnorm=1.0),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=True,
    )
    watch = _Watch(validation, spec, options)
    with watch.progress:
        network.fit(
            train.data,
            train.labels,
            sample_weight=train.weights / train.weights.mean(),
            batch_size=options.batch,
            epochs=options.epochs,
            verbose=0,
            callbacks=[watch],
        )
    network.set_weights(watch.best_weights)
    return watch.history


class _Watch(keras.callbacks.Callback):  # type: ignore[misc]
    """Scores every epoch, keeps the best weights, and shows progress: a bar, or one line per epoch."""

    def __init__(self, validation: Windows, spec: SignalSpec, options: FitOptions) -> None:
        super().__init__()
        self.validation, self.spec, self.options = validation, spec, options
        self.history = FitHistory()
        self.best_weights: list[NDArray[np.float32]] = []
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[state]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            disable=not (options.show_progress and sys.stderr.isatty()),
            transient=True,
        )
        self.task = self.progress.add_task("training", total=None, state="")

    def on_train_begin(self, logs: Any = None) -> None:
        self.progress.update(self.task, total=self.options.epochs * self.params["steps"])

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.progress.advance(self.task)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logits = logits_of(self.model, self.validation.data)
        loss = cross_entropy(logits, self.validation.labels, self.validation.weights)
        scores = window_scores(self.validation.labels, logits.argmax(axis=1), self.spec)
        history = self.history
        if not history.val_loss or loss < min(history.val_loss):
            self.best_weights = self.model.get_weights()
            history.best_epoch = epoch + 1
        history.loss.append(float((logs or {}).get("loss", np.nan)))
        history.val_loss.append(loss)
        history.scores.append(scores)
        state = f"loss {history.loss[-1]:.4f} val_loss {loss:.4f} merged_f1 {scores['merged_macro_f1']:.4f}"
        self.progress.update(self.task, state=state)
        if self.options.show_progress and self.progress.disable:
            print(f"epoch {epoch + 1}/{self.options.epochs} {state}", file=sys.stderr, flush=True)


def cross_entropy(
    logits: NDArray[np.float32],
    labels: NDArray[np.int32],
    weights: NDArray[np.float32] | None = None,
    temperature: float = 1.0,
) -> float:
    """Return the mean negative log-likelihood of ``labels`` under softmax(logits / temperature)."""
    scaled = logits.astype(np.float64) / temperature
    loss = logsumexp(scaled, axis=1) - scaled[np.arange(len(labels)), labels]
    return float(np.average(loss, weights=weights))


def fit_temperature(logits: NDArray[np.float32], labels: NDArray[np.int32]) -> float:
    """Return the temperature that makes ``logits`` of windows not trained on most likely.

    Guo et al., "On calibration of modern neural networks", ICML 2017.
    """
    best = minimize_scalar(
        lambda log_t: cross_entropy(logits, labels, temperature=float(np.exp(log_t))),
        bounds=(np.log(0.2), np.log(5.0)),
        method="bounded",
    )
    return float(np.exp(best.x))
