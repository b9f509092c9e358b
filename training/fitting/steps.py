"""Run training steps as one compiled loop that does not return to Python between two batches.

Faultline's networks compute a step in less time than Keras needs to fetch and dispatch a batch. Windows therefore stay
in memory, one call takes the indices of many batches, and gather, gradient and update run inside one TensorFlow graph.
XLA compiles the steps of networks that have a GRU of many time steps, the default of a domain's window recipe for a
spec that is read in time: with a gradient written by hand (``training.fitting.recurrent``) a step takes a third of the
time, and compiling takes no longer. For other networks XLA's loops were no faster, for convolutions much slower, and
compiling takes seconds (``benchmarks/checks/training.py``).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from model.engine.recurrent import is_plain
from training.data.windows import Windows
from training.fitting.augmentation import Symmetries
from training.fitting.recurrent import last_state

# Number of batches in one call: enough that the call's own cost is negligible, few enough that the progress bar moves.
BATCHES_PER_CALL = 256
# Largest number of time steps of a recurrent layer that is unrolled. On two cores unrolling reduced a step's time by a
# fifth although it is more work, because a loop leaves the second core idle.
UNROLLED_STEPS = 64
# Number of parts of a batch that are computed in parallel. It is fixed, so that results do not depend on the machine.
SIDE_BY_SIDE = 2
_PADDING = -1  # index for "no window", since an epoch's last batch may be smaller


class Steps:
    """Run training steps of one network with one optimiser and one set of windows.

    Args:
        network: maps windows to logits; its variables are updated in place.
        optimiser: built here for the network's variables.
        parts: sets of training windows, none of them empty. A window's weight is divided by the mean weight of all.
        batch: number of windows in a step.
        seed: determines, together with an epoch's number, the order and the transformations of the windows.
        symmetries: transformations for augmentation; None leaves the windows unchanged.
    """

    def __init__(
        self,
        network: Any,
        optimiser: keras.optimizers.Optimizer,
        parts: Sequence[Windows],
        batch: int,
        seed: int,
        symmetries: Symmetries | None = None,
    ) -> None:
        self._network, self._optimiser, self._symmetries = network, optimiser, symmetries
        optimiser.build(network.trainable_variables)
        self._recurrent = [layer for layer in network.layers if _is_long_gru(layer)]
        self._compiled = batch % SIDE_BY_SIDE == 0 and bool(self._recurrent)
        self._part = tf.function(self._of_part, jit_compile=True, autograph=False)
        self._ends = list(itertools.accumulate(len(part) for part in parts))
        self._count, self._batch, self._seed = self._ends[-1], batch, seed
        labels, weights = (np.concatenate([getattr(part, name) for part in parts]) for name in ("labels", "weights"))
        with tf.device("CPU:0"):  # data sets may be larger than an accelerator's memory
            # The tensors are passed to every call and not captured: a graph was seen to outlive its function, together
            # with its captured tensors. Parts stay separate, since joining them would take as much memory again.
            self._given = (
                tuple(tf.constant(part.data) for part in parts),
                tf.constant(labels, tf.int32),
                tf.constant(weights / weights.mean(), tf.float32),
            )
        with nullcontext() if self._compiled else _laid_out(network):
            signature = [tf.TensorSpec((2, None, batch), tf.int32)]
            signature += tf.nest.map_structure(tf.TensorSpec.from_tensor, self._given)
            self._run = tf.function(self._batches, input_signature=signature, autograph=False).get_concrete_function()

    @property
    def per_epoch(self) -> int:
        """Number of steps in an epoch."""
        return -(-self._count // self._batch)

    def epoch(self, number: int) -> Iterator[tuple[int, float]]:
        """Train on every window once, in an order that depends on the seed and ``number`` alone.

        Yields:
            After every call into the graph, the number of its steps and the sum of their losses.
        """
        order = self._order(number)
        for first in range(0, self.per_epoch, BATCHES_PER_CALL):
            part = order[:, first : first + BATCHES_PER_CALL]
            yield part.shape[1], float(self._run(tf.constant(part), *self._given))

    def _order(self, number: int) -> NDArray[np.int32]:
        """Return the indices of windows and of their transformations, int32 (2, steps, batch)."""
        rng = np.random.default_rng((self._seed, number))
        order = np.full((2, self.per_epoch * self._batch), _PADDING, np.int32)
        order[0, : self._count] = rng.permutation(self._count)
        order[1] = rng.integers(0, len(self._symmetries or (0,)), order.shape[1])
        return order.reshape(2, self.per_epoch, self._batch)

    def _batches(self, order: Any, data: Any, labels: Any, weights: Any) -> Any:
        _, loss = tf.while_loop(
            lambda step, loss: step < tf.shape(order)[1],
            lambda step, loss: (step + 1, loss + self._step(order[0, step], order[1, step], data, labels, weights)),
            (tf.constant(0), tf.constant(0.0)),
            parallel_iterations=1,  # steps follow one another
        )
        return loss

    def _rows(self, data: Any, chosen: Any) -> Any:
        """Return the windows at the indices ``chosen`` (batch,), which count through all parts."""
        rows = tf.gather(data[0], tf.minimum(chosen, self._ends[0] - 1))
        for part, first, end in zip(data[1:], self._ends, self._ends[1:], strict=False):
            own = tf.gather(part, tf.clip_by_value(chosen - first, 0, end - first - 1))
            rows = tf.where((chosen >= first)[:, None, None], own, rows)
        return rows

    def _shown(self, forms: Any, windows: Any, labels: Any) -> tuple[Any, Any]:
        """Return windows and labels under the transformations ``forms`` (batch,)."""
        if self._symmetries is None:
            return windows, labels
        kinds = (self._symmetries.channels, self._symmetries.signs, self._symmetries.classes)
        channels, signs, classes = (tf.gather(tf.constant(kind), forms) for kind in kinds)
        windows = tf.gather(windows, channels, axis=2, batch_dims=1) * signs[:, None, None]
        return windows, tf.gather(classes, labels, axis=1, batch_dims=1)

    def _step(self, chosen: Any, forms: Any, data: Any, labels: Any, weights: Any) -> Any:
        there = tf.cast(chosen >= 0, tf.float32)
        chosen = tf.maximum(chosen, 0)
        weights = tf.gather(weights, chosen) * there
        given = (*self._shown(forms, self._rows(data, chosen), tf.gather(labels, chosen)), weights)
        compute = self._side_by_side if self._compiled else self._at_once
        loss, gradients = compute(tf.reduce_sum(there), *given)
        self._optimiser.apply(gradients, self._network.trainable_variables)
        return loss

    def _at_once(self, count: Any, windows: Any, labels: Any, weights: Any) -> tuple[Any, list[Any]]:
        """Return the loss of a batch of ``count`` windows, and its gradient."""
        with tf.GradientTape() as tape:
            loss = _loss(self._network(windows, training=True), labels, weights) / count
        return loss, tape.gradient(loss, self._network.trainable_variables)

    def _side_by_side(self, count: Any, *batch: Any) -> tuple[Any, list[Any]]:
        """Return the same, computed for parts of the batch in parallel by a function that XLA has compiled.

        That function changes no variable, since the parts would otherwise wait for one another. The dropout masks are
        therefore drawn here.
        """
        whole = [tf.ensure_shape(tensor, (self._batch, *tensor.shape[1:])) for tensor in (*batch, *self._dropped())]
        parts = zip(*(tf.split(tensor, SIDE_BY_SIDE) for tensor in whole), strict=True)
        losses, gradients = zip(*(self._part(count, *part) for part in parts), strict=True)
        return tf.add_n(losses), [tf.add_n(several) for several in zip(*gradients, strict=True)]

    def _dropped(self) -> list[Any]:
        """Return the mask by which every dropout layer, in their order, multiplies a batch."""
        dropouts = [layer for layer in self._network.layers if isinstance(layer, keras.layers.Dropout)]
        return [layer(tf.ones((self._batch, *layer.output.shape[1:])), training=True) for layer in dropouts]

    def _of_part(self, count: Any, windows: Any, labels: Any, weights: Any, *dropped: Any) -> tuple[Any, list[Any]]:
        with tf.GradientTape() as tape:
            loss = _loss(self._logits(windows, dropped), labels, weights) / count
        return loss, tape.gradient(loss, self._network.trainable_variables)

    def _logits(self, windows: Any, dropped: Sequence[Any]) -> Any:
        """Return the network's logits, computed layer by layer with ``last_state`` in place of its GRU."""
        masks = iter(dropped)
        answers = {id(self._network.input): windows}
        for layer in self._network.layers:
            if isinstance(layer, keras.layers.InputLayer):
                continue
            several = isinstance(layer.input, list)
            given = [answers[id(tensor)] for tensor in layer.input] if several else answers[id(layer.input)]
            if isinstance(layer, keras.layers.Dropout):
                answer = given * next(masks)
            elif layer in self._recurrent:
                weights = (layer.cell.kernel, layer.cell.recurrent_kernel, layer.cell.bias)
                answer = last_state(given, *map(tf.convert_to_tensor, weights))
            else:
                answer = layer(given, training=True)
            answers[id(layer.output)] = answer
        return answers[id(self._network.output)]


def _loss(logits: Any, labels: Any, weights: Any) -> Any:
    return tf.reduce_sum(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits) * weights)


def _is_long_gru(layer: Any) -> bool:
    return isinstance(layer, keras.layers.GRU) and not layer.unroll and is_plain(layer)


@contextmanager
def _laid_out(network: Any) -> Iterator[None]:
    """Unroll the short recurrent layers while the block traces the network, and restore them afterwards."""
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
