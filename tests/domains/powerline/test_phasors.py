"""The relay quantities of a window, compared with the known values of sinusoids."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from domains.powerline.normalisation import PowerLineNormalisation
from domains.powerline.phasors import FEATURES, Phasors
from model.architectures import build
from model.artefact import shipped
from model.engine import Engine
from model.spec import load_spec

SAMPLES = 32
SEQUENCES = slice(15, 23)  # negative and zero sequence of currents and voltages
SECOND_HARMONIC, CONSTANT = slice(25, 28), slice(28, 31)
INEQUALITY = 40


def waves(
    angle: float = 0.0, *, current: complex = 0.5, direction: int = 1, phases: tuple[float, ...] = (1.0, 1.0, 1.0)
) -> NDArray[np.float32]:
    """Return one cycle of a three-phase line, (1, SAMPLES, 6); ``phases`` scales each phase's current."""
    turns = 2 * np.pi * np.arange(SAMPLES) / SAMPLES + angle
    shifts = direction * np.array([0, -2 * np.pi / 3, 2 * np.pi / 3])
    rotating = np.exp(1j * (turns[:, None] + shifts))
    both = np.concatenate([current * rotating * np.array(phases), rotating], axis=1)
    return both.real[None].astype(np.float32)


def measured(windows: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(Phasors()(windows))


@given(st.floats(0, 2 * np.pi), st.floats(0.1, 3.0), st.floats(-np.pi, np.pi))
def test_in_a_steady_state_the_moment_within_the_cycle_does_not_matter(angle: float, size: float, lag: float) -> None:
    current = size * np.exp(1j * lag)
    moved, still = (measured(waves(a, current=current, phases=(1, 2, 0.5))) for a in (angle, 0.0))
    np.testing.assert_allclose(moved, still, atol=0.02)


@pytest.mark.parametrize("direction", [1, -1])
def test_a_balanced_line_has_one_sequence_and_no_other(direction: int) -> None:
    line = measured(waves(0.4, direction=direction))[0]
    others = line[SEQUENCES] if direction == 1 else line[[16, 18, 20, 22]]  # zero sequence alone
    np.testing.assert_allclose(others, 0, atol=1e-3)
    assert np.hypot(*line[[0, 3]]) == pytest.approx(1, abs=0.05)


def test_one_phase_alone_has_a_third_of_each_sequence() -> None:
    line = measured(waves(phases=(1, 0, 0)))[0]
    negative, zero = np.hypot(*np.sinh(line[[15, 17]])), np.hypot(*np.sinh(line[[16, 18]]))
    assert negative == pytest.approx(zero, rel=1e-3)
    assert negative == pytest.approx(np.hypot(*line[[23, 24]]) / 0.05, rel=1e-3)


def test_the_rating_of_the_current_transformers_changes_sizes_only() -> None:
    small, large = (measured(waves(current=size * np.exp(-0.5j), phases=(1, 0.6, 1.4)))[0] for size in (0.5, 5.0))
    sizes = np.isin(np.arange(FEATURES), [12, 13, 14, 44])
    np.testing.assert_allclose(small[~sizes], large[~sizes], atol=0.12)
    assert (large[sizes] > small[sizes] + 1).all()


def test_the_second_harmonic_and_the_constant_part_are_separated() -> None:
    turns = 2 * np.pi * np.arange(SAMPLES) / SAMPLES
    inrush, offset = waves(), waves()
    inrush[0, :, 0] += 0.2 * np.cos(2 * turns)
    offset[0, :, 1] += 0.2
    steady = measured(waves())[0]
    inrush_measured, offset_measured = measured(inrush)[0], measured(offset)[0]
    assert inrush_measured[SECOND_HARMONIC].argmax() == 0
    assert abs(inrush_measured[CONSTANT]).max() < 0.01
    assert offset_measured[CONSTANT].argmax() == 1
    assert offset_measured[SECOND_HARMONIC].max() < 0.01
    assert inrush_measured[INEQUALITY] > steady[INEQUALITY] + 0.5


def test_a_dead_line_and_extreme_values_give_finite_measures() -> None:
    dead, huge = np.zeros((1, SAMPLES, 6), np.float32), np.full((1, SAMPLES, 6), 1e6, np.float32)
    assert np.isfinite(measured(np.concatenate([dead, huge]))).all()


def test_a_network_with_phasors_has_the_same_input_and_output() -> None:
    spec = load_spec("line")
    plain = PowerLineNormalisation.identity(6)
    network = build("gru", spec, plain.model_copy(update={"phasors": True}), seed=1)
    assert network.output_shape == (None, len(spec.classes))
    assert network.count_params() > build("gru", spec, plain, seed=1).count_params()


def test_phasors_need_three_currents_and_three_voltages() -> None:
    with pytest.raises(ValueError, match="give 6 channels instead of 4"):
        PowerLineNormalisation(centre=(0.0,) * 4, scale=(1.0,) * 4, phasors=True)


@pytest.mark.slow
def test_answers_do_not_depend_on_which_windows_are_beside() -> None:
    """Check that a channel's residual, a small difference of large numbers, is rounded equally in every batch."""
    rng = np.random.default_rng(4)
    windows = np.concatenate([waves(angle, current=10 * np.exp(1j * angle)) for angle in np.linspace(0, 6, 200)])
    windows += rng.normal(0, 1e-3, windows.shape).astype(np.float32)
    with Engine(shipped("line")) as engine:
        together = engine.classify(windows)
        for size in (1, 7, 33):
            apart = np.concatenate([engine.classify(part) for part in np.split(windows, range(size, 200, size))])
            np.testing.assert_allclose(apart, together, atol=1e-5)
