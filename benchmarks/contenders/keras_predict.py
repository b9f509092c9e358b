"""Inference by Keras's ``predict``, the usual way without the compiled engine."""

from __future__ import annotations

import keras
import numpy as np
from numpy.typing import NDArray

from benchmarks.contenders.settings import ContenderSettings
from benchmarks.contenders.task import open_artefact
from model.artefact import build_model


class KerasPredict:
    """Calibrated probabilities of the same artefact that the engine uses.

    ``predict`` gets the whole batch in one step: with its default of 32 rows per step it would be even slower.
    """

    def __init__(self, settings: ContenderSettings) -> None:
        """Build the model and run it once."""
        artefact = open_artefact(settings)
        temperature = artefact.manifest.temperature
        self._model = keras.Sequential(
            [build_model(artefact), keras.layers.Rescaling(1 / temperature), keras.layers.Softmax()]
        )
        self._rows = settings.batch_windows
        self(np.zeros((1, *artefact.manifest.spec.window_shape), np.float32))

    def __call__(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the probabilities float32 (n, classes) of windows float32 (n, samples, channels)."""
        probabilities: NDArray[np.float32] = self._model.predict(windows, batch_size=self._rows, verbose=0)
        return probabilities
