"""A record's windows are followed with the model's memory, as a worker follows those of a line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import numpy as np
import pytest
from numpy.typing import NDArray

from domains.powerline.waveforms import CHANNELS, Record, RecordLine, Segment, messages_of
from faultline.file_detection import answer_line, classify_record
from model.engine import Engine
from model.spec import load_spec
from stream.detection.decode import WindowRecord, decode_batch
from stream.detection.following import Following
from stream.detection.offline import BATCH_WINDOWS
from stream.detection.order import Positions
from tests.domains.powerline.waveforms.record_samples import PEAK, Shape, load_waves
from tests.stream.doubles import CountingClassifier

SPEC = load_spec("line")
RATE_HZ = 1600.0
GAP_S = 0.25


def line_of(counts: Sequence[int]) -> RecordLine:
    """Return a healthy line whose segments have the given numbers of samples, with gaps between them."""
    segments, first, start_s = [], 0, 0.0
    for count in counts:
        segments.append(Segment(first, first + count, RATE_HZ, start_s))
        first, start_s = first + count, start_s + count / RATE_HZ + GAP_S
    samples = load_waves(Shape(), np.arange(first) / RATE_HZ) / PEAK
    return RecordLine(
        name="station/Q1",
        samples=samples.astype(np.float32),
        missing=(),
        sources={role: role.upper() for role in CHANNELS},
        start_ns=10**18,
        segments=tuple(segments),
        frequency_hz=50.0,
        current_base=565.7,
        voltage_base=89_815.0,
        base_source="",
        channels_option="",
    )


def answers_of_a_worker(line: RecordLine) -> NDArray[np.float32]:
    """Return the probabilities of a worker that gets the line's messages one by one."""
    positions, following = Positions(SPEC), Following(CountingClassifier(SPEC), SPEC.none_index, len(SPEC.classes))
    answers: list[NDArray[np.float32]] = []
    for offset, message in enumerate(messages_of(line, SPEC, windows_per_message=7)):
        record = WindowRecord("sensor-windows", 0, offset, 0, line.name.encode(), message.value)
        batch = decode_batch([record], SPEC, max_bytes=1 << 20)
        answers += following.follow(batch, positions.order(batch, {})).probabilities
    return np.concatenate(answers)


def long_record(windows: int) -> RecordLine:
    return line_of([SPEC.samples + (windows - 1) * SPEC.hop])


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(line_of([960]), id="short"),
        pytest.param(line_of([960, 480, 960]), id="with gaps"),
        pytest.param(long_record(BATCH_WINDOWS + 900), id="longer than a batch"),
    ],
)
def test_a_records_windows_are_followed_as_a_worker_follows_them(record: Record, line: RecordLine) -> None:
    classifier = CountingClassifier(SPEC)
    answer = answer_line(record, line, classifier, SPEC)
    np.testing.assert_array_equal(answer.probabilities, answers_of_a_worker(line))
    assert answer.outcomes == {"judged": answer.windows}
    assert len(classifier.calls) == (2 if answer.windows > BATCH_WINDOWS else 1)


def test_a_line_begins_cold_after_a_gap(record: Record) -> None:
    whole = answer_line(record, line_of([960, 960]), CountingClassifier(SPEC), SPEC)
    second = replace(line_of([960, 960]), segments=(Segment(960, 1920, RATE_HZ, 0.6 + GAP_S),))
    alone = answer_line(record, second, CountingClassifier(SPEC), SPEC)
    np.testing.assert_array_equal(whole.probabilities[-alone.windows :], alone.probabilities)


def test_lines_and_their_alternatives_do_not_share_a_memory(record: Record) -> None:
    line = line_of([960])
    lines = (replace(line, alternatives=(line,)), replace(line, name="station/Q2"))
    engine = cast(Engine, CountingClassifier(SPEC))
    answers = classify_record(replace(record, lines=lines), engine)
    alone = answer_line(record, line, CountingClassifier(SPEC), SPEC)
    assert [answer.line.name for answer in answers] == ["station/Q1", "station/Q2"]
    for answer in answers:
        np.testing.assert_array_equal(answer.probabilities, alone.probabilities)
