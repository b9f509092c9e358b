"""Inception and quality flags of waveforms with a known inception and known defects."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from domains.powerline.waveform import inception_samples, waveform_flags
from model.spec import SignalSpec, load_spec

SPEC = load_spec("line")
INSTANT = load_spec("instant")
OMEGA = 2 * np.pi / 32
SHIFTS = np.array([0.0, -2 * np.pi / 3, 2 * np.pi / 3])


def inception_sample(window: NDArray[np.float32], spec: SignalSpec) -> int:
    return int(inception_samples(window[None], spec)[0])


def flags_of(window: NDArray[np.float32], spec: SignalSpec) -> set[str]:
    return set(waveform_flags(window[None], spec)[0])


def faulted(inception: int, angle: float = 0.3, noise: float = 0.0, seed: int = 0) -> NDArray[np.float32]:
    """Return one cycle of a line whose phase A is shorted to ground at a sample.

    The current is continuous, as on an inductive line, with its decaying offset; the voltage drops.
    """
    t = np.arange(32)
    currents = 0.5 * np.sin(OMEGA * t[:, None] + angle + SHIFTS - 0.4)
    voltages = np.sin(OMEGA * t[:, None] + angle + SHIFTS)
    after = np.maximum(t - inception, 0)
    fault = 6.0 * np.sin(OMEGA * t + angle - 1.3)
    jump = currents[inception, 0] - fault[inception]
    currents[:, 0] = np.where(t >= inception, fault + jump * np.exp(-after / 60), currents[:, 0])
    voltages[:, 0] *= np.where(t >= inception, 0.35, 1.0)
    window = np.hstack([currents, voltages])
    return (window + noise * np.random.default_rng(seed).normal(size=window.shape)).astype(np.float32)


def healthy() -> NDArray[np.float32]:
    t = np.arange(32)[:, None]
    return np.hstack([0.5 * np.sin(OMEGA * t + SHIFTS), np.sin(OMEGA * t + SHIFTS)]).astype(np.float32)


@pytest.mark.parametrize("angle", [0.3, 1.2, 2.5, 4.0, 5.5])
@pytest.mark.parametrize("inception", [4, 11, 18, 26, 30])
def test_the_inception_is_found_to_a_sample_without_noise(inception: int, angle: float) -> None:
    assert abs(inception_sample(faulted(inception, angle), SPEC) - inception) <= 1


@settings(max_examples=60)
@given(inception=st.integers(3, 29), angle=st.floats(0, 6.28), seed=st.integers(0, 10_000))
def test_the_inception_is_found_to_three_samples_in_noise_of_forty_decibels(
    inception: int, angle: float, seed: int
) -> None:
    # 0.007 per unit is 40 dB below a sine of one; a fault near a voltage's zero shows a little later.
    found = inception_sample(faulted(inception, angle, noise=0.007, seed=seed), SPEC)
    assert abs(found - inception) <= 3


def test_a_silent_or_short_window_has_its_inception_at_its_beginning() -> None:
    assert inception_sample(np.zeros((32, 6), np.float32), SPEC) == 0
    assert inception_sample(np.ones((1, 6), np.float32), INSTANT) == 0


def test_a_healthy_line_has_no_flags() -> None:
    assert flags_of(healthy(), SPEC) == set()


@pytest.mark.parametrize("channel", range(6))
def test_a_channel_that_stands_still_is_missing(channel: int) -> None:
    window = healthy()
    window[:, channel] = 0.1
    assert flags_of(window, SPEC) == {"missing-channel"}


def test_a_clipped_current_is_saturated_and_a_clipped_voltage_is_not_looked_at() -> None:
    window = healthy()
    window[:, 0] = np.clip(window[:, 0], -0.35, 0.35)
    assert flags_of(window, SPEC) == {"saturation"}
    window = healthy()
    window[:, 3] = np.clip(window[:, 3], -0.7, 0.7)
    assert flags_of(window, SPEC) == set()


def test_an_instant_has_no_quality_flags() -> None:
    assert flags_of(np.ones((1, 6), np.float32), INSTANT) == set()


EXTREME = np.where(np.arange(32 * 6).reshape(32, 6) % 2, 3.4e38, -3.4e38).astype(np.float32)


@pytest.mark.filterwarnings("error")
@example(EXTREME)
@settings(max_examples=60)
@given(arrays(np.float32, (32, 6), elements=st.floats(width=32, allow_nan=False, allow_infinity=False)))
def test_any_finite_window_has_an_inception_within_itself_and_no_arithmetic_warns(window: NDArray[np.float32]) -> None:
    assert 0 <= inception_sample(window, SPEC) < 32
    assert flags_of(window, SPEC) <= {"missing-channel", "saturation"}


def test_many_windows_have_the_values_that_each_has_alone() -> None:
    clipped, silent = healthy(), healthy()
    clipped[:, 1] = np.clip(clipped[:, 1], -0.3, 0.3)
    silent[:, 4] = 0
    windows = [faulted(7), clipped, healthy(), silent, np.zeros((32, 6), np.float32), faulted(20, noise=0.01), EXTREME]
    alone = [(inception_sample(window, SPEC), flags_of(window, SPEC)) for window in windows]
    together = zip(
        inception_samples(np.stack(windows), SPEC).tolist(), waveform_flags(np.stack(windows), SPEC), strict=True
    )
    assert list(together) == alone
    assert {flag for _, flags in alone for flag in flags} == {"missing-channel", "saturation"}
