"""The networks, by name. Written against Keras 3's own API only, so any Keras backend can carry them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
from keras import layers, ops

from model.errors import ShapeArtefactError
from model.normalisation import Normalisation
from model.spec import SignalSpec

__all__ = ["ARCHITECTURES", "Condition", "Normalisation", "build"]


@keras.saving.register_keras_serializable(package="faultline")
class Condition(layers.Layer):  # type: ignore[misc]
    """Applies a Normalisation to float32 (n, samples, channels). Has no weights: its numbers are constants."""

    def __init__(self, normalisation: Normalisation | Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(trainable=False, **kwargs)
        self.normalisation = Normalisation.model_validate(normalisation)

    def call(self, windows: Any) -> Any:
        centre = ops.convert_to_tensor(self.normalisation.centre, dtype="float32")
        # The reciprocal is taken once: dividing every sample costs more than multiplying it.
        gain = ops.convert_to_tensor([1.0 / scale for scale in self.normalisation.scale], dtype="float32")
        scaled = (windows - centre) * gain
        return ops.arcsinh(scaled) if self.normalisation.kind == "asinh" else scaled

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        config: dict[str, Any] = super().get_config()
        config.pop("trainable", None)
        return config | {"normalisation": self.normalisation.model_dump(mode="json")}


_UNITS = 64  # of the reference report's GRU
_HIDDEN = 32  # of its dense layer
_DROPOUT = 0.2


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


ARCHITECTURES: dict[str, Callable[[SignalSpec, Normalisation, int | None], keras.Model]] = {"gru": _build_gru}


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
    if architecture not in ARCHITECTURES:
        raise ShapeArtefactError(f"no architecture {architecture!r}; there are {', '.join(sorted(ARCHITECTURES))}")
    return ARCHITECTURES[architecture](spec, normalisation, seed)
