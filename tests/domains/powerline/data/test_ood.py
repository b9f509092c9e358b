"""Rejection on simulated lines: most out-of-distribution windows, hardly any valid window, and no fault."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from domains.powerline.data.ood import (
    fit_rejection,
    in_distribution_windows,
    line_rejection,
    ood_windows,
    scaled_classdata,
    score_rejection,
)
from domains.powerline.data.scenario import scenario
from domains.powerline.rejection import PowerLineRejection
from model.spec import load_spec
from stream.windowing import cut_windows
from training.errors import TrainingError

SPEC = load_spec("line")
DATA = Path(os.environ.get("FAULTLINE_DATA") or Path(__file__).parents[4].parent / "shared" / "data")
CLASS_DATA = DATA / "electrical-faults" / "classData.csv"


@pytest.fixture(scope="module")
def rejection() -> PowerLineRejection:
    return line_rejection(SPEC, seed=3)


def test_noise_and_constants_are_refused_and_windows_of_lines_are_not(rejection: PowerLineRejection) -> None:
    scores = score_rejection(
        rejection, in_distribution_windows(SPEC, seed=77, episodes=150), ood_windows(SPEC, 78), SPEC
    )
    assert min(scores.out_of_distribution.values()) >= 0.95
    assert scores.good <= 0.005
    assert scores.faulty == 0.0


def test_lines_with_faulty_instruments_are_hardly_ever_refused(rejection: PowerLineRejection) -> None:
    harsh = in_distribution_windows(SPEC, seed=79, episodes=150, harsh=True)
    scores = score_rejection(rejection, harsh, {}, SPEC)
    assert scores.good <= 0.005
    assert scores.faulty <= 0.0005


def test_a_day_of_disturbances_without_faults_is_not_refused(rejection: PowerLineRejection) -> None:
    record = scenario(8, 20, seed=4, fault_share=0.0)
    windows = np.ascontiguousarray(cut_windows(record.samples, SPEC)).reshape(-1, *SPEC.window_shape)
    assert rejection.is_ood(windows).mean() <= 0.005


@pytest.mark.skipif(not CLASS_DATA.is_file(), reason=f"classData.csv is not in {DATA}")
def test_classdata_in_thousandfold_amperes_is_refused(rejection: PowerLineRejection) -> None:
    windows = scaled_classdata(CLASS_DATA, SPEC)
    assert windows.shape[1:] == (32, 6)
    assert rejection.is_ood(windows).mean() >= 0.95


def test_the_bounds_leave_room_above_the_strongest_fault(rejection: PowerLineRejection) -> None:
    strongest = in_distribution_windows(SPEC, seed=80, episodes=150).data
    assert rejection.most_current > 1.2 * np.abs(strongest[:, :, :3]).max()
    assert rejection.most_voltage > 1.2 * np.abs(strongest[:, :, 3:]).max()


def test_the_same_seed_chooses_the_same_bounds(rejection: PowerLineRejection) -> None:
    assert line_rejection(SPEC, seed=3) == rejection


def test_windows_that_are_noise_themselves_cannot_be_fitted() -> None:
    with pytest.raises(TrainingError, match="per unit"):
        fit_rejection(ood_windows(SPEC, 1)["white noise"], SPEC, seed=2)


def test_windows_of_one_instant_are_bounded_by_their_peaks_alone() -> None:
    instant = load_spec("instant")
    rng = np.random.default_rng(5)
    good = rng.uniform(-1, 1, (500, 1, 6)).astype(np.float32)
    bounds = fit_rejection(good, instant, seed=6)
    assert bounds.most_roughness is None
    assert not bounds.is_ood(good).any()
    assert bounds.is_ood(1000 * good).mean() > 0.95
