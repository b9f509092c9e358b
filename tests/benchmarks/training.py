"""Seconds of training by the reference protocol: our compiled loop against ``keras.fit``, in one run.

python -m tests.benchmarks.training --data classData.csv [--epochs 50] [--architecture gru] [--variants ours,plain,ours]

Every variant trains the same network on the same split, 50 epochs of batches of 32 with the validation part scored
after each, and keeps its best epoch's weights. ``plain`` is what the reference report did: Keras' defaults, Adam at
1e-3, no XLA, recurrent layers not unrolled. ``steps`` is the same with a whole epoch per execution. ``ours`` is
``training.fit``, and ``xla`` that with its loop compiled by XLA. Times include tracing and compiling.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
import tensorflow as tf

from model.architectures import build
from model.normalisation import Normalisation
from model.spec import SignalSpec, load_spec
from training import fit as fitting
from training.classdata import read_classdata, split_classdata
from training.fit import FitOptions, logits_of
from training.recipes import REFERENCE, fit_reference
from training.scores import window_scores
from training.steps import Steps
from training.windows import Windows

Parts = tuple[Windows, Windows, Windows]
Fitted = tuple[Any, float]  # network, best validation accuracy


def plain(architecture: str, spec: SignalSpec, parts: Parts, options: FitOptions, **fit_options: Any) -> Fitted:
    """Train by ``keras.fit`` as the reference report did."""
    train, validation, _ = parts
    keras.utils.set_random_seed(options.seed)
    network = build(architecture, spec, Normalisation.fitted(train.data), options.seed)
    for layer in network.layers:
        if hasattr(layer, "unroll"):
            layer.unroll = False
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile("adam", loss, metrics=["accuracy"], jit_compile=False, **fit_options)
    best = _BestWeights()
    network.fit(
        train.data,
        train.labels,
        batch_size=options.batch,
        epochs=options.epochs,
        validation_data=(validation.data, validation.labels),
        callbacks=[best],
        verbose=0,
    )
    network.set_weights(best.weights)
    return network, best.accuracy


class _BestWeights(keras.callbacks.Callback):
    def __init__(self) -> None:
        super().__init__()
        self.accuracy, self.weights = -1.0, []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if logs["val_accuracy"] > self.accuracy:
            self.accuracy, self.weights = logs["val_accuracy"], self.model.get_weights()


def epoch_per_execution(architecture: str, spec: SignalSpec, parts: Parts, options: FitOptions) -> Fitted:
    return plain(architecture, spec, parts, options, steps_per_execution=-(-len(parts[0]) // options.batch))


def ours(architecture: str, spec: SignalSpec, parts: Parts, options: FitOptions) -> Fitted:
    network, _, history = fit_reference(architecture, spec, parts[0], parts[1], options)
    return network, history.scores[history.best_epoch - 1]["accuracy"]


class _StepsByXla(Steps):
    def __init__(self, network: Any, optimiser: Any, windows: Windows, batch: int, seed: int) -> None:
        for layer in network.layers:
            if hasattr(layer, "use_cudnn"):
                layer.use_cudnn = False
        super().__init__(network, optimiser, windows, batch, seed)
        self._run = tf.function(self._batches, jit_compile=True)


def ours_by_xla(architecture: str, spec: SignalSpec, parts: Parts, options: FitOptions) -> Fitted:
    fitting.Steps = _StepsByXla  # type: ignore[misc]
    try:
        return ours(architecture, spec, parts, options)
    finally:
        fitting.Steps = Steps  # type: ignore[misc]


VARIANTS: dict[str, Callable[[str, SignalSpec, Parts, FitOptions], Fitted]] = {
    "plain": plain,
    "steps": epoch_per_execution,
    "ours": ours,
    "xla": ours_by_xla,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="path of classData.csv")
    parser.add_argument("--epochs", type=int, default=REFERENCE.epochs)
    parser.add_argument("--architecture", default="gru")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--variants", default="ours,plain,ours", help=f"in this order, of {', '.join(VARIANTS)}")
    given = parser.parse_args()
    spec = load_spec("instant")
    parts = split_classdata(read_classdata(given.data, spec), "random", given.seed)
    options = replace(REFERENCE, epochs=given.epochs, seed=given.seed, show_progress=False)
    seconds: dict[str, list[float]] = {}
    for name in given.variants.split(","):
        begun = time.perf_counter()
        network, accuracy = VARIANTS[name](given.architecture, spec, parts, options)
        took = time.perf_counter() - begun
        seconds.setdefault(name, []).append(took)
        test = window_scores(parts[2].labels, logits_of(network, parts[2].data).argmax(axis=1), spec)
        print(
            f"{name:6} {took:6.1f} s  validation accuracy {accuracy:.4f}  test accuracy {test['accuracy']:.4f}"
            f"  macro-F1 {test['macro_f1']:.4f}  merged {test['merged_macro_f1']:.4f}",
            flush=True,
        )
    for name in seconds.keys() - {"plain"}:
        if "plain" in seconds:
            ratio = float(np.mean(seconds[name]) / np.mean(seconds["plain"]))
            print(f"{name} takes {ratio:.2f} of the time of plain keras.fit")


if __name__ == "__main__":
    main()
