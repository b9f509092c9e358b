"""One footer for several Parquet files in one: whatever their schema and encodings, Arrow reads them as one."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream.errors import RecordingError
from stream.recordings.parquet_footer import MAGIC, JointFooter

OPTIONS: list[dict[str, Any]] = [
    {},
    {"compression": "none", "use_dictionary": False, "write_statistics": False},
    {"compression": "zstd", "write_page_index": True, "row_group_size": 3},
    {"version": "1.0", "data_page_version": "2.0", "store_schema": False},
]


def table(seed: int, rows: int) -> pa.Table:
    names = [f"{seed}-{row}" if row % 3 else None for row in range(rows)]
    return pa.table(
        {
            "number": pa.array(range(rows), pa.int64()),
            "share": pa.array([row / 7 for row in range(rows)], pa.float64()),
            "flag": pa.array([row % 2 == 0 for row in range(rows)]),
            "name": pa.array(names, pa.string()),
            "list": pa.array([[row] * (row % 4) for row in range(rows)], pa.list_(pa.int32())),
        }
    )


def written(part: pa.Table, options: dict[str, Any]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(part, sink, **options)
    return sink.getvalue()


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.integers(1, 20), min_size=1, max_size=20) | st.just([0]),
    gaps=st.lists(st.binary(max_size=40), min_size=20, max_size=20),
    options=st.sampled_from(OPTIONS),
)
def test_files_one_after_another_are_read_as_one(
    tmp_path: Path, rows: list[int], gaps: list[bytes], options: dict[str, Any]
) -> None:
    parts = [table(seed, count) for seed, count in enumerate(rows)]
    footer, content = JointFooter(), b""
    for part, gap in zip(parts, gaps, strict=False):
        small = written(part, options)
        footer.add(small, len(content))
        content += small + gap
    path = tmp_path / "joint.parquet"
    path.write_bytes(content + footer.encoded())
    assert pq.read_table(path).equals(pa.concat_tables(parts))


@settings(max_examples=200)
@given(data=st.data())
def test_a_damaged_footer_is_a_clear_error_or_a_footer(data: st.DataObject) -> None:
    content = bytearray(written(table(1, 5), {}))
    length = int.from_bytes(content[-8:-4], "little")
    for _ in range(data.draw(st.integers(1, 5))):
        content[-data.draw(st.integers(5, length + 8))] = data.draw(st.integers(0, 255))
    footer, complaint = JointFooter(), ""
    try:
        footer.add(bytes(content), 100)
    except RecordingError as error:
        complaint = str(error)
    assert "at byte 100 is damaged" in complaint or footer.encoded().endswith(MAGIC)


def test_a_footer_of_nothing_is_an_error() -> None:
    with pytest.raises(RecordingError, match="at least one"):
        JointFooter().encoded()
