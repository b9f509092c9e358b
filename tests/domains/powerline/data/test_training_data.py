"""The training data of a `line` model hold nothing that it is evaluated on and, of a data set, no held-out band."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from domains.powerline.data.line_data import DOUBTFUL, Batches, training_windows

from domains.powerline.data import line_data
from domains.powerline.data.datasets import METADATA, DataSetRecipe, open_dataset, write_dataset
from domains.powerline.data.hold_out import HELD_OUT, held_out
from domains.powerline.data.training_data import Seeds, TrainingData, read_training_data, simulate_training_data
from domains.powerline.recipes.line import LineOptions, train_line
from domains.powerline.simulator.episodes import simulate
from model.artefact import Artefact
from model.spec import load_spec
from training.data.episodes import Episodes
from training.errors import DataSetError

RECIPE = DataSetRecipe(episodes=400, seed=5, length_cycles=10)
SPEC = load_spec("line")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("dataset") / "episodes.parquet"
    write_dataset(path, RECIPE)
    return path


@pytest.fixture(scope="module")
def material(path: Path) -> TrainingData:
    return read_training_data(path, SPEC, seed=1)


def sure_of_none(data: np.ndarray) -> np.ndarray:
    """Return the probabilities of a classifier that never predicts a fault."""
    return np.tile(np.eye(len(SPEC.classes), dtype=np.float32)[SPEC.none_index], (len(data), 1))


def test_no_window_for_training_or_tuning_is_of_a_held_out_band(path: Path, material: TrainingData) -> None:
    index = open_dataset(path).index
    beyond = {band: index["episode"][held_out(index, band)] for band in HELD_OUT}
    parts = (material.train, material.validation, material.calibration, material.test)
    for part in parts:
        assert len(part) > 100
        for band in HELD_OUT:
            assert not np.isin(part.episode, beyond[band]).any()
    for band in HELD_OUT:
        windows = material.held_out[band]
        assert len(windows) > 300
        assert np.isin(windows.episode, beyond[band]).all()
    numbers = [set(part.episode.tolist()) for part in (*parts, *material.held_out.values())]
    assert sum(map(len, numbers)) == len(set().union(*numbers)), "an episode is in two parts"


def test_every_other_part_is_of_usual_instruments_and_as_much_is_broken_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    parts: list[Episodes] = []

    def seen(*asked: Any, **how: Any) -> Episodes:
        parts.append(simulate(*asked, **how))
        return parts[-1]

    monkeypatch.setattr(line_data, "simulate", seen)
    monkeypatch.setattr(line_data, "PART", 64)
    training_windows(Batches(mixed=0, brief=256, mined=0), SPEC, seed=3)
    assert [len(part) for part in parts] == [64] * 4
    noisy = [np.mean([float(line["noise_db"]) < 19 for line in part.lines]) for part in parts]
    assert noisy[0] > 0.1
    assert noisy[2] > 0.1
    assert noisy[1] == noisy[3] == 0
    for part in parts:
        assert np.mean([bool(line["lost"]) or line["connected"] != "ABC" for line in part.lines]) > 0.15


def test_hard_windows_are_doubted_ones_of_training_episodes_and_every_round_searches_others(
    material: TrainingData,
) -> None:
    first, second = (material.search(done, 3, sure_of_none) for done in (1, 2))
    learned = set(material.train.episode.tolist())
    for found in (first, second):
        assert len(found) > 100
        assert set(found.episode.tolist()) <= learned
        assert (found.labels != SPEC.none_index).all(), "it is sure of quiet windows, and right"
        assert found.weights.min() >= 0.5
    assert not set(first.episode.tolist()) & set(second.episode.tolist())
    right = np.eye(len(SPEC.classes), dtype=np.float32)
    every = material.search(1, 2, sure_of_none)
    assert len(every) == len(first) + len(second)
    assert DOUBTFUL < 1
    known = {window.tobytes(): label for window, label in zip(every.data, every.labels, strict=True)}

    def all_knowing(data: np.ndarray) -> np.ndarray:
        return right[[known.get(window.tobytes(), SPEC.none_index) for window in data]]

    assert len(material.search(1, 2, all_knowing)) == 0


def test_the_same_seed_takes_the_same_windows_of_a_data_set(path: Path, material: TrainingData) -> None:
    again, other = read_training_data(path, SPEC, seed=1), read_training_data(path, SPEC, seed=2)
    np.testing.assert_array_equal(again.train.data, material.train.data)
    assert not np.array_equal(np.unique(other.train.episode), np.unique(material.train.episode))
    for band in HELD_OUT:
        np.testing.assert_array_equal(other.held_out[band].data, material.held_out[band].data)


def test_the_searches_of_a_simulated_training_number_their_episodes_beyond_all_others() -> None:
    batches = Batches(mixed=20, brief=30, mined=8)
    material = simulate_training_data(batches, SPEC, Seeds(1))
    assert material.source is None
    assert max(material.train.episode.max(), material.validation.episode.max()) == 49
    found = [material.search(done, 3, sure_of_none) for done in (1, 2)]
    for done, windows in enumerate(found):
        assert len(windows) > 0
        assert set(windows.episode.tolist()) <= set(range(50 + 8 * done, 58 + 8 * done))


def test_a_data_set_of_too_few_episodes_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "few.parquet"
    write_dataset(path, DataSetRecipe(episodes=3, seed=1, length_cycles=6))
    with pytest.raises(
        DataSetError, match=r"few\.parquet: too few episodes: its 3 episodes .* `faultline simulate --dataset"
    ):
        read_training_data(path, SPEC, seed=1)
    write_dataset(path, DataSetRecipe(episodes=40, seed=1, length_cycles=6))
    with pytest.raises(DataSetError, match="to learn from, without any"):
        read_training_data(path, SPEC, seed=1)


def test_a_data_set_of_other_classes_is_refused(path: Path, tmp_path: Path) -> None:
    recipe = RECIPE.model_copy(update={"classes": ("none", "fault")})
    other = tmp_path / "other.parquet"
    metadata = {METADATA: recipe.model_dump_json().encode()}
    pq.write_table(pq.read_table(path).slice(0, 5).replace_schema_metadata(metadata), other)
    with pytest.raises(DataSetError, match="its classes are"):
        read_training_data(other, SPEC, seed=1)


@pytest.mark.slow
def test_a_model_of_a_data_set_says_so_and_is_scored_on_every_held_out_band(path: Path, tmp_path: Path) -> None:
    options = LineOptions(
        seed=5, epochs=4, test_lines=1, architecture="fnn", data=path, patience=1, show_progress=False
    )
    artefact = train_line(options)
    artefact.save(tmp_path / "line.safetensors")
    manifest = Artefact.load(tmp_path / "line.safetensors").manifest
    command = str(manifest.provenance["command"])
    assert command.endswith("--seed 5 --epochs 4 --data episodes.parquet")
    assert "--patience 1" in command
    told: Any = manifest.provenance["data"]
    assert told["recipe"]["seed"] == 5
    assert sum(told["episodes"].values()) == 400
    scores: Any = manifest.metrics["data"]
    assert set(scores) == {"test", *(f"held-out-{band}" for band in HELD_OUT)}
    for part, values in scores.items():
        assert values["episodes"] == told["episodes"][part]
        assert 0 < values["merged_macro_f1"] <= 1
    again = train_line(replace(options, work_dir=tmp_path / "work"))
    assert again.model_id == artefact.model_id


def test_the_command_of_a_simulated_training_names_no_data_and_no_patience() -> None:
    assert LineOptions().command == (
        "faultline train --spec line --out line.safetensors --seed 2024 --epochs 6 --episodes 400000"
    )
