from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from model.architectures import Normalisation
from model.artefact import Artefact, build_model, container, shipped
from model.artefact import artefact as artefact_module
from model.engine import Engine
from model.errors import (
    ArtefactError,
    CorruptArtefactError,
    OversizeArtefactError,
    ShapeArtefactError,
    TruncatedArtefactError,
)
from model.spec import load_spec
from tests.model.model_samples import artefact_of, windows_of

SMALL = Artefact.create(
    {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(3, np.float32)},
    spec=load_spec("instant"),
    architecture="gru",
    normalisation=Normalisation.identity(6),
    provenance={"command": "pytest"},
)
SMALL_BYTES = SMALL.to_bytes()


def test_an_artefact_survives_bytes_with_the_same_id_weights_and_bytes(artefact: Artefact) -> None:
    data = artefact.to_bytes()
    again = Artefact.from_bytes(data)
    assert again.model_id == artefact.model_id
    assert again.manifest == artefact.manifest
    assert again.to_bytes() == data
    for name, tensor in artefact.weights.items():
        np.testing.assert_array_equal(again.weights[name], tensor)


def test_the_rebuilt_model_answers_as_the_saved_one(artefact: Artefact) -> None:
    windows = windows_of(artefact.manifest.spec, 9)
    first = np.asarray(build_model(artefact)(windows))
    np.testing.assert_array_equal(np.asarray(build_model(Artefact.from_bytes(artefact.to_bytes()))(windows)), first)


def test_the_file_is_readable_by_the_safetensors_package(artefact: Artefact) -> None:
    tensors = safetensors.numpy.load(artefact.to_bytes())
    assert tensors.keys() == artefact.weights.keys()
    for name, tensor in artefact.weights.items():
        np.testing.assert_array_equal(tensors[name], tensor)


def test_the_models_id_changes_with_a_weight_and_with_the_manifest() -> None:
    def variant(first: float, temperature: float) -> str:
        weights = {"a": np.full(3, first, np.float32)}
        return Artefact.create(
            weights,
            spec=load_spec("instant"),
            architecture="gru",
            normalisation=Normalisation.identity(6),
            temperature=temperature,
        ).model_id

    assert variant(1, 1) == variant(1, 1)
    assert len({variant(1, 1), variant(2, 1), variant(1, 2)}) == 3
    assert variant(1, 1).startswith("instant-")


@given(st.integers(0, len(SMALL_BYTES) - 1), st.integers(1, 255))
@settings(max_examples=600)
def test_a_changed_byte_anywhere_is_corrupt(position: int, change: int) -> None:
    data = bytearray(SMALL_BYTES)
    data[position] ^= change
    with pytest.raises(CorruptArtefactError):
        Artefact.from_bytes(bytes(data))


def test_every_single_bit_flip_is_corrupt() -> None:
    for position in range(len(SMALL_BYTES)):
        for bit in range(8):
            data = bytearray(SMALL_BYTES)
            data[position] ^= 1 << bit
            with pytest.raises(CorruptArtefactError):
                Artefact.from_bytes(bytes(data))


def test_an_artefact_cut_anywhere_is_truncated() -> None:
    for length in range(len(SMALL_BYTES)):
        with pytest.raises(TruncatedArtefactError):
            Artefact.from_bytes(SMALL_BYTES[:length])


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_never_an_artefact(data: bytes) -> None:
    with pytest.raises(ArtefactError):
        Artefact.from_bytes(data)


def test_appended_bytes_are_corrupt() -> None:
    with pytest.raises(CorruptArtefactError, match="1 bytes too many"):
        Artefact.from_bytes(SMALL_BYTES + b"\0")


def test_the_same_header_in_another_spelling_is_corrupt() -> None:
    length = int.from_bytes(SMALL_BYTES[:8], "little")
    header = json.loads(SMALL_BYTES[8 : 8 + length])
    spelled = json.dumps(header, indent=1).encode()
    with pytest.raises(CorruptArtefactError, match="not as it was written"):
        Artefact.from_bytes(len(spelled).to_bytes(8, "little") + spelled + SMALL_BYTES[8 + length :])


def test_a_safetensors_file_without_our_manifest_is_refused() -> None:
    text = container.canonical_json({"__metadata__": {"format": "pt"}}).encode()
    text += b" " * (-len(text) % 8)
    with pytest.raises(CorruptArtefactError, match="no Faultline artefact"):
        Artefact.from_bytes(len(text).to_bytes(8, "little") + text)


def test_a_manifest_of_another_version_says_so() -> None:
    manifest = SMALL.manifest_json.replace('"schema_version":1', '"schema_version":2')
    with pytest.raises(ArtefactError, match=r"another version.*schema_version"):
        Artefact.from_bytes(container.write(manifest, SMALL.weights))


def test_an_oversize_artefact_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OversizeArtefactError, match="the limit is 100"):
        Artefact.from_bytes(SMALL_BYTES, max_bytes=100)
    huge = tmp_path / "huge.safetensors"
    with huge.open("wb") as file:
        file.truncate(artefact_module.DEFAULT_MAX_BYTES + 1)
    monkeypatch.setattr(Path, "read_bytes", lambda path: pytest.fail(f"{path} was read"))
    with pytest.raises(OversizeArtefactError, match=r"huge\.safetensors is 8,388,609 bytes"):
        Artefact.load(huge)


