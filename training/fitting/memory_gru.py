"""Compute a GRU's states at all steps with a gradient written by hand, in a form that compilers optimise well."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras import ops

__all__ = ["all_states"]


def all_states(inputs: Any, kernel: Any, recurrent: Any, bias: Any) -> Any:
    """Compute ``keras.layers.GRU(return_sequences=True)`` with its default options, up to rounding.

    An automatic gradient stores intermediate values of every operation and adds up the weights' gradients step by step.
    This one stores four arrays, and computes the gradients of the weights in one matrix product over all steps. The
    function is meant to be compiled by XLA; it is slow in eager mode. The state before the first step is zero.

    Args:
        inputs: float32 (n, steps, values).
        kernel: (values, 3 * units), for update gate, reset gate and candidate.
        recurrent: (units, 3 * units).
        bias: (2, 3 * units), for the inputs and for the state.

    Returns:
        The states after all steps, (n, steps, units).
    """
    units = recurrent.shape[0]
    # The reset gate multiplies the candidate's recurrent bias; all other biases are simply added.
    outer = bias[0] + ops.concatenate([bias[1, : 2 * units], ops.zeros((units,))])
    given = ops.matmul(ops.transpose(inputs, (1, 0, 2)), kernel) + outer

    def forward(given: Any, recurrent: Any, inner: Any) -> tuple[Any, Any]:
        states, *kept = _forward(given, recurrent, inner)

        def backward(upstream: Any) -> tuple[Any, Any, Any]:
            return _backward(recurrent, states, kept, upstream)

        return states, backward

    states = ops.custom_gradient(forward)(given, recurrent, bias[1, 2 * units :])
    return ops.transpose(states, (1, 0, 2))


def _forward(given: Any, recurrent: Any, inner: Any) -> tuple[Any, ...]:
    """Return the states after every step, and the gates, candidates and the candidates' recurrent parts.

    Each array is (steps, n, units); the gates are (steps, n, 2 * units).
    """
    steps, count, _ = given.shape
    units = recurrent.shape[0]

    def step(index: Any, state: Any, *kept: Any) -> tuple[Any, ...]:
        values = given[index]
        recalled = ops.matmul(state, recurrent)
        gates = ops.sigmoid(values[:, : 2 * units] + recalled[:, : 2 * units])
        memory = recalled[:, 2 * units :] + inner
        candidate = ops.tanh(values[:, 2 * units :] + gates[:, units:] * memory)
        update = gates[:, :units]
        state = update * state + (1 - update) * candidate
        new = (
            ops.slice_update(array, (index, 0, 0), value[None])
            for array, value in zip(kept, (state, gates, candidate, memory), strict=True)
        )
        return index + 1, state, *new

    sizes = (units, 2 * units, units, units)
    _, _, *kept = ops.while_loop(
        lambda index, *_: index < steps,
        step,
        (ops.zeros((), "int32"), ops.zeros((count, units)), *[ops.zeros((steps, count, size)) for size in sizes]),
        maximum_iterations=steps,
    )
    return tuple(kept)


def _backward(recurrent: Any, states: Any, kept: Sequence[Any], upstream: Any) -> tuple[Any, Any, Any]:
    """Return the gradients of the inputs' part, of the recurrent kernel and of the candidate's recurrent bias."""
    steps, count, units = states.shape
    transposed = ops.transpose(recurrent)
    before = ops.concatenate([ops.zeros((1, count, units)), states[:-1]])

    def step(done: Any, carried: Any, by_given: Any, by_recalled: Any) -> tuple[Any, ...]:
        index = steps - 1 - done
        gates, candidate, memory = (array[index] for array in kept)
        update, reset = gates[:, :units], gates[:, units:]
        carried = carried + upstream[index]
        by_candidate = carried * (1 - update) * (1 - candidate * candidate)
        by_reset = by_candidate * memory * reset * (1 - reset)
        by_update = carried * (before[index] - candidate) * update * (1 - update)
        outer = ops.concatenate([by_update, by_reset, by_candidate], axis=1)
        inner = ops.concatenate([by_update, by_reset, by_candidate * reset], axis=1)
        return (
            done + 1,
            carried * update + ops.matmul(inner, transposed),
            ops.slice_update(by_given, (index, 0, 0), outer[None]),
            ops.slice_update(by_recalled, (index, 0, 0), inner[None]),
        )

    whole = ops.zeros((steps, count, 3 * units))
    start = (ops.zeros((), "int32"), ops.zeros((count, units)), whole, whole)
    _, _, by_given, by_recalled = ops.while_loop(lambda done, *_: done < steps, step, start, maximum_iterations=steps)
    rows = ops.reshape(by_recalled, (-1, 3 * units))
    by_recurrent = ops.matmul(ops.transpose(ops.reshape(before, (-1, units))), rows)
    return by_given, by_recurrent, ops.sum(rows[:, 2 * units :], axis=0)
