"""The training data of a `line` model hold nothing that it is evaluated on and, of a data set, no held-out band."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from domains.powerline.data.datasets import METADATA, DataSetRecipe, open_dataset, write_dataset
from domains.powerline.data.hold_out import HELD_OUT, held_out
from domains.powerline.data.line_sequences import PART, STEPS
from domains.powerline.data.training_data import (
    Seeds,
    TrainingData,
    cut_sequences,
    part_sizes,
    read_training_data,
    search_among,
    simulate_training_data,
)
from domains.powerline.recipes.line import LineOptions, train_line
from model.artefact import Artefact
from model.spec import load_spec
from training.data.sequences import Sequences
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


def sure_of_none(windows: np.ndarray) -> np.ndarray:
    """Return the probabilities of a classifier that never predicts a fault."""
    return np.tile(np.eye(len(SPEC.classes), dtype=np.float32)[SPEC.none_index], (*windows.shape[:2], 1))


def test_no_sequence_for_training_or_tuning_is_of_a_held_out_band(path: Path, material: TrainingData) -> None:
    index = open_dataset(path).index
    beyond = {band: index["episode"][held_out(index, band)] for band in HELD_OUT}
    train = Sequences.joined(material.train)
    parts = (train, material.validation, material.calibration, material.test)
    for part in parts:
        assert len(part) > 10
        for band in HELD_OUT:
            assert not np.isin(part.episode, beyond[band]).any()
    for band in HELD_OUT:
        sequences = material.held_out[band]
        assert len(sequences) > 10
        assert np.isin(sequences.episode, beyond[band]).all()
    numbers = [set(part.episode.tolist()) for part in (*parts, *material.held_out.values())]
    assert sum(map(len, numbers)) == len(set().union(*numbers)), "an episode is in two parts"


def test_a_search_repeats_the_share_of_the_worst_sequences_of_its_parts(material: TrainingData) -> None:
    found = search_among(material.train, SPEC)(1, 2, sure_of_none)
    every = Sequences.joined(material.train)
    assert len(found) == pytest.approx(0.2 * len(every), abs=len(material.train))
    assert set(found.episode.tolist()) <= set(every.episode.tolist())
    faulty = [float((part.weights * (part.labels != SPEC.none_index)).sum(axis=1).mean()) for part in (found, every)]
    assert faulty[0] > 2 * faulty[1], "it is sure of quiet windows, and right"
    assert len(search_among([], SPEC)(1, 2, sure_of_none)) == 0


def test_the_same_seed_takes_the_same_sequences_of_a_data_set(path: Path, material: TrainingData) -> None:
    again, other = read_training_data(path, SPEC, seed=1), read_training_data(path, SPEC, seed=2)
    for one, same in zip(material.train, again.train, strict=True):
        np.testing.assert_array_equal(one.data, same.data)
    numbers = [{int(n) for part in each.train for n in part.episode} for each in (other, material)]
    assert numbers[0] != numbers[1]
    for band in HELD_OUT:
        np.testing.assert_array_equal(other.held_out[band].data, material.held_out[band].data)


def test_a_short_record_is_filled_up_with_windows_of_no_weight(path: Path) -> None:
    dataset = open_dataset(path)
    _, episodes = next(iter(dataset.episodes(dataset.index["episode"][:8])))
    steps = (episodes.samples.shape[1] - SPEC.samples) // SPEC.hop + 1
    assert steps < STEPS
    cut = cut_sequences(episodes, SPEC, 0, seed=1)
    assert cut.steps == STEPS
    assert (cut.weights[:, steps:] == 0).all()
    assert (cut.weights[:, :steps] > 0).any(axis=1).all()
    np.testing.assert_array_equal(cut.data[:, : episodes.samples.shape[1]], episodes.samples)
    assert (cut.data[:, -1] == episodes.samples[:, -1]).all()


def test_a_long_record_is_cut_at_random(path: Path) -> None:
    dataset = open_dataset(path)
    _, episodes = next(iter(dataset.episodes(dataset.index["episode"][:8])))
    long = replace(
        episodes,
        samples=np.tile(episodes.samples, (1, 5, 1)),
        labels=np.tile(episodes.labels, (1, 5)),
        settled=np.tile(episodes.settled, (1, 5)),
    )
    cut, other = (cut_sequences(long, SPEC, 0, seed=seed) for seed in (1, 2))
    starts = [
        next(k for k in range(0, long.samples.shape[1], SPEC.hop) if np.array_equal(record[k : k + 64], data[:64]))
        for record, data in zip(long.samples, cut.data, strict=True)
    ]
    assert len(set(starts)) > 3
    assert not np.array_equal(cut.data, other.data)


def test_the_parts_of_a_training_set_hold_all_kinds_of_lives() -> None:
    assert sum(part_sizes(1000)) == 1000
    assert len(part_sizes(20)) >= 6
    assert len(part_sizes(60, groups=5)) >= 30
    assert set(part_sizes(10 * PART)) == {PART}


def test_a_simulated_training_shares_no_sequence_with_its_tests() -> None:
    material = simulate_training_data(24, SPEC, Seeds(1))
    assert material.source is None
    assert sum(map(len, material.train)) == 24
    parts = [*material.train, material.validation, material.calibration, material.test]
    known = {sequence.tobytes() for part in parts for sequence in part.data}
    assert len(known) == sum(map(len, parts))


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
    options = LineOptions(seed=5, epochs=4, test_lines=1, data=path, patience=1, show_progress=False)
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
        "faultline train --spec line --out line.safetensors --seed 2024 --epochs 9 --episodes 194560"
    )
