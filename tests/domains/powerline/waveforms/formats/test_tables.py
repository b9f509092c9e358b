"""CSV and Parquet tables, with and without times, and classData.csv with its own rules."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domains.powerline.waveforms import ReadOptions, Record, RecordError, is_record, open_waveforms, windows_of
from domains.powerline.waveforms.formats.tables.files import CLASS_DATA_HEADER
from domains.powerline.waveforms.formats.tables.text import whole_lines
from model.spec import load_spec
from tests.domains.powerline.waveforms.record_samples import PEAK, Shape, load_waves

SHAPE = Shape()
WAVES = load_waves(SHAPE)
IDEAL = WAVES / PEAK


def write_csv(
    path: Path,
    header: str,
    times: list[str] | None,
    *,
    delimiter: str = ",",
    comma: bool = False,
    encoding: str = "utf-8",
    before: str = "",
) -> Path:
    rows = []
    for k, values in enumerate(WAVES):
        cells = ([times[k]] if times is not None else []) + [f"{value:.6f}" for value in values]
        rows.append(delimiter.join(cell.replace(".", ",") if comma else cell for cell in cells))
    path.write_bytes((before + header + "\n" + "\n".join(rows) + "\n").encode(encoding))
    return path


def assert_ideal(record: Record) -> None:
    line = record.lines[0]
    scale = np.array([line.current_base] * 3 + [line.voltage_base] * 3)
    assert line.samples * scale == pytest.approx(WAVES, rel=1e-4, abs=0.2)
    assert record.segments[0].rate_hz == pytest.approx(4800, rel=1e-4)
    assert record.frequency_hz == pytest.approx(50, abs=0.05)


SECONDS = [f"{t:.9f}" for t in SHAPE.times()]
MILLISECONDS = [f"{1000 * t:.6f}" for t in SHAPE.times()]
DATES = [str(np.datetime64("2024-01-02T03:04:05") + np.timedelta64(round(t * 1e9), "ns")) for t in SHAPE.times()]


@pytest.mark.parametrize(
    ("header", "times", "options"),
    [
        ("time,ia,ib,ic,va,vb,vc", SECONDS, {}),
        ("t [ms],Ia [A],Ib [A],Ic [A],Va [V],Vb [V],Vc [V]", MILLISECONDS, {}),
        ("Zeit;IL1;IL2;IL3;UL1;UL2;UL3", SECONDS, {"delimiter": ";", "comma": True}),
        ("время\tIa (А)\tIb (А)\tIc (А)\tUa (В)\tUb (В)\tUc (В)", SECONDS, {"delimiter": "\t", "encoding": "cp1251"}),
        ("时间,A相电流,B相电流,C相电流,A相电压,B相电压,C相电压", SECONDS, {"encoding": "gbk"}),
        ("timestamp,ia,ib,ic,va,vb,vc", DATES, {}),
        ("time,ia,ib,ic,va,vb,vc", SECONDS, {"before": "# made by a program\n\n"}),
    ],
)
def test_a_csv_with_a_header_is_understood(
    tmp_path: Path, header: str, times: list[str], options: dict[str, str]
) -> None:
    record = open_waveforms(write_csv(tmp_path / "t.csv", header, times, **options))  # type: ignore[arg-type]
    assert_ideal(record)
    if times is DATES:
        assert record.start_ns == 1_704_164_645_000_000_000


def test_without_times_the_rate_is_asked_for(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "t.csv", "ia,ib,ic,va,vb,vc", None)
    with pytest.raises(RecordError, match="set the sampling rate with --rate"):
        open_waveforms(path)
    assert_ideal(open_waveforms(path, options=ReadOptions(rate_hz=4800)))


def test_a_mapping_names_time_unit_and_columns(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "t.csv", "when,c1,c2,c3,c4,c5,c6", MILLISECONDS)
    mapping = tmp_path / "m.toml"
    mapping.write_text(
        'time = "when"\ntime_unit = "ms"\n[lines.x]\nia = "c1"\nib = "c2"\nic = "c3"\nva = "c4"\nvb = "c5"\nvc = "c6"\n'
    )
    assert_ideal(open_waveforms(path, options=ReadOptions(mapping=mapping)))
    mapping.write_text("zeit = 1\n")
    with pytest.raises(RecordError, match="unknown key 'zeit'; use one of lines, rate_hz, time, time_unit"):
        open_waveforms(path, options=ReadOptions(mapping=mapping))


def test_a_parquet_table_is_read_alike(tmp_path: Path) -> None:
    columns = {
        "time": SHAPE.times(),
        **{name: WAVES[:, k] for k, name in enumerate(("ia", "ib", "ic", "va", "vb", "vc"))},
    }
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table(columns), path)
    assert is_record(path)
    assert_ideal(open_waveforms(path))


def test_a_recording_of_topics_is_no_record(tmp_path: Path) -> None:
    path = tmp_path / "r.parquet"
    pq.write_table(pa.table({"topic": ["t"], "partition": [0], "offset": [0], "value": [b"x"]}), path)
    assert not is_record(path)


def test_a_gap_in_the_times_parts_segments(tmp_path: Path) -> None:
    times = SHAPE.times()
    times[500:] += 0.3
    record = open_waveforms(write_csv(tmp_path / "t.csv", "time,ia,ib,ic,va,vb,vc", [f"{t:.9f}" for t in times]))
    assert [len(part) for part in record.segments] == [500, 460]
    assert record.segments[1].start_s == pytest.approx(500 / 4800 + 0.3, abs=1e-6)


@pytest.mark.parametrize(
    ("row", "says"),
    [("1,2,3", r"t\.csv, line 42: expected 7 values, found 3"), ("1,2,3,4,x5,6,7", r"t\.csv, line 42: .*x5")],
)
def test_a_broken_row_names_its_line(tmp_path: Path, row: str, says: str) -> None:
    path = write_csv(tmp_path / "t.csv", "time,ia,ib,ic,va,vb,vc", SECONDS)
    rows = path.read_text().split("\n")
    rows[41] = row
    path.write_text("\n".join(rows))
    with pytest.raises(RecordError, match=says):
        open_waveforms(path)


def test_classdata_is_known_by_its_header_and_kept_in_its_units(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(1200, 6)).round(6)
    bits = np.repeat([[1, 0, 0, 1], [0, 0, 0, 0]], 600, axis=0)
    path = tmp_path / "any.csv"
    rows = [",".join(map(str, (*b, *v))) for b, v in zip(bits.tolist(), values.tolist(), strict=True)]
    path.write_text("\n".join([",".join(CLASS_DATA_HEADER), *rows]))
    record = open_waveforms(path, options=ReadOptions(frequency_hz=50))
    assert record.format == "classData.csv"
    assert [line.name for line in record.lines] == ["any-1", "any-2"]
    instant = load_spec("instant")
    windows = [windows_of(line, instant)[0].windows[:, 0, :] for line in record.lines]
    assert np.concatenate(windows) == pytest.approx(values, abs=1e-4)


def test_the_classdata_csv_of_the_data_folder_has_six_runs(data_dir: Path) -> None:
    path = data_dir / "electrical-faults" / "classData.csv"
    if not path.is_file():
        pytest.skip(f"no {path}")
    record = open_waveforms(path)
    assert [len(line.segments[0]) for line in record.lines] == [1129, 1134, 1004, 1096, 1133, 2365]
    assert record.frequency_hz == pytest.approx(50, abs=0.5)


@pytest.mark.parametrize("kind", ["timestamp", "text", "float"])
def test_times_of_a_parquet_table_may_be_moments_text_or_numbers(tmp_path: Path, kind: str) -> None:
    moments = np.datetime64("2024-01-02T03:04:05", "ns") + np.round(SHAPE.times() * 1e9).astype("timedelta64[ns]")
    time = {"timestamp": moments, "text": moments.astype(str), "float": 1_704_164_645 + SHAPE.times()}[kind]
    path = tmp_path / "t.parquet"
    names = ["Ia (kA)", "Ib (kA)", "Ic (kA)", "Va (kV)", "Vb (kV)", "Vc (kV)"]
    columns = {name: WAVES[:, k] / 1000 for k, name in enumerate(names)}
    pq.write_table(pa.table({"when" if kind == "text" else "time": time, **columns}), path)
    record = open_waveforms(path)
    assert_ideal(record)
    assert record.start_ns == pytest.approx(1_704_164_645_000_000_000, abs=1000)


@given(
    text=st.text(alphabet="ab,\r\n", max_size=200).map(str.encode), size=st.integers(1, 40), chunk=st.integers(1, 40)
)
def test_blocks_of_whole_lines_hold_the_text_and_cut_no_line(text: bytes, size: int, chunk: int) -> None:
    file = io.BytesIO(text)
    blocks = list(whole_lines(lambda most: file.read(min(most, chunk)), size))
    lines = [line for line in text.splitlines() if line.strip()]
    found = [line for block in blocks for line in block.splitlines() if line.strip()]
    if max(map(len, lines), default=0) < min(size, chunk):
        assert found == lines
    assert b"".join(found) == b"".join(lines)


def test_an_error_far_behind_names_its_line(tmp_path: Path) -> None:
    rows = [f"{k / 1000:.3f},{k % 7}.25,{k % 5}.5,{k % 3}.75,1,2,3" for k in range(300_000)]
    rows[250_000] = "250.000,1,2,x,1,2,3"
    path = tmp_path / "long.csv"
    path.write_text("\n".join(["time,ia,ib,ic,va,vb,vc", *rows]) + "\n")
    with pytest.raises(RecordError, match=r"long.csv, line 250002: "):
        open_waveforms(path)
