"""Compute the dense layers of a network with a memory by NumPy, whose BLAS uses all vector instructions of the CPU.

XLA multiplies matrices on a CPU by code that was compiled for old processors: a third of the speed of BLAS. It still
computes the features, the gates of the GRU, and the GRU over several windows of a line: in one call, since a NumPy loop
over the steps would wait for Python's other threads in every step. The gates are compiled for a single window, too,
since NumPy's tanh differs from theirs in the last digits. A GRU adds such differences up over many steps: probabilities
then differed by up to 8e-4 between a line's windows computed one by one and several in one call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.artefact import Artefact
from model.engine.compile import Call
from model.engine.memory_computation import MemoryComputation

__all__ = ["HostParts"]

Array = NDArray[np.float32]


class HostParts:
    """The parts of ``MemoryComputation`` for one model on a CPU; the methods correspond to those of that class.

    Args:
        computation: the compiled functions.
        artefact: the model, which ``computation`` serves.
    """

    def __init__(self, computation: MemoryComputation, artefact: Artefact) -> None:
        self._computation = computation
        self._window, (kernel, recurrent, bias), (head, logits) = computation.dense_weights(artefact)
        self._units = units = recurrent.shape[0]
        outer = bias[0] + np.concatenate([bias[1, : 2 * units], np.zeros(units, np.float32)])
        self._inputs, self._recurrent = (kernel, outer), recurrent
        self._of_memory, self._of_values = np.split(head[0], [units])
        self._head_bias, self._logits = head[1], logits
        self._temperature = np.float32(artefact.manifest.temperature)

    def compilations(self, buckets: Sequence[int], blocks: Sequence[tuple[int, int]]) -> Iterator[Callable[[], object]]:
        """Yield functions that compile one shape each, the slowest first."""
        for bucket in reversed(buckets):
            yield partial(self._computation.features, bucket)
            yield partial(self._computation.gates, bucket)
        for lines, steps in blocks:
            yield partial(self._computation.second_part, lines, steps)

    def one_step(self, count: int) -> Call:
        """Return the function (windows, memories, parameters) → (probabilities, memories)."""
        features, gates = self._computation.features(count), self._computation.gates(count)

        def call(windows: Array, memory: Array, parameters: Any) -> tuple[Array, ...]:
            values, given = self._values_and_inputs(features(windows, parameters)[0])
            with np.errstate(over="ignore", invalid="ignore"):
                recalled = memory @ self._recurrent
            (after,) = gates(given, recalled, memory, parameters)
            return self._answers(after, values), after

        return call

    def first_part(self, count: int) -> Call:
        """Return the function (windows, parameters) → (values, inputs of the GRU)."""
        features = self._computation.features(count)
        return lambda windows, parameters: self._values_and_inputs(features(windows, parameters)[0])

    def second_part(self, lines: int, steps: int) -> Call:
        """Return the compiled GRU."""
        return self._computation.second_part(lines, steps)

    def third_part(self, _: int) -> Call:
        """Return the function (memories, values, parameters) → (probabilities,)."""
        return lambda memories, values, _: (self._answers(memories, values),)

    def _values_and_inputs(self, features: Array) -> tuple[Array, Array]:
        with np.errstate(over="ignore", invalid="ignore"):
            values = features
            for weights in self._window:
                values = _dense(values, *weights)
                np.maximum(values, 0, out=values)
            return values, _dense(values, *self._inputs)

    def _answers(self, memories: Array, values: Array) -> Array:
        with np.errstate(over="ignore", invalid="ignore"):
            hidden = memories @ self._of_memory
            hidden += values @ self._of_values
            hidden += self._head_bias
            np.maximum(hidden, 0, out=hidden)
            powers = _dense(hidden, *self._logits)
            powers /= self._temperature
            powers -= powers.max(axis=1, keepdims=True)
            np.exp(powers, out=powers)
            powers /= powers.sum(axis=1, keepdims=True)
            return powers


def _dense(values: Array, kernel: Array, bias: Array) -> Array:
    product = values @ kernel
    product += bias
    return np.asarray(product)
