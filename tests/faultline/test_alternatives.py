"""Lines whose voltages are not certain: an answer is published only if every choice of voltages gives it."""

from __future__ import annotations

import shlex
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from domains.powerline.waveforms import CHANNELS, Record, RecordLine, Segment
from faultline.answers import LineAnswer
from faultline.file_detection import classify_record
from model.engine import Engine
from tests.domains.powerline.waveforms.record_samples import PEAK, Shape, load_waves

RATE_HZ = 4800.0
TIMES = np.arange(2880) / RATE_HZ
FAULT_S, CLEARED_S = 0.2, 0.35


def waves(fault_s: float | None, cleared_s: float = CLEARED_S) -> NDArray[np.float32]:
    """Return a line per unit, float32 (t, 6); with a B-phase-to-ground fault if ``fault_s`` is given."""
    values = load_waves(Shape(), TIMES, fault_s)
    cleared = cleared_s <= TIMES
    values[cleared] = load_waves(Shape(), TIMES)[cleared]
    return np.asarray(values / PEAK, np.float32)


def with_voltages(samples: NDArray[np.float32], numbers: tuple[int, ...]) -> RecordLine:
    channels = (1, 2, 3, *numbers)[: 3 + len(numbers)]
    roles = dict(zip(CHANNELS, channels, strict=False))
    return RecordLine(
        name="station/Q1",
        samples=samples,
        missing=CHANNELS[len(channels) :],
        sources={role: f"{number} U{number}" for role, number in roles.items()},
        start_ns=10**18,
        segments=(Segment(0, len(samples), RATE_HZ, 0.0),),
        frequency_hz=50.0,
        current_base=565.7,
        voltage_base=89_815.0,
        base_source="",
        channels_option="Q1: " + " ".join(f"{role}={number}" for role, number in roles.items()),
    )


def answer_of(record: Record, engine: Engine, first: RecordLine, *others: RecordLine) -> LineAnswer:
    (answer,) = classify_record(replace(record, lines=(replace(first, alternatives=others),)), engine)
    return answer


def test_answers_that_agree_are_published_with_a_note(record: Record, engine: Engine) -> None:
    faulty = waves(FAULT_S)
    healthier = faulty.copy()
    healthier[:, 4] *= np.float32(0.95)
    answer = answer_of(record, engine, with_voltages(faulty, (4, 5, 6)), with_voltages(healthier, (7, 8, 9)))
    assert answer.verdict == "fault"
    assert [episode.fault_class for episode in answer.episodes] == ["BG"]
    (finding,) = answer.findings
    assert (finding.level, finding.code) == ("note", "voltages-agree")
    assert finding.message == (
        "the answer is the same with each set of voltages (voltages 4 U4, 5 U5, 6 U6; voltages 7 U7, 8 U8, 9 U9)"
    )


def test_no_fault_with_every_choice_is_no_fault(record: Record, engine: Engine) -> None:
    healthy = waves(None)
    answer = answer_of(record, engine, with_voltages(healthy, (4, 5, 6)), with_voltages(healthy, (7, 8, 9)))
    assert answer.verdict == "no fault"


@pytest.mark.parametrize("first_is_healthy", [False, True])
def test_answers_that_differ_are_not_judged_and_show_the_options(
    record: Record, engine: Engine, first_is_healthy: bool
) -> None:
    faulty, healthy = with_voltages(waves(FAULT_S), (4, 5, 6)), with_voltages(waves(None), (7, 8, 9))
    order = (healthy, faulty) if first_is_healthy else (faulty, healthy)
    answer = answer_of(record, engine, *order)
    assert (answer.verdict, answer.episodes, answer.events, answer.findings) == ("not judged", (), (), ())
    assert "voltages 4 U4, 5 U5, 6 U6 give BG from 0.20" in answer.reason
    assert "voltages 7 U7, 8 U8, 9 U9 give no fault" in answer.reason
    # Each option can be pasted into a shell as it is.
    pasted = shlex.split(answer.reason[answer.reason.index("--channels") :].replace(" or ", " "))
    assert pasted[1::2] == [line.channels_option for line in order]


def test_another_class_or_another_time_is_a_difference(record: Record, engine: Engine) -> None:
    faulty = with_voltages(waves(FAULT_S), (4, 5, 6))
    other_class = with_voltages(np.roll(waves(FAULT_S).reshape(-1, 2, 3), 1, axis=2).reshape(-1, 6), (7, 8, 9))
    later = with_voltages(waves(FAULT_S + 0.03), (7, 8, 9))
    for other in (other_class, later):
        assert answer_of(record, engine, faulty, other).verdict == "not judged"


def test_other_durations_are_a_warning(record: Record, engine: Engine) -> None:
    faulty = with_voltages(waves(FAULT_S), (4, 5, 6))
    longer = with_voltages(waves(FAULT_S, CLEARED_S + 0.05), (7, 8, 9))
    answer = answer_of(record, engine, faulty, longer)
    assert answer.verdict == "fault"
    (warning,) = [finding for finding in answer.findings if finding.level == "warning"]
    assert warning.code == "duration-uncertain"
    assert "voltages 4 U4, 5 U5, 6 U6: 14" in warning.message
    assert faulty.paste_option in warning.message


def test_a_choice_that_cannot_be_judged_is_a_difference(record: Record, engine: Engine) -> None:
    healthy = waves(None)
    extreme = healthy.copy()
    extreme[:, 3:] *= 100
    answer = answer_of(record, engine, with_voltages(healthy, (4, 5, 6)), with_voltages(extreme, (7, 8, 9)))
    assert answer.verdict == "not judged"
    assert "give no answer (all" in answer.reason
    nothing = answer_of(record, engine, with_voltages(extreme, (4, 5, 6)), with_voltages(extreme, (7, 8, 9)))
    assert nothing.verdict == "not judged"
    assert "--voltage-base" in nothing.reason


def test_currents_alone_are_a_choice_as_well(record: Record, engine: Engine) -> None:
    faulty, alone = waves(FAULT_S), waves(FAULT_S)
    alone[:, 3:] = 0
    answer = answer_of(record, engine, with_voltages(faulty, (4, 5, 6)), with_voltages(alone, ()))
    assert answer.verdict == "fault"
    assert "(voltages 4 U4, 5 U5, 6 U6; no voltages)" in answer.findings[0].message


def test_every_line_has_its_own_choices(record: Record, engine: Engine) -> None:
    two = replace(
        record,
        lines=(
            replace(with_voltages(waves(FAULT_S), (4, 5, 6)), alternatives=(with_voltages(waves(None), (7, 8, 9)),)),
            replace(with_voltages(waves(None), (4, 5, 6)), name="station/Q2"),
        ),
    )
    verdicts = {answer.line.name: answer.verdict for answer in classify_record(two, engine)}
    assert verdicts == {"station/Q1": "not judged", "station/Q2": "no fault"}
