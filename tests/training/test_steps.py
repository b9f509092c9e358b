"""Compiled training steps: what they leave behind."""

from __future__ import annotations

import gc
import weakref

import keras
import numpy as np

from model.architectures import build
from model.normalisation import Normalisation
from model.spec import load_spec
from training.steps import Steps
from training.windows import Windows


def test_windows_are_forgotten_with_the_steps_that_learned_from_them() -> None:
    spec = load_spec("line")
    count = 100
    windows = Windows(
        np.zeros((count, *spec.window_shape), np.float32),
        np.zeros(count, np.int32),
        np.ones(count, np.float32),
        np.arange(count),
    )
    untouched = Normalisation.identity(len(spec.channels))
    steps = Steps(build("fnn", spec, untouched, 1), keras.optimizers.Adam(), windows, 32, 1)
    assert [taken for taken, _ in steps.epoch(0)] == [4]
    # Rounds of a training follow one another in one process: each would keep a gigabyte.
    held = [weakref.ref(tensor) for tensor in steps._given]
    del steps
    gc.collect()
    assert [tensor() for tensor in held] == [None] * 3
