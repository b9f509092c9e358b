"""What could be had under a condition at all: a network trained on nothing else, beside the shipped model.

``python -m benchmarks.engine.bounds`` simulates records under one severity of a condition, trains a network on them
alone, and scores it, like the shipped model, on records that the robustness report scores. Where such a specialist,
who knows every parameter's distribution, stays below a limit, no general model need be sought that keeps it.

Example: python -m benchmarks.engine.bounds --cell phase_loss:5 --cell noise:5
"""

from __future__ import annotations

import argparse

import numpy as np

from domains.powerline.conditions import CONDITIONS
from domains.powerline.conditions.records import resimulated
from domains.powerline.recipes.line import LINE_NORMALISATION
from model.architectures import build
from model.artefact import build_model, shipped
from model.spec import load_spec
from training.data.windows import Windows, split_by_episode
from training.evaluation import robustness
from training.evaluation.conditions.cells import scored_windows
from training.fitting.fit import FitOptions, fit, logits_of, make_repeatable
from training.metrics import window_scores

SPEC = load_spec("line")
CELLS = ("fault_resistance:5", "phase_loss:5", "noise:5")
SEED = 77
QUIET_SHARE = 0.3  # of the windows without a fault, which are nine of ten


def main() -> None:
    """Print the figures."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--cell", action="append", help=f"condition:level [default: {' '.join(CELLS)}]")
    options.add_argument("--records", type=int, default=6000)
    options.add_argument("--epochs", type=int, default=10)
    given = options.parse_args()
    general = build_model(shipped("line"))
    for cell in given.cell or CELLS:
        name, level = cell.split(":")
        known = windows(name, int(level), given.records, SEED)
        quiet = (known.labels == SPEC.none_index) & (np.random.default_rng(SEED).random(len(known)) > QUIET_SHARE)
        asked = windows(name, int(level), robustness.EPISODES, robustness.SEED)
        scores = [merged(network, asked) for network in (general, specialist(known.take(~quiet), given.epochs))]
        print("{} {}: merged macro-F1 {:.4f} shipped, {:.4f} trained for it alone".format(name, level, *scores))


def windows(name: str, level: int, records: int, seed: int) -> Windows:
    """Return the windows under a condition that one state fills."""
    trial = CONDITIONS[name].trial(resimulated(records, seed), level, seed)
    scored = scored_windows(trial, SPEC)
    data = scored.windows(trial.episodes.samples, SPEC.samples)
    return Windows(data, scored.label.astype(np.int32), np.ones(len(data), np.float32), scored.record.astype(np.int64))


def specialist(known: Windows, epochs: int) -> object:
    """Return a network of the recipe's form that has learned from ``known`` alone."""
    make_repeatable(SEED)
    network = build("gru", SPEC, LINE_NORMALISATION, SEED)
    train, validation = split_by_episode(known, (0.94, 0.06), SEED)
    fit(network, train, validation, SPEC, FitOptions(epochs=epochs, batch=512, seed=SEED))
    return network


def merged(network: object, asked: Windows) -> float:
    """Return the merged macro-F1 of a network."""
    return float(window_scores(asked.labels, logits_of(network, asked.data).argmax(axis=1), SPEC)["merged_macro_f1"])


if __name__ == "__main__":
    main()
