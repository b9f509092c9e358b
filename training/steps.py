"""Training steps as one compiled loop: the optimiser never goes back to Python between two batches.

A network of ours computes a step in less time than Keras needs to fetch a batch and dispatch it. So windows stay in
memory, a call takes the indices of many batches, and gathering, gradient and update run inside one TensorFlow graph.
XLA is not asked for: on CPU its loops were as fast only for the GRU, far slower for convolutions, and it takes
seconds to compile (``tests/benchmarks/training.py``).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from training.windows import Windows

# Batches in one call: long enough that the call costs nothing, short enough that a progress bar moves.
BATCHES_PER_CALL = 256
# A recurrent layer of at most so many steps is laid out step by step: on two cores that took a fifth off a step's time,
# though it is more work, because a loop keeps the second core idle.
UNROLLED_STEPS = 64
_PADDING = -1  # an index that stands for no window: an epoch's last batch may be smaller


class Steps:
    """Takes training steps with one network, optimiser and set of windows.

    Args:
        network: from windows to logits; its variables are updated in place.
        optimiser: built here for the network's variables.
        parts: windows to learn from, none of them empty. Each counts with its weight, over the mean weight of all.
        batch: windows in a step.
        seed: together with an epoch's number it decides the order of the windows.
    """

    def __init__(
        self, network: Any, optimiser: keras.optimizers.Optimizer, parts: Sequence[Windows], batch: int, seed: int
    ) -> None:
        self._network, self._optimiser = network, optimiser
        optimiser.build(network.trainable_variables)
        self._ends = list(itertools.accumulate(len(part) for part in parts))
        self._count, self._batch, self._seed = self._ends[-1], batch, seed
        labels, weights = (np.concatenate([getattr(part, name) for part in parts]) for name in ("labels", "weights"))
        with tf.device("CPU:0"):  # data sets may be larger than an accelerator's memory
            # Given to every call: a graph was seen to outlive its function, and with it what it had captured.
            # Parts stay apart, since to join them would take as much memory again.
            self._given = (
                tuple(tf.constant(part.data) for part in parts),
                tf.constant(labels, tf.int32),
                tf.constant(weights / weights.mean(), tf.float32),
            )
        with _laid_out(network):
            signature = [tf.TensorSpec((None, batch), tf.int32)]
            signature += tf.nest.map_structure(tf.TensorSpec.from_tensor, self._given)
            self._run = tf.function(self._batches, input_signature=signature).get_concrete_function()

    @property
    def per_epoch(self) -> int:
        """Steps in an epoch."""
        return -(-self._count // self._batch)

    def epoch(self, number: int) -> Iterator[tuple[int, float]]:
        """Train on every window once, in an order that depends on the seed and ``number`` alone.

        Yields:
            After every call into the graph: steps taken by it, and the sum of their losses.
        """
        order = self._order(number)
        for first in range(0, len(order), BATCHES_PER_CALL):
            part = order[first : first + BATCHES_PER_CALL]
            yield len(part), float(self._run(tf.constant(part), *self._given))

    def _order(self, number: int) -> NDArray[np.int32]:
        order = np.full(self.per_epoch * self._batch, _PADDING, np.int32)
        order[: self._count] = np.random.default_rng((self._seed, number)).permutation(self._count)
        return order.reshape(self.per_epoch, self._batch)

    def _batches(self, order: Any, data: Any, labels: Any, weights: Any) -> Any:
        _, loss = tf.while_loop(
            lambda step, loss: step < tf.shape(order)[0],
            lambda step, loss: (step + 1, loss + self._step(order[step], data, labels, weights)),
            (tf.constant(0), tf.constant(0.0)),
            parallel_iterations=1,  # steps follow one another
        )
        return loss

    def _rows(self, data: Any, chosen: Any) -> Any:
        """The windows ``chosen`` (batch,) of all parts, counted through."""
        rows = tf.gather(data[0], tf.minimum(chosen, self._ends[0] - 1))
        for part, first, end in zip(data[1:], self._ends, self._ends[1:], strict=False):
            own = tf.gather(part, tf.clip_by_value(chosen - first, 0, end - first - 1))
            rows = tf.where((chosen >= first)[:, None, None], own, rows)
        return rows

    def _step(self, chosen: Any, data: Any, labels: Any, weights: Any) -> Any:
        there = tf.cast(chosen >= 0, tf.float32)
        chosen = tf.maximum(chosen, 0)
        weights = tf.gather(weights, chosen) * there
        with tf.GradientTape() as tape:
            logits = self._network(self._rows(data, chosen), training=True)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.gather(labels, chosen), logits)
            loss = tf.reduce_sum(losses * weights) / tf.reduce_sum(there)
        trainable = self._network.trainable_variables
        self._optimiser.apply(tape.gradient(loss, trainable), trainable)
        return loss


@contextmanager
def _laid_out(network: Any) -> Iterator[None]:
    """Have the recurrent layers traced without loops; whoever traces the network afterwards finds it as it was."""
    recurrent = [layer for layer in network.layers if isinstance(layer, keras.layers.RNN)]
    short = [layer for layer in recurrent if layer.input.shape[1] <= UNROLLED_STEPS]
    before = [layer.unroll for layer in short]
    for layer in short:
        layer.unroll = True
    try:
        yield
    finally:
        for layer, unroll in zip(short, before, strict=True):
            layer.unroll = unroll
