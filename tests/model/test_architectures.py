from __future__ import annotations

import keras
import numpy as np
import pytest
from model_samples import windows_of

from model.architectures import Condition, Normalisation, build
from model.errors import ShapeArtefactError
from model.spec import load_spec

ASINH = Normalisation(kind="asinh", centre=(0.0, 0.1, 0.2, 0.3, 0.4, 0.5), scale=(0.5, 1.0, 1.5, 2.0, 2.5, 3.0))


def test_instant_has_the_reports_15175_parameters() -> None:
    model = build("gru", load_spec("instant"), ASINH)
    counts = {layer.name: layer.count_params() for layer in model.layers if layer.count_params()}
    assert counts == {"gru": 12_864, "hidden": 2_080, "logits": 231}
    assert model.count_params() == 15_175


@pytest.mark.parametrize("name", ["line", "instant"])
def test_windows_become_one_row_of_logits_each(name: str) -> None:
    spec = load_spec(name)
    logits = np.asarray(build("gru", spec, ASINH, seed=1)(windows_of(spec, 3)))
    assert logits.shape == (3, len(spec.classes))
    assert logits.min() < 0, "logits, not probabilities"


def test_a_seed_makes_the_same_weights_again_and_another_seed_others() -> None:
    spec = load_spec("line")
    first, again, other = (build("gru", spec, ASINH, seed=seed).get_weights() for seed in (1, 1, 2))
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
    with pytest.raises(ShapeArtefactError, match="no architecture 'gnu'; there are gru"):
        build("gnu", load_spec("line"), ASINH)
    with pytest.raises(ShapeArtefactError, match="normalisation is for 5 channels, spec 'line' has 6"):
        build("gru", load_spec("line"), Normalisation.identity(5))


@pytest.mark.parametrize("change", [{"scale": (1.0, 0.0)}, {"scale": (1.0,)}, {"centre": (0.0, float("nan"))}])
def test_a_normalisation_that_cannot_be_applied_is_refused(change: dict[str, tuple[float, ...]]) -> None:
    with pytest.raises(ValueError, match=r"scale|finite"):
        Normalisation.model_validate({"centre": (0.0, 0.0), "scale": (1.0, 1.0)} | change)
