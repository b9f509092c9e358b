"""Samples of any rate become the windows that a gateway would have sent; gaps and segments keep the contract."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domains.powerline.waveforms import RecordLine, Segment, messages_of, open_waveforms, skipped_parts, windows_of
from domains.powerline.waveforms.signal.resample import resampled
from model.spec import load_spec
from stream.contract import NS_PER_S
from stream.recordings.retime import window_head
from tests.domains.powerline.waveforms.record_samples import PEAK, Shape, load_waves, write_record

SPEC = load_spec("line")


def line_of(tmp_path: Path, shape: Shape) -> RecordLine:
    return open_waveforms(write_record(tmp_path, shape, load_waves(shape)).path).lines[0]


@pytest.mark.parametrize("hz", [16.7, 49.2, 50.0, 60.0])
@pytest.mark.parametrize("rate", [1000.0, 1600.0, 4000.0, 7777.0, 100_000.0])
def test_windows_hold_a_cycle_of_the_true_frequency(tmp_path: Path, rate: float, hz: float) -> None:
    shape = Shape(segments=((rate, int(0.5 * rate)),), frequency_hz=hz)
    run = windows_of(line_of(tmp_path, shape), SPEC)[0]
    assert run.rate_hz == pytest.approx(32 * hz, rel=2e-3)
    assert run.windows.shape == ((len(run.samples) - 32) // 8 + 1, 32, 6)
    assert run.windows.dtype == np.float32
    times = np.arange(len(run.samples)) / run.rate_hz
    ideal = load_waves(shape, times) / PEAK
    inner = slice(8, -8)
    assert np.abs(run.samples[inner] - ideal[inner]).max() < 0.01


@pytest.mark.parametrize("per_cycle", [4.0, 5.0, 6.5])
def test_few_samples_per_cycle_are_interpolated(tmp_path: Path, per_cycle: float) -> None:
    shape = Shape(segments=((50 * per_cycle, int(50 * per_cycle)),))
    record = open_waveforms(write_record(tmp_path, shape, load_waves(shape)).path)
    assert [finding.level for finding in record.findings if finding.code == "few-samples"] == ["note"]
    run = windows_of(record.lines[0], SPEC)[0]
    ideal = load_waves(shape, np.arange(len(run.samples)) / run.rate_hz) / PEAK
    error = np.abs(run.samples - ideal)
    # The filter spans 1.75 cycles on either side, where the waveform is continued by a reflection.
    assert error[64:-64].max() < 0.01
    assert error.max() < 0.15


@pytest.mark.parametrize("angle", range(0, 360, 15))
def test_few_samples_per_cycle_give_no_warning(tmp_path: Path, angle: int) -> None:
    shape = Shape(segments=((200.0, 200),))
    waves = load_waves(shape, shape.times() + angle / 360 / 50)
    record = open_waveforms(write_record(tmp_path, shape, waves).path)
    assert [str(finding) for finding in record.findings if finding.level == "warning"] == []


@given(
    segments=st.lists(
        st.tuples(st.sampled_from([50.0, 150.0, 200.0, 1200.0, 4800.0]), st.integers(1, 300)), min_size=1
    ),
    gaps=st.lists(st.sampled_from([0.0, 0.01]), min_size=20, max_size=20),
)
def test_every_segment_is_in_windows_or_skipped(segments: list[tuple[float, int]], gaps: list[float]) -> None:
    segments = segments[:20]
    shape = Shape(segments=tuple(segments), gaps_s=tuple(gaps[: len(segments)]))
    parts, first, next_s = [], 0, 0.0
    for (rate, count), gap_s in zip(shape.segments, shape.gaps_s, strict=True):
        parts.append(Segment(first, first + count, rate, next_s + gap_s))
        first, next_s = first + count, next_s + gap_s + count / rate
    line = RecordLine("l", np.zeros((first, 6), np.float32), (), {}, 0, tuple(parts), 50.0, 1.0, 1.0, "")
    runs, skipped = windows_of(line, SPEC), skipped_parts(line, SPEC)
    slow = [part for part in parts if part.rate_hz < 200]
    assert [one.start_s for one in skipped if one.too_slow] == [part.start_s for part in slow]
    for part in parts:
        if part not in slow:
            at_s = part.start_s + 1e-6
            inside = [run for run in runs if 0 <= at_s - run.start_ns / NS_PER_S < len(run.samples) / run.rate_hz]
            short = [one for one in skipped if not one.too_slow and one.start_s <= at_s <= one.stop_s + 2e-6]
            assert len(inside) + len(short) == 1


@settings(max_examples=40)
@given(harmonic=st.floats(20, 60), rate=st.floats(5000, 50_000))
def test_what_the_new_rate_cannot_hold_is_filtered_not_folded(harmonic: float, rate: float) -> None:
    hz = 50.0 * harmonic
    if hz > 0.45 * rate:
        hz = 0.45 * rate
    t = np.arange(int(rate * 0.2)) / rate
    samples = np.repeat(np.sin(2 * np.pi * hz * t)[:, None], 6, axis=1).astype(np.float32)
    out, _ = resampled(samples, [Segment(0, len(samples), rate, 0.0)], 1600.0)
    # 1600 Hz can represent 800 Hz; above 1.3 times that nothing may remain.
    if hz > 1.3 * 800:
        assert np.abs(out[16:-16]).max() < 0.01


@pytest.mark.parametrize("harmonic", [1, 3, 5, 7, 11])
def test_harmonics_below_pass_unchanged(harmonic: int) -> None:
    rate = 10_000.0
    t = np.arange(4000) / rate
    samples = np.repeat(np.sin(2 * np.pi * 50 * harmonic * t)[:, None], 6, axis=1).astype(np.float32)
    out, _ = resampled(samples, [Segment(0, 4000, rate, 0.0)], 1600.0)
    ideal = np.sin(2 * np.pi * 50 * harmonic * np.arange(len(out)) / 1600)
    assert np.abs(out[16:-16, 0] - ideal[16:-16]).max() < (0.01 if harmonic < 11 else 0.05)


def test_segments_of_other_rates_make_one_run(tmp_path: Path) -> None:
    shape = Shape(segments=((1200.0, 240), (4800.0, 960), (2400.0, 480)))
    runs = windows_of(line_of(tmp_path, shape), SPEC)
    assert len(runs) == 1
    times = np.arange(len(runs[0].samples)) / runs[0].rate_hz
    ideal = load_waves(shape, times) / PEAK
    assert len(times) == pytest.approx(0.6 * 1600, abs=3)
    assert np.abs(runs[0].samples[8:-8] - ideal[8:-8]).max() < 0.03


def test_a_gap_begins_a_run_whose_sequence_and_time_go_on(tmp_path: Path) -> None:
    shape = Shape(segments=((4800.0, 960), (4800.0, 960)), gaps_s=(0.0, 0.5))
    first, second = windows_of(line_of(tmp_path, shape), SPEC)
    assert first.sequence == 0
    missing_s = (second.start_ns - first.start_ns) / NS_PER_S
    assert missing_s == pytest.approx(0.7, abs=1e-3)
    assert second.sequence == pytest.approx(missing_s * 1600 / 8, abs=1)
    assert second.sequence > len(first.windows)


def test_the_shortest_gap_skips_a_number_so_that_a_worker_sees_it(tmp_path: Path) -> None:
    shape = Shape(segments=((4800.0, 960), (4800.0, 960)), gaps_s=(0.0, 0.001))
    first, second = windows_of(line_of(tmp_path, shape), SPEC)
    assert second.sequence >= len(first.windows) + 1


def test_a_segment_without_waveform_is_left_out_and_reported(tmp_path: Path) -> None:
    shape = Shape(segments=((4800.0, 960), (100.0, 300)))
    record = open_waveforms(write_record(tmp_path, shape, load_waves(shape)).path)
    assert "segment-too-slow" in {finding.code for finding in record.findings}
    runs = windows_of(record.lines[0], SPEC)
    assert sum(len(run.windows) for run in runs) == pytest.approx((0.2 * 1600 - 32) / 8 + 1, abs=1)


def test_messages_carry_the_runs_as_the_contract_wants(tmp_path: Path) -> None:
    shape = Shape(segments=((4800.0, 960), (4800.0, 960)), gaps_s=(0.0, 0.5))
    line = line_of(tmp_path, shape)
    runs = windows_of(line, SPEC)
    messages = list(messages_of(line, SPEC, windows_per_message=10))
    heads = [window_head(message.value) for message in messages]
    assert {message.line for message in messages} == {"record"}
    assert sum(message.count for message in messages) == sum(len(run.windows) for run in runs)
    starts = {head.sequence: head.start_ns for head in heads if head is not None}
    for run in runs:
        assert starts[run.sequence] == run.start_ns
    assert list(starts) == sorted(starts)


@pytest.mark.parametrize("hz", [50.0, 59.97, 60.0])
def test_window_times_do_not_depend_on_how_they_are_grouped(tmp_path: Path, hz: float) -> None:
    line = line_of(tmp_path, Shape(segments=((4800.0, 4800),), frequency_hz=hz))
    times = []
    for grouped in (1, 4, 100):
        found = []
        for message in messages_of(line, SPEC, windows_per_message=grouped):
            head = window_head(message.value)
            assert head is not None
            found += [head.start_ns + round(k * SPEC.hop * NS_PER_S / head.rate_hz) for k in range(head.count)]
        times.append(found)
    assert times[0] == times[1] == times[2]


def test_times_of_windows_are_those_of_the_record(tmp_path: Path) -> None:
    shape = replace(Shape(), start=("02/01/2024", "03:04:05.25"))
    run = windows_of(line_of(tmp_path, shape), SPEC)[0]
    assert run.start_ns == 1_704_164_645_250_000_000


def test_channels_come_in_the_order_of_the_spec(tmp_path: Path) -> None:
    turned = SPEC.model_copy(update={"channels": ("va", "vb", "vc", "ia", "ib", "ic")})
    line = line_of(tmp_path, Shape())
    assert np.array_equal(windows_of(line, turned)[0].windows[..., 3:], windows_of(line, SPEC)[0].windows[..., :3])
