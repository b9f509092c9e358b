"""Artefacts and windows that the tests of models share."""

from __future__ import annotations

import keras
import numpy as np

from domains.powerline.normalisation import PowerLineNormalisation
from model.architectures import build
from model.artefact import Artefact
from model.spec import SignalSpec


def artefact_of(
    spec: SignalSpec,
    *,
    seed: int = 5,
    temperature: float = 1.3,
    scale: float = 0.5,
    architecture: str = "gru",
    phasors: bool = False,
) -> Artefact:
    """Return weights so large that probabilities are far from uniform, which makes comparing them meaningful."""
    count = len(spec.channels)
    normalisation = PowerLineNormalisation(kind="asinh", centre=(0.1,) * count, scale=(scale,) * count, phasors=phasors)
    model = build(architecture, spec, normalisation, seed=seed)
    model.set_weights([weight * 2 for weight in model.get_weights()])
    return Artefact.from_model(
        model,
        spec,
        architecture=architecture,
        normalisation=normalisation,
        temperature=temperature,
        metrics={"macro_f1": 0.5},
        provenance={"command": "pytest", "seed": seed},
    )


def windows_of(spec: SignalSpec, count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, *spec.window_shape)).astype(np.float32)


def logits_of(model: keras.Model, windows: np.ndarray) -> np.ndarray:
    """Return the logits (n, classes) of single windows, each the first of its line, as Keras computes them."""
    if len(model.inputs) == 1:
        return np.asarray(model(windows))
    memory = np.zeros((len(windows), model.inputs[1].shape[-1]), np.float32)
    return np.asarray(model([windows[:, None], memory])[0])[:, 0]
