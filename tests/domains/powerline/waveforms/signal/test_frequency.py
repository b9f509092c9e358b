"""The mains frequency is measured on steady cycles; what is no mains has none, and short records take a nominal one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from domains.powerline.waveforms import Segment, open_waveforms
from domains.powerline.waveforms.signal.frequency import (
    FrequencyEstimate,
    PhaseWaves,
    line_frequency,
    mains_frequency,
    steady_sine,
)
from tests.domains.powerline.waveforms.record_samples import Shape, load_waves, write_record

Array = NDArray[np.float64]
RATES = (200.0, 240.0, 960.0, 1000.0, 4000.0, 6400.0, 30_000.0)


def three_phases(hz: float, seconds: float, rate: float, angle: float = 0.0, start_s: float = 0.0) -> Array:
    t = start_s + np.arange(round(seconds * rate)) / rate
    return np.asarray(np.cos(2 * np.pi * (hz * t[:, None] - np.arange(3) / 3) + angle))


def whole(samples: Array, rate: float, name: str = "") -> PhaseWaves:
    return PhaseWaves(samples, [Segment(0, len(samples), rate, 0.0)], name)


def codes(estimate: FrequencyEstimate) -> list[str]:
    return [finding.code for finding in estimate.findings]


@settings(max_examples=40)
@given(
    nominal=st.sampled_from([16.7, 25.0, 50.0, 60.0]),
    deviation=st.floats(-0.04, 0.04),
    rate=st.sampled_from(RATES),
    cycles=st.floats(8, 60),
    noise=st.floats(0, 0.1),
    fifth=st.floats(0, 0.15),
    offset=st.floats(-0.2, 0.2),
    event=st.floats(0.65, 1),
    sag=st.floats(0, 1.8),
    phase=st.integers(0, 2),
    seed=st.integers(0, 1000),
)
def test_steady_cycles_before_the_event_give_the_frequency(
    nominal: float,
    deviation: float,
    rate: float,
    cycles: float,
    noise: float,
    fifth: float,
    offset: float,
    event: float,
    sag: float,
    phase: int,
    seed: int,
) -> None:
    hz = nominal * (1 + deviation)
    rng = np.random.default_rng(seed)
    angle = rng.uniform(0, 6)
    waves = three_phases(hz, cycles / hz, rate, angle)
    if 5.5 * hz < rate / 2:
        waves += fifth * three_phases(5 * hz, cycles / hz, rate)
    waves[int(event * len(waves)) :, phase] *= sag
    waves += offset + noise * rng.standard_normal(waves.shape)
    estimate = mains_frequency([whole(waves, rate)], nominal)
    assert estimate.hz == pytest.approx(hz, rel=0.01)
    assert codes(estimate) == ([] if abs(estimate.hz - nominal) <= 2 else ["frequency-contradicts-header"])


@settings(max_examples=40)
@given(
    hz=st.floats(10.5, 78),
    rate=st.sampled_from([960.0, 4000.0, 6400.0]),
    cycles=st.floats(15, 60),
    seed=st.integers(0, 99),
)
def test_a_frequency_far_from_nominal_is_proved_by_many_clean_cycles(
    hz: float, rate: float, cycles: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    waves = three_phases(hz, cycles / hz, rate) + 0.01 * rng.standard_normal((round(cycles / hz * rate), 3))
    assert mains_frequency([whole(waves, rate)]).hz == pytest.approx(hz, rel=0.005)


@settings(max_examples=50)
@given(
    true=st.sampled_from([50.0, 60.0]),
    header=st.sampled_from([50.0, 60.0, None]),
    rate=st.sampled_from([960.0, 1000.0, 4000.0, 30_000.0]),
    cycles=st.floats(1.8, 3),
    angle=st.floats(0, 6.3),
    event=st.floats(0.3, 1.0),
    rise=st.floats(0.3, 10),
    seed=st.integers(0, 99),
)
def test_a_short_record_has_a_nominal_frequency(
    true: float,
    header: float | None,
    rate: float,
    cycles: float,
    angle: float,
    event: float,
    rise: float,
    seed: int,
) -> None:
    waves = three_phases(true, cycles / true, rate, angle)
    waves[int(event * len(waves)) :, seed % 3] *= rise
    waves += 0.01 * np.random.default_rng(seed).standard_normal(waves.shape)
    assert mains_frequency([whole(waves, rate)], header).hz in (50.0, 60.0)
    if header == true:
        assert mains_frequency([whole(waves, rate)], header).hz == true


@pytest.mark.parametrize("rate", [200.0, 240.0, 960.0, 4000.0])
@pytest.mark.parametrize("true", [50.0, 60.0])
@pytest.mark.parametrize("header", [50.0, 60.0, None, 0.0, 5000.0])
def test_two_healthy_cycles_distinguish_50_and_60_hz(true: float, header: float | None, rate: float) -> None:
    estimate = mains_frequency([whole(three_phases(true, 2 / true + 2 / rate, rate, 0.7), rate)], header)
    assert estimate.hz == true
    assert ("frequency-contradicts-header" in codes(estimate)) == (header in (50.0, 60.0) and header != true)
    assert ("header-frequency" in codes(estimate)) == (header == 5000.0)


def no_mains(kind: str, count: int, rng: np.random.Generator) -> Array:
    t = np.linspace(0, 1, count)[:, None]
    white = rng.standard_normal((count, 3))
    kinds = {
        "dust": rng.integers(-1, 2, (count, 3)).astype(np.float64),
        "noise": white,
        "direct": 60 + 0.01 * white,
        "ramp": t * np.array([1, 2, -3]) + 1e-3 * white,
        "magnitude": np.where(t < 0.4, 300.0, 3000.0) + 1.0 * white,
        "ripple": 63_500 + 40 * np.cos(2 * np.pi * 50 * t) + 0 * white,
        "decay": np.exp(-t * 5) + 1e-3 * white,
        "drift": np.cumsum(white, axis=0),
        "zero": 0 * white,
    }
    return kinds[kind]


@settings(max_examples=80)
@given(
    kind=st.sampled_from(["dust", "noise", "direct", "ramp", "magnitude", "ripple", "decay", "drift", "zero"]),
    rate=st.sampled_from(RATES),
    seconds=st.floats(0.02, 3),
    header=st.sampled_from([None, 50.0, 60.0]),
    seed=st.integers(0, 1000),
)
def test_what_is_no_mains_has_no_frequency_of_its_own(
    kind: str, rate: float, seconds: float, header: float | None, seed: int
) -> None:
    samples = no_mains(kind, max(4, round(seconds * rate)), np.random.default_rng(seed))
    assert steady_sine(samples, whole(samples, rate).segments, header) is None
    estimate = mains_frequency([whole(samples, rate)], header)
    assert estimate.hz == (header or 50.0)
    assert estimate.source == ("assumed" if header is None else "header")


@pytest.mark.parametrize("tau", [0.02, 0.05, 0.1])
@pytest.mark.parametrize("hz", [49.7, 50.0, 60.2])
def test_the_dc_offset_of_fault_currents_does_not_shift_the_frequency(hz: float, tau: float) -> None:
    rate, before = 4000.0, 0.1
    t = np.arange(int(0.5 * rate)) / rate
    waves = three_phases(hz, 0.5, rate)
    fault = 10 * three_phases(hz, 0.5, rate, -1.35)
    jump = (waves - fault)[int(before * rate)]
    later = t >= before
    waves[later] = (fault + jump * np.exp(-np.clip(t - before, 0, None)[:, None] / tau))[later]
    assert mains_frequency([whole(waves, rate)]).hz == pytest.approx(hz, abs=0.02)


@pytest.mark.parametrize("dead_s", [0.05, 0.5, 3.0, 9.0])
def test_a_line_that_is_dead_at_first_is_measured_once_it_is_energised(dead_s: float) -> None:
    rate = 1000.0
    live = three_phases(59.95, 0.5, rate)
    waves = np.concatenate([1e-4 * np.random.default_rng(1).standard_normal((int(dead_s * rate), 3)), live])
    assert mains_frequency([whole(waves, rate)], 50.0).hz == pytest.approx(59.95, abs=0.02)


def test_voltages_precede_currents_and_dust_is_passed_over() -> None:
    rate = 1000.0
    dust = np.random.default_rng(1).integers(-1, 2, (500, 3)).astype(np.float64)
    sets = [whole(dust, rate, "VT"), whole(three_phases(50.2, 0.5, rate), rate, "bus"), whole(dust, rate)]
    estimate = mains_frequency(sets, 50.0)
    assert (estimate.hz, estimate.source) == (pytest.approx(50.2, abs=0.01), "signal")
    assert "of bus" in estimate.why
    assert mains_frequency([whole(dust, rate)], 60.0).source == "header"


def test_a_machine_of_its_own_frequency_keeps_it_and_others_share_the_record_s() -> None:
    rate = 1000.0
    grid, machine = whole(three_phases(50.0, 1, rate), rate), whole(three_phases(34.3, 1, rate), rate)
    estimate = mains_frequency([machine, grid], 50.0)
    assert estimate.hz == 50.0
    assert line_frequency([machine], estimate) == pytest.approx(34.3, abs=0.01)
    assert line_frequency([grid], estimate) == 50.0
    assert line_frequency([whole(0 * grid.samples, rate)], estimate) == 50.0


def test_a_frequency_that_no_grid_has_makes_the_sampling_rate_doubtful() -> None:
    # The file says 1000 Hz, the signal was sampled at 1200 Hz.
    estimate = mains_frequency([whole(three_phases(50.0, 1, 1200.0), 1000.0)], 50.0)
    assert estimate.hz == pytest.approx(41.667, abs=0.01)
    assert codes(estimate) == ["frequency-contradicts-header", "frequency-unusual"]


@pytest.mark.parametrize("factor", [2, 4, 5, 8])
@pytest.mark.parametrize("true", [50.0, 60.0])
def test_a_multiple_of_the_true_sampling_rate_is_named(true: float, factor: int) -> None:
    estimate = mains_frequency([whole(three_phases(true, 1, 2400.0), 2400.0 * factor)], true)
    if factor * true <= 400:
        assert f"a steady sine of {factor * true:g} Hz" in estimate.findings[0].message
    assert (estimate.hz, codes(estimate)) == (true, ["frequency-unknown"])


def test_a_given_frequency_is_used_without_a_measurement() -> None:
    estimate = mains_frequency([whole(three_phases(60.0, 1, 1000.0), 1000.0)], 50.0, 49.5)
    assert (estimate.hz, estimate.source, codes(estimate)) == (49.5, "given", [])


@pytest.mark.parametrize("header", [0.0, 5000.0, 60.0, 50.0])
@pytest.mark.parametrize("true", [49.8, 59.9])
def test_a_record_s_header_is_checked_against_its_signal(tmp_path: Path, header: float, true: float) -> None:
    shape = Shape(frequency_hz=true, header_hz=header)
    record = open_waveforms(write_record(tmp_path, shape, load_waves(shape, fault_s=0.12)).path)
    assert record.frequency_hz == pytest.approx(true, abs=0.01)
    warned = {f.code for f in record.findings if f.level == "warning" and f.code.startswith("frequency")}
    assert warned == ({"frequency-contradicts-header"} if header in (50.0, 60.0) and abs(header - true) > 2 else set())


def test_a_line_of_its_own_frequency_is_judged_at_it(tmp_path: Path) -> None:
    names = ("G1 IA", "G1 IB", "G1 IC", "G1 VA", "G1 VB", "G1 VC", "L2 IA", "L2 IB", "L2 IC", "L2 VA", "L2 VB", "L2 VC")
    form = Shape(names=names, phases=("A", "B", "C") * 4, circuits=("",) * 12, units=(*("A",) * 3, *("V",) * 3) * 2)
    grid = load_waves(Shape(segments=((4800.0, 4800),), frequency_hz=50.0))
    machine = 0.9 * load_waves(Shape(segments=((4800.0, 4800),), frequency_hz=43.0))
    form = replace(form, segments=((4800.0, 4800),), skew_us=(0.0,) * 12)
    record = open_waveforms(write_record(tmp_path, form, np.hstack([machine, grid])).path)
    assert record.frequency_hz == 50.0
    assert [line.frequency_hz for line in record.lines] == [pytest.approx(43.0, abs=0.01), 50.0]
    assert [f.where for f in record.findings if f.code == "frequency-of-line"] == ["G1"]
