"""Voltages that rotate against the currents before the event are not used; a reversed system is only noted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domains.powerline.waveforms import Record, open_waveforms
from domains.powerline.waveforms.signal.cycles import CyclePhasors
from domains.powerline.waveforms.signal.rotation import Rotation, rotation
from tests.domains.powerline.waveforms.record_samples import PEAK, Shape, load_waves, write_record

TURN = np.exp(-2j * np.pi * np.arange(3) / 3)
SWAPS = {"ab": [1, 0, 2], "bc": [0, 2, 1], "ac": [2, 1, 0]}


def opened(tmp_path: Path, currents: str = "", voltages: str = "", fault_s: float | None = 0.12) -> Record:
    """Open a record in which two phases of the currents or of the voltages are exchanged."""
    shape = Shape()
    waves = load_waves(shape, fault_s=fault_s)
    if currents:
        waves[:, :3] = waves[:, SWAPS[currents]]
    if voltages:
        waves[:, 3:] = waves[:, [3 + k for k in SWAPS[voltages]]]
    return open_waveforms(write_record(tmp_path, shape, waves).path)


def messages(record: Record, code: str) -> list[str]:
    return [finding.message for finding in record.findings if finding.code == code]


@pytest.mark.parametrize("swap", SWAPS)
@pytest.mark.parametrize("fault_s", [0.06, 0.12, None])
def test_voltages_that_rotate_against_the_currents_are_not_used(
    tmp_path: Path, swap: str, fault_s: float | None
) -> None:
    record = opened(tmp_path, voltages=swap, fault_s=fault_s)
    (message,) = messages(record, "rotation")
    assert f"exchange v{swap[0]} and v{swap[1]} with --channels" in message
    assert record.lines[0].missing == ("va", "vb", "vc")
    assert not record.lines[0].samples[:, 3:].any()
    assert "missing-channel" not in {finding.code for finding in record.findings}


@pytest.mark.parametrize("swap", SWAPS)
def test_currents_that_rotate_against_the_voltages_are_reported_and_judged_alone(tmp_path: Path, swap: str) -> None:
    record = opened(tmp_path, currents=swap)
    assert messages(record, "rotation")[0].startswith("the voltages have the phase rotation ABC and the currents ACB")
    assert record.lines[0].missing == ("va", "vb", "vc")


@pytest.mark.parametrize("swap", SWAPS)
def test_a_system_of_reversed_order_is_noted_and_used(tmp_path: Path, swap: str) -> None:
    record = opened(tmp_path, currents=swap, voltages=swap)
    assert messages(record, "rotation") == []
    assert len(messages(record, "reversed-rotation")) == 1
    assert record.lines[0].missing == ()
    assert not [f for f in record.findings if f.level == "warning"]


@pytest.mark.parametrize("fault_s", [0.0, 0.005, 0.02])
def test_a_fault_within_the_first_cycle_shows_no_order(tmp_path: Path, fault_s: float) -> None:
    assert not messages(opened(tmp_path, fault_s=fault_s), "rotation")


@pytest.mark.parametrize("share", [0.0, 0.002])
def test_an_idle_line_shows_no_order_of_its_currents(tmp_path: Path, share: float) -> None:
    shape = Shape()
    waves = load_waves(shape, fault_s=0.12)
    waves[shape.times() < 0.12, :3] *= share
    waves[:, 3:] = waves[:, [3, 5, 4]]
    record = open_waveforms(write_record(tmp_path, shape, waves).path)
    assert not messages(record, "rotation")
    assert record.lines[0].missing == ()


@given(seed=st.integers(0, 10_000), size=st.floats(0, 0.2), cycles=st.integers(2, 20))
def test_the_order_is_found_through_unbalance_and_never_against_it(seed: int, size: float, cycles: int) -> None:
    rng = np.random.default_rng(seed)
    values = np.tile(np.concatenate([TURN, 1e4 * TURN.conj()]), (cycles, 1))
    noise = size * rng.uniform(0, 1, values.shape) * np.exp(2j * np.pi * rng.uniform(0, 1, values.shape))
    assert rotation(CyclePhasors(values * (1 + noise), cycles)) == Rotation("ABC", "ACB")


@given(seed=st.integers(0, 10_000))
def test_noise_has_no_order(seed: int) -> None:
    values = np.random.default_rng(seed).standard_normal((8, 12)).view(np.complex128)
    assert not rotation(CyclePhasors(values, 8)).contradicts


def test_levels_of_a_line_in_order_are_unchanged(tmp_path: Path) -> None:
    shape = Shape()
    waves = load_waves(shape, fault_s=0.12)
    assert opened(tmp_path).lines[0].samples == pytest.approx(waves / PEAK, abs=1e-3)
