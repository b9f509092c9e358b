"""Operators' labels on a systematic mistake repair it in the next model (figures: benchmarks/checks/repair.py)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from domains.powerline.recipes.line import LineOptions, train_line
from model.artefact import build_model, shipped
from model.spec import load_spec
from tests.training.sidecar.traction_scenario import events_of, label_all, railway, store_windows
from training.data.feedback import feedback_scores, split_feedback
from training.fitting.rounds import classifier_of
from training.recipe import recipe_of
from training.sidecar.store.store import LabelledStore
from training.sidecar.store.stretches import context_windows
from training.sidecar.store.tiers import StoreLimits

SPEC = load_spec("line")


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_labels_repair_a_systematic_mistake_of_the_champion(tmp_path: Path) -> None:
    champion, passing = shipped("line"), railway(24, 1000)
    steps = recipe_of(SPEC).steps
    with LabelledStore(tmp_path, StoreLimits(context_windows=context_windows(steps))) as store:
        store_windows(store, passing, SPEC)
        episodes = events_of(passing, champion, SPEC)
        assert len(episodes) >= 8  # it takes trains for faults
        assert label_all(store, episodes, SPEC) > 400
        field = store.sequences(SPEC, steps)
    assert (np.count_nonzero(field.weights, axis=1) < steps).any()  # some have context or padding
    hold_out = split_feedback(field).hold_out
    before = feedback_scores(classifier_of(build_model(champion), champion.manifest.temperature), hold_out, SPEC)

    options = LineOptions(episodes=1000, epochs=2, test_lines=1, show_progress=False, seed=3)
    candidate = train_line(options, field, warm_start=champion)
    after = candidate.manifest.metrics["field"]["hold_out"]  # type: ignore[index,call-overload]
    assert after["windows"] == before["windows"] > 100  # type: ignore[index,call-overload]
    assert before["false_alarms"] > 0.3
    assert after["false_alarms"] < before["false_alarms"] / 3  # type: ignore[index,call-overload]
    assert candidate.manifest.metrics["warm_start"] == champion.model_id
