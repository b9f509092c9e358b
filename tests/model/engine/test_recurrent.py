from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from model.engine.recurrent import CompiledGRU, for_inference, tanh_parts

STEPS, CHANNELS, UNITS = 12, 5, 9


def network(**options: object) -> keras.Model:
    sequence = layers.Input((STEPS, CHANNELS))
    return keras.Model(sequence, layers.GRU(UNITS, name="gru", **options)(sequence))


def weighted(model: keras.Model) -> keras.Model:
    random = np.random.default_rng(3)
    model.set_weights([random.normal(size=weight.shape) for weight in model.get_weights()])
    return model


@pytest.mark.parametrize("unroll", [False, True])
def test_the_compiled_form_answers_like_keras_own_layer(unroll: bool) -> None:
    model = weighted(network(unroll=unroll))
    compiled = for_inference(model)
    compiled.set_weights(model.get_weights())
    sequences = np.random.default_rng(4).normal(0, 3, size=(40, STEPS, CHANNELS)).astype(np.float32)
    assert isinstance(compiled.get_layer("gru"), CompiledGRU)
    np.testing.assert_allclose(compiled(sequences), model(sequences), atol=2e-6)


def test_the_quotient_is_the_hyperbolic_tangent_also_far_out_and_of_what_is_no_number() -> None:
    x = np.concatenate([np.linspace(-12, 12, 200_001), [-3e38, 3e38, -np.inf, np.inf, 1e-30]]).astype(np.float32)
    above, below = (np.asarray(part) for part in tanh_parts(x))
    np.testing.assert_allclose(above / below, np.tanh(x.astype(np.float64)), rtol=0, atol=5e-7)
    assert np.all(np.abs(above / below) <= 1.0)
    above, below = (np.asarray(part) for part in tanh_parts(np.array([np.nan, 1.0], np.float32)))
    assert np.isnan(above[0] / below[0])
    assert not np.isnan(above[1] / below[1])


def test_variables_keep_their_paths_and_their_order() -> None:
    model = network()
    assert [weight.path for weight in for_inference(model).weights] == [weight.path for weight in model.weights]


@pytest.mark.parametrize(
    "option", [{"activation": "relu"}, {"reset_after": False}, {"use_bias": False}, {"go_backwards": True}]
)
def test_a_layer_of_other_mathematics_stays_keras_own(option: dict[str, object]) -> None:
    assert type(for_inference(network(**option)).get_layer("gru")) is layers.GRU
