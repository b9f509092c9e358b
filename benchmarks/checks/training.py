"""Compare the training time of our compiled loop with that of ``keras.fit`` by the reference protocol, in one run.

python -m benchmarks.checks.training --data classData.csv [--epochs 50] [--architecture gru] [--variants plain,ours]

Every variant trains the same network on the same split for 50 epochs of batches of 32, evaluates the validation part
after each epoch, and keeps the weights of its best epoch. ``plain`` is the reference report's way: Keras' defaults,
Adam at 1e-3, no XLA, recurrent layers not unrolled. ``steps`` is the same with a whole epoch per execution. ``ours`` is
``training.fitting.fit``, and ``xla`` is ``ours`` with its loop compiled by XLA. Every variant runs in a separate
process, since the number of threads is set per process. Times include tracing and compiling, but not imports.
"""

from __future__ import annotations

import argparse
import multiprocessing
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

from domains.powerline.data.classdata import read_classdata, split_classdata
from domains.powerline.recipes.instant import REFERENCE, fit_reference
from model.architectures import build
from model.normalisation import Normalisation
from model.spec import SignalSpec, load_spec
from training.data.windows import Windows
from training.fitting import fit as fitting
from training.fitting.fit import FitOptions, logits_of, stay_on_one_core
from training.fitting.steps import Steps
from training.metrics import window_scores

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


class _BestWeights(keras.callbacks.Callback):  # type: ignore[misc]
    """Keras callback that keeps the weights of the epoch with the best validation accuracy."""

    def __init__(self) -> None:
        super().__init__()
        self.accuracy = -1.0
        self.weights: list[Any] = []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if logs["val_accuracy"] > self.accuracy:
            self.accuracy, self.weights = logs["val_accuracy"], self.model.get_weights()


def epoch_per_execution(architecture: str, spec: SignalSpec, parts: Parts, options: FitOptions) -> Fitted:
    """Train by ``keras.fit`` with a whole epoch per execution."""
    return plain(architecture, spec, parts, options, steps_per_execution=-(-len(parts[0]) // options.batch))


def ours(architecture: str, spec: SignalSpec, parts: Parts, options: FitOptions) -> Fitted:
    """Train by ``training.fitting.fit``."""
    stay_on_one_core()
    network, _, history = fit_reference(architecture, spec, parts[0], parts[1], options)
    return network, history.scores[history.best_epoch - 1]["accuracy"]


class _StepsByXla(Steps):
    def __init__(self, network: Any, *given: Any, **options: Any) -> None:
        for layer in network.layers:
            if hasattr(layer, "use_cudnn"):
                layer.use_cudnn = False
        super().__init__(network, *given, **options)
        self._run = tf.function(self._batches, jit_compile=True)


def ours_by_xla(architecture: str, spec: SignalSpec, parts: Parts, options: FitOptions) -> Fitted:
    """Train by ``training.fitting.fit`` with its loop compiled by XLA."""
    fitting.Steps = _StepsByXla  # type: ignore[attr-defined]
    try:
        return ours(architecture, spec, parts, options)
    finally:
        fitting.Steps = Steps  # type: ignore[attr-defined]


VARIANTS: dict[str, Callable[[str, SignalSpec, Parts, FitOptions], Fitted]] = {
    "plain": plain,
    "steps": epoch_per_execution,
    "ours": ours,
    "xla": ours_by_xla,
}


def main() -> None:
    """Run the check and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="path of classData.csv")
    parser.add_argument("--epochs", type=int, default=REFERENCE.epochs, help="epochs of every training")
    parser.add_argument("--architecture", default="gru", help="architecture of the network")
    parser.add_argument("--seed", type=int, default=42, help="seed of split and weights")
    parser.add_argument(
        "--variants",
        default="plain,ours,plain,ours",
        help=f"variants in the order of their runs, separated by commas; choose from {', '.join(VARIANTS)}",
    )
    given = parser.parse_args()
    seconds: dict[str, list[tuple[float, float]]] = {}
    context = multiprocessing.get_context("spawn")
    for name in given.variants.split(","):
        with context.Pool(1) as child:
            wall, cpu, scores = child.apply(timed, (name, given.data, given.architecture, given.epochs, given.seed))
        seconds.setdefault(name, []).append((wall, cpu))
        shown = "  ".join(f"{score} {value:.4f}" for score, value in scores.items())
        print(f"{name:6} {wall:6.1f} s  ({cpu:.1f} s of CPU time)  {shown}", flush=True)
    for name in seconds.keys() - {"plain"}:
        if "plain" in seconds:
            wall, cpu = np.mean(seconds[name], axis=0) / np.mean(seconds["plain"], axis=0)
            print(f"{name} takes {wall:.3f} of the wall time of plain keras.fit, and {cpu:.3f} of its CPU time")


def timed(name: str, data: Path, architecture: str, epochs: int, seed: int) -> tuple[float, float, dict[str, float]]:
    """Return the wall time and the CPU time of a variant in seconds, and the scores of its network."""
    spec = load_spec("instant")
    parts = split_classdata(read_classdata(data, spec), "random", seed)
    options = replace(REFERENCE, epochs=epochs, seed=seed, show_progress=False)
    begun, begun_cpu = time.perf_counter(), time.process_time()
    network, accuracy = VARIANTS[name](architecture, spec, parts, options)
    wall, cpu = time.perf_counter() - begun, time.process_time() - begun_cpu
    test = window_scores(parts[2].labels, logits_of(network, parts[2].data).argmax(axis=1), spec)
    return wall, cpu, {"validation accuracy": accuracy} | {f"test {score}": value for score, value in test.items()}


if __name__ == "__main__":
    main()
