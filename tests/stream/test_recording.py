"""Recordings: byte for byte what was on the topic, whole or not there."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream import recording as recording_module
from stream.errors import RecordingError
from stream.recording import RecordedMessage, RecordingWriter, read_recording

OPTIONAL = st.one_of(st.none(), st.binary(max_size=20))
MESSAGES = st.lists(
    st.builds(
        RecordedMessage,
        topic=st.text(max_size=5),
        partition=st.integers(0, 2**31 - 1),
        offset=st.integers(0, 2**63 - 1),
        timestamp_ms=st.integers(-1, 2**63 - 1),
        key=OPTIONAL,
        value=OPTIONAL,
        headers=st.lists(st.tuples(st.text(max_size=5), OPTIONAL), max_size=3),
    ),
    max_size=8,
)


def written(path: Path, messages: list[RecordedMessage]) -> Path:
    with RecordingWriter(path) as writer:
        for message in messages:
            writer.write(message)
    return path


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(messages=MESSAGES)
def test_what_is_recorded_is_read_back_byte_for_byte(tmp_path: Path, messages: list[RecordedMessage]) -> None:
    assert list(read_recording(written(tmp_path / "r.parquet", messages))) == messages


def test_a_long_recording_is_kept_in_row_groups_and_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording_module, "ROW_GROUP_BYTES", 1000)
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


def test_a_folder_that_is_not_there_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="cannot write"):
        RecordingWriter(tmp_path / "no" / "r.parquet")


@pytest.mark.parametrize("content", [b"", b"no parquet", b"PAR1PAR1"])
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
