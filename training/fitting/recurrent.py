"""Compute a GRU's last state with a gradient written by hand, in a form that compilers optimise well."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras import ops

from model.engine.recurrent import tanh_parts

__all__ = ["last_state"]


def last_state(sequences: Any, kernel: Any, recurrent: Any, bias: Any) -> Any:
    """Compute ``keras.layers.GRU`` with its default options, up to rounding, with a gradient for the weights.

    An automatic gradient stores intermediate values of every operation. This one stores five arrays per time step and
    adds up the weights' gradients in the backward pass. ``sequences`` have no gradient, since they are data. The
    function is meant to be compiled by XLA; it is slow in eager mode.

    Args:
        sequences: float32 (n, steps, channels).
        kernel: (channels, 3 * units), for update gate, reset gate and candidate.
        recurrent: (units, 3 * units).
        bias: (2, 3 * units), for the inputs and for the state.

    Returns:
        The state after the last step, (n, units).
    """

    def forward(kernel: Any, recurrent: Any, bias: Any) -> tuple[Any, Any]:
        kept, state = _forward(sequences, kernel, recurrent, bias)

        def backward(upstream: Any) -> tuple[Any, Any, Any]:
            return _backward(sequences, recurrent, kept, upstream)

        return state, backward

    return ops.custom_gradient(forward)(kernel, recurrent, bias)


def _forward(sequences: Any, kernel: Any, recurrent: Any, bias: Any) -> tuple[Sequence[Any], Any]:
    """Return the arrays that the gradient needs and the last state (n, units).

    The arrays are the state before every step, its update and reset gate, its candidate and the candidate's recurrent
    part, each (steps, n, units).
    """
    count, steps, channels = sequences.shape
    units = recurrent.shape[0]
    inputs = ops.transpose(sequences, (1, 0, 2))
    # The reset gate multiplies the candidate's recurrent bias; all other biases are simply added.
    outer = bias[0] + ops.concatenate([bias[1, : 2 * units], ops.zeros((units,))])
    inner = bias[1, 2 * units :]

    def step(index: Any, state: Any, *kept: Any) -> tuple[Any, ...]:
        values = inputs[index]
        given = outer
        for channel in range(channels):
            given = given + values[:, channel : channel + 1] * kernel[channel]
        recalled = ops.matmul(state, recurrent)
        update = _logistic(given[:, :units] + recalled[:, :units])
        reset = _logistic(given[:, units : 2 * units] + recalled[:, units : 2 * units])
        memory = recalled[:, 2 * units :] + inner
        candidate = _tanh(given[:, 2 * units :] + reset * memory)
        new = (
            ops.slice_update(array, (index, 0, 0), value[None])
            for array, value in zip(kept, (state, update, reset, candidate, memory), strict=True)
        )
        return index + 1, update * state + (1 - update) * candidate, *new

    _, state, *kept = ops.while_loop(
        lambda index, *_: index < steps,
        step,
        (ops.zeros((), "int32"), ops.zeros((count, units)), *[ops.zeros((steps, count, units))] * 5),
        maximum_iterations=steps,
    )
    return kept, state


def _backward(sequences: Any, recurrent: Any, kept: Sequence[Any], upstream: Any) -> tuple[Any, Any, Any]:
    """Return the gradients of kernel, recurrent kernel and bias from the gradient of the last state (n, units)."""
    count, steps, channels = sequences.shape
    units = recurrent.shape[0]
    inputs = ops.transpose(sequences, (1, 0, 2))
    transposed = ops.transpose(recurrent)
    ones = ops.ones((count, 1))  # a bias is the weight of a constant input of 1

    def step(done: Any, upstream: Any, by_input: Any, by_state: Any) -> tuple[Any, ...]:
        index = steps - 1 - done
        state, update, reset, candidate, memory = (array[index] for array in kept)
        by_candidate = upstream * (1 - update) * (1 - candidate * candidate)
        by_reset = by_candidate * memory * reset * (1 - reset)
        by_update = upstream * (state - candidate) * update * (1 - update)
        outer = ops.concatenate([by_update, by_reset, by_candidate], axis=1)
        inner = ops.concatenate([by_update, by_reset, by_candidate * reset], axis=1)
        values, state = (ops.concatenate([array, ones], axis=1) for array in (inputs[index], state))
        return (
            done + 1,
            upstream * update + ops.matmul(inner, transposed),
            by_input + ops.matmul(ops.transpose(values), outer),
            by_state + ops.matmul(ops.transpose(state), inner),
        )

    start = (ops.zeros((), "int32"), upstream, ops.zeros((channels + 1, 3 * units)), ops.zeros((units + 1, 3 * units)))
    _, _, by_input, by_state = ops.while_loop(lambda done, *_: done < steps, step, start, maximum_iterations=steps)
    return by_input[:-1], by_state[:-1], ops.stack([by_input[-1], by_state[-1]])


def _tanh(x: Any) -> Any:
    above, below = tanh_parts(x)
    return above / below


def _logistic(x: Any) -> Any:
    return 0.5 + 0.5 * _tanh(0.5 * x)
