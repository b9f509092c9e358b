"""Training end to end, in small, and the shipped artefact on lines unseen in training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from domains.powerline.data import training_data
from domains.powerline.data.scenario import scenario
from domains.powerline.evaluation.events import evaluate_silence
from domains.powerline.recipes.line import LineOptions, train_line
from faultline.cli.training.train import Split, train
from model.artefact import Artefact, shipped
from model.engine import Engine
from stream.detection.scoring import detect_episodes, score_events
from stream.detection.truth import injected_faults
from training.data.windows import label_windows
from training.errors import TrainingError
from training.evaluation.classifier import classify_record
from training.metrics import window_scores

QUICK = LineOptions(seed=5, epochs=3, episodes=100, test_lines=1, show_progress=False)


@pytest.mark.slow
def test_a_tiny_training_run_gives_a_verified_artefact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_data, "EVALUATED_SEQUENCES", 60)
    artefact = train_line(QUICK)
    artefact.save(tmp_path / "line.safetensors")
    manifest = Artefact.load(tmp_path / "line.safetensors").manifest
    assert manifest.provenance["command"] == QUICK.command
    assert manifest.provenance["seed"] == 5
    scores = {"windows_fully_after_inception", "events", "non_faults", "calibration", "rejection"}
    assert scores <= manifest.metrics.keys()
    assert manifest.rejection is not None
    assert manifest.rejection.is_ood(np.zeros((1, 32, 6), np.float32)).all()
    assert 0.2 <= manifest.temperature <= 5


def test_an_architecture_without_a_memory_is_refused_before_anything_is_simulated() -> None:
    with pytest.raises(TrainingError, match="architecture 'fnn' has no memory: leave --architecture out"):
        train_line(replace(QUICK, architecture="fnn"))


@pytest.mark.long
def test_the_same_command_gives_the_same_weights() -> None:
    """Train the recipe's GRU twice; ``test_resume`` tests the same with a shorter network."""
    first, again = train_line(QUICK), train_line(QUICK)
    for name, tensor in first.weights.items():
        np.testing.assert_array_equal(tensor, again.weights[name])


@pytest.mark.slow
def test_faultline_train_fits_class_data_and_prints_the_scores_of_both_splits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(1)
    rows = []
    for code, level in (("0,0,0,0", 1.0), ("1,0,0,1", 9.0)):
        drawn = rng.normal(level, 0.3, (150, 6))
        rows += [code + "," + ",".join(f"{value:.4f}" for value in values) for values in drawn]
    data, out = tmp_path / "classData.csv", tmp_path / "instant.safetensors"
    data.write_text("G,C,B,A,Ia,Ib,Ic,Va,Vb,Vc\n" + "\n".join(rows) + "\n")
    train(spec="instant", data=data, out=out, seed=1, epochs=15, split=Split.blocks, quiet=True)
    artefact = Artefact.load(out)
    assert sum(tensor.size for tensor in artefact.weights.values()) == 15_175
    assert artefact.manifest.metrics["split"] == "blocks"
    for split in ("random", "blocks"):
        scores: Any = artefact.manifest.metrics[split]
        assert scores["test"]["accuracy"] > 0.95
    printed = capsys.readouterr().out
    assert "random test: accuracy" in printed
    assert "blocks test: accuracy" in printed


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(shipped("line"), threads=1, buckets=(512,))


def test_the_shipped_model_finds_and_names_the_faults_of_unseen_lines(engine: Engine) -> None:
    record = scenario(12, 13, seed=20_250_101)
    probabilities = classify_record(engine.follow_records, record.samples, engine.spec)
    detected = detect_episodes(probabilities, record.samples, engine.spec)
    events = score_events(injected_faults(record.labels), detected, engine.spec)
    assert events.injected >= 20
    assert events.missed == 0
    assert events.correct >= 0.95 * events.injected
    assert events.false_alarms <= 1
    labels, weights = label_windows(record.labels, record.settled, engine.spec)
    whole = weights >= 1
    scores = window_scores(labels[whole], probabilities.argmax(axis=2)[whole], engine.spec)
    assert scores["merged_macro_f1"] > 0.97


def test_the_shipped_model_finds_faults_at_sixty_hertz_too(engine: Engine) -> None:
    record = scenario(6, 10, seed=20_250_102, hz=60)
    probabilities = classify_record(engine.follow_records, record.samples, engine.spec)
    detected = detect_episodes(probabilities, record.samples, engine.spec)
    events = score_events(injected_faults(record.labels), detected, engine.spec)
    assert events.injected >= 8
    assert events.missed == 0


def test_the_shipped_model_is_silent_on_what_is_no_fault(engine: Engine) -> None:
    found = evaluate_silence(engine.follow_records, engine.spec, seed=20_250_103, lines=4)
    assert found["disturbances"] >= 70
    assert found["false_alarms"] <= 1, found["by_kind"]


def test_the_shipped_artefact_says_how_it_was_made_and_how_good_it_is() -> None:
    manifest = shipped("line").manifest
    assert str(manifest.provenance["command"]).startswith("faultline train --spec line")
    assert manifest.provenance["command"] == LineOptions().command
    scores: Any = manifest.metrics["windows_fully_after_inception"]
    assert scores["merged_macro_f1"] > 0.98
