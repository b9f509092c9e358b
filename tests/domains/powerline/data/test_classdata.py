"""The reader of classData.csv, on made-up files and, if available, on the real one."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from domains.powerline.data.classdata import read_classdata, split_classdata
from model.spec import load_spec
from training.errors import DataSetError

SPEC = load_spec("instant")
ROOT = Path(__file__).resolve().parents[4]
DATA = Path(os.environ.get("FAULTLINE_DATA", ROOT.parent / "shared" / "data"))
REAL = DATA / "electrical-faults" / "classData.csv"
HEADER = "G,C,B,A,Ia,Ib,Ic,Va,Vb,Vc\n"
VALUES = ",1.5,-2,3,0.1,0.2,-0.3\n"

needs_data = pytest.mark.skipif(not REAL.is_file(), reason=f"classData.csv is not in {DATA}")


def written(folder: Path, text: str) -> Path:
    path = folder / "classData.csv"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("bits", "name"),
    [
        ("0,0,0,0", "None"),
        ("1,0,0,1", "LG"),
        ("1,1,0,0", "LG"),
        ("0,0,1,1", "LL AB"),
        ("0,1,1,0", "LL BC"),
        ("1,0,1,1", "LLG"),
        ("0,1,1,1", "LLL"),
        ("1,1,1,1", "LLLG"),
    ],
)
def test_bits_are_read_as_ground_c_b_a(tmp_path: Path, bits: str, name: str) -> None:
    windows = read_classdata(written(tmp_path, HEADER + bits + VALUES), SPEC)
    assert SPEC.class_names[windows.labels[0]] == name
    np.testing.assert_allclose(windows.data[0, 0], [1.5, -2, 3, 0.1, 0.2, -0.3])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "line 1: expected the columns G,C,B,A"),
        (HEADER, "no rows"),
        (HEADER + "0,0,0,0" + VALUES + "1,0,0,1,5\n", "line 3: expected 10 values, found 5"),
        (HEADER + "0,0,0,2" + VALUES, "line 2: the bits"),
        (HEADER + "0,0,0,1" + VALUES, "line 2: the bits G,C,B,A = 0,0,0,1 stand for no class"),
        (HEADER + "0,0,0,0,x,1,1,1,1,1\n", "line 2: could not convert"),
        (HEADER + "0,0,0,0,nan,1,1,1,1,1\n", "line 2: a value is not finite"),
    ],
)
def test_a_wrong_file_is_refused_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataSetError, match=message):
        read_classdata(written(tmp_path, text), SPEC)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataSetError, match="cannot be read"):
        read_classdata(tmp_path / "none.csv", SPEC)


def test_blocks_keep_time_in_order_within_every_run(tmp_path: Path) -> None:
    rows = [f"1,0,0,1,{k},0,0,0,0,0\n" for k in range(50)] + [f"0,0,0,0,{k},0,0,0,0,0\n" for k in range(50, 100)]
    windows = read_classdata(written(tmp_path, HEADER + "".join(rows)), SPEC)
    train, validation, test = split_classdata(windows, "blocks", seed=0)
    assert [len(part) for part in (train, validation, test)] == [60, 20, 20]
    assert validation.data[:10, 0, 0].tolist() == list(range(30, 40))
    assert test.data[:10, 0, 0].tolist() == list(range(40, 50))


@needs_data
def test_the_real_file_has_the_documented_rows() -> None:
    windows = read_classdata(REAL, SPEC)
    counts = dict(zip(SPEC.class_names, np.bincount(windows.labels, minlength=7).tolist(), strict=True))
    assert counts == {
        "None": 2365,
        "LG": 1129,
        "LL AB": 0,
        "LL BC": 1004,
        "LLG": 1134,
        "LLL": 1096,
        "LLLG": 1133,
    }
    assert len(np.unique(windows.episode)) == 6


@needs_data
@pytest.mark.parametrize("split", ["random", "blocks"])
def test_both_splits_of_the_real_file_use_every_row_once(split: str) -> None:
    windows = read_classdata(REAL, SPEC)
    parts = split_classdata(windows, split, seed=1)  # type: ignore[arg-type]
    assert sum(len(part) for part in parts) == len(windows)
    assert [round(len(part) / len(windows), 2) for part in parts] == [0.6, 0.2, 0.2]
