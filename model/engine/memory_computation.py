"""Compile the parts of a network whose GRU steps from window to window of a line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from model.architectures import memory_units
from model.artefact import Artefact
from model.engine.compile import Call
from model.engine.computation import Computation
from model.engine.recurrent import biases, next_state, scaled, state_of_products

__all__ = ["MemoryComputation"]

_MEMORY_LAYER = "memory_gru"


class MemoryComputation(Computation):
    """The computation of a model with a memory, in three parts.

    The first part runs over any windows at once: everything up to the GRU's inputs. The second is the GRU, in order,
    for blocks of lines and steps. The third runs over any windows again: everything after the GRU. ``one_step`` is all
    parts in one function, for one window per line.

    Args:
        artefact: any model of the architecture, spec and normalisation.

    Raises:
        ShapeArtefactError: the artefact's tensors do not fit its architecture and spec.
    """

    def __init__(self, artefact: Artefact) -> None:
        super().__init__(artefact)
        self._units = memory_units(artefact.manifest.architecture)
        self._gru = self._model.get_layer(_MEMORY_LAYER)
        windows, _ = self._model.inputs
        logits, memories = self._model.outputs
        inputs = self._gru.input[0] if isinstance(self._gru.input, list | tuple) else self._gru.input
        self._before = keras.Model(windows, inputs)
        self._after = keras.Model([memories, inputs], logits)
        self._width = inputs.shape[-1]
        self._window = [layer for layer in self._model.layers if layer.name.startswith("window_")]
        self._features = keras.Model(windows, self._window[0].input)

    @property
    def width(self) -> int:
        """Number of values that the first part computes for a window, beside the GRU's inputs."""
        return int(self._width)

    def one_step(self, count: int) -> Call:
        """Return the function of ``count`` lines with one window each.

        It maps windows, memories (count, units) and the parameters to the probabilities and the memories after the
        windows.
        """
        shapes = [(count, *self._window_shape), (count, self._units)]
        return self._compiled(("one step", count), self._one_step, shapes)

    def features(self, count: int) -> Call:
        """Return the function of ``count`` windows: (windows, parameters) → inputs of the first dense layer."""
        return self._compiled(("features", count), self._features_of_windows, [(count, *self._window_shape)])

    def gates(self, count: int) -> Call:
        """Return the function of ``count`` lines with one window each, after the products of the GRU's matrices.

        It maps the GRU's inputs (count, 3 * units), the memories multiplied by the recurrent kernel (count, 3 * units),
        the memories (count, units) and the parameters to the memories after the windows.
        """
        shapes = [(count, 3 * self._units), (count, 3 * self._units), (count, self._units)]
        return self._compiled(("gates", count), self._advanced, shapes)

    def first_part(self, count: int) -> Call:
        """Return the function of ``count`` windows.

        It maps windows and the parameters to values (count, ``width``) and the GRU's inputs (count, 3 * units).
        """
        return self._compiled(("first", count), self._values_and_inputs, [(count, *self._window_shape)])

    def second_part(self, lines: int, steps: int) -> Call:
        """Return the function of ``lines`` lines with up to ``steps`` windows each.

        It maps the GRU's inputs (steps, lines, 3 * units), memories (lines, units), use (steps, lines), the number of
        steps to compute (1,) and the parameters to the memories after every computed step (steps, lines, units). A line
        keeps its memory in a step whose ``use`` is 0.
        """
        shapes = [(steps, lines, 3 * self._units), (lines, self._units), (steps, lines), (1,)]
        return self._compiled(("second", lines, steps), self._in_order, shapes)

    def third_part(self, count: int) -> Call:
        """Return the function of ``count`` windows.

        It maps the memories after the windows (count, units), the windows' values and the parameters to the
        probabilities.
        """
        shapes = [(count, self._units), (count, self.width)]
        return self._compiled(("third", count), self._answers, shapes)

    def dense_weights(self, artefact: Artefact) -> tuple[Any, Any, Any]:
        """Return the weights of an artefact's window layers, of its GRU (gates halved) and of its head layers."""
        head = [self._model.get_layer(name) for name in ("head", "logits")]
        window, (gru,), after = (
            [[self._prepared(one.path, artefact.weights[one.path]) for one in layer.weights] for layer in layers]
            for layers in (self._window, [self._gru.cell], head)
        )
        return window, gru, after

    def compilations(self, buckets: Sequence[int], blocks: Sequence[tuple[int, int]]) -> Iterator[Callable[[], object]]:
        """Yield functions that compile one shape each, the slowest first."""
        for bucket in reversed(buckets):
            yield partial(self.one_step, bucket)
            yield partial(self.first_part, bucket)
            yield partial(self.third_part, bucket)
        for lines, steps in blocks:
            yield partial(self.second_part, lines, steps)

    def _features_of_windows(self, windows: Any, parameters: Any) -> tuple[Any]:
        weights = self._values(self._features, parameters)
        features, _ = self._features.stateless_call(*weights, windows[None], training=False)
        return (features[0],)

    def _prepared(self, name: str, weight: NDArray[np.float32]) -> NDArray[np.float32]:
        own = name in {variable.path for variable in self._gru.cell.trainable_variables}
        return np.asarray(ops.convert_to_numpy(scaled(weight, self._units))) if own else weight

    def _one_step(self, windows: Any, memory: Any, parameters: Any) -> tuple[Any, Any]:
        values, given = self._values_and_inputs(windows, parameters)
        _, recurrent, _, inner = self._gru_weights(parameters)
        memory = next_state(given, memory, recurrent, inner)
        return *self._answers(memory, values, parameters), memory

    def _advanced(self, given: Any, recalled: Any, memory: Any, parameters: Any) -> tuple[Any]:
        return (state_of_products(given, recalled, memory, self._gru_weights(parameters)[3]),)

    def _values_and_inputs(self, windows: Any, parameters: Any) -> tuple[Any, Any]:
        values, _ = self._before.stateless_call(*self._values(self._before, parameters), windows[None], training=False)
        kernel, _, outer, _ = self._gru_weights(parameters)
        return values[0], ops.matmul(values[0], kernel) + outer

    def _gru_weights(self, parameters: Any) -> tuple[Any, Any, Any, Any]:
        kernel, recurrent, bias = (self._value(one, parameters) for one in self._gru.cell.trainable_variables)
        return kernel, recurrent, *biases(bias)

    def _answers(self, memories: Any, values: Any, parameters: Any) -> tuple[Any]:
        """Return the probabilities (n, classes) for the memories after n windows and for the windows' values."""
        weights = self._values(self._after, parameters)
        logits, _ = self._after.stateless_call(*weights, [memories[None], values[None]], training=False)
        return (ops.softmax(logits[0] / parameters[0]),)

    def _in_order(self, given: Any, memory: Any, use: Any, end: Any, parameters: Any) -> tuple[Any]:
        _, recurrent, _, inner = self._gru_weights(parameters)
        last = ops.cast(end[0], "int32")

        def step(index: Any, memory: Any, memories: Any) -> tuple[Any, Any, Any]:
            after = next_state(given[index], memory, recurrent, inner)
            memory = ops.where(use[index][:, None] > 0, after, memory)
            return index + 1, memory, ops.slice_update(memories, (index, 0, 0), memory[None])

        start = (ops.zeros((), "int32"), memory, ops.zeros((*use.shape, self._units), "float32"))
        _, _, memories = ops.while_loop(lambda index, *_: index < last, step, start)
        return (memories,)
