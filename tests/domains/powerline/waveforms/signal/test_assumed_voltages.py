"""Currents alone that rise as in a three-phase fault are given the voltages of a source behind a reactance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from domains.powerline.waveforms import Segment, open_waveforms
from domains.powerline.waveforms.signal.assumed_voltages import assume_voltages
from tests.domains.powerline.waveforms.record_samples import Shape, load_waves, write_record

RATE = 1600.0
TURN = np.exp(-2j * np.pi * np.arange(3) / 3)


def line(
    rise: NDArray[np.complex128], *, load: float = 0.5, seconds: float = 0.6, hz: float = 50.0
) -> NDArray[np.float32]:
    """Return a line (t, 6) per unit without voltages whose currents rise by ``rise`` (t, 3) in phasors."""
    t = np.arange(round(seconds * RATE)) / RATE
    waves = np.zeros((len(t), 6), np.float32)
    waves[:, :3] = ((load * TURN * np.exp(-0.3j) + rise) * np.exp(2j * np.pi * hz * t)[:, None]).real
    return waves


def step(size: float, seconds: float = 0.6, stop_s: float = 0.45) -> NDArray[np.complex128]:
    t = np.arange(round(seconds * RATE)) / RATE
    return np.where((t >= 0.2) & (t < stop_s), size, 0)[:, None] * TURN * np.exp(-1.3j)


def codes(waves: NDArray[np.float32], hz: float = 50.0) -> list[str]:
    segment = Segment(0, len(waves), RATE, 0.0)
    return [finding.code for finding in assume_voltages(waves, [segment], hz, "line")]


@settings(max_examples=50)
@given(size=st.floats(1.6, 30), load=st.floats(0.1, 0.5), hz=st.floats(48, 62), angle=st.floats(0, 6.3))
def test_a_sudden_balanced_rise_is_given_voltages_that_sag_while_it_lasts(
    size: float, load: float, hz: float, angle: float
) -> None:
    if load < 0.03 * size:
        load = 0.03 * size
    size = max(size, 3.2 * load)
    waves = line(step(size) * np.exp(1j * angle), load=load, hz=hz)
    assert codes(waves, hz) == ["assumed-voltages"]
    turn = np.exp(-2j * np.pi * hz * np.arange(len(waves)) / RATE)[:, None]
    cycle = round(RATE / hz)

    def level(at_s: float) -> NDArray[np.float64]:
        first = int(at_s * RATE)
        return np.asarray(np.abs((waves[:, 3:] * turn)[first : first + cycle].mean(axis=0)) * 2)

    assert level(0.1) == pytest.approx(1.0, abs=0.05)
    assert level(0.3) == pytest.approx(abs(1 - min(0.2 * size, 0.75) * np.exp(1j * (np.pi / 2 - 1.3))), abs=0.05)
    assert level(0.5) == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("phases", [[0], [1], [2], [0, 1], [1, 2], [0, 2]])
def test_a_rise_of_one_or_two_phases_is_given_none(phases: list[int]) -> None:
    rise = step(5.0)
    rise[:, [k for k in range(3) if k not in phases]] = 0
    waves = line(rise)
    assert codes(waves) == []
    assert not waves[:, 3:].any()


@pytest.mark.parametrize("size", [0.0, 0.3, 0.9, 1.3])
def test_a_change_of_load_is_given_none(size: float) -> None:
    assert codes(line(step(size))) == []


def test_a_slow_rise_such_as_a_power_swing_is_given_none() -> None:
    t = np.arange(960) / RATE
    swing = 2 * (1 - np.cos(2 * np.pi * 2 * np.clip(t - 0.1, 0, None)))[:, None] * TURN
    assert codes(line(swing)) == []


@pytest.mark.parametrize("load", [0.0, 0.01])
def test_an_energised_line_is_given_none(load: float) -> None:
    assert codes(line(step(5.0), load=load)) == []


def test_a_record_that_begins_in_the_fault_or_is_too_short_or_too_long_is_given_none() -> None:
    assert codes(line(step(5.0)[330:], seconds=0.6 - 330 / RATE)) == []
    assert codes(line(step(5.0)[:48], seconds=48 / RATE)) == []
    assert codes(line(step(5.0, seconds=11.0), seconds=11.0)) == []


@pytest.mark.parametrize("with_voltages", [True, False])
def test_only_a_record_without_voltages_is_given_some(tmp_path: Path, with_voltages: bool) -> None:
    columns = 6 if with_voltages else 3
    usual = Shape()
    shape = Shape(names=usual.names[:columns], phases=usual.phases[:columns], units=usual.units[:columns])
    waves = load_waves(shape)[:, :columns]
    waves[shape.times() >= 0.1, :3] *= 8
    record = open_waveforms(write_record(tmp_path, shape, waves).path)
    assert ("assumed-voltages" in {finding.code for finding in record.findings}) == (not with_voltages)
    assert record.lines[0].missing == (() if with_voltages else ("va", "vb", "vc"))
