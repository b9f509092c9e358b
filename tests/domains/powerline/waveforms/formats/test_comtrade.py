"""COMTRADE in every revision, data format, container and layout is read back to the samples that were written."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import comtrade
import numpy as np
import pytest

from domains.powerline.waveforms import ReadOptions, RecordError, open_waveforms
from domains.powerline.waveforms.formats.comtrade.files import read_comtrade
from tests.domains.powerline.waveforms.record_samples import PEAK, Shape, Written, healthy, load_waves, write_record

FORMATS = ("ASCII", "BINARY", "BINARY32", "FLOAT32")
LAYOUTS = {
    "one rate": Shape(),
    "two rates": Shape(segments=((4800.0, 480), (1200.0, 240))),
    "three rates": Shape(segments=((1200.0, 120), (4800.0, 480), (600.0, 60))),
    "no rates, one by time": Shape(rates="none"),
    "a rate of zero, one by time": Shape(rates="zero"),
    "no rates, two by time": Shape(rates="none", segments=((4800.0, 480), (1200.0, 240))),
    "two triggers with a gap": Shape(segments=((4800.0, 480), (4800.0, 480)), gaps_s=(0.0, 0.5)),
    "no rates, two triggers": Shape(rates="none", segments=((4800.0, 480), (4800.0, 480)), gaps_s=(0.0, 0.5)),
}
START_NS = 1_704_164_645_000_001_000  # 2024-01-02 03:04:05.000001


def assert_as_written(written: Written) -> None:
    raw = read_comtrade(written.path, ReadOptions())
    scale = np.abs(written.values).max(axis=0)
    assert raw.source.read(range(raw.source.shape[0])).T / scale == pytest.approx(written.values / scale, abs=2e-7)
    assert [(round(part.rate_hz), len(part)) for part in raw.segments] == [
        (round(rate), count) for rate, count in written.shape.segments
    ]
    times = np.concatenate([part.start_s + np.arange(len(part)) / part.rate_hz for part in raw.segments])
    # Stamps are whole microseconds.
    assert times == pytest.approx(written.shape.times(), abs=2e-6)
    assert raw.start_ns == START_NS
    assert tuple(channel.name for channel in raw.channels) == tuple(written.shape.names)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize("revision", ["1991", "1999", "2013"])
def test_every_revision_format_and_layout_reads_back(
    tmp_path: Path, revision: str, data_format: str, layout: str
) -> None:
    shape = replace(LAYOUTS[layout], revision=revision, data_format=data_format)
    for container in ("pair", "upper", "cff"):
        assert_as_written(write_record(tmp_path / container, replace(shape, container=container), load_waves(shape)))


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("status", [0, 1, 16, 17])
@pytest.mark.parametrize("data_format", FORMATS)
def test_status_channels_and_line_ends_change_nothing(
    tmp_path: Path, data_format: str, status: int, line_end: str
) -> None:
    for container in ("pair", "cff"):
        assert_as_written(
            healthy(tmp_path, data_format=data_format, status=status, line_end=line_end, container=container)
        )


@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize("layout", ["one rate", "two rates", "three rates"])
def test_the_comtrade_library_reads_the_same_where_it_copes(tmp_path: Path, layout: str, data_format: str) -> None:
    shape = replace(LAYOUTS[layout], revision="2013", data_format=data_format)
    written = write_record(tmp_path, shape, load_waves(shape))
    theirs = comtrade.Comtrade(ignore_warnings=True, use_numpy_arrays=True, use_double_precision=True)
    data = written.parts["data"]
    theirs.read(
        written.parts["header"].decode().replace("\r\n", "\n"),
        io.StringIO(data.decode()) if data_format == "ASCII" else data,
    )
    ours = read_comtrade(written.path, ReadOptions())
    assert ours.source.read(range(len(ours.channels))) == pytest.approx(np.asarray(theirs.analog), rel=1e-6, abs=1e-3)
    # At a change of rate, the library starts the new one a step later than the time column.
    if layout == "one rate":
        times = ours.segments[0].start_s + np.arange(ours.source.shape[1]) / ours.segments[0].rate_hz
        assert times == pytest.approx(np.asarray(theirs.time), abs=1e-9)


def test_either_file_of_the_pair_names_the_record(tmp_path: Path) -> None:
    written = healthy(tmp_path)
    assert open_waveforms(written.path.with_suffix(".dat")).lines[0].name == "record"


def test_missing_values_of_every_format_are_bridged_and_counted(tmp_path: Path) -> None:
    markers = {"BINARY": -32768, "BINARY32": -(2**31), "FLOAT32": -3.4028235e38, "ASCII": 99999}
    for data_format, marker in markers.items():
        shape = Shape(data_format=data_format, revision="2013")
        written = write_record(tmp_path / data_format, shape, load_waves(shape))
        path = written.path.with_suffix(".dat")
        if data_format == "ASCII":
            rows = path.read_text().splitlines()
            for k in (100, 101):
                cells = rows[k].split(",")
                cells[3] = str(marker)
                rows[k] = ",".join(cells)
            path.write_text("\n".join(rows))
        else:
            kind = {"BINARY": "<i2", "BINARY32": "<i4", "FLOAT32": "<f4"}[data_format]
            row = np.dtype([("n", "<u4"), ("t", "<u4"), ("v", kind, (6,)), ("d", "<u2", (1,))])
            rows_ = np.frombuffer(path.read_bytes(), row).copy()
            rows_["v"][100:102, 1] = marker
            path.write_bytes(rows_.tobytes())
        record = open_waveforms(written.path)
        assert record.channels[1].missing == 2, data_format
        assert any(finding.code == "missing-values" for finding in record.findings)
        ideal = load_waves(shape) / PEAK
        assert np.abs(record.lines[0].samples[:, 1] - ideal[:, 1]).max() < 0.01


def test_a_1991_value_of_minus_one_is_a_value(tmp_path: Path) -> None:
    shape = Shape(revision="1991")
    samples = load_waves(shape)
    samples[50:60, 0] = -samples[:, 0].max() / 32_000
    written = write_record(tmp_path, shape, samples)
    stored = np.frombuffer(written.parts["data"], "<i2").reshape(960, -1)[:, 4:10]
    assert (stored[50:60, 0] == -1).all()
    assert np.isfinite(read_comtrade(written.path, ReadOptions()).source.read(range(6))).all()


def test_a_cut_file_gives_what_it_has_and_says_so(tmp_path: Path) -> None:
    for data_format in FORMATS:
        written = healthy(tmp_path / data_format, data_format=data_format)
        path = written.path.with_suffix(".dat")
        path.write_bytes(path.read_bytes()[: len(path.read_bytes()) // 2].rsplit(b"\n", 1)[0])
        record = open_waveforms(written.path)
        assert 100 < len(record.lines[0].samples) < 960
        assert "data-cut" in {finding.code for finding in record.findings}


def test_claimed_sizes_are_not_believed(tmp_path: Path) -> None:
    written = healthy(tmp_path)
    text = written.path.read_text()
    written.path.write_text(text.replace("4800,960", "4800,900000000000"))
    assert len(open_waveforms(written.path).lines[0].samples) == 960
    written.path.write_text(text.replace("9,6A,3D", "999999999,999999996A,3D"))
    record = open_waveforms(written.path)
    assert len(record.channels) == 6
    assert "channel-counts" in {finding.code for finding in record.findings}


def test_a_wrong_format_or_byte_order_is_found_by_the_sample_numbers(tmp_path: Path) -> None:
    written = healthy(tmp_path, data_format="FLOAT32")
    written.path.write_text(written.path.read_text().replace("FLOAT32", "BINARY"))
    record = open_waveforms(written.path)
    assert "format-contradicts-header" in {finding.code for finding in record.findings}
    assert record.lines[0].samples == pytest.approx(load_waves(written.shape) / PEAK, abs=1e-5)


@pytest.mark.parametrize(
    ("line", "old", "new", "says"),
    [
        (1, "STATION,DEVICE,1999\n9,6A,3D", "Dear reader\n", "line 1: expected station, device and revision"),
        (2, "9,6A,3D", "9,sixA,3D", "line 2: expected counts of channels"),
        (4, "2,IB,B,,A,", "2,IB\n", "line 4: an analogue channel has 13 fields, this line has 2"),
        (12, "\n50", "\nfifty", "line 12: the mains frequency must be a number"),
        (14, "4800,960", "4800,many", "line 14: the number of the last sample must be a whole number"),
        (14, "4800,960", "nan,960", "line 14: the sampling rate must be finite"),
        (17, "BINARY", "MORSE", "line 17: the data format must be one of"),
    ],
)
def test_a_broken_header_is_one_line_that_names_the_line(
    tmp_path: Path, line: int, old: str, new: str, says: str
) -> None:
    written = healthy(tmp_path, line_end="\n")
    text = written.path.read_text()
    assert old in text
    written.path.write_text(text.replace(old, new, 1))
    with pytest.raises(RecordError) as caught:
        open_waveforms(written.path)
    assert says in str(caught.value)
    assert caught.value.line == line
    assert "\n" not in str(caught.value)


def test_a_broken_value_names_its_line_of_the_data(tmp_path: Path) -> None:
    written = healthy(tmp_path, data_format="ASCII", line_end="\n")
    path = written.path.with_suffix(".dat")
    rows = path.read_text().split("\n")
    rows[41] = rows[41].replace(",", ",x", 3)
    path.write_text("\n".join(rows))
    with pytest.raises(RecordError, match=r"record\.dat, line 42: ") as caught:
        open_waveforms(written.path)
    assert caught.value.line == 42
    rows[41] = "42,1,2"
    path.write_text("\n".join(rows))
    with pytest.raises(RecordError, match=r"record\.dat, line 42: expected 11 values, found 3"):
        open_waveforms(written.path)


def test_data_shorter_than_a_sample_name_their_byte(tmp_path: Path) -> None:
    written = healthy(tmp_path)
    written.path.with_suffix(".dat").write_bytes(b"\0" * 10)
    with pytest.raises(RecordError, match=r"record\.dat, byte 0: there are 10 bytes of data, but one sample needs 22"):
        open_waveforms(written.path)


def test_a_missing_half_of_the_pair_is_named(tmp_path: Path) -> None:
    written = healthy(tmp_path)
    written.path.with_suffix(".dat").unlink()
    with pytest.raises(RecordError, match=r"record\.dat: no such file: put the \.cfg and the \.dat of a COMTRADE"):
        open_waveforms(written.path)


def test_neither_rate_nor_times_asks_for_the_rate(tmp_path: Path) -> None:
    written = healthy(tmp_path, rates="zero", segments=((4800.0, 960),))
    path = written.path.with_suffix(".dat")
    row = np.dtype([("n", "<u4"), ("t", "<u4"), ("v", "<i2", (6,)), ("d", "<u2", (1,))])
    rows = np.frombuffer(path.read_bytes(), row).copy()
    rows["t"] = 0xFFFFFFFF
    path.write_bytes(rows.tobytes())
    with pytest.raises(RecordError, match="set it with --rate"):
        open_waveforms(written.path)
    record = open_waveforms(written.path, options=ReadOptions(rate_hz=4800))
    assert record.segments[0].rate_hz == 4800


def test_a_larger_file_than_allowed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="max_bytes allows"):
        open_waveforms(healthy(tmp_path).path, options=ReadOptions(max_bytes=1000))


@pytest.mark.parametrize(
    ("start", "code", "expected"),
    [
        (("02/01/2024", "03:04:05.123456789"), "0,0", 1_704_164_645_123_456_789),
        (("02/01/2024", "03:04:05"), "0,0", 1_704_164_645_000_000_000),
        (("02/01/24", "03:04:05.5"), "0,0", 1_704_164_645_500_000_000),
        (("02/01/2024", "03:04:05.0"), "-5h30,-5h30", 1_704_164_645_000_000_000 + 19_800 * 10**9),
        (("02/01/2024", "03:04:05.0"), "+8,+8", 1_704_164_645_000_000_000 - 28_800 * 10**9),
        (("31/12/2016", "23:59:60.25"), "0,0", 1_483_228_800_250_000_000),
    ],
)
def test_time_stamps_become_unix_time(tmp_path: Path, start: tuple[str, str], code: str, expected: int) -> None:
    written = healthy(tmp_path, revision="2013", start=start, time_code=code)
    assert open_waveforms(written.path).start_ns == expected


def test_nanosecond_stamps_count_the_data_s_times_in_nanoseconds(tmp_path: Path) -> None:
    written = healthy(
        tmp_path, revision="2013", data_format="ASCII", start=("02/01/2024", "03:04:05.000000001"), rates="none"
    )
    path = written.path.with_suffix(".dat")
    rows = [row.split(",") for row in path.read_text().split()]
    path.write_text("\n".join(",".join([row[0], str(int(row[1]) * 1000), *row[2:]]) for row in rows))
    assert open_waveforms(written.path).segments[0].rate_hz == pytest.approx(4800, rel=1e-5)


def test_an_error_in_a_later_block_of_text_names_its_line(tmp_path: Path) -> None:
    shape = Shape(data_format="ASCII", segments=((4800.0, 30_000),))
    path = write_record(tmp_path, shape, load_waves(shape)).path.with_suffix(".dat")
    lines = path.read_text().splitlines()
    assert path.stat().st_size > 1 << 20
    lines[25_000] = lines[25_000].replace(",", ",x", 3)
    path.write_text("\n".join(lines))
    with pytest.raises(RecordError, match=r"record.dat, line 25001: "):
        open_waveforms(path)
