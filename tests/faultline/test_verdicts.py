"""Verdicts on lines: "no fault" is an answer of the model, and a line that it could not judge is "not judged"."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from domains.powerline.waveforms import CHANNELS, ReadOptions, Record, RecordLine, Segment
from faultline.answers import FileResult, LineAnswer
from faultline.file_detection import answer_line, detect
from model.engine import Engine
from stream.contract import NS_PER_S
from tests.domains.powerline.waveforms.record_samples import Shape, load_waves, write_record

HZ = 50.0
CONFIRM = 3
"""Number of windows that confirm a fault in the spec `line`."""
DROP = 0.4
"""Voltage of a faulty phase, per unit."""
TURNS = np.exp(-2j * np.pi * np.arange(3) / 3)


def phasors(fault: str = "") -> NDArray[np.complex128]:
    """Return the phasors of a line per unit, (6,): healthy, or with a fault such as ``BCG``."""
    currents, voltages = 0.5 * TURNS * np.exp(-0.3j), TURNS.copy()
    hit = [k for k in range(3) if "ABC"[k] in fault]
    if len(hit) == 2 and "G" not in fault:
        p, q = hit
        loop = 6 * (TURNS[p] - TURNS[q]) * np.exp(-1.35j) / np.sqrt(3)
        middle = (TURNS[p] + TURNS[q]) / 2
        currents[p], currents[q] = loop, -loop
        voltages[hit] = middle + DROP * (TURNS[hit] - middle)
    else:
        currents[hit] = 6 * TURNS[hit] * np.exp(-1.35j)
        voltages[hit] *= DROP
    return np.concatenate([currents, voltages])


def waves(times: NDArray[np.float64], fault: str = "", begin_s: float = 0.2, end_s: float = 0.4) -> NDArray[np.float32]:
    """Return a line per unit, float32 (t, 6), with a fault between two times."""
    turning = np.exp(2j * np.pi * HZ * times)[:, None]
    faulty = (times >= begin_s) & (times < end_s)
    values = np.where(faulty[:, None], phasors(fault), phasors()) * turning
    noise = np.random.default_rng(3).normal(0, 0.002, values.shape)
    return np.asarray(values.real + noise, np.float32)


def made_line(samples: NDArray[np.float32], rate_hz: float, segments: tuple[Segment, ...] = ()) -> RecordLine:
    return RecordLine(
        name="feeder",
        samples=samples,
        missing=(),
        sources={name: f"{number} {name}" for number, name in enumerate(CHANNELS, 1)},
        start_ns=1_700_000_000 * NS_PER_S,
        segments=segments or (Segment(0, len(samples), rate_hz, 0.0),),
        frequency_hz=HZ,
        current_base=565.7,
        voltage_base=89_815.0,
        base_source="",
    )


def sampled(rate_hz: float, seconds: float, fault: str = "", end_s: float = 0.4) -> RecordLine:
    return made_line(waves(np.arange(round(rate_hz * seconds)) / rate_hz, fault, end_s=end_s), rate_hz)


def noise(rate_hz: float, seconds: float) -> NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal((round(rate_hz * seconds), 6)).astype(np.float32)


def answered(record: Record, line: RecordLine, engine: Engine) -> LineAnswer:
    return answer_line(record, line, engine, engine.spec)


def texts(answer: LineAnswer, code: str) -> list[str]:
    return [finding.message for finding in answer.findings if finding.code == code]


# Lines that are not judged ------------------------------------------------------------------------------------------


def test_a_record_shorter_than_a_cycle_is_not_judged(record: Record, engine: Engine) -> None:
    answer = answered(record, sampled(4800.0, 0.015), engine)
    assert (answer.verdict, answer.windows) == ("not judged", 0)
    assert answer.reason == "the record lasts 14.8 ms, too short for a window of 20 ms: give a longer record"


def test_parts_shorter_than_a_cycle_are_not_judged(record: Record, engine: Engine) -> None:
    segments = tuple(Segment(k * 60, (k + 1) * 60, 4800.0, k * 0.02) for k in range(5))
    line = made_line(waves(np.arange(300) / 4800), 4800.0, segments)
    answer = answered(record, line, engine)
    assert answer.verdict == "not judged"
    assert "the longest part without a gap lasts 12.3 ms" in answer.reason


@pytest.mark.parametrize("per_cycle", [1.0, 2.0, 3.0, 3.8])
def test_too_slow_a_rate_is_not_judged(record: Record, engine: Engine, per_cycle: float) -> None:
    answer = answered(record, sampled(per_cycle * HZ, 1.0, "AG"), engine)
    assert answer.verdict == "not judged"
    assert answer.reason.startswith(f"{per_cycle:.1f} samples per cycle are too few, a waveform needs 4: ")


def test_too_few_windows_to_confirm_a_fault_are_not_judged(record: Record, engine: Engine) -> None:
    # Three windows last a cycle and two hops of a quarter cycle.
    short, enough = sampled(4800.0, 0.029), sampled(4800.0, 0.031)
    answer = answered(record, short, engine)
    assert (answer.verdict, answer.windows) == ("not judged", CONFIRM - 1)
    assert answer.reason == "the record has only 2 windows, and a fault is confirmed by 3 windows within 4: " + (
        "give a longer record"
    )
    assert answered(record, enough, engine).verdict == "no fault"


def test_windows_that_are_all_out_of_distribution_are_not_judged(record: Record, engine: Engine) -> None:
    line = sampled(4800.0, 0.5)
    # A third of the true frequency: every window holds three cycles.
    answer = answered(record, replace(line, frequency_hz=HZ / 3), engine)
    assert (answer.verdict, answer.judged_windows) == ("not judged", 0)
    count = answer.windows
    assert answer.outcomes["unknown"] == count > 20
    assert answer.reason == (
        f"all {count} windows are out of distribution: neither currents nor voltages have a waveform of 16.67 Hz; "
        "check the channels, --frequency and --rate"
    )


def test_noise_of_which_some_windows_pass_by_chance_is_not_judged(record: Record, engine: Engine) -> None:
    answer = answered(record, made_line(noise(4800.0, 2.0), 4800.0), engine)
    assert answer.verdict == "not judged"
    assert answer.reason.startswith(
        f"only {answer.judged_windows} of {answer.windows} windows could be judged: neither"
    )


@pytest.mark.parametrize(
    ("column", "factor", "remedy"),
    [(slice(0, 3), 1000.0, "--current-base"), (slice(3, 6), 8.0, "--voltage-base")],
)
def test_a_wrong_base_is_named(record: Record, engine: Engine, column: slice, factor: float, remedy: str) -> None:
    line = sampled(4800.0, 0.5)
    line.samples[:, column] *= factor
    answer = answered(record, line, engine)
    assert answer.verdict == "not judged"
    assert answer.reason.endswith(f"check {remedy}")


def test_a_line_that_is_switched_off_is_not_judged(record: Record, engine: Engine) -> None:
    line = sampled(4800.0, 0.5)
    answer = answered(record, replace(line, samples=line.samples * np.float32(1e-5)), engine)
    assert answer.verdict == "not judged"
    assert "the line is switched off, or its channels have no waveform" in answer.reason


@pytest.mark.parametrize("value", [0.0, 0.7])
def test_a_line_with_dead_currents_is_not_judged(record: Record, engine: Engine, value: float) -> None:
    line = sampled(4800.0, 0.5)
    line.samples[:, :3] = value
    answer = answered(record, line, engine)
    assert answer.verdict == "not judged"
    assert answer.reason.startswith("the currents ia, ib, ic are constant")
    missing = answered(record, replace(line, missing=("ia", "ib", "ic")), engine)
    assert missing.reason.startswith("the line has no currents")


def test_windows_that_no_worker_takes_are_not_judged(record: Record, engine: Engine) -> None:
    answer = answered(record, replace(sampled(4800.0, 0.5), name="x" * 5000), engine)
    assert answer.outcomes["dead"] > 0
    assert answer.verdict == "not judged"
    assert answer.reason.startswith("its windows are invalid: ")


def test_a_record_without_samples_is_not_judged(record: Record, engine: Engine) -> None:
    line = replace(sampled(4800.0, 0.5), samples=np.empty((0, 6), np.float32), segments=())
    assert answered(record, line, engine).reason == "the record has no samples"


# Answers with limits -------------------------------------------------------------------------------------------------


def test_an_answer_for_a_part_of_the_windows_says_so(record: Record, engine: Engine) -> None:
    line = sampled(4800.0, 1.0)
    line.samples[960:] = noise(4800.0, 0.8)
    answer = answered(record, line, engine)
    assert answer.verdict == "no fault"
    (text,) = texts(answer, "partly-judged")
    assert text.startswith(f"{answer.judged_windows} of {answer.windows} windows were judged; the others, 0.2")
    assert "s to 0.999 s, are out of distribution: neither currents nor voltages have a waveform of 50 Hz" in text
    assert answer.findings[0].level == "warning"


def test_a_part_in_which_the_line_is_off_is_a_note(record: Record, engine: Engine) -> None:
    line = sampled(4800.0, 1.0)
    line.samples[:2400] = 0
    answer = answered(record, line, engine)
    assert answer.verdict == "no fault"
    (finding,) = answer.findings
    assert (finding.level, finding.code) == ("note", "partly-judged")


def test_a_segment_that_is_too_slow_is_a_limit_of_the_answer(record: Record, engine: Engine) -> None:
    segments = (Segment(0, 960, 4800.0, 0.0), Segment(960, 1060, 100.0, 0.2))
    times = np.concatenate([np.arange(960) / 4800, 0.2 + np.arange(100) / 100])
    answer = answered(record, made_line(waves(times), 4800.0, segments), engine)
    assert answer.verdict == "no fault"
    assert texts(answer, "partly-judged") == ["0.200 s to 1.190 s was not judged: it has too few samples per cycle"]


def test_a_phase_without_current_is_a_limit_of_no_fault(record: Record, engine: Engine) -> None:
    line = sampled(4800.0, 0.5)
    line.samples[:, 2] = 0
    answer = answered(record, line, engine)
    assert answer.verdict == "no fault"
    assert texts(answer, "partly-judged") == ["a fault on phase C may be missed: ic has no waveform"]


def test_a_record_that_ends_before_a_fault_is_confirmed_says_so(record: Record, engine: Engine) -> None:
    line = sampled(4800.0, 0.212, "AG")
    answer = answered(record, line, engine)
    assert answer.verdict == "no fault"
    (text,) = texts(answer, "unconfirmed-fault")
    assert "of the record look like AG" in text


def test_a_whole_answer_has_no_findings(record: Record, engine: Engine) -> None:
    for line, verdict in ((sampled(4800.0, 0.5), "no fault"), (sampled(4800.0, 0.6, "BC"), "fault")):
        answer = answered(record, line, engine)
        assert (answer.verdict, answer.reason, answer.findings) == (verdict, "", ())
        assert answer.judged_windows == answer.windows > 0


@settings(max_examples=40)
@given(
    per_cycle=st.floats(1, 100),
    cycles=st.floats(0.1, 12),
    noisy=st.floats(0, 1),
    level=st.sampled_from([0.0, 1e-6, 1.0, 1e4]),
)
def test_no_fault_is_never_the_answer_to_nothing(
    record: Record, engine: Engine, per_cycle: float, cycles: float, noisy: float, level: float
) -> None:
    rate_hz, seconds = per_cycle * HZ, cycles / HZ
    line = sampled(rate_hz, seconds)
    first = int(len(line.samples) * (1 - noisy))
    line.samples[first:] = noise(rate_hz, seconds)[first:]
    if not len(line.samples):
        return
    answer = answered(record, replace(line, samples=line.samples * np.float32(level)), engine)
    assert (answer.verdict == "not judged") == bool(answer.reason)
    if answer.verdict == "no fault":
        assert answer.judged_windows >= CONFIRM
        assert answer.judged_windows == answer.windows or texts(answer, "partly-judged")


# Few samples per cycle -----------------------------------------------------------------------------------------------


def through_a_cosine_filter(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Filter a line at 32 samples per cycle as relays do, by a full-cycle cosine filter."""
    weights = np.cos(2 * np.pi * np.arange(32) / 32) / 16
    before = np.concatenate([values[:32], values])
    return np.stack([np.convolve(before[:, k], weights)[32 : len(before)] for k in range(6)], axis=1)


