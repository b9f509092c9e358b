"""The networks, by name. Written against Keras 3's own API only, so any Keras backend can carry them.

An architecture says twice how logits come from windows: ``build`` as a Keras model, which is trained, and
``forward`` as a plain function of named tensors, which the engine compiles because it runs faster. A test holds
the two together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
from keras import layers, ops

from model.errors import ShapeArtefactError
from model.normalisation import Normalisation
from model.spec import SignalSpec

__all__ = ["ARCHITECTURES", "Architecture", "Condition", "Normalisation", "build", "find"]

Tensors = Mapping[str, Any]
"""Weights by the name that ``Architecture.shapes`` gives them."""


@keras.saving.register_keras_serializable(package="faultline")
class Condition(layers.Layer):  # type: ignore[misc]
    """Applies a Normalisation to float32 (n, samples, channels). Has no weights: its numbers are constants."""

    def __init__(self, normalisation: Normalisation | Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(trainable=False, **kwargs)
        self.normalisation = Normalisation.model_validate(normalisation)

    def call(self, windows: Any) -> Any:
        return condition(self.normalisation, windows)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        config: dict[str, Any] = super().get_config()
        config.pop("trainable", None)
        return config | {"normalisation": self.normalisation.model_dump(mode="json")}


@dataclass(frozen=True)
class Architecture:
    """One entry of the registry.

    Attributes:
        name: what manifests and the command line call it.
        build: the Keras model, float32 (n, samples, channels) → logits (n, classes).
        shapes: name and shape of every tensor for a spec, in the order of the model's ``weights``.
        forward: the same mathematics as ``build`` without dropout, for compilation.
    """

    name: str
    build: Callable[[SignalSpec, Normalisation, int | None], keras.Model]
    shapes: Callable[[SignalSpec], dict[str, tuple[int, ...]]]
    forward: Callable[[SignalSpec, Normalisation, Tensors, Any], Any]


def condition(normalisation: Normalisation, windows: Any) -> Any:
    """Conditioned windows, same shape. The reciprocal is taken once: dividing costs more than multiplying."""
    centre = ops.convert_to_tensor(normalisation.centre, dtype="float32")
    gain = ops.convert_to_tensor([1.0 / scale for scale in normalisation.scale], dtype="float32")
    scaled = (windows - centre) * gain
    return ops.arcsinh(scaled) if normalisation.kind == "asinh" else scaled


_UNITS = 64  # of the reference report's GRU
_HIDDEN = 32  # of its dense layer
_DROPOUT = 0.2


def _steps_and_features(spec: SignalSpec) -> tuple[int, int]:
    samples, channels = spec.window_shape
    return (samples, channels) if spec.sequence == "time" else (channels, samples)


def _build_gru(spec: SignalSpec, normalisation: Normalisation, seed: int | None) -> keras.Model:
    seeds = [None if seed is None else seed + offset for offset in range(5)]
    glorot = keras.initializers.GlorotUniform
    windows = layers.Input(shape=spec.window_shape, dtype="float32", name="windows")
    flow = Condition(normalisation, name="condition")(windows)
    if spec.sequence == "channels":
        flow = layers.Permute((2, 1), name="steps")(flow)
    flow = layers.GRU(
        _UNITS,
        kernel_initializer=glorot(seed=seeds[0]),
        recurrent_initializer=keras.initializers.Orthogonal(seed=seeds[1]),
        name="gru",
    )(flow)
    flow = layers.Dropout(_DROPOUT, seed=seeds[2], name="dropout")(flow)
    flow = layers.Dense(_HIDDEN, "relu", kernel_initializer=glorot(seed=seeds[3]), name="hidden")(flow)
    logits = layers.Dense(len(spec.classes), kernel_initializer=glorot(seed=seeds[4]), name="logits")(flow)
    return keras.Model(windows, logits, name="gru_classifier")


def _gru_shapes(spec: SignalSpec) -> dict[str, tuple[int, ...]]:
    _, features = _steps_and_features(spec)
    return {
        "gru/gru_cell/kernel": (features, 3 * _UNITS),
        "gru/gru_cell/recurrent_kernel": (_UNITS, 3 * _UNITS),
        "gru/gru_cell/bias": (2, 3 * _UNITS),
        "hidden/kernel": (_UNITS, _HIDDEN),
        "hidden/bias": (_HIDDEN,),
        "logits/kernel": (_HIDDEN, len(spec.classes)),
        "logits/bias": (len(spec.classes),),
    }


def _gru_forward(spec: SignalSpec, normalisation: Normalisation, tensors: Tensors, windows: Any) -> Any:
    """Keras' GRU (``reset_after``) with the input projection of all steps as one product, then unrolled.

    Cho et al. 2014 with the reset gate applied after the recurrent product, as in cuDNN. Gates are laid out
    update, reset, candidate along the last axis of every kernel.
    """
    steps, features = _steps_and_features(spec)
    flow = condition(normalisation, windows)
    # Step first, so that every step is one contiguous block of the projection.
    flow = ops.transpose(flow, (1, 0, 2) if spec.sequence == "time" else (2, 0, 1))
    kernel, recurrent = tensors["gru/gru_cell/kernel"], tensors["gru/gru_cell/recurrent_kernel"]
    input_bias, recurrent_bias = tensors["gru/gru_cell/bias"][0], tensors["gru/gru_cell/bias"][1]
    count = windows.shape[0]
    projected = ops.matmul(ops.reshape(flow, (steps * count, features)), kernel) + input_bias
    projected = ops.reshape(projected, (steps, count, 3 * _UNITS))
    state = ops.zeros((count, _UNITS), dtype="float32")
    for step in range(steps):
        inputs, inner = projected[step], ops.matmul(state, recurrent) + recurrent_bias
        gates = ops.sigmoid(inputs[:, : 2 * _UNITS] + inner[:, : 2 * _UNITS])
        update, reset = gates[:, :_UNITS], gates[:, _UNITS:]
        proposal = ops.tanh(inputs[:, 2 * _UNITS :] + reset * inner[:, 2 * _UNITS :])
        state = proposal + update * (state - proposal)
    hidden = ops.relu(ops.matmul(state, tensors["hidden/kernel"]) + tensors["hidden/bias"])
    return ops.matmul(hidden, tensors["logits/kernel"]) + tensors["logits/bias"]


ARCHITECTURES: dict[str, Architecture] = {
    "gru": Architecture("gru", _build_gru, _gru_shapes, _gru_forward),
}


def find(name: str) -> Architecture:
    """The architecture of that name. Raises ShapeArtefactError naming those there are."""
    if name not in ARCHITECTURES:
        raise ShapeArtefactError(f"no architecture {name!r}; there are {', '.join(sorted(ARCHITECTURES))}")
    return ARCHITECTURES[name]


def build(architecture: str, spec: SignalSpec, normalisation: Normalisation, seed: int | None = None) -> keras.Model:
    """A freshly initialised network.

    Args:
        architecture: a key of ``ARCHITECTURES``.
        spec: decides the input (n, samples, channels) and the number of classes.
        normalisation: compiled into the network; one centre and scale per channel of the spec.
        seed: makes initial weights and dropout repeatable.

    Returns:
        A Keras model, float32 (n, samples, channels) per unit → logits float32 (n, classes).

    Raises:
        ShapeArtefactError: unknown architecture, or a normalisation for another number of channels.
    """
    if len(normalisation.centre) != len(spec.channels):
        raise ShapeArtefactError(
            f"normalisation is for {len(normalisation.centre)} channels, spec {spec.name!r} has {len(spec.channels)}"
        )
    return find(architecture).build(spec, normalisation, seed)
