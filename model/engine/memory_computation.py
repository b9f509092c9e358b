"""Compile the parts of a network whose GRU steps from window to window of a line."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from model.architectures import memory_units
from model.artefact import Artefact
from model.engine.compile import Call
from model.engine.computation import Computation
from model.engine.recurrent import GRUWeights, next_state

__all__ = ["MemoryComputation"]

_MEMORY_LAYER = "memory_gru"


class MemoryComputation(Computation):
    """The computation of a model with a memory, in two parts.

    The first part runs over any windows at once: everything up to the GRU's inputs. The second part runs over blocks of
    lines and steps: the GRU in order, and everything after it. ``one_step`` is both parts for one window per line.

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

    @property
    def width(self) -> int:
        """Number of values that the first part computes for a window."""
        return int(self._width)

    def one_step(self, count: int) -> Call:
        """Return the function of ``count`` lines with one window each.

        It maps windows, memories (count, units), use (count,) and the parameters to the probabilities and the memories
        after the windows. A line whose ``use`` is 0, or whose window is not finite, keeps its memory.
        """
        shapes = [(count, *self._window_shape), (count, self._units), (1, count)]
        return self._compiled(("one step", count), self._one_step, shapes)

    def first_part(self, count: int) -> Call:
        """Return the function of ``count`` windows: (windows, parameters) → values (count, ``width``)."""
        return self._compiled(("first", count), self._values_of_windows, [(count, *self._window_shape)])

    def second_part(self, lines: int, steps: int) -> Call:
        """Return the function of ``lines`` lines with ``steps`` windows each.

        It maps the windows' values (steps * lines, width), in the order of the steps, memories (lines, units), use
        (steps, lines) and the parameters to the probabilities (steps * lines, classes) and the memories after the last
        window. A line keeps its memory in a step whose ``use`` is 0, and at a window that is not finite.
        """
        shapes = [(steps * lines, self.width), (lines, self._units), (steps, lines)]
        return self._compiled((lines, steps), self._follow, shapes)

    def _one_step(self, windows: Any, memory: Any, use: Any, parameters: Any) -> tuple[Any, Any]:
        (values,) = self._values_of_windows(windows, parameters)
        return self._follow(values, memory, use, parameters)

    def _values_of_windows(self, windows: Any, parameters: Any) -> tuple[Any]:
        values, _ = self._before.stateless_call(*self._values(self._before, parameters), windows[None], training=False)
        return (values[0],)

    def _follow(self, values: Any, memory: Any, use: Any, parameters: Any) -> tuple[Any, Any]:
        weights = GRUWeights(*(self._value(variable, parameters) for variable in self._gru.cell.trainable_variables))
        steps, lines = use.shape
        given = ops.matmul(values, weights.kernel) + weights.outer
        finite = ops.reshape(ops.all(ops.isfinite(given), axis=1), (steps, lines))
        advances = ops.logical_and(use > 0, finite)
        given = ops.reshape(given, (steps, lines, -1))

        def step(index: Any, memory: Any) -> Any:
            return ops.where(advances[index][:, None], next_state(given[index], memory, weights), memory)

        if steps == 1:
            memory = step(0, memory)
            memories = memory[None]
        else:
            _, memory, memories = ops.while_loop(
                lambda index, *_: index < steps,
                lambda index, memory, memories: (
                    index + 1,
                    new := step(index, memory),
                    ops.slice_update(memories, (index, 0, 0), new[None]),
                ),
                (ops.zeros((), "int32"), memory, ops.zeros((steps, lines, self._units), "float32")),
                maximum_iterations=steps,
            )
        known = [ops.reshape(memories, (1, steps * lines, -1)), values[None]]
        logits, _ = self._after.stateless_call(*self._values(self._after, parameters), known, training=False)
        probabilities = ops.softmax(logits[0] / parameters[0])
        answered = ops.reshape(finite, (-1, 1))
        return ops.where(answered, probabilities, float("nan")), memory
