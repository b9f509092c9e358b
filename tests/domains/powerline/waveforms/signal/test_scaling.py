"""Per unit: ratios, units, polarity, and the frequency of the signal."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from domains.powerline.waveforms import ReadOptions, Record, open_waveforms
from tests.domains.powerline.waveforms.record_samples import (
    PEAK,
    RATED_AMPERE,
    RATED_VOLT,
    Shape,
    healthy,
    load_waves,
    write_record,
)


def codes(record: Record) -> set[str]:
    return {finding.code for finding in record.findings}


@pytest.mark.parametrize("revision", ["1999", "2013"])
@pytest.mark.parametrize("side", ["P", "S"])
def test_primary_and_secondary_values_are_the_same_per_unit(tmp_path: Path, side: str, revision: str) -> None:
    shape = Shape(side=side, revision=revision)
    waves = load_waves(shape)
    stored = waves if side == "P" else waves / np.array([RATED_AMPERE] * 3 + [RATED_VOLT / 100] * 3)
    line = open_waveforms(write_record(tmp_path, shape, stored).path).lines[0]
    assert line.samples == pytest.approx(waves / PEAK, abs=1e-4)
    assert line.current_base == pytest.approx(RATED_AMPERE * np.sqrt(2))
    assert line.voltage_base == pytest.approx(RATED_VOLT * np.sqrt(2 / 3))


def test_secondary_values_without_a_stated_side_are_a_note(tmp_path: Path) -> None:
    shape = Shape(side="P")
    waves = load_waves(shape)
    written = write_record(tmp_path, shape, waves / np.array([RATED_AMPERE] * 3 + [RATED_VOLT / 100] * 3))
    header = written.path.read_text()
    written.path.write_text(header.replace(",P\n", ",\n").replace(",P\r\n", ",\r\n"))
    record = open_waveforms(written.path)
    assert "side-not-stated" in codes(record)
    assert not [finding for finding in record.findings if finding.level == "warning"]
    assert record.lines[0].samples == pytest.approx(waves / PEAK, abs=1e-3)


def test_secondary_values_that_claim_to_be_primary_are_detected_and_reported(tmp_path: Path) -> None:
    shape = Shape(side="P")
    waves = load_waves(shape)
    record = open_waveforms(
        write_record(tmp_path, shape, waves / np.array([RATED_AMPERE] * 3 + [RATED_VOLT / 100] * 3)).path
    )
    assert "side-contradicts-header" in codes(record)
    assert record.lines[0].samples == pytest.approx(waves / PEAK, abs=1e-3)


@pytest.mark.parametrize("units", [("kA", "kV"), ("mA", "mV"), ("кА", "кВ"), ("千安", "千伏"), ("A", "MV")])
def test_units_with_prefixes_are_understood(tmp_path: Path, units: tuple[str, str]) -> None:
    factors = {
        "kA": 1e3,
        "kV": 1e3,
        "mA": 1e-3,
        "mV": 1e-3,
        "кА": 1e3,
        "кВ": 1e3,
        "千安": 1e3,
        "千伏": 1e3,
        "A": 1,
        "MV": 1e6,
    }
    shape = Shape(units=(units[0],) * 3 + (units[1],) * 3)
    waves = load_waves(shape)
    stored = waves / np.array([factors[units[0]]] * 3 + [factors[units[1]]] * 3)
    assert open_waveforms(write_record(tmp_path, shape, stored).path).lines[0].samples == pytest.approx(
        waves / PEAK, abs=1e-4
    )


@pytest.mark.parametrize("side", ["P", "S"])
def test_currents_far_beyond_the_rating_on_either_side_are_reported(tmp_path: Path, side: str) -> None:
    shape = Shape(side=side, ratings=((4.0, 1.0), (1.0, 1.0)))
    waves = load_waves(shape, fault_s=0.1)
    waves[:, :3] *= 10
    assert "implausible-currents" in codes(open_waveforms(write_record(tmp_path, shape, waves).path))


@pytest.mark.parametrize("fault_s", [None, 0.1])
@pytest.mark.parametrize("rating", [(400.0, 1.0), (1000.0, 5.0), (600.0, 5.0), (2000.0, 1.0), (400.0, 5.0)])
def test_primary_currents_that_claim_to_be_secondary_are_detected(
    tmp_path: Path, rating: tuple[float, float], fault_s: float | None
) -> None:
    shape = Shape(side="S", ratings=(rating, (RATED_VOLT, 100.0)))
    waves = load_waves(shape, fault_s=fault_s)
    expected = waves / PEAK
    expected[:, :3] *= RATED_AMPERE / rating[0]
    waves[:, 3:] /= RATED_VOLT / 100
    record = open_waveforms(write_record(tmp_path, shape, waves).path)
    assert "side-contradicts-header" in codes(record)
    assert record.lines[0].samples == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("rating", [(400.0, 1.0), (1000.0, 5.0), (2000.0, 1.0), (3000.0, 5.0)])
def test_secondary_currents_that_claim_to_be_primary_are_detected_by_their_event(
    tmp_path: Path, rating: tuple[float, float]
) -> None:
    shape = Shape(side="P", ratings=(rating, (RATED_VOLT, 100.0)))
    waves = load_waves(shape, fault_s=0.1) / np.array([rating[0] / rating[1]] * 3 + [1] * 3)
    record = open_waveforms(write_record(tmp_path, shape, waves).path)
    factor = np.array([RATED_AMPERE / rating[0]] * 3 + [1] * 3)
    assert "side-contradicts-header" in codes(record)
    assert record.lines[0].samples == pytest.approx(load_waves(shape, fault_s=0.1) / PEAK * factor, abs=1e-3)


@pytest.mark.parametrize("rating", [(0.0, 0.0), (0.0, 1.0), (1e9, 1.0), (-1.0, -1.0), (1e9, 1e9), (1e6, 1.0)])
@pytest.mark.parametrize("side", ["P", "S", ""])
def test_nonsense_ratings_do_not_change_the_values_per_unit(
    tmp_path: Path, side: str, rating: tuple[float, float]
) -> None:
    shape = Shape(side=side, ratings=(rating, rating))
    record = open_waveforms(write_record(tmp_path, shape, load_waves(shape, fault_s=0.1)).path)
    assert np.abs(record.lines[0].samples[:300, 3:]).max() == pytest.approx(1.0, abs=0.01)
    assert np.abs(record.lines[0].samples[:300, :3]).max() == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(
    "rating", [(110.0, 100.0), (110.0, 0.1), (110_000.0, 100.0), (63_508.5, 57.7), (63.5085, 57.7)]
)
def test_a_voltage_ratio_in_any_units_gives_the_same_per_unit(tmp_path: Path, rating: tuple[float, float]) -> None:
    shape = Shape(side="S", ratings=((RATED_AMPERE, 1.0), rating))
    waves = load_waves(shape)
    stored = waves / np.array([RATED_AMPERE] * 3 + [1100.0] * 3)
    record = open_waveforms(write_record(tmp_path, shape, stored).path)
    assert record.lines[0].samples == pytest.approx(waves / PEAK, abs=2e-3)


@pytest.mark.parametrize("kind", ["AG", "BC", "ABC"])
@pytest.mark.parametrize("voltages", [True, False])
@pytest.mark.parametrize("start", ["before", "dead", "fault", "fault-trip"])
def test_the_base_is_that_of_a_line_without_a_fault(tmp_path: Path, start: str, kind: str, voltages: bool) -> None:
    """A record that begins dead or in its fault has the same base as one that begins with load."""
    shape = Shape(ratings=((1.0, 1.0), (1.0, 1.0)), segments=((4800.0, 2880),))
    t = shape.times()
    waves = load_waves(shape)
    hit = ["ABC".index(letter) for letter in kind.strip("G")]
    fault = t < 0.15 if start.startswith("fault") else (t >= 0.3) & (t < 0.4)
    waves[np.ix_(fault, hit)] *= 16
    waves[np.ix_(fault, [3 + k for k in hit])] *= 0.3
    if start == "dead":
        waves[t < 0.15] *= 1e-5
    if start == "fault-trip":
        waves[t >= 0.15, :3] *= 1e-5
    if not voltages:
        waves = waves[:, :3]
        shape = replace(shape, names=shape.names[:3], phases=shape.phases[:3], units=shape.units[:3])
    line = open_waveforms(write_record(tmp_path, shape, waves).path).lines[0]
    if voltages:
        assert line.voltage_base == pytest.approx(PEAK[3], rel=0.02)
    balanced_fault_only = kind == "ABC" and not voltages and start != "before"
    if start == "fault-trip" and not balanced_fault_only:
        assert line.current_base == pytest.approx(0.8 * PEAK[0], rel=0.02)
    elif not balanced_fault_only:
        assert line.current_base == pytest.approx(PEAK[0], rel=0.02)


def test_a_rating_in_kilovolt_is_understood(tmp_path: Path) -> None:
    shape = Shape(ratings=((RATED_AMPERE, 1.0), (110.0, 0.1)))
    line = open_waveforms(write_record(tmp_path, shape, load_waves(shape)).path).lines[0]
    assert line.voltage_base == pytest.approx(RATED_VOLT * np.sqrt(2 / 3))


def test_without_ratings_the_state_before_the_event_is_the_base(tmp_path: Path) -> None:
    shape = Shape(ratings=((1.0, 1.0), (1.0, 1.0)))
    record = open_waveforms(write_record(tmp_path, shape, load_waves(shape, fault_s=0.1)).path)
    line = record.lines[0]
    assert np.abs(line.samples[:300, 3:]).max() == pytest.approx(1.0, abs=0.01)
    assert np.abs(line.samples[:300, :3]).max() == pytest.approx(0.5, abs=0.01)
    assert "no CT rating" in line.base_source


def test_given_bases_are_used(tmp_path: Path) -> None:
    line = open_waveforms(healthy(tmp_path).path, options=ReadOptions(current_base=100, voltage_base=1000)).lines[0]
    assert (line.current_base, line.voltage_base) == (100, 1000)


def test_reversed_currents_are_reported_and_turned_only_when_asked(tmp_path: Path) -> None:
    shape = Shape()
    waves = load_waves(shape, fault_s=0.12)
    waves[:, :3] *= -1
    path = write_record(tmp_path, shape, waves).path
    record = open_waveforms(path)
    assert "reverse-power" in codes(record)
    assert record.lines[0].samples == pytest.approx(waves / PEAK, abs=1e-3)
    turned = open_waveforms(path, options=ReadOptions(flip=True))
    assert {"reverse-power", "flipped"} <= codes(turned)
    assert turned.lines[0].samples[:, :3] == pytest.approx(-waves[:, :3] / PEAK[:3], abs=1e-3)


@pytest.mark.parametrize("phase", [0, 1, 2])
def test_one_reversed_phase_is_distinguished_from_reversed_power(tmp_path: Path, phase: int) -> None:
    shape = Shape()
    waves = load_waves(shape)
    waves[:, phase] *= -1
    path = write_record(tmp_path, shape, waves).path
    assert "reversed-phase" in codes(open_waveforms(path))
    turned = open_waveforms(path, options=ReadOptions(flip=True)).lines[0]
    assert turned.samples == pytest.approx(load_waves(shape) / PEAK, abs=1e-3)


def test_currents_in_order_are_not_suspected(tmp_path: Path) -> None:
    shape = Shape()
    record = open_waveforms(write_record(tmp_path, shape, load_waves(shape, fault_s=0.1)).path)
    assert not codes(record) & {"reverse-power", "reversed-phase", "clipped", "dead-channel"}


def test_a_header_s_wrong_frequency_is_contradicted_by_the_signal(tmp_path: Path) -> None:
    record = open_waveforms(healthy(tmp_path, frequency_hz=60.0, header_hz=50.0).path)
    assert record.frequency_hz == pytest.approx(60.0, abs=0.01)
    assert "frequency-contradicts-header" in codes(record)


def test_a_record_without_a_signal_takes_the_header_s_frequency_and_has_no_line(tmp_path: Path) -> None:
    shape = Shape(header_hz=60.0)
    record = open_waveforms(write_record(tmp_path, shape, 0 * load_waves(shape)).path)
    assert record.frequency_hz == 60.0
    assert record.lines == ()
    assert "dead: constant" in record.no_line


def test_a_skewed_channel_is_moved_to_its_place(tmp_path: Path) -> None:
    skew = (0.0, 0.0, 0.0, 0.0, 0.0, 150.0)
    shape = Shape(skew_us=skew)
    waves = load_waves(shape)
    waves[:, 5] = load_waves(shape, shape.times() + 150e-6)[:, 5]
    samples = open_waveforms(write_record(tmp_path, shape, waves).path).lines[0].samples
    assert samples[5:-5] == pytest.approx(load_waves(shape)[5:-5] / PEAK, abs=2e-3)


def test_a_clipped_channel_is_reported(tmp_path: Path) -> None:
    shape = Shape()
    waves = load_waves(shape, fault_s=0.1)
    waves[:, 1] = waves[:, 1].clip(-3 * PEAK[1], 3 * PEAK[1])
    record = open_waveforms(write_record(tmp_path, replace(shape), waves).path)
    assert [finding.message for finding in record.findings if finding.code == "clipped"] == [
        "ib is clipped at its extremes"
    ]
