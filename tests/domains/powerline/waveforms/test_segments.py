"""The times of samples if rates, numbers and time column contradict each other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domains.powerline.waveforms import open_waveforms
from domains.powerline.waveforms.formats.segments import SampleClock, find_segments, stretches
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


def test_a_time_column_that_contradicts_the_rate_is_reported(tmp_path: Path) -> None:
    written = healthy(tmp_path)
    written.path.write_text(written.path.read_text().replace("4800,960", "2400,960"))
    record = open_waveforms(written.path)
    assert record.segments[0].rate_hz == 2400
    (finding,) = [finding for finding in record.findings if finding.code == "rate-contradicts-times"]
    assert "the header states 2400 Hz, the time column gives 4807" in finding.message


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


def test_a_time_that_goes_back_begins_a_new_segment_and_is_reported() -> None:
    stamps = np.concatenate([np.arange(300), np.arange(200, 500)]) * 1000
    segments, findings = find_segments(clock(stamps, rate=1000.0))
    assert [len(part) for part in segments] == [300, 300]
    assert len(stretches(segments)) == 2
    assert "time-goes-back" in {finding.code for finding in findings}
