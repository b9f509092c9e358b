"""What a network computes, without its weights: compiled once, shared by all models that differ in weights alone.

Weights are an argument of the compiled function, in one array: a retrained model of the same architecture is in use
without a compiler's seconds. Against weights as constants a call takes 0.02 ms longer, at 512 windows 1 to 3 %; one
argument per tensor would take 0.09 ms, which is all Python's.
"""

from __future__ import annotations

import math
import threading
from collections import defaultdict
from typing import Any

import keras
import numpy as np
from keras import ops

from model.artefact import Artefact, build_model
from model.compile import Call, compile_call
from model.recurrent import for_inference

__all__ = ["Computation"]


class Computation:
    """Softmax of calibrated logits, float32 (n, samples, channels) → (n, classes), given a model's parameters.

    Args:
        artefact: any model of the architecture, spec and normalisation.

    Raises:
        ShapeArtefactError: its tensors do not fit its architecture and spec.
    """

    def __init__(self, artefact: Artefact) -> None:
        model = for_inference(build_model(artefact))
        self._model = model
        self._form = _form(artefact)
        self._window_shape = artefact.manifest.spec.window_shape
        self._tensors = [(tensor.name, tensor.shape) for tensor in artefact.manifest.tensors]
        # The state of dropout's random numbers is in no artefact, and nothing depends on it here.
        self._states = {
            variable.path: ops.convert_to_numpy(variable.value)
            for variable in model.variables
            if variable.path not in artefact.weights
        }
        self._calls: dict[int, Call] = {}
        self._compiling: defaultdict[int, threading.Lock] = defaultdict(threading.Lock)

    def serves(self, artefact: Artefact) -> bool:
        """Whether the artefact differs from the one this was made of in its weights and temperature at most."""
        return _form(artefact) == self._form

    def parameters(self, artefact: Artefact) -> Any:
        """The temperature and all weights of an artefact that this serves, as one tensor of the backend."""
        weights = [artefact.weights[name].ravel() for name, _ in self._tensors]
        packed = np.concatenate([np.asarray([artefact.manifest.temperature]), *weights])
        return ops.convert_to_tensor(packed.astype(np.float32))

    def call(self, count: int) -> Call:
        """The function for exactly ``count`` windows; compiled when it was not yet. From any thread, also at once."""
        call = self._calls.get(count)
        if call is None:
            with self._compiling[count]:
                call = self._calls.get(count)
                if call is None:
                    size = 1 + sum(math.prod(shape) for _, shape in self._tensors)
                    call = compile_call(self._probabilities, (count, *self._window_shape), (size,))
                    self._calls[count] = call
        return call

    def _probabilities(self, windows: Any, parameters: Any) -> Any:
        values: dict[str, Any] = {path: ops.convert_to_tensor(state) for path, state in self._states.items()}
        start = 1
        for name, shape in self._tensors:
            end = start + math.prod(shape)
            values[name] = ops.reshape(parameters[start:end], shape)
            start = end

        def of(variables: list[keras.Variable]) -> list[Any]:
            return [values[variable.path] for variable in variables]

        trainable, fixed = of(self._model.trainable_variables), of(self._model.non_trainable_variables)
        logits, _ = self._model.stateless_call(trainable, fixed, windows, training=False)
        return ops.softmax(logits / parameters[0])


def _form(artefact: Artefact) -> tuple[object, ...]:
    """All that the compiled function depends on."""
    manifest = artefact.manifest
    return manifest.spec, manifest.architecture, manifest.normalisation, manifest.tensors
