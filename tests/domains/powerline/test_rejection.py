"""Rejection of out-of-distribution windows, decided by the window alone."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from domains.powerline.rejection import PowerLineRejection, measure
from model.artefact import Artefact, shipped
from model.engine import Engine
from model.errors import ArtefactError
from model.spec import load_spec

SPEC = load_spec("line")
BOUNDS = PowerLineRejection.for_spec(SPEC, most_current=200, most_voltage=4, least_change=1e-3, most_roughness=0.6)
RNG = np.random.default_rng(7)
T = 2 * np.pi / 32 * np.arange(32)
HEALTHY = np.cos(T[:, None] - 2 * np.pi / 3 * np.array([0, 1, 2, 0, 1, 2])).astype(np.float32)


def unlike(window: np.ndarray) -> bool:
    return bool(BOUNDS.is_ood(np.asarray(window, np.float32)[None])[0])


def test_channels_are_known_by_their_names() -> None:
    assert (BOUNDS.currents, BOUNDS.voltages, BOUNDS.samples_per_cycle) == ((0, 1, 2), (3, 4, 5), 32)


def test_a_healthy_line_a_fault_with_offset_and_a_dead_line_are_like_training() -> None:
    fault = HEALTHY.copy()
    fault[:, 0] = 30 * (np.cos(T) + np.exp(-T / 10))
    dead = 0.01 * RNG.standard_normal((32, 6))
    lost = HEALTHY * np.array([1, 0, 1, 1, 1, 1])
    assert not any(unlike(window) for window in (HEALTHY, fault, dead, lost))


@pytest.mark.parametrize(
    "window",
    [
        np.zeros((32, 6)),
        np.full((32, 6), 0.7),
        np.tile([1.0, -0.5, 0.2, 0.0, 0.9, -1.3], (32, 1)),
        RNG.standard_normal((32, 6)),
        20 * RNG.standard_normal((32, 6)),
        1000 * HEALTHY,
        np.where(np.arange(6) < 3, 1, 300) * HEALTHY,
        HEALTHY * np.where(np.arange(32) == 5, np.nan, 1)[:, None],
        HEALTHY * np.where(np.arange(32) == 5, np.inf, 1)[:, None],
        np.full((32, 6), 3e38) * HEALTHY,
    ],
    ids=["zero", "constant", "constants", "noise", "loud noise", "amperes", "volts", "nan", "inf", "overflow"],
)
def test_what_no_line_sends_is_out_of_distribution(window: np.ndarray) -> None:
    assert unlike(window)


def test_noise_in_the_voltages_alone_is_left_to_the_model() -> None:
    # A close three-phase fault leaves only noise in the voltages, with large and smooth currents.
    collapsed = 20 * HEALTHY
    collapsed[:, 3:] = 0.2 * RNG.standard_normal((32, 3))
    assert not unlike(collapsed)


def test_a_window_is_checked_alone_and_no_windows_give_no_answers() -> None:
    windows = np.stack([HEALTHY, np.zeros((32, 6), np.float32), HEALTHY])
    assert BOUNDS.is_ood(windows).tolist() == [False, True, False]
    assert BOUNDS.is_ood(windows[:0]).shape == (0,)


def test_measures_are_the_peaks_the_change_and_the_part_that_is_no_wave() -> None:
    window = HEALTHY.copy()
    window[:, 0] += 2  # a direct component does not count as roughness
    found = measure(window[None], BOUNDS.currents, BOUNDS.voltages, 32)
    assert found.current[0] == pytest.approx(3.0)
    assert found.voltage[0] == pytest.approx(1.0, abs=0.01)
    assert found.change[0] == pytest.approx(2.0, abs=0.01)
    assert found.roughness[0] == pytest.approx(0.0, abs=1e-4)
    fifth = np.cos(5 * T)[:, None] * np.ones(6)
    half = (HEALTHY + fifth).astype(np.float32)[None]
    assert measure(half, BOUNDS.currents, BOUNDS.voltages, 32).roughness[0] == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("samples", [1, 7, 20, 33])
def test_windows_of_any_length_are_measured(samples: int) -> None:
    windows = RNG.standard_normal((50, samples, 6)).astype(np.float32)
    found = measure(windows, BOUNDS.currents, BOUNDS.voltages, 20)
    np.testing.assert_array_equal(found.current, np.abs(windows[:, :, :3]).max(axis=(1, 2)))
    np.testing.assert_array_equal(found.change, np.ptp(windows, axis=1).max(axis=1))
    assert (found.roughness > 0.05).mean() == (samples >= 8)


def test_bounds_travel_in_the_artefact_and_the_engine_applies_them() -> None:
    plain = shipped("line")
    manifest = plain.manifest
    made = Artefact.create(
        plain.weights,
        spec=manifest.spec,
        architecture=manifest.architecture,
        normalisation=manifest.normalisation,
        rejection=BOUNDS,
    )
    again = Artefact.from_bytes(made.to_bytes())
    assert again.manifest.rejection == BOUNDS
    windows = np.stack([HEALTHY, np.zeros((32, 6), np.float32)])
    with Engine(again, threads=1, buckets=(2,)) as engine:
        assert engine.is_ood(windows).tolist() == [False, True]


def test_an_artefact_that_does_not_say_answers_every_window() -> None:
    plain = shipped("line")
    manifest = plain.manifest
    silent = Artefact.create(
        plain.weights, spec=manifest.spec, architecture=manifest.architecture, normalisation=manifest.normalisation
    )
    with Engine(silent, threads=1, buckets=(2,)) as engine:
        assert not engine.is_ood(np.zeros((2, 32, 6), np.float32)).any()


def test_bounds_of_channels_that_do_not_exist_are_refused() -> None:
    plain = shipped("line")
    beyond = BOUNDS.model_copy(update={"voltages": (3, 4, 6)})
    with pytest.raises(ArtefactError, match="channels"):
        Artefact.create(
            plain.weights,
            spec=SPEC,
            architecture="gru",
            normalisation=plain.manifest.normalisation,
            rejection=beyond,
        )
    with pytest.raises(ValidationError, match="different channel positions"):
        PowerLineRejection(
            currents=(0, 1), voltages=(1, 2), samples_per_cycle=32, most_current=1, most_voltage=1, least_change=0
        )
