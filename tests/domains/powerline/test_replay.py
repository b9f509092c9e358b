"""Waveform records as a source of a replay: the messages that a gateway would have sent, in order of time."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from domains.powerline.fan_out import FanOut
from domains.powerline.replay import RecordSource, open_choices, record_kind
from domains.powerline.waveforms import ReadOptions, Record, messages_of, open_waveforms
from model.spec import load_spec
from stream.errors import RecordingError
from stream.recordings.clip import Clip, Moment
from stream.recordings.sources import RECORDING, Source, SourceOptions, open_source

SPEC = load_spec("line")
START_NS = 1_700_000_000_000_000_000
RATE_HZ = 6400.0


def columns(seconds: float = 0.5) -> dict[str, np.ndarray]:
    time = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    shifts = {"a": 0.0, "b": -2 * np.pi / 3, "c": 2 * np.pi / 3}
    waves = {phase: np.sin(2 * np.pi * 50 * time + shift) for phase, shift in shifts.items()}
    currents = {f"i{phase}": 400 * wave for phase, wave in waves.items()}
    return {"time": time, **currents, **{f"v{phase}": 63_000 * wave for phase, wave in waves.items()}}


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    path, table = tmp_path / "feeder.csv", columns()
    np.savetxt(path, np.stack(list(table.values()), axis=1), delimiter=",", header=",".join(table), comments="")
    return path


def opened(path: Path, options: SourceOptions | None = None) -> Source:
    return open_source(path, options, (RECORDING, record_kind(SPEC, ReadOptions(start_ns=START_NS))))


def test_a_record_is_sent_as_the_messages_that_are_classified(csv: Path) -> None:
    record = open_waveforms(csv, options=ReadOptions(start_ns=START_NS))
    expected = [message.value for message in messages_of(record.lines[0], SPEC, windows_per_message=4)]
    source = opened(csv)
    records = list(source.records())
    assert [found.value for found in records] == expected
    assert {found.key for found in records} == {b"feeder"}
    assert source.total == len(records)
    assert source.begin_ns == records[0].due_ns
    first = msgspec.msgpack.decode(records[0].value or b"")
    assert (first["start_ns"], first["spec"], first["count"], records[0].windows) == (START_NS, "line", 4, 4)


def test_windows_are_due_when_their_last_sample_was_taken(csv: Path) -> None:
    records = list(opened(csv, SourceOptions(windows_per_message=1)).records())
    assert records[0].due_ns == pytest.approx(START_NS + 32 / 1600 * 1e9, abs=1000)
    assert [found.due_ns for found in records] == sorted(found.due_ns for found in records)


def test_a_parquet_table_is_a_record_and_not_a_recording(tmp_path: Path, csv: Path) -> None:
    path = tmp_path / "feeder.parquet"
    pq.write_table(pa.table(columns()), path)
    assert len(list(opened(path).records())) == len(list(opened(csv).records()))


def test_a_part_of_a_record_and_as_many_lines(csv: Path) -> None:
    whole = list(opened(csv).records())
    part = opened(csv, SourceOptions(clip=Clip(Moment(seconds=0.1), Moment(seconds=0.2))))
    inside = [found for found in whole if 100 <= (found.due_ns - whole[0].due_ns) / 1e6 < 200]
    assert [found.value for found in part.records()] == [found.value for found in inside]
    assert inside
    lines = {found.key for found in FanOut(opened(csv), 3, SPEC).records()}
    assert lines == {b"feeder", b"feeder-2", b"feeder-3"}


def test_a_record_without_a_certain_line_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "odd.csv"
    rows = np.random.default_rng(1).random((50, 2))
    np.savetxt(path, np.column_stack([np.arange(50) / 1000, rows]), delimiter=",", header="time,x,y", comments="")
    with pytest.raises(RecordingError) as caught:
        opened(path)
    # The sentence is that of `faultline classify`.
    assert str(caught.value) == f"{path}: {open_waveforms(path).no_line}"
    assert "--channels" in str(caught.value)


def test_findings_are_lines_for_a_person(tmp_path: Path) -> None:
    path, table = tmp_path / "feeder.csv", columns()
    table["ib"] = np.zeros_like(table["ib"])
    np.savetxt(path, np.stack(list(table.values()), axis=1), delimiter=",", header=",".join(table), comments="")
    told: list[str] = []
    opened(path, SourceOptions(warn=told.append))
    assert "feeder.csv: line 1: ib is constant" in told


def with_choices(record: Record) -> Record:
    """Return a record with a second line, whose voltages are not certain."""
    (line,) = record.lines
    other = replace(line, channels_option="Q1: ia=1 ib=2 ic=3 va=7 vb=8 vc=9")
    doubtful = replace(line, name="Q1", channels_option="Q1: ia=1 ib=2 ic=3 va=4 vb=5 vc=6", alternatives=(other,))
    return replace(record, lines=(line, doubtful))


def test_a_line_whose_voltages_are_not_certain_is_left_out(csv: Path) -> None:
    record = with_choices(open_waveforms(csv))
    assert {found.key for found in RecordSource(record, SPEC).records()} == {b"feeder"}
    sentence = (
        "Q1: the record does not show which voltages belong to the line: it is not sent; assign them with "
        "--channels 'Q1: ia=1 ib=2 ic=3 va=4 vb=5 vc=6' or --channels 'Q1: ia=1 ib=2 ic=3 va=7 vb=8 vc=9'"
    )
    assert open_choices(record) == [sentence]
    with pytest.raises(RecordingError) as caught:
        RecordSource(replace(record, lines=record.lines[1:]), SPEC)
    assert str(caught.value) == f"{csv}: {sentence}"


def test_too_slow_a_rate_is_a_clear_error(csv: Path) -> None:
    record = open_waveforms(csv)
    (line,) = record.lines
    slow = tuple(replace(segment, rate_hz=150.0) for segment in line.segments)
    with pytest.raises(RecordingError, match=r"3\.0 samples per cycle are too few for a waveform"):
        RecordSource(replace(record, lines=(replace(line, segments=slow),)), SPEC)


def test_a_record_shorter_than_a_window_is_a_clear_error(csv: Path) -> None:
    record = open_waveforms(csv, options=ReadOptions(start_ns=START_NS))
    long = SPEC.model_copy(update={"samples": 4096})
    with pytest.raises(RecordingError, match="every line is shorter than a window"):
        RecordSource(record, long)


def test_one_of_several_records_in_an_archive_is_replayed(tmp_path: Path, csv: Path) -> None:
    path = tmp_path / "station.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("bay 1/north.csv", "bay 2/south.csv"):
            archive.writestr(name, csv.read_bytes())
    plain = [record.value for record in opened(csv).records()]
    assert len(list(opened(path / "bay 2" / "south.csv").records())) == len(plain)
    with pytest.raises(RecordingError, match="no such file"):
        opened(tmp_path / "other.zip" / "north.csv")
