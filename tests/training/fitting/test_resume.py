"""A killed training resumes from its checkpoint and ends as if it had never been interrupted."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import keras
import numpy as np
import pytest

from domains.powerline.data import training_data
from domains.powerline.recipes.line import ROUNDS, LineOptions, train_line
from model.architectures import build
from model.artefact import Artefact
from model.normalisation import Normalisation
from model.spec import load_spec
from training.data.windows import Windows
from training.errors import TrainingError
from training.fitting.checkpoint import Checkpoint, State
from training.fitting.fit import FitHistory, FitOptions, fit

ROOT = Path(__file__).resolve().parents[3]
TRAINING = [sys.executable, "-m", "tests.training.fitting.killed_training"]
STATE = State([np.arange(6.0).reshape(2, 3), np.int64(7)], [np.ones(2, np.float32)], {"loss": [0.5]})


def class_data(folder: Path, rows_per_class: int = 150) -> Path:
    """Write a file in the form of classData.csv whose classes overlap."""
    rng = np.random.default_rng(1)
    rows = []
    for code, level in (("0,0,0,0", 0.0), ("1,0,0,1", 1.0), ("0,1,1,0", 2.0)):
        drawn = rng.normal(level, 0.7, (rows_per_class, 6))
        rows += [code + "," + ",".join(f"{value:.4f}" for value in values) for values in drawn]
    path = folder / "classData.csv"
    path.write_text("G,C,B,A,Ia,Ib,Ic,Va,Vb,Vc\n" + "\n".join(rows) + "\n")
    return path


@pytest.mark.slow
def test_a_training_killed_after_an_epoch_resumes_to_the_weights_of_an_undisturbed_one(tmp_path: Path) -> None:
    data, work = class_data(tmp_path), tmp_path / "work"

    def trained(name: str, *arguments: str) -> Artefact:
        """Return the results of a training that has a process to itself."""
        child = subprocess.run([*TRAINING, str(data), str(tmp_path / name), *arguments], cwd=ROOT, timeout=120)
        assert child.returncode == 0
        return Artefact.load(tmp_path / name)

    killed = [*TRAINING, str(data), str(tmp_path / "killed"), "--work", str(work), "--killed-after", "2"]
    child = subprocess.run(killed, cwd=ROOT, capture_output=True, timeout=120)
    assert child.returncode == -signal.SIGKILL, child.stderr.decode()
    assert [path.name for path in work.iterdir()] == ["instant-random.npz"]

    expected, resumed = trained("undisturbed"), trained("resumed", "--work", str(work))
    for name, tensor in expected.weights.items():
        np.testing.assert_array_equal(resumed.weights[name], tensor, err_msg=name)
    for split in ("random", "blocks"):
        assert resumed.manifest.metrics[split] == expected.manifest.metrics[split]


@pytest.mark.slow
def test_a_line_training_killed_between_rounds_goes_on_with_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_data, "EVALUATED_SEQUENCES", 60)
    options = LineOptions(seed=5, epochs=3, episodes=96, test_lines=1, show_progress=False)
    options = replace(options, work_dir=tmp_path)
    expected = train_line(options)
    last = len(ROUNDS)
    assert {path.name for path in tmp_path.glob("line-*")} == {f"line-round-{k}.npz" for k in range(1, last + 1)}
    (tmp_path / f"line-round-{last}.npz").unlink()
    finished = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    resumed = train_line(options)
    for name, tensor in expected.weights.items():
        np.testing.assert_array_equal(resumed.weights[name], tensor, err_msg=name)
    assert all(path.stat().st_mtime_ns == written for path, written in finished.items()), "trained again"
    assert expected.manifest.provenance["command"] == options.command


def tiny_windows(seed: int) -> Windows:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, 90).astype(np.int32)
    data = (rng.normal(0, 0.5, (90, 1, 6)) + labels[:, None, None]).astype(np.float32)
    return Windows(data, labels, np.ones(90, np.float32), np.arange(90))


def test_a_checkpoint_of_other_windows_or_options_is_not_taken_up(tmp_path: Path) -> None:
    spec, options = load_spec("instant"), FitOptions(epochs=1, batch=32, show_progress=False)
    path = tmp_path / "deep" / "fit.npz"

    def run(windows: Windows, options: FitOptions) -> list[float]:
        network = build("fnn", spec, Normalisation.identity(6), seed=1)
        return fit(network, windows, tiny_windows(9), spec, options, path).loss

    first = run(tiny_windows(1), options)
    assert run(tiny_windows(1), options) == first, "a finished training is not trained again"
    with pytest.raises(TrainingError, match="belongs to another training"):
        run(tiny_windows(2), options)
    with pytest.raises(TrainingError, match="give another --work-dir"):
        run(tiny_windows(1), replace(options, learning_rate=1e-4))


def test_a_state_is_read_as_it_was_written_and_a_killed_writers_leftover_is_removed(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "fit.npz", "print")
    assert checkpoint.load() is None
    (tmp_path / ".fit.npz.1-aa.partial").write_bytes(b"half")
    checkpoint.save(STATE)
    assert [path.name for path in tmp_path.iterdir()] == ["fit.npz"]
    found = checkpoint.load()
    assert found is not None
    assert found.history == STATE.history
    for read, written in zip([*found.variables, *found.best], [*STATE.variables, *STATE.best], strict=True):
        np.testing.assert_array_equal(read, written)


def test_a_file_that_is_no_checkpoint_is_refused_and_left_alone(tmp_path: Path) -> None:
    whole = tmp_path / "whole.npz"
    Checkpoint(whole, "print").save(STATE)
    for content in (b"", b"no archive at all", whole.read_bytes()[:-40]):
        path = tmp_path / "fit.npz"
        path.write_bytes(content)
        with pytest.raises(TrainingError, match="not a Faultline checkpoint; remove it"):
            Checkpoint(path, "print").load()
        assert path.read_bytes() == content


def test_training_ends_when_the_validation_loss_has_not_improved_for_the_patience(tmp_path: Path) -> None:
    windows = tiny_windows(1)
    wrong = replace(windows, labels=(windows.labels + 1) % 3)  # training makes validation worse
    network = build("fnn", load_spec("instant"), Normalisation.identity(6), seed=1)
    options = FitOptions(epochs=30, batch=32, patience=2, learning_rate=1e-2, show_progress=False)
    history = fit(network, windows, wrong, load_spec("instant"), options)
    assert history.epochs == history.best_epoch + 2 < 30


def test_muon_turns_a_hidden_matrix_in_all_directions_alike_and_leaves_the_last_layer_to_adam() -> None:
    windows, spec = tiny_windows(1), load_spec("instant")

    def step(optimiser: Literal["adam", "muon"]) -> dict[str, np.ndarray]:
        network = build("fnn", spec, Normalisation.identity(6), seed=1)
        before = [np.array(variable.value) for variable in network.trainable_variables]
        one = FitOptions(epochs=1, batch=len(windows), optimiser=optimiser, show_progress=False)
        keras.utils.set_random_seed(1)
        fit(network, windows, windows, spec, one)
        after = [np.array(variable.value) for variable in network.trainable_variables]
        return {v.path: b - a for v, a, b in zip(network.trainable_variables, before, after, strict=True)}

    def spread(matrix: np.ndarray) -> float:
        sizes = np.linalg.svd(matrix, compute_uv=False)
        return float(sizes[0] / sizes[-1])

    adam, muon = step("adam"), step("muon")
    assert spread(muon["hidden_1/kernel"]) < 2 < spread(adam["hidden_1/kernel"])
    for path in ("logits/kernel", "logits/bias", "hidden_1/bias"):
        np.testing.assert_allclose(muon[path], adam[path], rtol=1e-3, atol=1e-9, err_msg=path)


def test_a_training_by_muon_goes_on_from_its_checkpoint_to_the_same_weights(tmp_path: Path) -> None:
    windows, spec = tiny_windows(1), load_spec("instant")
    options = FitOptions(epochs=3, batch=32, optimiser="muon", show_progress=False)

    def run(path: Path, on_epoch: Callable[[FitHistory], None] | None = None) -> list[np.ndarray]:
        keras.utils.set_random_seed(1)
        network = build("fnn", spec, Normalisation.identity(6), seed=1)
        fit(network, windows, windows, spec, options, path, on_epoch)
        return [np.asarray(weight) for weight in network.get_weights()]

    def killed(history: FitHistory) -> None:
        if history.epochs == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "fit.npz", killed)
    for resumed, whole in zip(run(tmp_path / "fit.npz"), run(tmp_path / "other.npz"), strict=True):
        np.testing.assert_array_equal(resumed, whole)