@pytest.mark.parametrize(
    "weights",
    [
        {"a": np.zeros((3, 2), np.float32), "b": np.ones(3, np.float32)},
        {"a": np.zeros((2, 3), np.float64), "b": np.ones(3, np.float32)},
        {"a": np.zeros((2, 3), np.float32)},
        {"b": np.ones(3, np.float32), "a": np.zeros((2, 3), np.float32)},
    ],
)
def test_weights_other_than_the_manifest_lists_are_of_wrong_shape(weights: dict[str, np.ndarray]) -> None:
    with pytest.raises(ShapeArtefactError, match="the manifest lists tensors"):
        Artefact(SMALL.manifest, weights)


def test_an_intact_artefact_whose_tensors_do_not_fit_its_architecture_is_of_wrong_shape(
    line_artefact: Artefact,
) -> None:
    weights = dict(line_artefact.weights)
    weights["hidden/bias"] = np.zeros(31, np.float32)
    manifest = line_artefact.manifest
    wrong = Artefact.create(
        weights, spec=manifest.spec, architecture=manifest.architecture, normalisation=manifest.normalisation
    )
    intact = Artefact.from_bytes(wrong.to_bytes())
    with pytest.raises(ShapeArtefactError, match=r"needs tensor 'hidden/bias' of shape \(32,\).*has \(31,\)"):
        build_model(intact)


def test_a_line_model_of_an_earlier_version_is_refused_with_what_to_do() -> None:
    """Faultline 0.2.0 trained the architecture ``gru`` on 41 measured values."""
    old = artefact_of(load_spec("line"), architecture="gru", phasors=True)
    weights = dict(old.weights)
    weights["measured_1/kernel"] = weights["measured_1/kernel"][:41].copy()
    manifest = old.manifest
    old = Artefact.create(
        weights, spec=manifest.spec, architecture=manifest.architecture, normalisation=manifest.normalisation
    )
    sentence = (
        "'gru' for spec 'line' needs tensor 'measured_1/kernel' of shape (51, 256), the artefact has (41, 256): another"
        " version of Faultline trained it; train it again with `faultline train`, or use the shipped model"
    )
    with pytest.raises(ShapeArtefactError, match=re.escape(sentence)):
        Engine(Artefact.from_bytes(old.to_bytes()))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_refused(bad: float) -> None:
    with pytest.raises(ArtefactError, match="not finite in a"):
        Artefact.create(
            {"a": np.array([1, bad], np.float32)},
            spec=load_spec("instant"),
            architecture="gru",
            normalisation=Normalisation.identity(6),
        )


def test_metrics_that_are_no_json_are_refused() -> None:
    with pytest.raises(ArtefactError, match="finite"):
        Artefact.create(
            {"a": np.ones(1, np.float32)},
            spec=load_spec("instant"),
            architecture="gru",
            normalisation=Normalisation.identity(6),
            metrics={"macro_f1": float("nan")},
        )


def test_saving_replaces_the_file_whole_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"old")
    SMALL.save(path)
    assert Artefact.load(path).model_id == SMALL.model_id
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.safetensors"]
    assert stat.S_IMODE(path.stat().st_mode) & 0o400


def test_a_save_that_fails_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ArtefactError, match="cannot write the artefact: No space left"):
        SMALL.save(path)
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.safetensors"]


def test_loading_names_the_file_and_keeps_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "short.safetensors"
    path.write_bytes(SMALL_BYTES[:-1])
    with pytest.raises(TruncatedArtefactError, match=r"short\.safetensors: the artefact ends early"):
        Artefact.load(path)
    with pytest.raises(ArtefactError, match=r"absent\.safetensors: cannot read the artefact"):
        Artefact.load(tmp_path / "absent.safetensors")


def test_an_unknown_shipped_model_names_those_there_are() -> None:
    with pytest.raises(ArtefactError, match="no trained model 'nowhere' ships"):
        shipped("nowhere")


def test_each_reason_has_its_own_metric_label() -> None:
    kinds = [ArtefactError, *ArtefactError.__subclasses__()]
    assert len({kind.reason for kind in kinds}) == len(kinds)


def test_what_differs_between_two_runs_of_a_command_is_kept_and_leaves_the_id_alone(line_artefact: Artefact) -> None:
    def made(**provenance: Any) -> Artefact:
        manifest = line_artefact.manifest
        return Artefact.create(
            line_artefact.weights,
            spec=manifest.spec,
            architecture=manifest.architecture,
            normalisation=manifest.normalisation,
            provenance=provenance,
        )

    first, second = (made(seed=1, run={"training_seconds": seconds}) for seconds in (9.5, 11.0))
    assert first.model_id == second.model_id == made(seed=1).model_id != made(seed=2).model_id
    again = Artefact.from_bytes(first.to_bytes())
    assert again.model_id == first.model_id
    assert again.manifest.provenance["run"] == {"training_seconds": 9.5}
