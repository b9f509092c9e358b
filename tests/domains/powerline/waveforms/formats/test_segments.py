"""The times of samples if rates, numbers and time column contradict each other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domains.powerline.waveforms import Finding, Record, open_waveforms
from domains.powerline.waveforms.formats.segments import SampleClock, find_segments
from domains.powerline.waveforms.stretches import stretches
from tests.domains.powerline.waveforms.record_samples import Shape, healthy, load_waves, write_record

RATE = 4800.0


def clock(
    stamps_us: np.ndarray | None,  # type: ignore[type-arg]
    *,
    rate: float = 0.0,
    numbers: np.ndarray | None = None,  # type: ignore[type-arg]
    rows: int = 0,
) -> SampleClock:
    count = rows or len(stamps_us if stamps_us is not None else numbers if numbers is not None else ())
    return SampleClock(count, [(rate, count)], numbers, stamps_us, 1e-6)


@settings(max_examples=80)
@given(
    rates=st.lists(st.sampled_from([600.0, 1000.0, 1200.0, 4800.0, 6400.0]), min_size=1, max_size=4),
    gaps=st.lists(st.sampled_from([0.0, 0.0, 0.05, 2.0]), min_size=4, max_size=4),
    counts=st.lists(st.integers(40, 300), min_size=4, max_size=4),
)
def test_rates_and_gaps_are_found_in_whole_microseconds(
    rates: list[float], gaps: list[float], counts: list[int]
) -> None:
    shape = Shape(segments=tuple(zip(rates, counts, strict=False)), gaps_s=tuple(gaps[: len(rates)]))
    stamps = np.round(shape.times() * 1e6).astype(np.int64)
    segments, _ = find_segments(clock(stamps))
    times = np.concatenate([part.start_s + np.arange(len(part)) / part.rate_hz for part in segments])
    assert [part.first for part in segments] == [0, *(part.stop for part in segments[:-1])]
    assert len(times) == len(stamps)
    # A change of rate is located to within a few of its steps; every time is within a step of the true one.
    error = np.abs(times - (shape.times() - shape.times()[0]))
    assert np.median(error) < 2e-6
    assert error.max() < 5 / min(rates)
    expected_gaps = sum(gap > 0 for gap in gaps[1 : len(rates)])
    assert len(stretches(segments)) == expected_gaps + 1


def test_missing_sample_numbers_are_a_gap_where_there_are_no_times() -> None:
    numbers = np.concatenate([np.arange(1, 301), np.arange(401, 701)])
    segments, findings = find_segments(clock(None, rate=RATE, numbers=numbers))
    assert [len(part) for part in segments] == [300, 300]
    assert segments[1].start_s == pytest.approx(400 / RATE)
    assert [finding.code for finding in findings] == ["gap"]


def test_sample_numbers_that_do_not_count_are_passed_over() -> None:
    segments, findings = find_segments(clock(None, rate=RATE, numbers=np.zeros(600, np.int64)))
    assert [len(part) for part in segments] == [600]
    assert "sample-numbers" in {finding.code for finding in findings}


def rewritten(path: Path, stamps: np.ndarray) -> None:  # type: ignore[type-arg]
    """Replace the times of a binary record with six analogue channels and one word of status."""
    row = np.dtype([("n", "<u4"), ("t", "<u4"), ("v", "<i2", (6,)), ("d", "<u2", (1,))])
    data = path.with_suffix(".dat")
    rows = np.frombuffer(data.read_bytes(), row).copy()
    rows["t"] = np.asarray(stamps).astype(np.uint32)
    data.write_bytes(rows.tobytes())


def about_times(record: Record) -> list[Finding]:
    codes = {"rate-contradicts-times", "times-unusable", "times-repaired", "time-unit", "time-column", "gap",
             "time-goes-back", "several-rates", "sample-numbers", "rate-from-times"}  # fmt: skip
    return [finding for finding in record.findings if finding.code in codes]


@pytest.mark.parametrize("stated", ["1", "50", "96", "2400", "9600", "4000"])
def test_the_signal_decides_for_regular_times_against_a_wrong_rate(tmp_path: Path, stated: str) -> None:
    written = healthy(tmp_path)
    written.path.write_text(written.path.read_text().replace("4800,960", f"{stated},960"))
    record = open_waveforms(written.path)
    assert record.segments[0].rate_hz == pytest.approx(4800, rel=1e-4)
    (finding,) = about_times(record)
    assert finding.level == "warning"
    assert f"the header states {stated} Hz, the time column gives" in finding.message
    assert "at which the signal has the mains frequency" in finding.message


@pytest.mark.parametrize("factor", [0.001, 0.1, 0.5, 3.0, 1000.0, 0.0048])
def test_the_signal_decides_for_the_rate_against_regular_times(tmp_path: Path, factor: float) -> None:
    shape = Shape()
    written = write_record(tmp_path, shape, load_waves(shape))
    rewritten(written.path, np.round(shape.times() * 1e6 * factor))
    record = open_waveforms(written.path)
    assert [(part.rate_hz, len(part)) for part in record.segments] == [(4800, 960)]
    assert len(about_times(record)) == 1
    assert not [f for f in record.findings if f.level == "warning" and f not in about_times(record)]


@pytest.mark.parametrize("factor", [0.001, 1000.0])
@pytest.mark.parametrize("rate", [1000.0, 4800.0, 20_000.0])
def test_the_signal_shows_the_unit_of_times_without_a_rate_in_the_header(
    tmp_path: Path, rate: float, factor: float
) -> None:
    if rate > 1000 and factor < 1:
        return
    shape = Shape(rates="none", segments=((rate, 960),))
    written = write_record(tmp_path, shape, load_waves(shape))
    rewritten(written.path, np.round(shape.times() * 1e6 * factor))
    record = open_waveforms(written.path)
    assert [len(part) for part in record.segments] == [960]
    assert record.segments[0].rate_hz == pytest.approx(rate, rel=1e-3)
    assert "time-unit" in {finding.code for finding in record.findings}


@pytest.mark.parametrize(
    "jumps", [{500: 0.3}, {500: 3600.0}, {300: 0.007}, {200: 1.013, 500: 0.207, 800: 5.1}], ids=str
)
def test_times_that_jump_while_the_waveforms_run_on_are_wrong(tmp_path: Path, jumps: dict[int, float]) -> None:
    shape = Shape()
    written = write_record(tmp_path, shape, load_waves(shape))
    late = sum(np.where(np.arange(960) >= place, seconds, 0.0) for place, seconds in jumps.items())
    rewritten(written.path, np.round((shape.times() + late) * 1e6) % 2**32)
    record = open_waveforms(written.path)
    assert [(part.rate_hz, len(part)) for part in record.segments] == [(4800, 960)]
    (finding,) = about_times(record)
    assert (finding.level, finding.code) == ("warning", "times-unusable")
    assert f"the times jump at sample {min(jumps) + 1}" in finding.message


@pytest.mark.parametrize("turn", [0.25, 0.5, 0.7])
def test_times_that_jump_with_the_waveforms_are_a_gap(tmp_path: Path, turn: float) -> None:
    shape = Shape()
    seconds = shape.times() + np.where(np.arange(960) >= 500, (12 + turn) / 50, 0.0)
    turns = 2 * np.pi * 50 * seconds[:, None] - 2 * np.pi * np.array([0, 1, 2, 0, 1, 2]) / 3
    written = write_record(tmp_path, shape, np.cos(turns) * np.array([100.0] * 3 + [1e5] * 3))
    rewritten(written.path, np.round(seconds * 1e6))
    record = open_waveforms(written.path)
    assert [len(part) for part in record.segments] == [500, 460]
    assert [finding.code for finding in about_times(record)] == ["gap"]


def test_wrapped_times_of_several_rates_and_a_gap_within_a_wrap() -> None:
    steps = np.concatenate([np.full(480, 1 / 4800), np.full(240, 1 / 1200), np.full(480, 1 / 4800)])
    steps[900] += 0.02
    seconds = np.cumsum(steps) - steps[0]
    stamps = np.round(seconds * 1e6).astype(np.int64) % 2**16
    segments, findings = find_segments(
        SampleClock(1200, [(4800.0, 480), (1200.0, 720), (4800.0, 1200)], None, stamps, 1e-6)
    )
    assert [(part.first, part.rate_hz) for part in segments] == [(0, 4800), (480, 1200), (720, 4800), (900, 4800)]
    for part in segments:
        assert part.start_s == pytest.approx(seconds[part.first], abs=1e-3)
    assert [finding.code for finding in findings] == ["times-repaired", "several-rates", "gap"]


def test_without_a_mains_signal_the_header_s_rate_is_used_and_the_contradiction_is_a_warning() -> None:
    segments, findings = find_segments(clock(np.arange(600) * 333, rate=1000.0))
    assert segments[0].rate_hz == 1000
    assert [(finding.level, finding.code) for finding in findings] == [("warning", "rate-contradicts-times")]
    assert "--rate" in findings[0].message


def test_samples_per_cycle_in_place_of_the_rate_are_multiplied(tmp_path: Path) -> None:
    written = healthy(tmp_path)
    written.path.write_text(written.path.read_text().replace("4800,960", "96,960"))
    rewritten(written.path, np.zeros(960))
    record = open_waveforms(written.path)
    assert record.segments[0].rate_hz == 4800
    assert "rate-implausible" in {finding.code for finding in record.findings}


def test_times_that_run_over_32_bits_go_on(tmp_path: Path) -> None:
    shape = Shape(rates="none")
    written = write_record(tmp_path, shape, load_waves(shape))
    path = written.path.with_suffix(".dat")
    row = np.dtype([("n", "<u4"), ("t", "<u4"), ("v", "<i2", (6,)), ("d", "<u2", (1,))])
    rows = np.frombuffer(path.read_bytes(), row).copy()
    rows["t"] += np.uint32(2**32 - 100_000)
    path.write_bytes(rows.tobytes())
    segments = open_waveforms(written.path).segments
    assert [len(part) for part in segments] == [960]
    assert segments[0].rate_hz == pytest.approx(RATE, rel=1e-5)


@settings(max_examples=200)
@given(
    modulus=st.sampled_from([2**16, 2**24, 2**31, 2**32, 10**4, 10**5, 10**6, 999_999 + 1, 60 * 10**6, 3_600_000]),
    start=st.integers(0, 2**32),
    rate=st.sampled_from([600.0, 1000.0, 1200.0, 4000.0, 4800.0, 6400.0, 10_000.0]),
    count=st.integers(200, 3000),
)
def test_a_wrapped_counter_is_one_stretch(modulus: int, start: int, rate: float, count: int) -> None:
    stamps = (start % modulus + np.round(np.arange(count) * 1e6 / rate).astype(np.int64)) % modulus
    segments, findings = find_segments(clock(stamps, rate=rate))
    assert [(len(part), part.rate_hz) for part in segments] == [(count, rate)]
    assert len(findings) <= 1
    # Without a rate in the header, the times give it.
    segments, _ = find_segments(clock(stamps))
    assert [len(part) for part in segments] == [count]
    assert segments[0].rate_hz == pytest.approx(rate, rel=2e-3)


def _repeated(t: np.ndarray, _: np.random.Generator) -> np.ndarray:  # type: ignore[type-arg]
    return np.repeat(t[::2], 2)[: len(t)]


def _spikes(t: np.ndarray, rng: np.random.Generator) -> np.ndarray:  # type: ignore[type-arg]
    t = t.copy()
    t[rng.choice(len(t), 5, replace=False)] += 10**7
    return t


def _backwards(t: np.ndarray, _: np.random.Generator) -> np.ndarray:  # type: ignore[type-arg]
    return np.concatenate([t[: len(t) // 2], t[len(t) // 3 :]])[: len(t)]


WRONG = {
    "repeated in pairs": _repeated,
    "single spikes": _spikes,
    "one step back": _backwards,
    "still": lambda t, _: np.full_like(t, 12345),
    "zero": lambda t, _: np.zeros_like(t),
    "random": lambda t, rng: rng.integers(0, 2**32, len(t)),
    "descending": lambda t, _: t[::-1].copy(),
    "still in the middle": lambda t, _: np.where((t > t[200]) & (t < t[300]), t[200], t),
    "jumps every 66 samples": lambda t, _: t + np.arange(len(t)) // 66 * 7000,
    "back every 66 samples": lambda t, _: t - np.arange(len(t)) // 66 * 60_000,
    "coarse": lambda t, _: t // 10_000 * 10_000,
    "milliseconds": lambda t, _: t // 1000,
    "nanoseconds": lambda t, _: t * 1000,
    "sample numbers": lambda t, _: np.arange(1, len(t) + 1),
    "odd modulus": lambda t, _: t % 54_321,
    "modulus of the milliseconds": lambda t, _: t // 1000 % 1000,
    "jitter": lambda t, rng: t + rng.integers(-300, 300, len(t)),
    "one zero": lambda t, _: np.where(np.arange(len(t)) == 400, 0, t),
    "first is zero": lambda t, _: np.where(np.arange(len(t)) == 0, 0, t + 5_000_000_000),
}


@pytest.mark.parametrize("kind", WRONG)
@pytest.mark.parametrize("rate", [1000.0, 1600.0, 4800.0])
def test_wrong_times_are_one_stretch_and_one_finding(kind: str, rate: float) -> None:
    true = np.round(np.arange(1500) * 1e6 / rate).astype(np.int64)
    stamps = WRONG[kind](true, np.random.default_rng(1))
    segments, findings = find_segments(clock(np.asarray(stamps, np.int64), rate=rate))
    assert [(len(part), part.rate_hz) for part in segments] == [(1500, rate)]
    assert len(findings) <= 1, findings
    assert findings or kind in ("jitter", "still in the middle"), "a repaired time column is a finding"


@pytest.mark.parametrize("kind", ["single spikes", "one zero", "first is zero"])
@pytest.mark.parametrize("rate", [1000.0, 4800.0])
def test_single_wrong_times_without_a_rate_in_the_header_are_passed_over(kind: str, rate: float) -> None:
    true = np.round(np.arange(1500) * 1e6 / rate).astype(np.int64)
    stamps = WRONG[kind](true, np.random.default_rng(1))
    segments, findings = find_segments(clock(np.asarray(stamps, np.int64)))
    assert [len(part) for part in segments] == [1500]
    assert segments[0].rate_hz == pytest.approx(rate, rel=1e-3)
    assert [finding.code for finding in findings] == ["times-repaired", "rate-from-times"]


@settings(max_examples=100)
@given(
    gaps=st.lists(st.tuples(st.integers(50, 1400), st.sampled_from([0.01, 0.3, 2.0, 60.0])), min_size=1, max_size=4),
    rate=st.sampled_from([1000.0, 4800.0]),
    form=st.sampled_from(["plain", "32 bits", "nanoseconds", "milliseconds"]),
)
def test_true_gaps_are_found(gaps: list[tuple[int, float]], rate: float, form: str) -> None:
    places = {place // 50 * 50: length for place, length in gaps}
    steps = np.full(1500, 1 / rate)
    for place, length in places.items():
        steps[place] += length
    seconds = np.cumsum(steps) - steps[0]
    unit = {"nanoseconds": 1e-9, "milliseconds": 1e-3}.get(form, 1e-6)
    stamps = np.round(seconds / unit).astype(np.int64)
    stamps = (stamps + 2**32 - 100_000) % 2**32 if form == "32 bits" else stamps
    segments, findings = find_segments(SampleClock(1500, [(rate, 1500)], None, stamps, 1e-6))
    if form == "milliseconds" and rate > 1000:
        return
    assert [part.first for part in segments] == [0, *sorted(places)]
    for part in segments:
        assert part.start_s == pytest.approx(seconds[part.first], abs=2e-3)
    assert [finding.code for finding in findings if finding.code != "time-unit"] == ["gap"] * len(places)


def test_a_change_of_rate_that_the_header_does_not_state_is_found() -> None:
    seconds = np.concatenate([np.arange(480) / 4800, 0.1 + np.arange(240) / 1200])
    stamps = np.round(seconds * 1e6).astype(np.int64)
    segments, findings = find_segments(clock(stamps, rate=4800.0))
    assert [round(part.rate_hz, -2) for part in segments] == [4800, 1200]
    assert [finding.code for finding in findings] == ["rate-contradicts-times", "several-rates"]


def test_a_time_that_goes_back_is_reported_and_the_rate_is_used() -> None:
    stamps = np.concatenate([np.arange(300), np.arange(200, 500)]) * 1000
    segments, findings = find_segments(clock(stamps, rate=1000.0))
    assert [len(part) for part in segments] == [600]
    assert [finding.message for finding in findings] == [
        "the times go back at sample 301: the header's rate is used instead of the time column"
    ]


def test_sample_numbers_that_wrap_are_no_gap() -> None:
    for modulus in (2**16, 10_000, 100_000):
        numbers = (np.arange(1000) + modulus - 500) % modulus
        segments, findings = find_segments(clock(None, rate=RATE, numbers=numbers))
        assert ([len(part) for part in segments], findings) == ([1000], [])
