"""Run training steps of a network with a memory on sequences: one compiled gradient per batch.

A step on sequences takes long enough that Python may gather its batch, so the sequences stay where they are, in one
part or several. XLA compiles the network and its gradient, with a GRU whose gradient is written by hand
(``training.fitting.memory_gru``); the optimiser's update stays outside.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from model.spec import SignalSpec
from training.data.sequences import Sequences
from training.fitting.augmentation import Outages, Symmetries
from training.fitting.memory_gru import all_states

__all__ = ["SequenceSteps", "cut", "sequence_logits"]


class SequenceSteps:
    """Run training steps of one network with one optimiser and one set of sequences.

    Args:
        network: maps windows and memories to logits and memories; its variables are updated in place.
        optimiser: built here for the network's variables.
        parts: sets of training sequences, none of them empty. A window's weight is divided by the mean weight of all.
        batch: number of sequences in a step. The last batch of an epoch is filled up with sequences of weight 0.
        seed: determines, together with an epoch's number, the order and the transformations of the sequences.
        spec: spec of the windows.
        symmetries: transformations for augmentation, of whole sequences; None leaves them unchanged.
        outages: channels that fail for a while, drawn anew in every epoch; None lets none fail.
    """

    def __init__(
        self,
        network: Any,
        optimiser: keras.optimizers.Optimizer,
        parts: Sequence[Sequences],
        batch: int,
        seed: int,
        spec: SignalSpec,
        symmetries: Symmetries | None = None,
        outages: Outages | None = None,
    ) -> None:
        optimiser.build(network.trainable_variables)
        self._parts, self._batch, self._seed = parts, batch, seed
        self._symmetries, self._outages, self._spec = symmetries, outages, spec
        self._starts = np.cumsum([0, *map(len, parts)])
        windows = sum(part.weights.size for part in parts)
        self._mean_weight = sum(float(part.weights.sum(dtype=np.float64)) for part in parts) / windows

        def gradient(data: Any, labels: Any, weights: Any) -> tuple[Any, list[Any]]:
            with tf.GradientTape() as tape:
                logits = sequence_logits(network, cut(data, spec))
                losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
                loss = tf.reduce_mean(losses * weights)
            return loss, tape.gradient(loss, network.trainable_variables)

        # Compiling takes seconds, so all rounds of a network use one function.
        compiled = tf.function(gradient, jit_compile=True, autograph=False)
        self._gradient = network.__dict__.setdefault("_faultline_gradient", compiled)
        self._update = tf.function(
            lambda gradients: optimiser.apply(gradients, network.trainable_variables), autograph=False
        )

    @property
    def per_epoch(self) -> int:
        """Number of steps in an epoch."""
        return -(-int(self._starts[-1]) // self._batch)

    def epoch(self, number: int) -> Iterator[tuple[int, float]]:
        """Train on every sequence once, in an order that depends on the seed and ``number`` alone.

        Yields:
            After every step, the number 1 and its loss.
        """
        rng = np.random.default_rng((self._seed, number))
        order = rng.permutation(self._starts[-1])
        forms = rng.integers(0, len(self._symmetries or (0,)), len(order))
        for first in range(0, len(order), self._batch):
            span = slice(first, first + self._batch)
            loss, gradients = self._gradient(*map(tf.constant, self._gathered(order[span], forms[span], rng)))
            self._update(gradients)
            yield 1, float(loss)

    def _gathered(
        self, chosen: NDArray[np.intp], forms: NDArray[np.intp], rng: np.random.Generator
    ) -> tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.float32]]:
        """Return data, labels and weights of a batch under the transformations ``forms`` (k,), with outages."""
        first = self._parts[0]
        data = np.zeros((self._batch, *first.data.shape[1:]), np.float32)
        labels = np.zeros((self._batch, first.steps), np.int32)
        weights = np.zeros((self._batch, first.steps), np.float32)
        which = np.searchsorted(self._starts, chosen, side="right") - 1
        kinds = self._symmetries
        for row, (part, number, form) in enumerate(zip(which, chosen, forms, strict=True)):
            own, place = self._parts[part], number - self._starts[part]
            data[row], labels[row] = own.data[place], own.labels[place]
            weights[row] = own.weights[place] / self._mean_weight
            if kinds is not None:
                data[row] = data[row][:, list(kinds.channels[form])] * np.float32(kinds.signs[form])
                labels[row] = np.asarray(kinds.classes[form], np.int32)[labels[row]]
            if self._outages is not None:
                data[row] = self._outages.applied(data[row], self._inceptions(labels[row]), rng)
        return data, labels, weights

    def _inceptions(self, labels: NDArray[np.int32]) -> NDArray[np.intp]:
        """Return the last sample of each window of a sequence, by its labels (steps,), in which a fault has begun."""
        none = self._spec.none_index
        began = np.flatnonzero((labels[1:] != none) & (labels[:-1] == none)) + 1
        return began * self._spec.hop + self._spec.samples - 1


def cut(data: Any, spec: SignalSpec) -> Any:
    """Return the windows (n, steps, samples, channels) of sequences float32 (n, t, channels)."""
    steps = (data.shape[1] - spec.samples) // spec.hop + 1
    places = np.arange(steps)[:, None] * spec.hop + np.arange(spec.samples)
    return tf.gather(data, tf.constant(places), axis=1)


def sequence_logits(network: Any, windows: Any) -> Any:
    """Return the logits (n, steps, classes) of windows float32 (n, steps, samples, channels), cold before the first.

    Computes the network layer by layer, with ``all_states`` in place of its GRU.
    """
    answers = {id(network.inputs[0]): windows}
    for layer in network.layers:
        if isinstance(layer, keras.layers.InputLayer):
            continue
        tensors = layer.input if isinstance(layer.input, list) else [layer.input]
        if isinstance(layer, keras.layers.GRU):
            weights = (layer.cell.kernel, layer.cell.recurrent_kernel, layer.cell.bias)
            answers[id(layer.output)] = all_states(answers[id(tensors[0])], *map(tf.convert_to_tensor, weights))
        else:
            given = [answers[id(tensor)] for tensor in tensors]
            answers[id(layer.output)] = layer(given if isinstance(layer.input, list) else given[0], training=True)
    return answers[id(network.outputs[0])]
