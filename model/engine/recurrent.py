"""Compute a GRU for inference in a form that compilers optimise well. Training uses Keras' own layer."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers, ops

__all__ = [
    "CompiledGRU",
    "biases",
    "for_inference",
    "is_plain",
    "next_state",
    "scaled",
    "state_of_products",
    "tanh_parts",
]

# tanh x = x P(x²) / Q(x²) for |x| up to _LARGEST, beyond which tanh is 1 in float32. The coefficients minimise the
# largest relative error, by weighted least squares (C. L. Lawson, "Contributions to the theory of linear least maximum
# approximation", 1961). In float32 the quotient is within 5e-7 of tanh.
_LARGEST = 7.9
_ABOVE = (0.99999988, 0.12934421, 2.9604768e-3, 1.1531870e-5)
_BELOW = (1.0, 0.46267647, 2.3854099e-2, 2.4001251e-4, 2.4925561e-7)


def scaled(weights: Any, units: int) -> Any:
    """Return a GRU's weights (..., 3 * units) with those of the two gates divided by two.

    The logistic function takes half its argument; multiplying by a power of two does not round.
    """
    return weights * ops.convert_to_tensor(np.repeat(np.array([0.5, 0.5, 1.0], np.float32), units))


def biases(bias: Any) -> tuple[Any, Any]:
    """Return the bias (3 * units,) of a GRU's inputs and the one (units,) that the reset gate multiplies.

    Args:
        bias: the layer's bias (2, 3 * units). All but the candidate's recurrent bias are simply added.
    """
    gates = bias.shape[1] // 3 * 2
    return bias[0] + ops.concatenate([bias[1, :gates], ops.zeros_like(bias[1, gates:])]), bias[1, gates:]


def next_state(given: Any, state: Any, recurrent: Any, inner: Any) -> Any:
    """Return the state (n, units) of a GRU after one step.

    Args:
        given: the step's inputs multiplied by the ``scaled`` kernel, plus the inputs' bias, (n, 3 * units).
        state: the state before, (n, units).
        recurrent: the ``scaled`` recurrent kernel, (units, 3 * units).
        inner: the bias that the reset gate multiplies, (units,).
    """
    return state_of_products(given, ops.matmul(state, recurrent), state, inner)


def state_of_products(given: Any, recalled: Any, state: Any, inner: Any) -> Any:
    """Return the state (n, units) of a GRU after one step, from its matrix products.

    It computes the logistic function as (1 + tanh(x/2)) / 2. Divisions cost the most here, so there are two: one for
    the candidate and the update gate together, and one for the reset gate.

    Args:
        given: as for ``next_state``.
        recalled: the state before, multiplied by the ``scaled`` recurrent kernel, (n, 3 * units).
        state: the state before, (n, units).
        inner: as for ``next_state``.
    """
    units = state.shape[1]
    update, update_of = tanh_parts(given[:, :units] + recalled[:, :units])
    reset, reset_of = tanh_parts(given[:, units : 2 * units] + recalled[:, units : 2 * units])
    opened = 0.5 + 0.5 * (reset / reset_of)
    fresh, fresh_of = tanh_parts(given[:, 2 * units :] + opened * (recalled[:, 2 * units :] + inner))
    # (1 - z) c + z h with z = (1 + update / update_of) / 2 and c = fresh / fresh_of, over one denominator.
    kept = fresh_of * (update_of + update) * state
    return (fresh * (update_of - update) + kept) / (2.0 * fresh_of * update_of)


class CompiledGRU(layers.GRU):  # type: ignore[misc]
    """A faster ``keras.layers.GRU`` for inference: the same weights, and the same results up to rounding.

    Between the recurrent products of two time steps there is one fused loop over the state (``next_state``). The loop
    also multiplies the step's few inputs by their weights; a matrix product would write three times the state to memory
    for that.
    """

    def inner_loop(self, sequences: Any, initial_state: Any, mask: Any, training: bool = False) -> Any:
        """Return the last state, the sequence of outputs (the last one alone) and the states, as Keras requires."""
        cell = self.cell
        kernel, recurrent, bias = (
            scaled(weights, cell.units) for weights in (cell.kernel, cell.recurrent_kernel, cell.bias)
        )
        outer, inner = biases(bias)

        def step(index: Any, state: Any) -> Any:
            values = sequences[:, index]
            given = outer
            for channel in range(sequences.shape[2]):
                given = given + values[:, channel : channel + 1] * kernel[channel]
            return next_state(given, state, recurrent, inner)

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


def tanh_parts(x: Any) -> tuple[Any, Any]:
    """Return numerator and denominator of the hyperbolic tangent of ``x``, both of its shape."""
    x = ops.clip(x, -_LARGEST, _LARGEST)
    square = x * x
    return x * _polynomial(_ABOVE, square), _polynomial(_BELOW, square)


def _polynomial(coefficients: tuple[float, ...], x: Any) -> Any:
    """Return a polynomial's value at ``x`` by Horner's rule; the coefficient of the lowest power comes first."""
    value: Any = coefficients[-1]
    for coefficient in coefficients[-2::-1]:
        value = value * x + coefficient
    return value


def for_inference(model: keras.Model) -> keras.Model:
    """Return the same network in the form for compiled inference, with the same variable paths in the same order."""
    return keras.models.clone_model(model, clone_function=_form)


def _form(layer: layers.Layer) -> layers.Layer:
    config = layer.get_config()
    # XLA cannot compile cuDNN's recurrent layers; the plain ones compute the same.
    if "use_cudnn" in config:
        config["use_cudnn"] = False
    kind = CompiledGRU if type(layer) is layers.GRU and is_plain(layer) else type(layer)
    return kind.from_config(config)


def is_plain(layer: layers.GRU) -> bool:
    """Return True if the layer has Keras' defaults for all options that the faster forms assume."""
    config, defaults = layer.get_config(), layers.GRU(layer.units).get_config()
    decisive = ("activation", "recurrent_activation", "use_bias", "reset_after", "dropout", "recurrent_dropout")
    form = ("return_sequences", "return_state", "go_backwards", "stateful")
    return all(config[name] == defaults[name] for name in decisive + form)
