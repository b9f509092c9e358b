"""Recordings are byte for byte what was on the topic, complete or absent."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream.errors import RecordingError
from stream.recordings import recording as recording_module
from stream.recordings.recording import (
    SCHEMA,
    RecordedMessage,
    RecordingWriter,
    open_recording,
    read_recording,
    repair,
)

OPTIONAL = st.one_of(st.none(), st.binary(max_size=20))
NOT_UTF8 = st.binary(max_size=5).map(lambda name: name.decode("utf-8", "surrogateescape"))
MESSAGES = st.lists(
    st.builds(
        RecordedMessage,
        topic=st.text(max_size=5),
        partition=st.integers(0, 2**31 - 1),
        offset=st.integers(0, 2**63 - 1),
        timestamp_ms=st.integers(-1, 2**63 - 1),
        key=OPTIONAL,
        value=OPTIONAL,
        headers=st.lists(st.tuples(st.text(max_size=5) | NOT_UTF8, OPTIONAL), max_size=3),
        timestamp_type=st.sampled_from([0, 1]),
    ),
    max_size=8,
)


def written(path: Path, messages: list[RecordedMessage]) -> Path:
    with RecordingWriter(path) as writer:
        for message in messages:
            writer.write(message)
    return path


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(messages=MESSAGES)
def test_what_is_recorded_is_read_back_byte_for_byte(tmp_path: Path, messages: list[RecordedMessage]) -> None:
    assert list(read_recording(written(tmp_path / "r.parquet", messages))) == messages


def test_a_long_recording_is_kept_in_row_groups_and_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording_module, "BATCH_BYTES", 1000)
    messages = [RecordedMessage("t", 0, offset, offset, b"k", bytes(100)) for offset in range(50)]
    path = written(tmp_path / "r.parquet", messages)
    assert pq.ParquetFile(path).num_row_groups > 3
    assert list(read_recording(path)) == messages


def test_a_recording_appears_under_its_name_only_when_complete(tmp_path: Path) -> None:
    path = tmp_path / "r.parquet"
    with RecordingWriter(path) as writer:
        writer.write(RecordedMessage("t", 0, 0, 0, None, None))
        assert not path.exists()
    assert path.exists()


def test_a_recording_that_failed_leaves_nothing_behind(tmp_path: Path) -> None:

    def record_from_failing_source() -> None:
        with RecordingWriter(tmp_path / "r.parquet") as writer:
            writer.write(RecordedMessage("t", 0, 0, 0, None, None))
            raise ValueError("the source failed")

    with pytest.raises(ValueError, match="the source failed"):
        record_from_failing_source()
    assert list(tmp_path.iterdir()) == []


def rows(count: int) -> list[RecordedMessage]:
    return [RecordedMessage("t", 0, offset, offset, b"k", bytes(100), [("h", b"1")]) for offset in range(count)]


def test_a_closed_recording_is_plain_parquet_to_any_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording_module, "BATCH_BYTES", 1000)
    path = written(tmp_path / "r.parquet", rows(50))
    table = pq.read_table(path, filters=[("offset", ">=", 45)])
    assert table.column("offset").to_pylist() == [45, 46, 47, 48, 49]
    groups = pq.ParquetFile(path).metadata
    assert sum(groups.row_group(number).num_rows for number in range(groups.num_row_groups)) == 50


@dataclass
class CutOff:
    """The bytes of an unfinished recording, and pairs of bytes written and records that are then safe."""

    content: bytes = field(repr=False)
    safe: list[tuple[int, int]]


@pytest.fixture(scope="module")
def cut_off(tmp_path_factory: pytest.TempPathFactory) -> CutOff:
    path = tmp_path_factory.mktemp("recording") / "r.parquet"
    writer, safe = RecordingWriter(path, keep=True), [(0, 0)]
    for number, message in enumerate(rows(40), start=1):
        writer.write(message)
        if number % 8 == 0:
            writer.flush()
            safe.append((writer.size, number))
    content = path.read_bytes()
    writer.close()
    return CutOff(content, safe)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_recording_cut_off_anywhere_is_read_up_to_its_last_whole_batch(
    tmp_path: Path, cut_off: CutOff, data: st.DataObject
) -> None:
    content, safe = cut_off.content, cut_off.safe
    length = data.draw(
        st.integers(0, len(content)) | st.sampled_from([size + more for size, _ in safe[:-1] for more in (0, 4)])
    )
    kept = max(count for size, count in safe if size <= length)
    path = tmp_path / "cut.parquet"
    path.write_bytes(content[:length])
    if not kept:
        with pytest.raises(RecordingError, match=r"not a Parquet file|cut off before its first batch"):
            open_recording(path)
        return
    recording = open_recording(path)
    assert (recording.complete, recording.count) == (False, kept)
    assert list(recording.messages()) == rows(40)[:kept]
    repaired = repair(path)
    assert (repaired.complete, repaired.count) == (True, kept)
    assert pq.read_table(path).column("offset").to_pylist() == list(range(kept))
    assert list(read_recording(path)) == rows(40)[:kept]


def test_a_power_cut_that_left_zeros_at_the_end_costs_nothing_that_was_whole(tmp_path: Path, cut_off: CutOff) -> None:
    path = tmp_path / "cut.parquet"
    path.write_bytes(cut_off.content + bytes(4096))
    assert list(read_recording(path)) == rows(40)


def test_a_damaged_batch_of_an_unfinished_recording_is_an_error_and_not_its_end(
    tmp_path: Path, cut_off: CutOff
) -> None:
    content, (_, (first, _), (second, _), *_) = bytearray(cut_off.content), cut_off.safe
    for position in range(second - 300, second - 200):
        content[position] ^= 0xFF
    assert first < second - 300
    path = tmp_path / "damaged.parquet"
    path.write_bytes(content)
    with pytest.raises(RecordingError, match=r"damaged\.parquet"):
        list(read_recording(path))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full, which is a disk without room")
def test_a_disk_too_full_to_finish_keeps_what_was_recorded(tmp_path: Path) -> None:
    path = tmp_path / "r.parquet"
    writer = RecordingWriter(path, keep=True)
    writer.write(rows(1)[0])
    (tmp_path / "r.parquet.finishing").symlink_to("/dev/full")
    with pytest.raises(RecordingError, match=r"No space left on device; the records stay in .*--repair"):
        writer.close()
    assert list(read_recording(path)) == rows(1)
    assert repair(path).complete


def test_repairing_a_whole_recording_changes_nothing(tmp_path: Path) -> None:
    path = written(tmp_path / "r.parquet", rows(3))
    content = path.read_bytes()
    assert repair(path).count == 3
    assert path.read_bytes() == content


def test_a_kept_recording_that_failed_holds_what_was_taken(tmp_path: Path) -> None:
    def record_from_failing_source() -> None:
        with RecordingWriter(tmp_path / "r.parquet", keep=True) as writer:
            writer.write(rows(1)[0])
            raise ValueError("the source failed")

    with pytest.raises(ValueError, match="the source failed"):
        record_from_failing_source()
    assert list(read_recording(tmp_path / "r.parquet")) == rows(1)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full, which is a disk without room")
def test_a_full_disk_is_a_clear_error() -> None:
    writer = RecordingWriter(Path("/dev/full"), keep=True)
    writer.write(rows(1)[0])
    with pytest.raises(RecordingError, match="cannot write /dev/full: No space left on device"):
        writer.close()


def test_a_recording_of_the_first_format_is_read(tmp_path: Path) -> None:
    first = pa.schema([column for column in SCHEMA if column.name not in ("timestamp_type", "headers")])
    headers = pa.field("headers", pa.list_(pa.struct([("key", pa.string()), ("value", pa.binary())])))
    row = {"topic": "t", "partition": 0, "offset": 1, "timestamp_ms": 2, "key": b"k", "value": b"v"}
    table = pa.Table.from_pylist([{**row, "headers": [{"key": "é", "value": b"1"}]}], first.append(headers))
    pq.write_table(table, tmp_path / "r.parquet")
    assert list(read_recording(tmp_path / "r.parquet")) == [RecordedMessage("t", 0, 1, 2, b"k", b"v", [("é", b"1")])]


def test_a_folder_that_is_not_there_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="cannot write"):
        RecordingWriter(tmp_path / "no" / "r.parquet")


@pytest.mark.parametrize("content", [b"", b"no parquet", b"PAR1PAR1", b"PAR1 and then nothing"])
def test_a_file_that_is_no_recording_is_a_clear_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "r.parquet"
    path.write_bytes(content)
    with pytest.raises(RecordingError, match="not a Parquet file"):
        list(read_recording(path))


def test_a_missing_recording_and_another_parquet_file_are_clear_errors(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="no such recording"):
        list(read_recording(tmp_path / "none.parquet"))
    other = tmp_path / "other.parquet"
    pq.write_table(pa.table({"topic": ["t"], "value": [1]}), other)
    with pytest.raises(RecordingError, match="lacks the columns headers, key, offset, partition, timestamp_ms"):
        list(read_recording(other))


def test_columns_of_other_types_are_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "r.parquet"
    names = ["topic", "partition", "offset", "timestamp_ms", "key", "value", "headers"]
    pq.write_table(pa.table({name: ["text"] for name in names}), path)
    with pytest.raises(RecordingError):
        list(read_recording(path))


def test_a_damaged_recording_is_a_clear_error(tmp_path: Path) -> None:
    messages = [RecordedMessage("t", 0, offset, 0, b"k", bytes(range(256))) for offset in range(500)]
    path = written(tmp_path / "r.parquet", messages)
    content = bytearray(path.read_bytes())
    for position in range(100, len(content) - 2000, 7):
        content[position] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(RecordingError):
        list(read_recording(path))
