"""The GRU that training compiles: its states and gradients are those of Keras."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from training.fitting.memory_gru import all_states

UNITS, VALUES = 7, 5


def weights(seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    shapes = ((VALUES, 3 * UNITS), (UNITS, 3 * UNITS), (2, 3 * UNITS))
    return [rng.normal(0, 0.5, shape).astype(np.float32) for shape in shapes]


def by_keras(inputs: Any, *given: Any) -> Any:
    """Return the states of ``keras.layers.GRU`` with the weights ``given`` as tensors that have gradients."""
    layer = keras.layers.GRU(UNITS, return_sequences=True)
    layer.build(inputs.shape)
    cell = layer.cell
    for variable, tensor in zip((cell.kernel, cell.recurrent_kernel, cell.bias), given, strict=True):
        variable.assign(tensor)
    return layer(inputs), (cell.kernel, cell.recurrent_kernel, cell.bias)


@pytest.mark.parametrize(("count", "steps"), [(1, 1), (3, 2), (4, 40)])
@pytest.mark.parametrize("compiled", [True, False])
def test_states_and_gradients_are_those_of_keras(count: int, steps: int, compiled: bool) -> None:
    rng = np.random.default_rng(steps)
    inputs = tf.constant(rng.normal(0, 2, (count, steps, VALUES)).astype(np.float32))
    upstream = tf.constant(rng.normal(0, 1, (count, steps, UNITS)).astype(np.float32))
    given = [tf.constant(array) for array in weights(count)]

    with tf.GradientTape() as tape:
        tape.watch(inputs)
        expected, variables = by_keras(inputs, *given)
        total = tf.reduce_sum(expected * upstream)
    wanted = tape.gradient(total, [inputs, *(variable.value for variable in variables)])

    def own(*tensors: Any) -> tuple[Any, list[Any]]:
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            states = all_states(*tensors)
            total = tf.reduce_sum(states * upstream)
        return states, tape.gradient(total, list(tensors))

    states, found = tf.function(own, jit_compile=compiled, autograph=False)(inputs, *given)
    assert states.shape == (count, steps, UNITS)
    np.testing.assert_allclose(states, expected, rtol=0, atol=2e-6)
    for gradient, reference in zip(found, wanted, strict=True):
        # The recurrent kernel has no part in the first step, since the state before it is zero.
        assert steps == 1 or np.abs(reference).max() > 0
        np.testing.assert_allclose(gradient, reference, rtol=0, atol=2e-5 * np.abs(reference).max() + 1e-7)


def test_the_gradient_agrees_with_differences_of_a_loss() -> None:
    rng = np.random.default_rng(3)
    inputs = tf.constant(rng.normal(0, 1, (2, 6, VALUES)).astype(np.float32))
    upstream = tf.constant(rng.normal(0, 1, (2, 6, UNITS)).astype(np.float32))
    given = weights(4)

    def loss(arrays: list[np.ndarray]) -> float:
        return float(tf.reduce_sum(all_states(inputs, *map(tf.constant, arrays)) * upstream))

    tensors = [tf.constant(array) for array in given]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        total = tf.reduce_sum(all_states(inputs, *tensors) * upstream)
    for k, gradient in enumerate(tape.gradient(total, tensors)):
        direction = rng.normal(0, 1, given[k].shape).astype(np.float32)
        step = 1e-2
        ends = [loss([*given[:k], given[k] + sign * step * direction, *given[k + 1 :]]) for sign in (1, -1)]
        slope = float((gradient.numpy() * direction).sum())
        assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(slope, rel=0.02, abs=0.02)


def test_a_state_depends_on_no_later_step_and_on_no_other_sequence() -> None:
    rng = np.random.default_rng(5)
    inputs = rng.normal(0, 1, (3, 8, VALUES)).astype(np.float32)
    given = [tf.constant(array) for array in weights(6)]
    states = np.asarray(all_states(tf.constant(inputs), *given))
    changed = inputs.copy()
    changed[1, 5:] += 1
    after = np.asarray(all_states(tf.constant(changed), *given))
    np.testing.assert_array_equal(after[[0, 2]], states[[0, 2]])
    np.testing.assert_array_equal(after[1, :5], states[1, :5])
    assert (after[1, 5:] != states[1, 5:]).any(axis=1).all()
