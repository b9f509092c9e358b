"""A GRU's answer, computed in the form that compilers make fast. Training keeps Keras' own layer."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers, ops

__all__ = ["CompiledGRU", "for_inference"]


class CompiledGRU(layers.GRU):  # type: ignore[misc]
    """``keras.layers.GRU`` for inference: the same weights and the same numbers up to rounding, faster.

    Between the recurrent products of two time steps stands one fused loop over the state: it also multiplies the
    step's few inputs by their weights, which as a matrix product would write three times the state to memory, and it
    takes the logistic function as (1 + tanh(x/2)) / 2, which compilers have in fewer instructions than exp.
    """

    def inner_loop(self, sequences: Any, initial_state: Any, mask: Any, training: bool = False) -> Any:
        """The last state and, as Keras wants it, the sequence of outputs, which holds the last alone."""
        cell = self.cell
        units = cell.units
        # Halved where the logistic function wants half its argument. A power of two rounds nothing.
        halves = ops.convert_to_tensor(np.repeat(np.array([0.5, 0.5, 1.0], np.float32), units))
        kernel, recurrent = cell.kernel * halves, cell.recurrent_kernel * halves
        bias = cell.bias * halves
        # The candidate's recurrent bias is behind the reset gate; all others add up.
        outer = bias[0] + ops.concatenate([bias[1, : 2 * units], ops.zeros_like(bias[1, 2 * units :])])
        inner = bias[1, 2 * units :]

        def step(index: Any, state: Any) -> Any:
            values = sequences[:, index]
            given = outer
            for channel in range(sequences.shape[2]):
                given = given + values[:, channel : channel + 1] * kernel[channel]
            recalled = ops.matmul(state, recurrent)
            gates = 0.5 + 0.5 * ops.tanh(given[:, : 2 * units] + recalled[:, : 2 * units])
            update, reset = gates[:, :units], gates[:, units:]
            candidate = ops.tanh(given[:, 2 * units :] + reset * (recalled[:, 2 * units :] + inner))
            return candidate + update * (state - candidate)

        state = initial_state[0]
        steps = sequences.shape[1]
        if self.unroll:
            for index in range(steps):
                state = step(index, state)
        else:
            _, state = ops.while_loop(
                lambda index, _: index < steps,
                lambda index, state: (index + 1, step(index, state)),
                (ops.zeros((), "int32"), state),
            )
        return state, state[:, None], [state]


def for_inference(model: keras.Model) -> keras.Model:
    """The same network, its variables by the same paths in the same order, in the form for compiled inference."""
    return keras.models.clone_model(model, clone_function=_form)


def _form(layer: layers.Layer) -> layers.Layer:
    config = layer.get_config()
    # cuDNN's recurrent layers are opaque to XLA; the plain ones are the same mathematics.
    if "use_cudnn" in config:
        config["use_cudnn"] = False
    kind = CompiledGRU if type(layer) is layers.GRU and _is_plain(layer) else type(layer)
    return kind.from_config(config)


def _is_plain(layer: layers.GRU) -> bool:
    """Whether the layer has Keras' defaults in all that ``CompiledGRU`` takes for granted."""
    config, defaults = layer.get_config(), layers.GRU(layer.units).get_config()
    decisive = ("activation", "recurrent_activation", "use_bias", "reset_after", "dropout", "recurrent_dropout")
    form = ("return_sequences", "return_state", "go_backwards", "stateful")
    return all(config[name] == defaults[name] for name in decisive + form)
