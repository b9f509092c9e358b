"""Data sets are read as written, and no split divides an episode or trains on a held-out band."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from domains.powerline.data.datasets import METADATA, DataSet, DataSetRecipe, open_dataset, write_dataset
from domains.powerline.data.hold_out import HELD_OUT, held_out, splits
from domains.powerline.simulator.faults import CLASSES
from faultline.cli.waveforms.simulate import simulate as simulate_command
from model.spec import load_spec
from training.data.episodes import Episodes
from training.data.windows import select, window_ends
from training.errors import DataSetError, TrainingError

RECIPE = DataSetRecipe(episodes=600, seed=5, length_cycles=10)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    path = tmp_path_factory.mktemp("dataset") / "episodes.parquet"
    write_dataset(path, RECIPE)
    return open_dataset(path)


def everything(dataset: DataSet) -> tuple[np.ndarray, list[Episodes]]:
    parts = list(dataset.episodes())
    return np.concatenate([numbers for numbers, _ in parts]), [episodes for _, episodes in parts]


def test_the_same_recipe_gives_the_same_set_and_the_file_tells_the_recipe(dataset: DataSet, tmp_path: Path) -> None:
    write_dataset(tmp_path / "again.parquet", RECIPE)
    assert pq.read_table(tmp_path / "again.parquet").equals(pq.read_table(dataset.path))
    assert dataset.recipe == RECIPE
    assert [entry.name for entry in tmp_path.iterdir()] == ["again.parquet"]


def test_every_episode_is_read_with_its_samples_labels_and_parameters(dataset: DataSet) -> None:
    numbers, parts = everything(dataset)
    assert numbers.tolist() == list(range(600))
    samples = np.concatenate([p.samples for p in parts])
    assert samples.shape == (600, 320, 6)
    assert samples.dtype == np.float32
    assert np.isfinite(samples).all()
    labels = np.concatenate([p.labels for p in parts])
    index = dataset.index
    for n in range(600):
        faulty = np.flatnonzero(labels[n])
        if len(faulty) == 0:
            assert np.isnan(index["inception"][n])
            assert len(index["classes"][n]) == 0
            continue
        assert index["inception"][n] == faulty[0]
        assert index["classes"][n][0] == CLASSES[labels[n, faulty[0]]]
        if not np.isnan(index["clearing"][n]):
            assert labels[n, int(index["clearing"][n])] == 0
            assert labels[n, int(index["clearing"][n]) - 1] != 0
    lines = [line for p in parts for line in p.lines]
    np.testing.assert_array_equal([line["position"] for line in lines], index["position"])
    assert set(index["nominal_hz"]) == {50.0, 60.0}
    assert np.ptp(index["strength_local"]) > 10


def test_what_is_read_can_be_cut_into_windows_like_what_is_simulated(dataset: DataSet) -> None:
    spec = load_spec("line")
    (_, episodes), *_ = dataset.episodes()
    windows = select(episodes, spec)
    assert len(windows) == len(episodes) * len(window_ends(episodes.samples.shape[1], spec))
    assert len(np.unique(windows.labels)) == 12


def test_only_the_episodes_asked_for_are_read(dataset: DataSet) -> None:
    wanted = np.array([3, 255, 256, 599])
    found = list(dataset.episodes(wanted))
    assert np.concatenate([numbers for numbers, _ in found]).tolist() == wanted.tolist()
    _, parts = everything(dataset)
    np.testing.assert_array_equal(found[0][1].samples[0], parts[0].samples[3])


def test_no_episode_is_in_two_parts_and_none_is_forgotten(dataset: DataSet) -> None:
    parts = splits(dataset, seed=1)
    assert set(parts) == {"training", "validation", "calibration", "test", *(f"held-out-{band}" for band in HELD_OUT)}
    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(600))
    assert all(len(part) > 20 for part in parts.values())
    assert (splits(dataset, seed=1)["training"] == parts["training"]).all()
    assert not np.array_equal(splits(dataset, seed=2)["training"], parts["training"])


def test_no_part_that_is_trained_or_tuned_on_touches_a_held_out_band(dataset: DataSet) -> None:
    parts = splits(dataset, seed=1)
    for name in ("training", "validation", "calibration", "test"):
        here = parts[name]
        ohm = dataset.index["resistance_ohm"][here]
        faulty = dataset.index["kind"][here] == "fault"
        assert np.nanmax(ohm) <= 20.0
        assert np.abs(dataset.index["position"][here][faulty] - 0.5).max() <= 0.4
        assert dataset.index["strength_local"][here].min() >= 5.0
    assert dataset.index["resistance_ohm"][parts["held-out-resistance"]].min() >= 20.0
    with pytest.raises(TrainingError, match="resistance, position, source"):
        held_out(dataset.index, "colour")


def test_shares_that_do_not_add_up_are_refused(dataset: DataSet) -> None:
    with pytest.raises(TrainingError, match="add up to 1"):
        splits(dataset, 1, {"training": 0.5, "test": 0.2})


def test_a_file_of_another_kind_or_version_is_refused_with_what_to_do(dataset: DataSet, tmp_path: Path) -> None:
    other = tmp_path / "other.parquet"
    pq.write_table(pa.table({"a": [1]}), other)
    with pytest.raises(DataSetError, match="simulate --dataset"):
        open_dataset(other)
    later = RECIPE.model_dump_json().replace('"schema_version":1', '"schema_version":2').encode()
    pq.write_table(pq.read_table(dataset.path).replace_schema_metadata({METADATA: later}), other)
    with pytest.raises(DataSetError, match="simulate it again"):
        open_dataset(other)
    same = {METADATA: RECIPE.model_dump_json().encode()}
    pq.write_table(pq.read_table(dataset.path).drop_columns(["kind"]).replace_schema_metadata(same), other)
    with pytest.raises(DataSetError, match="columns"):
        open_dataset(other)
    with pytest.raises(DataSetError, match="cannot be read"):
        open_dataset(tmp_path / "absent.parquet")


def test_a_set_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(DataSetError, match="cannot be written"):
        write_dataset(tmp_path / "absent" / "set.parquet", DataSetRecipe(episodes=1, seed=1, length_cycles=4))


def test_the_command_writes_a_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    simulate_command(dataset=tmp_path / "set.parquet", episodes=20, seed=3, cycles=6.0, harsh=True)
    assert open_dataset(tmp_path / "set.parquet").recipe == DataSetRecipe(
        episodes=20, seed=3, length_cycles=6, instruments="harsh"
    )
    assert "20 episodes" in capsys.readouterr().out
