"""Sets that only numbers form, and waves that imitate mains, are lines only if their waveforms are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from domains.powerline.waveforms import open_waveforms
from tests.domains.powerline.waveforms.channels.substations import (
    HZ,
    Group,
    Waves,
    currents,
    times,
    voltages,
    write_substation,
)


def numbered(name: str) -> list[str]:
    return [f"{name}:{k}" for k in (1, 2, 3)]


@pytest.mark.parametrize("order", [[0, 1, 2], [0, 2, 1]])
def test_numbers_are_phases_if_the_waveforms_are_a_third_of_a_turn_apart(tmp_path: Path, order: list[int]) -> None:
    groups = [
        Group(numbered("I_line"), "A", currents(300, fault=3000)[:, order]),
        Group(numbered("V_bus"), "V", voltages(63_500, sag=0.4)[:, order]),
    ]
    (line,) = open_waveforms(write_substation(tmp_path, groups)).lines
    assert line.channels_option.endswith("ia=1 ib=2 ic=3 va=4 vb=5 vc=6")


def test_numbers_of_feeders_are_no_phases(tmp_path: Path) -> None:
    feeders = currents(300, fault=3000)[:, [0, 0, 0]] * np.array([1.0, 0.4, 0.7])
    record = open_waveforms(write_substation(tmp_path, [Group(numbered("I_line"), "A", feeders)]))
    assert record.lines == ()
    assert "the numbers in the names are no phases" in record.no_line


def harmonic(order: int, size: float) -> Waves:
    angles = 2 * np.pi * order * HZ * times()[:, None] + np.arange(3)
    return np.asarray(size * np.cos(angles))


@pytest.mark.parametrize("order", [2, 3, 4, 6, 12])
def test_a_harmonic_alone_is_no_line(tmp_path: Path, order: int) -> None:
    groups = [
        Group(("Q1 IA", "Q1 IB", "Q1 IC"), "A", currents(300, fault=3000)),
        Group(("Q1 VA", "Q1 VB", "Q1 VC"), "V", voltages(63_500, sag=0.4)),
        Group(("Q2 IA", "Q2 IB", "Q2 IC"), "A", harmonic(order, 50.0)),
        Group(("Q2 VA", "Q2 VB", "Q2 VC"), "V", harmonic(order, 9000.0)),
    ]
    assert [line.name for line in open_waveforms(write_substation(tmp_path, groups)).lines] == ["station"]


def test_a_record_of_other_quantities_says_so(tmp_path: Path) -> None:
    record = open_waveforms(write_substation(tmp_path, [Group(("T1", "T2", "T3"), "degC", voltages(60.0))]))
    assert "neither currents nor voltages" in record.no_line
    assert "degC" in record.no_line
