"""Compiled training steps: their results, and the memory that they leave."""

from __future__ import annotations

import gc
import weakref

import keras
import numpy as np

from domains.powerline.recipes.line import LINE_NORMALISATION
from model.architectures import build
from model.normalisation import Normalisation
from model.spec import load_spec
from training.data.windows import Windows
from training.fitting.steps import Steps

SPEC = load_spec("line")


def _random() -> Windows:
    rng = np.random.default_rng(1)
    return Windows(
        rng.standard_normal((100, *SPEC.window_shape)).astype(np.float32),
        rng.integers(0, 12, 100, dtype=np.int32),
        rng.random(100, dtype=np.float32),
        np.arange(100),
    )


def test_the_memory_of_windows_is_freed_with_their_steps() -> None:
    count = 100
    windows = Windows(
        np.zeros((count, *SPEC.window_shape), np.float32),
        np.zeros(count, np.int32),
        np.ones(count, np.float32),
        np.arange(count),
    )
    untouched = Normalisation.identity(len(SPEC.channels))
    steps = Steps(build("fnn", SPEC, untouched, 1), keras.optimizers.Adam(), [windows], 32, 1)
    assert [taken for taken, _ in steps.epoch(0)] == [4]
    # The rounds of a training follow one another in one process: each would keep a gigabyte.
    held = [weakref.ref(tensor) for tensor in (*steps._given[0], *steps._given[1:])]
    del steps
    gc.collect()
    assert [tensor() for tensor in held] == [None] * 3


def test_parts_are_trained_on_as_if_they_were_joined() -> None:
    windows = _random()

    def learned(*bounds: int) -> list[np.ndarray]:
        keras.utils.set_random_seed(1)
        network = build("fnn", SPEC, Normalisation.identity(len(SPEC.channels)), 1)
        parts = [windows.take(part) for part in np.split(np.arange(100), bounds)]
        assert sum(taken for taken, _ in Steps(network, keras.optimizers.Adam(), parts, 32, 1).epoch(0)) == 4
        return network.get_weights()

    for whole, in_parts in zip(learned(), learned(40, 41), strict=True):
        np.testing.assert_array_equal(whole, in_parts)


def test_our_own_gradient_of_a_gru_is_keras_gradient() -> None:
    windows = _random()

    def learned(*, ours: bool) -> tuple[list[float], list[np.ndarray]]:
        keras.utils.set_random_seed(1)
        network = build("gru", SPEC, LINE_NORMALISATION, 1)
        network.get_layer("gru").unroll = not ours  # the compiled gradient is for layers that Keras does not unroll
        steps = Steps(network, keras.optimizers.Adam(), [windows], 32, 1)
        assert steps._compiled == ours
        losses = [loss for epoch in range(2) for _, loss in steps.epoch(epoch)]
        return losses, [np.asarray(variable.value) for variable in network.variables]

    (losses, weights), (compiled_losses, compiled_weights) = learned(ours=False), learned(ours=True)
    np.testing.assert_allclose(compiled_losses, losses, rtol=1e-5)
    for whole, compiled in zip(weights, compiled_weights, strict=True):
        np.testing.assert_allclose(compiled, whole, rtol=0, atol=1e-5)  # Adam's steps are of 1e-3
