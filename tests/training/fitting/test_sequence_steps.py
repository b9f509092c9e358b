"""Training steps on sequences: their losses and weights are those of plain Keras steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from itertools import chain
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from domains.powerline.data.symmetries import LINE_SYMMETRIES
from domains.powerline.recipes.line import LINE_NORMALISATION
from model.architectures import MEMORY_ARCHITECTURE, build, memory_units
from model.spec import load_spec
from stream.windowing import cut_windows
from training.data.sequences import Sequences, samples_of
from training.fitting.augmentation import Symmetries
from training.fitting.fit import sequence_logits_of
from training.fitting.sequence_steps import SequenceSteps, cut, sequence_logits

SPEC = load_spec("line")
STEPS = 6
BATCH = 4


def drawn(count: int, seed: int = 1) -> Sequences:
    rng = np.random.default_rng(seed)
    return Sequences(
        rng.standard_normal((count, samples_of(STEPS, SPEC), len(SPEC.channels))).astype(np.float32),
        rng.integers(0, len(SPEC.classes), (count, STEPS)).astype(np.int32),
        rng.random((count, STEPS), dtype=np.float32),
        np.arange(count),
    )


def new_network(seed: int = 1) -> Any:
    return build(MEMORY_ARCHITECTURE, SPEC, LINE_NORMALISATION, seed)


@cache
def compiled_network() -> tuple[Any, list[np.ndarray]]:
    """Return a network whose gradient is compiled once for all tests, and its initial weights."""
    network = new_network()
    return network, network.get_weights()


def learned(
    parts: Sequence[Sequences], *, epochs: int = 1, batch: int = BATCH, symmetries: Symmetries | None = None
) -> tuple[list[float], list[np.ndarray]]:
    """Return the losses of all steps and the weights after them."""
    network, initial = compiled_network()
    network.set_weights(initial)
    steps = SequenceSteps(network, keras.optimizers.Adam(1e-3), parts, batch, 7, SPEC, symmetries)
    losses = [loss for epoch in range(epochs) for taken, loss in steps.epoch(epoch) for _ in range(taken)]
    assert len(losses) == epochs * steps.per_epoch
    return losses, network.get_weights()


def test_windows_are_cut_in_the_graph_as_everywhere_else() -> None:
    data = drawn(3).data
    np.testing.assert_array_equal(cut(tf.constant(data), SPEC), cut_windows(data, SPEC))


def test_logits_of_sequences_are_those_of_the_network() -> None:
    network = new_network()
    windows = np.ascontiguousarray(cut_windows(drawn(3).data, SPEC))
    cold = np.zeros((3, memory_units(MEMORY_ARCHITECTURE)), np.float32)
    expected = np.asarray(network([windows, cold], training=False)[0])
    np.testing.assert_allclose(sequence_logits(network, tf.constant(windows)), expected, rtol=0, atol=2e-5)
    np.testing.assert_allclose(sequence_logits_of(network, windows), expected, rtol=0, atol=2e-5)


def test_a_step_is_a_plain_step_of_keras() -> None:
    """Compare with steps that use ``keras.layers.GRU``, automatic gradients and no compilation."""
    sequences = drawn(BATCH + 1)  # the second batch is filled up
    losses, weights = learned([sequences], epochs=2)

    network = new_network()
    optimiser = keras.optimizers.Adam(1e-3)
    optimiser.build(network.trainable_variables)
    mean = sequences.weights.mean(dtype=np.float64)
    expected = []
    for epoch in range(2):
        order = np.random.default_rng((7, epoch)).permutation(len(sequences))
        for first in range(0, len(order), BATCH):
            own = sequences.take(order[first : first + BATCH])
            windows = np.ascontiguousarray(cut_windows(own.data, SPEC))
            cold = np.zeros((len(own), memory_units(MEMORY_ARCHITECTURE)), np.float32)
            with tf.GradientTape() as tape:
                logits = network([windows, cold], training=True)[0]
                each = tf.nn.sparse_softmax_cross_entropy_with_logits(own.labels, logits)
                loss = tf.reduce_sum(each * (own.weights / mean)) / (BATCH * STEPS)
            optimiser.apply(tape.gradient(loss, network.trainable_variables), network.trainable_variables)
            expected.append(float(loss))
    np.testing.assert_allclose(losses, expected, rtol=2e-4)
    assert len(losses) == 4
    for own, plain, start in zip(weights, network.get_weights(), new_network().get_weights(), strict=True):
        if own.size == 1:
            continue
        # Adam divides by the size of a gradient, so that rounding shows where it is almost zero.
        moved = np.abs(plain - start).max()
        assert np.abs(own - plain).mean() < 0.01 * moved


def test_parts_are_trained_on_as_if_they_were_joined() -> None:
    sequences = drawn(9)
    parts = [sequences.take(part) for part in np.split(np.arange(9), (4, 5))]
    (whole_losses, whole), (losses, in_parts) = learned([sequences]), learned(parts)
    assert losses == whole_losses
    for one, other in zip(whole, in_parts, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_window_without_weight_is_not_learned_from_but_advances_the_memory() -> None:
    weights = np.ones((BATCH, STEPS), np.float32)
    weights[:, :3] = 0
    sequences = replace(drawn(BATCH), weights=weights)
    relabelled = replace(sequences, labels=np.where(weights > 0, sequences.labels, 0).astype(np.int32))
    assert learned([relabelled])[0] == learned([sequences])[0]
    data = sequences.data.copy()
    data[:, : SPEC.hop] += 1  # samples of the first window alone
    assert learned([replace(sequences, data=data)])[0] != learned([sequences])[0]


def test_weights_count_relative_to_their_mean() -> None:
    sequences = drawn(BATCH)
    doubled = replace(sequences, weights=2 * sequences.weights)
    np.testing.assert_allclose(learned([doubled])[0], learned([sequences])[0], rtol=1e-6)
    only = np.zeros((BATCH, STEPS), np.float32)
    only[:, -1] = 1
    assert learned([replace(sequences, weights=only)])[0] != pytest.approx(learned([sequences])[0], rel=1e-4)


def test_symmetries_change_whole_sequences_and_their_labels_alike() -> None:
    sequences = drawn(30)
    steps = SequenceSteps(new_network(), keras.optimizers.Adam(), [sequences], 30, 7, SPEC, LINE_SYMMETRIES)
    forms = np.arange(30) % len(LINE_SYMMETRIES)
    data, labels, weights = steps._gathered(np.arange(30), forms, np.random.default_rng(1))
    for row, form in enumerate(forms):
        channels, sign = list(LINE_SYMMETRIES.channels[form]), np.float32(LINE_SYMMETRIES.signs[form])
        np.testing.assert_array_equal(data[row], sequences.data[row][:, channels] * sign)
        np.testing.assert_array_equal(labels[row], np.array(LINE_SYMMETRIES.classes[form])[sequences.labels[row]])
    np.testing.assert_allclose(weights * sequences.weights.mean(), sequences.weights, rtol=1e-5)


def test_every_epoch_takes_every_sequence_once_in_another_order_and_other_forms(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    steps = SequenceSteps(new_network(), keras.optimizers.Adam(), [drawn(9)], BATCH, 7, SPEC, LINE_SYMMETRIES)
    taken: list[tuple[list[int], list[int]]] = []
    gathered = steps._gathered

    def seen(chosen: np.ndarray, forms: np.ndarray, rng: np.random.Generator) -> Any:
        taken.append((chosen.tolist(), forms.tolist()))
        return gathered(chosen, forms, rng)

    monkeypatch.setattr(steps, "_gathered", seen)

    def epoch(number: int) -> tuple[list[int], list[int]]:
        taken.clear()
        assert [count for count, _ in steps.epoch(number)] == [1, 1, 1]
        orders, forms = zip(*taken, strict=True)
        return list(chain.from_iterable(orders)), list(chain.from_iterable(forms))

    first, second, again = epoch(0), epoch(1), epoch(0)
    assert sorted(first[0]) == sorted(second[0]) == list(range(9))
    assert first == again
    assert first[0] != second[0]
    assert first[1] != second[1]
    assert len(set(first[1] + second[1])) > 3
