"""Repair a systematic error of the shipped model by operators' labels, and print figures before and after.

``python -m benchmarks.checks.repair`` simulates a railway (tests/training/sidecar/traction_scenario.py) on which the
champion raises false events. It labels each of them "none" through the store, and retrains from the champion, once with
the labelled windows and once without any. It prints the results of both models on held-out windows, on other trains of
the same lines, on another railway, and on a mixed scenario of faults and non-faults.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from domains.powerline.evaluation.events import evaluate_line
from domains.powerline.recipes.line import LineOptions, train_line
from model.artefact import Artefact, build_model, shipped
from model.spec import load_spec
from tests.training.sidecar.traction_scenario import Railway, events_of, label_all, railway, store_windows
from training.data.feedback import feedback_scores, labelled_count, split_feedback
from training.data.sequences import Sequences
from training.fitting.rounds import classifier_of
from training.recipe import recipe_of
from training.sidecar.store.store import LabelledStore
from training.sidecar.store.stretches import context_windows
from training.sidecar.store.tiers import StoreLimits

SPEC = load_spec("line")
TRAINS = 48


def main() -> None:
    """Run the check and print its figures."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--episodes", type=int, default=6000, help="simulated episodes of each training")
    options.add_argument("--epochs", type=int, default=4, help="epochs of each training")
    options.add_argument("--seed", type=int, default=5, help="seed of the trainings")
    given = options.parse_args()
    champion = shipped("line")
    passing, others, elsewhere = railway(TRAINS, 1000), railway(TRAINS, 1500), railway(TRAINS, 7000)
    steps = recipe_of(SPEC).steps
    limits = StoreLimits(context_windows=context_windows(steps))
    with tempfile.TemporaryDirectory() as folder, LabelledStore(Path(folder), limits) as store:
        store_windows(store, passing, SPEC)
        episodes = events_of(passing, champion, SPEC)
        labelled = label_all(store, episodes, SPEC)
        field = store.sequences(SPEC, steps)
    print(f"champion {champion.model_id}: {len(episodes)} false events on {TRAINS} trains, {labelled} windows labelled")
    print(f"{len(field)} sequences of {steps} windows, of which {labelled_count(field)} have a weight")
    hold_out = split_feedback(field).hold_out
    show("before", champion, hold_out, others, elsewhere)
    how = LineOptions(episodes=given.episodes, epochs=given.epochs, seed=given.seed, test_lines=2, show_progress=False)
    for name, feedback in (("after, without labels", None), ("after", field)):
        begun, begun_cpu = time.perf_counter(), time.process_time()
        candidate = train_line(how, feedback, warm_start=champion)
        print(
            f"trained in {time.perf_counter() - begun:.0f} s, with {time.process_time() - begun_cpu:.0f} s of CPU time"
        )
        show(name, candidate, hold_out, others, elsewhere)


def show(name: str, artefact: Artefact, hold_out: Sequences, others: Railway, elsewhere: Railway) -> None:
    """Print the figures of one model."""
    classify = classifier_of(build_model(artefact), artefact.manifest.temperature)
    scores: dict[str, Any] = evaluate_line(classify, SPEC, 123, 20)
    found = {key: scores["events"][key] for key in ("injected", "found", "correct", "missed", "false_alarms")}
    print(f"{name}: held-out windows {feedback_scores(classify, hold_out, SPEC)}")
    print(f"  false events: {len(events_of(others, artefact, SPEC))} on {TRAINS} other trains,", end=" ")
    print(f"{len(events_of(elsewhere, artefact, SPEC))} on {TRAINS} trains of another railway")
    merged = scores["windows_fully_after_inception"]["merged_macro_f1"]
    alarms = scores["non_faults"]["false_alarms"]
    print(f"  mixed scenario: {found}, merged macro-F1 {merged}; scenario of non-faults: {alarms} false alarms")


if __name__ == "__main__":
    main()
