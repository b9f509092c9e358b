"""Build the networks by name. They use only the API of Keras 3, so any Keras backend can run them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import count, repeat
from typing import Any

import keras
from keras import layers, ops

from model.asinh import asinh
from model.domain import domain_of
from model.errors import ShapeArtefactError
from model.memory import MEMORY_ARCHITECTURE, memory_units
from model.normalisation import Normalisation
from model.spec import SignalSpec

__all__ = ["ARCHITECTURES", "MEMORY_ARCHITECTURE", "Condition", "Normalisation", "build", "memory_units"]


@keras.saving.register_keras_serializable(package="faultline")
class Condition(layers.Layer):  # type: ignore[misc]
    """Apply a Normalisation to float32 (n, samples, channels). It has no weights: its numbers are constants."""

    def __init__(self, normalisation: Normalisation | Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(trainable=False, **kwargs)
        # The layer needs the generic fields only; those of a domain's subclass have no effect here.
        known = {name: value for name, value in dict(normalisation).items() if name in Normalisation.model_fields}
        self.normalisation = Normalisation.model_validate(known)

    def call(self, windows: Any) -> Any:
        """Return the normalised windows, of the same shape."""
        centre = ops.convert_to_tensor(self.normalisation.centre, dtype="float32")
        # Multiply by the reciprocal: dividing every sample costs more.
        gain = ops.convert_to_tensor([1.0 / scale for scale in self.normalisation.scale], dtype="float32")
        scaled = (windows - centre) * gain
        return asinh(scaled) if self.normalisation.kind == "asinh" else scaled

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the input's shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Return the layer's configuration, from which Keras can create it again."""
        config: dict[str, Any] = super().get_config()
        config.pop("trainable", None)
        return config | {"normalisation": self.normalisation.model_dump(mode="json")}


# Sizes of the six networks of the reference reports; the tests check the resulting counts of parameters.
_UNITS = 64
_FILTERS = 64
_WIDE, _HIDDEN = 128, 32
# Widths of layers that the reference lacks: layers on the domain's features, and layers on these together with the
# features of the sequence. They are wider than the GRU and still cost a tenth of it, since they run once per window and
# not once per time step.
_MEASURED, _MERGED = (256, 128), 128
_KERNEL = 3
_POOL = 2
_DROPOUT = 0.2
# Largest number of steps of a recurrent layer that is unrolled, so that the compiler can optimise across steps. Above
# it, compiling takes longer than it saves.
_UNROLLED_STEPS = 8

_Seeds = Iterator[int | None]


def _glorot(seeds: _Seeds) -> keras.initializers.Initializer:
    return keras.initializers.GlorotUniform(seed=next(seeds))


def _dense(flow: Any, units: int, seeds: _Seeds, name: str) -> Any:
    return layers.Dense(units, "relu", kernel_initializer=_glorot(seeds), name=name)(flow)


def _dropout(flow: Any, seeds: _Seeds, name: str = "dropout") -> Any:
    return layers.Dropout(_DROPOUT, seed=next(seeds), name=name)(flow)


def _convolution(flow: Any, filters: int, padding: str, seeds: _Seeds, name: str) -> Any:
    layer = layers.Conv1D(
        filters, _KERNEL, padding=padding, activation="relu", kernel_initializer=_glorot(seeds), name=name
    )
    return layer(flow)


def _recurrent(kind: type[layers.Layer], name: str) -> Callable[[Any, _Seeds], Any]:
    def body(flow: Any, seeds: _Seeds) -> Any:
        layer = kind(
            _UNITS,
            kernel_initializer=_glorot(seeds),
            recurrent_initializer=keras.initializers.Orthogonal(seed=next(seeds)),
            unroll=flow.shape[1] <= _UNROLLED_STEPS,
            name=name,
        )
        return _dense(_dropout(layer(flow), seeds), _HIDDEN, seeds, "hidden")

    return body


def _cnn(flow: Any, seeds: _Seeds) -> Any:
    """Apply one unpadded convolution, pool by two and flatten, which keeps a pattern's position in the sequence."""
    steps = flow.shape[1]
    if steps < _KERNEL + _POOL - 1:
        raise ShapeArtefactError(f"'cnn' needs at least {_KERNEL + _POOL - 1} steps, the spec's sequence has {steps}")
    flow = _convolution(flow, _FILTERS, "valid", seeds, "convolution")
    flow = layers.MaxPooling1D(_POOL, name="pool")(flow)
    flow = _dropout(layers.Flatten(name="flat")(flow), seeds)
    return _dense(flow, _HIDDEN, seeds, "hidden")


def _cnn_advanced(flow: Any, seeds: _Seeds) -> Any:
    """Apply two convolutions and average over the sequence; the logits follow directly."""
    flow = _convolution(flow, _WIDE, "same", seeds, "convolution_1")
    flow = _convolution(flow, _FILTERS, "same", seeds, "convolution_2")
    return _dropout(layers.GlobalAveragePooling1D(name="pool")(flow), seeds)


def _fnn(*widths: int) -> Callable[[Any, _Seeds], Any]:
    """Return a body of dense layers on the flattened window, with dropout between them."""

    def body(flow: Any, seeds: _Seeds) -> Any:
        flow = layers.Flatten(name="flat")(flow)
        for number, width in enumerate(widths, start=1):
            flow = _dense(flow, width, seeds, f"hidden_{number}")
            if number < len(widths):
                flow = _dropout(flow, seeds, f"dropout_{number}")
        return flow

    return body


