from __future__ import annotations

import keras
import numpy as np
import pytest

from model.architectures import ARCHITECTURES, MEMORY_ARCHITECTURE, Condition, Normalisation, build
from model.artefact import Artefact
from model.engine import Engine
from model.errors import ShapeArtefactError
from model.spec import load_spec
from tests.model.model_samples import logits_of, windows_of

ASINH = Normalisation(kind="asinh", centre=(0.0, 0.1, 0.2, 0.3, 0.4, 0.5), scale=(0.5, 1.0, 1.5, 2.0, 2.5, 3.0))


@pytest.mark.parametrize(
    ("architecture", "layers"),
    [
        ("fnn", {"hidden_1": 448, "hidden_2": 2_080, "logits": 231}),
        ("fnn-improved", {"hidden_1": 896, "hidden_2": 8_256, "hidden_3": 2_080, "logits": 231}),
        ("cnn", {"convolution": 256, "hidden": 4_128, "logits": 231}),
        ("cnn-advanced", {"convolution_1": 512, "convolution_2": 24_640, "logits": 455}),
        ("lstm", {"lstm": 16_896, "hidden": 2_080, "logits": 231}),
        ("gru", {"gru": 12_864, "hidden": 2_080, "logits": 231}),
    ],
)
def test_layers_count_as_in_the_reference_reports(architecture: str, layers: dict[str, int]) -> None:
    totals = {"fnn": 2_759, "fnn-improved": 11_463, "cnn": 4_615, "cnn-advanced": 25_607, "lstm": 19_207, "gru": 15_175}
    model = build(architecture, load_spec("instant"), ASINH)
    assert {layer.name: layer.count_params() for layer in model.layers if layer.count_params()} == layers
    assert model.count_params() == totals[architecture]
    assert {*totals, MEMORY_ARCHITECTURE} == set(ARCHITECTURES)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("name", ["line", "instant"])
def test_every_architecture_answers_with_logits_and_runs_in_the_engine_from_its_artefact(
    name: str, architecture: str
) -> None:
    spec = load_spec(name)
    model = build(architecture, spec, ASINH, seed=1)
    windows = windows_of(spec, 3)
    logits = logits_of(model, windows)
    assert logits.shape == (3, len(spec.classes))
    assert logits.min() < 0, "logits, not probabilities"
    artefact = Artefact.from_model(model, spec, normalisation=ASINH, architecture=architecture)
    with Engine(Artefact.from_bytes(artefact.to_bytes()), threads=1, buckets=(4,)) as engine:
        expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        np.testing.assert_allclose(engine.classify(windows), expected, atol=1e-5)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_seed_makes_the_same_weights_again_and_another_seed_others(architecture: str) -> None:
    spec = load_spec("line")
    first, again, other = (build(architecture, spec, ASINH, seed=seed).get_weights() for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])


def test_asinh_conditioning_compresses_per_channel() -> None:
    windows = windows_of(load_spec("line"), 4)
    expected = np.arcsinh((windows - np.asarray(ASINH.centre)) / np.asarray(ASINH.scale))
    np.testing.assert_allclose(np.asarray(Condition(ASINH)(windows)), expected, atol=1e-6)


def test_standard_conditioning_gives_the_fitted_channels_mean_0_and_deviation_1() -> None:
    windows = windows_of(load_spec("line"), 200) * np.float32(7) + np.float32(3)
    windows[..., 5] = 2.0
    conditioned = np.asarray(Condition(Normalisation.fitted(windows))(windows))
    np.testing.assert_allclose(conditioned.mean(axis=(0, 1)), 0, atol=1e-4)
    np.testing.assert_allclose(conditioned.std(axis=(0, 1)), [1, 1, 1, 1, 1, 0], atol=1e-4)


def test_conditioning_is_part_of_the_networks_configuration() -> None:
    spec = load_spec("line")
    model = build("gru", spec, ASINH, seed=1)
    copy = keras.Model.from_config(model.get_config())
    copy.set_weights(model.get_weights())
    windows = windows_of(spec, 5)
    np.testing.assert_array_equal(np.asarray(copy(windows)), np.asarray(model(windows)))


def test_what_cannot_be_built_is_named() -> None:
    with pytest.raises(ShapeArtefactError, match="no architecture 'gnu'; there are gru, lstm"):
        build("gnu", load_spec("line"), ASINH)
    with pytest.raises(ShapeArtefactError, match="normalisation is for 5 channels, spec 'line' has 6"):
        build("gru", load_spec("line"), Normalisation.identity(5))
    brief = load_spec("line").model_copy(update={"samples": 3})
    with pytest.raises(ShapeArtefactError, match="'cnn' needs at least 4 steps, the spec's sequence has 3"):
        build("cnn", brief, Normalisation.identity(6))


@pytest.mark.parametrize("change", [{"scale": (1.0, 0.0)}, {"scale": (1.0,)}, {"centre": (0.0, float("nan"))}])
def test_a_normalisation_that_cannot_be_applied_is_refused(change: dict[str, tuple[float, ...]]) -> None:
    with pytest.raises(ValueError, match=r"scale|finite"):
        Normalisation.model_validate({"centre": (0.0, 0.0), "scale": (1.0, 1.0)} | change)
