"""Fit a network to windows: compiled steps, cosine learning rate, weights of the best epoch, temperature."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, cast

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
import structlog
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from model.spec import SignalSpec
from stream.windowing import cut_windows
from training.data.sequences import Sequences
from training.data.windows import Windows
from training.fitting.augmentation import Outages, Symmetries
from training.fitting.checkpoint import Checkpoint, State
from training.fitting.steps import Steps
from training.metrics import window_scores
from training.progress import progress_bar

if TYPE_CHECKING:
    from training.fitting.sequence_steps import SequenceSteps

log = structlog.get_logger(__name__)

SCORING_BATCH = 4096
SCORING_SEQUENCES = 64

Labelled = Windows | Sequences | Sequence[Windows] | Sequence[Sequences]
"""Training data: windows, or sequences for a network with a memory, in one part or several."""


@dataclass(frozen=True)
class FitOptions:
    """Options of a fit.

    ``warm_up`` is the share of all steps in which the learning rate rises; it then falls along a cosine to
    ``final_rate`` times its peak.

    If ``optimiser`` is "muon", a weight matrix is updated equally in all its directions (Jordan et al., "Muon: an
    optimizer for hidden layers in neural networks", 2024). The last layer and the biases do not need that, so Adam
    fits them. With the scaling of Liu et al., "Muon is scalable for LLM training" (2025), both use a learning rate of
    the same size.
    """

    epochs: int = 20
    batch: int = 256
    learning_rate: float = 3e-3
    warm_up: float = 0.05
    final_rate: float = 0.01
    clip_norm: float | None = 1.0  # largest norm of each tensor's gradient
    optimiser: Literal["adam", "muon"] = "adam"
    seed: int = 0
    select_by: Literal["loss", "accuracy"] = "loss"  # validation score that selects the best epoch
    patience: int | None = None  # training ends after this many epochs without improvement
    symmetries: Symmetries | None = None  # transformations for augmentation, drawn anew every epoch
    outages: Outages | None = None  # failing channels for augmentation, for a network with a memory
    show_progress: bool = True


@dataclass
class FitHistory:
    """Training loss, validation loss and scores of the validation windows, per epoch."""

    loss: list[float] = field(default_factory=list)
    val_loss: list[float] = field(default_factory=list)
    scores: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = 0
    seconds: float = 0.0  # duration of training and validation, over all runs of a resumed training

    @property
    def epochs(self) -> int:
        """Number of finished epochs."""
        return len(self.loss)

    def stalled(self, patience: int | None) -> bool:
        """Return True if the last ``patience`` epochs brought no improvement; always False if it is None."""
        return patience is not None and self.epochs - self.best_epoch >= patience


def make_repeatable(seed: int) -> None:
    """Seed every random generator of the process.

    The operations used are deterministic on a CPU for a fixed number of threads. TensorFlow's determinism option is
    not set, since it rules out compiling by XLA.
    """
    keras.utils.set_random_seed(seed)


def stay_on_one_core() -> bool:
    """Make TensorFlow run every operation of this process in one thread.

    For steps of less than a millisecond, passing operations between threads costs a fifth of the time.

    Returns:
        True if the setting took effect. It must precede TensorFlow's first computation.
    """
    import tensorflow as tf

    try:
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    except RuntimeError:
        return False
    return True


def has_memory(network: Any) -> bool:
    """Return True if a network has a memory, which is its second input."""
    return len(network.inputs) > 1


def logits_of(network: Any, data: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the network's logits (n, classes) of windows (n, samples, channels), in batches of one shape.

    A network without a memory only; see ``sequence_logits_of``.
    """
    import tensorflow as tf

    # Compiling with XLA takes a second or two, which is worthwhile only for many windows.
    compiled = len(data) > SCORING_BATCH
    forwards = network.__dict__.setdefault("_faultline_forwards", {})
    if compiled not in forwards:
        forwards[compiled] = tf.function(lambda windows: network(windows, training=False), jit_compile=compiled)
    forward = forwards[compiled]
    if not compiled:
        return np.asarray(forward(tf.constant(data)))
    padded = np.zeros((SCORING_BATCH, *data.shape[1:]), np.float32)
    parts = []
    for first in range(0, len(data), SCORING_BATCH):
        part = data[first : first + SCORING_BATCH]
        padded[: len(part)] = part
        parts.append(forward(padded).numpy()[: len(part)])
    return np.concatenate(parts)


def sequence_logits_of(network: Any, windows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the logits (n, steps, classes) of windows (n, steps, samples, channels) of a network with a memory.

    The memory is cold before the first window. Every number of steps is compiled once.
    """
    import tensorflow as tf

    from training.fitting.sequence_steps import sequence_logits

    forwards = network.__dict__.setdefault("_faultline_forwards", {})
    steps = windows.shape[1]
    if steps not in forwards:
        forwards[steps] = tf.function(lambda given: sequence_logits(network, given), jit_compile=True, autograph=False)
    padded = np.zeros((SCORING_SEQUENCES, *windows.shape[1:]), np.float32)
    parts = []
    for first in range(0, len(windows), SCORING_SEQUENCES):
        part = windows[first : first + SCORING_SEQUENCES]
        padded[: len(part)] = part
        parts.append(forwards[steps](padded).numpy()[: len(part)])
    return np.concatenate(parts)


def fit(
    network: Any,
    train: Labelled,
    validation: Windows | Sequences,
    spec: SignalSpec,
    options: FitOptions,
    checkpoint: Path | None = None,
    on_epoch: Callable[[FitHistory], None] | None = None,
    beside: Labelled | None = None,
) -> FitHistory:
    """Fit ``network`` in place and leave it with the weights of its best epoch.

    Args:
        network: a Keras model that maps windows to logits, or one with a memory.
        train: training windows with their weights, or sequences for a network with a memory, in one part or several.
        validation: windows, or sequences, of other episodes.
        spec: spec of the windows.
        options: see FitOptions.
        checkpoint: file that is written after every epoch. If it exists already, training resumes after its last
            epoch and ends with the same weights as an uninterrupted training.
        on_epoch: called after every epoch with the history so far.
        beside: further training windows, or sequences.

    Raises:
        TrainingError: the checkpoint belongs to another training, or cannot be written.
    """
    begun = time.perf_counter()
    parts = [part for given in (train, beside) for part in _parts(given) if len(part)]
    fingerprint = _fingerprint(network, [*parts, validation], options) if checkpoint else ""
    file = Checkpoint(checkpoint, fingerprint) if checkpoint else None
    optimiser = _optimiser(options, network, steps=options.epochs * -(-sum(map(len, parts)) // options.batch))
    steps: Steps | SequenceSteps
    if has_memory(network):
        from training.fitting.sequence_steps import SequenceSteps

        sequences = cast("list[Sequences]", parts)
        augmentation = options.symmetries, options.outages
        steps = SequenceSteps(network, optimiser, sequences, options.batch, options.seed, spec, *augmentation)
    else:
        steps = Steps(network, optimiser, cast("list[Windows]", parts), options.batch, options.seed, options.symmetries)
    history, best = FitHistory(), network.get_weights()
    if file and (state := file.load()):
        for variable, value in zip([*network.variables, *optimiser.variables], state.variables, strict=True):
            variable.assign(value)
        history, best = FitHistory(**state.history), list(state.best)
        log.info("training-resumed", epoch=history.epochs, of=options.epochs)
    with _Display(options, steps.per_epoch) as display:
        display.advance(history.epochs * steps.per_epoch)
        while history.epochs < options.epochs and not history.stalled(options.patience):
            total = 0.0
            for taken, losses in steps.epoch(history.epochs):
                total += losses
                display.advance(taken)
            _score(history, total / steps.per_epoch, network, validation, spec)
            history.best_epoch = _best_epoch(history, options.select_by)
            if history.best_epoch == history.epochs:
                best = network.get_weights()
            history.seconds, begun = history.seconds + time.perf_counter() - begun, time.perf_counter()
            if file:
                variables = [np.asarray(v.value) for v in (*network.variables, *optimiser.variables)]
                file.save(State(variables, best, asdict(history)))
            display.epoch(history)
            if on_epoch:
                on_epoch(history)
    network.set_weights(best)
    return history


def _optimiser(options: FitOptions, network: Any, steps: int) -> keras.optimizers.Optimizer:
    warm_up = max(1, int(options.warm_up * steps))
    schedule = keras.optimizers.schedules.CosineDecay(
        options.learning_rate / 20,
        max(1, steps - warm_up),
        alpha=options.final_rate,
        warmup_target=options.learning_rate,
        warmup_steps=warm_up,
    )
    if options.optimiser == "adam":
        return keras.optimizers.Adam(schedule, clipnorm=options.clip_norm)
    last = network.layers[-1].name
    return keras.optimizers.Muon(
        schedule, exclude_layers=[f"^{re.escape(last)}/"], adam_weight_decay=0.0, clipnorm=options.clip_norm
    )


def _parts(given: Labelled | None) -> Sequence[Windows | Sequences]:
    if given is None:
        return ()
    return (given,) if isinstance(given, Windows | Sequences) else given


def _score(history: FitHistory, loss: float, network: Any, validation: Windows | Sequences, spec: SignalSpec) -> None:
    """Append an epoch's losses and scores to the history."""
    labels, weights = validation.labels.reshape(-1), validation.weights.reshape(-1)
    if has_memory(network):
        logits = sequence_logits_of(network, cut_windows(validation.data, spec)).reshape(len(labels), -1)
    else:
        logits = logits_of(network, validation.data)
    learned = weights > 0
    history.loss.append(loss)
    history.val_loss.append(cross_entropy(logits[learned], labels[learned], weights[learned]))
    history.scores.append(window_scores(labels[learned], logits[learned].argmax(axis=1), spec))


def _best_epoch(history: FitHistory, select_by: Literal["loss", "accuracy"]) -> int:
    """Return the first best epoch, counted from 1; among equally accurate epochs, the one with the lowest loss."""
    if select_by == "loss":
        return int(np.argmin(history.val_loss)) + 1
    ranks = [(scores["accuracy"], -loss) for scores, loss in zip(history.scores, history.val_loss, strict=True)]
    return ranks.index(max(ranks)) + 1


def _fingerprint(network: Any, parts: Sequence[Windows | Sequences], options: FitOptions) -> str:
    """Hash everything that determines the result: network, its initial weights, windows and options."""
    unused = {"show_progress"} | ({"outages"} if options.outages is None else set())
    decisive = {key: value for key, value in asdict(options).items() if key not in unused}
    digest = hashlib.sha256(json.dumps(decisive, sort_keys=True).encode())
    digest.update(network.to_json().encode())
    first = [np.asarray(variable.value) for variable in network.variables]
    windows = [getattr(part, name) for part in parts for name in ("data", "labels", "weights")]
    for array in (*first, *windows):
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


class _Display:
    """Show progress as a bar, or as one line per epoch if standard error is not a terminal."""

    def __init__(self, options: FitOptions, steps_per_epoch: int) -> None:
        self._epochs, self._wanted = options.epochs, options.show_progress
        self._bar = progress_bar(wanted=options.show_progress)
        self._task = self._bar.add_task("training", total=options.epochs * steps_per_epoch, state="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def advance(self, steps: int) -> None:
        """Advance the bar by a number of steps."""
        self._bar.advance(self._task, steps)

    def epoch(self, history: FitHistory) -> None:
        """Show the losses and the score of the last epoch."""
        merged = history.scores[-1]["merged_macro_f1"]
        state = f"loss {history.loss[-1]:.4f} val_loss {history.val_loss[-1]:.4f} merged_f1 {merged:.4f}"
        self._bar.update(self._task, state=state)
        if self._wanted and self._bar.disable:
            print(f"epoch {history.epochs}/{self._epochs} {state}", file=sys.stderr, flush=True)


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
    """Return the temperature that maximises the likelihood of ``labels``, for windows that were not trained on.

    Guo et al., "On calibration of modern neural networks", ICML 2017.
    """
    best = minimize_scalar(
        lambda log_t: cross_entropy(logits, labels, temperature=float(np.exp(log_t))),
        bounds=(np.log(0.2), np.log(5.0)),
        method="bounded",
    )
    return float(np.exp(best.x))