@pytest.mark.parametrize("fault", ["AG", "BG", "CG", "AB", "BC", "CA", "ABG", "BCG", "CAG", "ABC"])
@pytest.mark.parametrize("per_cycle", [4, 8])
@pytest.mark.parametrize("filtered", [False, True])
def test_few_samples_per_cycle_give_the_true_class(
    record: Record, engine: Engine, fault: str, per_cycle: int, filtered: bool
) -> None:
    fine = waves(np.arange(960) / (32 * HZ), fault).astype(np.float64)
    fine = through_a_cosine_filter(fine) if filtered else fine
    samples = np.ascontiguousarray(fine[:: 32 // per_cycle], np.float32)
    answer = answered(record, made_line(samples, per_cycle * HZ), engine)
    (episode,) = answer.episodes
    merged = {"ABCG": "ABC"}
    assert merged.get(episode.fault_class, episode.fault_class) == fault
    assert episode.inception_s == pytest.approx(0.2, abs=0.02)
    assert episode.duration_s == pytest.approx(0.2, abs=0.03)


@pytest.mark.parametrize("per_cycle", [4.0, 4.5, 6.0])
@pytest.mark.parametrize("cycles", [2, 3, 8])
def test_a_healthy_line_with_few_samples_per_cycle_has_no_fault(
    record: Record, engine: Engine, per_cycle: float, cycles: int
) -> None:
    for begin_s in np.arange(8) / 8 / HZ:
        times = begin_s + np.arange(round(per_cycle * cycles)) / (per_cycle * HZ)
        answer = answered(record, made_line(waves(times), per_cycle * HZ), engine)
        assert (answer.verdict, answer.findings) == ("no fault", ())


# Files ---------------------------------------------------------------------------------------------------------------


def only(results: Iterator[FileResult]) -> FileResult:
    (result,) = results
    return result


def test_a_file_without_a_line_was_read_and_is_not_judged(tmp_path: Path, engine: Engine) -> None:
    shape = Shape(names=("X", "Y", "Z", "P", "Q", "W"), phases=("",) * 6, units=("K",) * 6)
    path = write_record(tmp_path, shape, load_waves(shape)).path
    result = only(detect([path], model=engine))
    assert (result.verdict, result.error, result.answers) == ("not judged", None, ())
    assert result.record is not None
    assert result.reason == result.record.no_line
    assert "--channels" in result.reason


def test_currents_without_mains_that_the_user_assigned_are_not_judged(tmp_path: Path, engine: Engine) -> None:
    shape = Shape(segments=((4800.0, 2400),))
    waves = load_waves(shape)
    waves[:, :3] = np.random.default_rng(3).integers(-1, 2, (len(waves), 3)) * 0.5
    path = write_record(tmp_path, shape, waves).path
    for told in ("ia=1 ib=2 ic=3", "ia=1 ib=2 ic=3 va=4 vb=5 vc=6"):
        result = only(detect([path], model=engine, options=ReadOptions(channels=told)))
        assert result.verdict == "not judged"
        assert "carry no signal" in result.reason


def test_a_file_is_judged_if_one_of_its_lines_is(tmp_path: Path, engine: Engine) -> None:
    path = write_record(tmp_path, Shape(segments=((4800.0, 2400),)), load_waves(Shape(segments=((4800.0, 2400),)))).path
    lines = "first: ia=1 ib=2 ic=3 va=4 vb=5 vc=6; second: va=4 vb=5 vc=6"
    result = only(detect([path], model=engine, options=ReadOptions(channels=lines)))
    assert [answer.verdict for answer in result.answers] == ["no fault", "not judged"]
    assert result.verdict == "no fault"
    assert result.reason.startswith("record/second: the line has no currents")


def test_a_file_that_cannot_be_read_is_not_judged(tmp_path: Path, engine: Engine) -> None:
    result = only(detect([tmp_path / "none.cfg"], model=engine))
    assert (result.verdict, result.reason) == ("not judged", result.error)
