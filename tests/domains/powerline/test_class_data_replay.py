"""``classData.csv`` is replayed row by row with its classes."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from domains.powerline.replay import CLASS_DATA
from model.spec import load_spec
from stream.errors import RecordingError
from stream.recordings.sources import RECORDING, Source, SourceOptions, open_source
from training.errors import DataSetError

HEADER = "G,C,B,A,Ia,Ib,Ic,Va,Vb,Vc\n"
START_NS = 1_700_000_000_000_000_000


def opened(path: Path, options: SourceOptions | None = None) -> Source:
    return open_source(path, options, (RECORDING, CLASS_DATA))


def test_class_data_becomes_one_line_per_run_with_labels(tmp_path: Path) -> None:
    rows = ["1,0,0,1,10,20,30,.1,.2,.3"] * 5 + ["0,0,0,0,1,2,3,.1,.2,.3"] * 3 + ["0,1,1,0,1,2,3,.1,.2,.3"] * 4
    path = tmp_path / "any-name.csv"
    path.write_text(HEADER + "\n".join(rows) + "\n")
    source = opened(path, SourceOptions(windows_per_message=2, start_ns=START_NS))
    records = list(source.records())
    assert len(records) == source.total == 3 + 2 + 2
    assert sorted({record.key for record in records}) == [b"classdata-1", b"classdata-2", b"classdata-3"]
    labels: dict[bytes | None, list[int]] = {}
    for record in records:
        body = msgspec.msgpack.decode(record.value or b"")
        labels.setdefault(record.key, []).extend(body["labels"])
        assert body["spec"] == "instant"
    names = {key: {load_spec("instant").class_names[label] for label in found} for key, found in labels.items()}
    assert names == {b"classdata-1": {"LG"}, b"classdata-2": {"None"}, b"classdata-3": {"LL BC"}}
    assert [record.due_ns for record in records] == sorted(record.due_ns for record in records)
    block = np.frombuffer(msgspec.msgpack.decode(records[0].value or b"")["data"], "<f4").reshape(2, 1, 6)
    np.testing.assert_allclose(block[0, 0], [10, 20, 30, 0.1, 0.2, 0.3], rtol=1e-6)


def test_class_data_can_be_cut_into_any_number_of_lines(tmp_path: Path) -> None:
    path = tmp_path / "c.csv"
    path.write_text(HEADER + "0,0,0,0,1,2,3,.1,.2,.3\n" * 10)
    source = opened(path, SourceOptions(lines=3, windows_per_message=100))
    assert sorted(record.windows for record in source.records()) == [3, 3, 4]


def test_every_row_of_the_real_class_data_is_a_window(data_dir: Path) -> None:
    path = data_dir / "electrical-faults" / "classData.csv"
    if not path.is_file():
        pytest.skip(f"no {path.name} in the test data")
    windows: dict[bytes | None, int] = {}
    for record in opened(path).records():
        windows[record.key] = windows.get(record.key, 0) + record.windows
    assert sorted(windows.values()) == [1004, 1096, 1129, 1133, 1134, 2365]
    assert sum(record.windows for record in opened(path, SourceOptions(lines=40)).records()) == 7861


@pytest.mark.parametrize("rows", ["", "0,0,0,1,1,2,3,4,5,6\n", "0,0,0,0,1,2,x,4,5,6\n", "0,0,0,0,1,2\n"])
def test_a_damaged_file_says_in_which_line(tmp_path: Path, rows: str) -> None:
    path = tmp_path / "c.csv"
    path.write_text(HEADER + rows)
    with pytest.raises(DataSetError, match=r"line 2|no rows"):
        opened(path)


def test_another_csv_is_nothing_to_replay(tmp_path: Path) -> None:
    path = tmp_path / "c.csv"
    path.write_text("a,b,c\n1,2,3\n")
    with pytest.raises(RecordingError, match=r"supported kinds of file are: Parquet recording, classData\.csv"):
        opened(path)
