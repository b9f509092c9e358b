"""Estimate the best possible score under a condition, by a network that is trained only on this condition.

``python -m benchmarks.engine.bounds`` simulates records under one severity of a condition, and trains a network on them
only. It scores this network and the shipped model on the records of the robustness report. If the specialised network,
trained on the exact distribution of every parameter, stays below a threshold, no general model can be expected to reach
it.

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
QUIET_SHARE = 0.3  # share of the windows without a fault that are used; these are nine in ten


def main() -> None:
    """Run the comparison and print its figures."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument(
        "--cell", action="append", help=f"condition:level, may be repeated [default: {' '.join(CELLS)}]"
    )
    options.add_argument("--records", type=int, default=6000, help="simulated records for the training")
    options.add_argument("--epochs", type=int, default=10, help="epochs of the training")
    given = options.parse_args()
    general = build_model(shipped("line"))
    for cell in given.cell or CELLS:
        name, level = cell.split(":")
        known = windows(name, int(level), given.records, SEED)
        quiet = (known.labels == SPEC.none_index) & (np.random.default_rng(SEED).random(len(known)) > QUIET_SHARE)
        asked = windows(name, int(level), robustness.EPISODES, robustness.SEED)
        scores = [merged(network, asked) for network in (general, specialist(known.take(~quiet), given.epochs))]
        print(
            "{} {}: merged macro-F1 {:.4f} of the shipped model, {:.4f} of the specialised network".format(
                name, level, *scores
            )
        )


def windows(name: str, level: int, records: int, seed: int) -> Windows:
    """Return the windows under a condition that lie fully in one state."""
    trial = CONDITIONS[name].trial(resimulated(records, seed), level, seed)
    scored = scored_windows(trial, SPEC)
    data = scored.windows(trial.episodes.samples, SPEC.samples)
    return Windows(data, scored.label.astype(np.int32), np.ones(len(data), np.float32), scored.record.astype(np.int64))


def specialist(known: Windows, epochs: int) -> object:
    """Train a network with the recipe's structure on ``known`` only."""
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
