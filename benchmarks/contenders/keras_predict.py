"""Inference by Keras's ``predict``, the usual way without the compiled engine."""

from __future__ import annotations

import keras
import numpy as np
from numpy.typing import NDArray

from benchmarks.contenders.settings import ContenderSettings
from model.artefact import Artefact, build_model
from model.memory import memory_units


class KerasPredict:
    """Calibrated probabilities of the same artefact that the engine uses, with the engine's methods.

    ``predict`` gets the whole batch in one step: with its default of 32 rows per step it would be even slower.

    Attributes:
        memory_units: number of values of a line's memory; 0 for a model without a memory.
    """

    def __init__(self, artefact: Artefact, settings: ContenderSettings) -> None:
        """Build the model and run it once."""
        manifest = artefact.manifest
        self.memory_units = memory_units(manifest.architecture)
        self._model = build_model(artefact)
        self._temperature = manifest.temperature
        self._rows = settings.batch_windows
        window = np.zeros((1, *manifest.spec.window_shape), np.float32)
        if self.memory_units:
            self.follow(window, np.zeros(1, np.intp), np.zeros((1, self.memory_units), np.float32))
        else:
            self.classify(window)

    def classify(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return probabilities float32 (n, classes) of windows float32 (n, samples, channels), without a memory."""
        return self._calibrated(self._model.predict(windows, batch_size=self._rows, verbose=0))

    def follow(
        self, windows: NDArray[np.float32], line: NDArray[np.intp], memory: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the probabilities float32 (n, classes), and the memories after the windows, float32 (lines, units).

        The model takes as many windows of every line, so the shorter ones are padded behind their last window.

        Args:
            windows: float32 (n, samples, channels), at least one of every line; the windows of a line are in order.
            line: (n,), row of ``memory`` of each window's line.
            memory: float32 (lines, units) before the windows; zeros are cold.
        """
        counts = np.bincount(line, minlength=len(memory))
        order = np.argsort(line, kind="stable")
        step = np.empty(len(line), np.intp)
        step[order] = np.arange(len(line)) - np.repeat(np.cumsum(counts) - counts, counts)
        padded = np.zeros((len(memory), counts.max(), *windows.shape[1:]), np.float32)
        padded[line, step] = windows
        logits, memories = self._model.predict([padded, memory], batch_size=self._rows, verbose=0)
        return self._calibrated(logits[line, step]), memories[np.arange(len(memory)), counts - 1]

    def _calibrated(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        probabilities: NDArray[np.float32] = keras.ops.convert_to_numpy(keras.ops.softmax(logits / self._temperature))
        return probabilities