# Functions by architecture; each maps a sequence float (n, steps, values) to features (n, features).
_BODIES: dict[str, Callable[[Any, _Seeds], Any]] = {
    "gru": _recurrent(layers.GRU, "gru"),
    "lstm": _recurrent(layers.LSTM, "lstm"),
    "cnn": _cnn,
    "cnn-advanced": _cnn_advanced,
    "fnn": _fnn(_UNITS, _HIDDEN),
    "fnn-improved": _fnn(_WIDE, _UNITS, _HIDDEN),
}
ARCHITECTURES = (*_BODIES, MEMORY_ARCHITECTURE)

# Sizes of the architecture with a memory: two dense layers on each window, and the layer before the logits.
_WINDOW_UNITS, _HEAD_UNITS = (192, 128), 96


def _feature_layer(name: str, spec: SignalSpec) -> layers.Layer:
    known = domain_of(spec).layers()
    if name not in known:
        raise ShapeArtefactError(f"domain {spec.domain!r} has no feature layer {name!r}; there are {', '.join(known)}")
    return known[name](name=name)


def build(architecture: str, spec: SignalSpec, normalisation: Normalisation, seed: int | None = None) -> keras.Model:
    """Build a network with fresh initial weights.

    Args:
        architecture: one of ``ARCHITECTURES``.
        spec: determines the input (n, samples, channels) and the number of classes.
        normalisation: normalisation with one centre and scale per channel of the spec; it becomes part of the network.
        seed: seed that makes initial weights and dropout repeatable; None draws new ones.

    Returns:
        A Keras model, float32 (n, samples, channels) per unit → logits float32 (n, classes). The model of
        ``MEMORY_ARCHITECTURE`` maps successive windows of n lines, float32 (n, steps, samples, channels), and the
        lines' memories before them, float32 (n, units), to the logits (n, steps, classes) and to the memory after every
        window (n, steps, units). A memory of zeros is cold: it knows nothing of the line.

    Raises:
        ShapeArtefactError: the architecture or feature layer is unknown, the architecture needs longer windows, or
            the normalisation is for another number of channels.
    """
    if len(normalisation.centre) != len(spec.channels):
        raise ShapeArtefactError(
            f"normalisation is for {len(normalisation.centre)} channels, spec {spec.name!r} has {len(spec.channels)}"
        )
    if architecture not in ARCHITECTURES:
        raise ShapeArtefactError(f"no architecture {architecture!r}; there are {', '.join(ARCHITECTURES)}")
    seeds: _Seeds = repeat(None) if seed is None else count(seed)
    if architecture == MEMORY_ARCHITECTURE:
        return _with_memory(spec, normalisation, seeds)
    windows = layers.Input(shape=spec.window_shape, dtype="float32", name="windows")
    flow = Condition(normalisation, name="condition")(windows)
    if spec.sequence == "channels":
        flow = layers.Permute((2, 1), name="steps")(flow)
    flow = _BODIES[architecture](flow, seeds)
    if normalisation.feature_layer is not None:
        measured = _feature_layer(normalisation.feature_layer, spec)(windows)
        for number, units in enumerate(_MEASURED, start=1):
            measured = _dense(measured, units, seeds, f"measured_{number}")
        flow = _dense(layers.Concatenate(name="both")([flow, measured]), _MERGED, seeds, "merged")
    logits = layers.Dense(len(spec.classes), kernel_initializer=_glorot(seeds), name="logits")(flow)
    return keras.Model(windows, logits, name=f"{architecture.replace('-', '_')}_classifier")


def _with_memory(spec: SignalSpec, normalisation: Normalisation, seeds: _Seeds) -> keras.Model:
    """Build the network whose GRU steps from window to window of a line.

    Windows overlap, so beside the features of a domain's layer the network gets only the samples that are new in each
    window. Without such a layer it gets the whole window.
    """
    windows = layers.Input(shape=(None, *spec.window_shape), dtype="float32", name="windows")
    units = memory_units(MEMORY_ARCHITECTURE)
    memory = layers.Input(shape=(units,), dtype="float32", name="memory")
    new = spec.samples if normalisation.feature_layer is None else min(spec.hop, spec.samples)
    newest = layers.Cropping2D(((0, 0), (spec.samples - new, 0)), data_format="channels_last", name="new")(windows)
    flow = Condition(normalisation, name="condition")(newest)
    flow = layers.Reshape((-1, new * len(spec.channels)), name="flat")(flow)
    if normalisation.feature_layer is not None:
        measured = _feature_layer(normalisation.feature_layer, spec)(windows)
        flow = layers.Concatenate(name="both")([flow, measured])
    for number, width in enumerate(_WINDOW_UNITS, start=1):
        flow = _dense(flow, width, seeds, f"window_{number}")
    memories = layers.GRU(
        units,
        kernel_initializer=_glorot(seeds),
        recurrent_initializer=keras.initializers.Orthogonal(seed=next(seeds)),
        return_sequences=True,
        name="memory_gru",
    )(flow, initial_state=memory)
    flow = _dense(layers.Concatenate(name="with_memory")([memories, flow]), _HEAD_UNITS, seeds, "head")
    logits = layers.Dense(len(spec.classes), kernel_initializer=_glorot(seeds), name="logits")(flow)
    return keras.Model([windows, memory], [logits, memories], name="gru_memory_classifier")
