"""Event reports of SEL relays, compressed and as plain text, of several families, whole and damaged."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domains.powerline.waveforms import ReadOptions, RecordError, open_waveforms
from domains.powerline.waveforms.formats.sel.compressed import parse_compressed
from domains.powerline.waveforms.formats.sel.event import is_sel_event, read_sel_event
from domains.powerline.waveforms.formats.sel.text import parse_text
from tests.domains.powerline.waveforms.formats.sel_samples import (
    RELAYS,
    ROOT_TWO,
    SEL_351,
    SEL_421,
    SEL_551,
    SEL_751,
    Relay,
    checked,
    compressed,
    plain_text,
    quoted,
)


def written(folder: Path, relay: Relay, name: str = "event.cev") -> Path:
    path = folder / name
    path.write_bytes(compressed(relay)[0])
    return path


@pytest.mark.parametrize("family", RELAYS)
def test_a_compressed_report_reads_back_to_the_same_values(tmp_path: Path, family: str) -> None:
    relay = RELAYS[family]
    data, values = compressed(relay)
    report = parse_compressed(data, tmp_path)
    used = [k for k, column in enumerate(relay.columns) if column != "*"]
    assert np.array_equal(report.values, values.T[used])
    assert report.names == [relay.columns[k].partition("(")[0] for k in used]
    assert report.trigger_row == relay.trigger_row
    assert not report.findings


@pytest.mark.parametrize("family", RELAYS)
def test_channels_are_instantaneous_primary_values_at_their_times(tmp_path: Path, family: str) -> None:
    relay = RELAYS[family]
    raw = read_sel_event(written(tmp_path, relay), ReadOptions())
    rate = relay.per_cycle * relay.frequency_hz
    assert raw.segments[0].rate_hz == pytest.approx(rate)
    assert raw.trigger_ns == relay.trigger_ns
    assert relay.trigger_ns - raw.start_ns == pytest.approx(relay.trigger_row / rate * 1e9, abs=2)
    waves = raw.source.read(range(len(raw.channels)))
    index = next(k for k, channel in enumerate(raw.channels) if channel.name.startswith("IA"))
    assert waves[index] == pytest.approx(relay.waves()[:, 0], abs=2.0)
    volts = [k for k, channel in enumerate(raw.channels) if channel.name.startswith("VA")]
    for k in volts:
        factor = 1e3 if raw.channels[k].unit == "kV" else 1.0
        assert factor * waves[k] == pytest.approx(relay.waves()[:, 3], rel=1e-3, abs=0.001 * relay.volt + 80)


@pytest.mark.parametrize("family", ["351", "651R", "751", "421", "351 unfiltered"])
def test_the_line_of_a_report_is_found(tmp_path: Path, family: str) -> None:
    chosen = "ia=IA ib=IB ic=IC va=VAY vb=VBY vc=VCY" if family == "651R" else None
    record = open_waveforms(written(tmp_path, RELAYS[family]), options=ReadOptions(channels=chosen))
    assert len(record.lines) == 1
    assert record.device.startswith("SEL-351")
    assert ("EVENT", RELAYS[family].event) in [(said.source, said.text) for said in record.statements]


@pytest.mark.parametrize("name", ["C4_10001.TXT", "c8_10001.txt", "report.CEV", "event.evt", "export"])
def test_the_content_decides_whatever_the_name_is(tmp_path: Path, name: str) -> None:
    path = written(tmp_path, SEL_351, name)
    assert is_sel_event(path)
    assert open_waveforms(path).format == "SEL compressed event report"


def test_statements_leave_out_placeholders(tmp_path: Path) -> None:
    raw = read_sel_event(written(tmp_path, SEL_751), ReadOptions())
    assert [said.source for said in raw.statements] == ["EVENT", "TARGETS"]


def test_a_summary_after_the_samples_is_read_and_a_second_report_is_not(tmp_path: Path) -> None:
    bare = compressed(replace(SEL_351, summary=(), settings=False))[0]
    late = "\r\n".join(
        [checked(quoted(["EVENT", "LOCATION", "FREQ", "SAM/CYC_A"])), checked(['"BC T"', "7.1", "60", "4"])]
    )
    path = tmp_path / "event.cev"
    path.write_bytes(bare + late.encode() + b"\r\n" + compressed(SEL_421)[0])
    raw = read_sel_event(path, ReadOptions())
    assert [said.text for said in raw.statements] == ["BC T", "7.1"]
    assert raw.source.shape[1] == len(SEL_351.times)
    assert "several-reports" in {finding.code for finding in raw.findings}


def test_a_wrong_checksum_is_a_warning_that_names_the_line(tmp_path: Path) -> None:
    data, _ = compressed(SEL_351)
    lines = data.split(b"\r\n")
    lines[12] = b"9" + lines[12]
    path = tmp_path / "event.cev"
    path.write_bytes(b"\r\n".join(lines))
    found = [finding for finding in read_sel_event(path, ReadOptions()).findings if finding.code == "checksum"]
    assert len(found) == 1
    assert "line 13" in found[0].message


def test_a_report_without_rate_is_estimated_from_its_waveforms(tmp_path: Path) -> None:
    path = written(tmp_path, replace(SEL_551, per_cycle=16))
    raw = read_sel_event(path, ReadOptions())
    assert raw.segments[0].rate_hz == 960
    assert {"rate-estimated", "frequency-unknown"} == {
        finding.code for finding in raw.findings if finding.level == "warning"
    }
    assert read_sel_event(path, ReadOptions(rate_hz=800)).segments[0].rate_hz == 800


def test_unfiltered_values_that_the_summary_proves_instantaneous_stay(tmp_path: Path) -> None:
    for scaled in (True, False):
        relay = replace(SEL_351, per_cycle=16, scaled=scaled)
        raw = read_sel_event(written(tmp_path, relay), ReadOptions())
        assert float(raw.source.read([0]).max()) == pytest.approx(9 * 240 * ROOT_TWO, rel=0.01)


@pytest.mark.parametrize("cut", [0.1, 0.3, 0.6, 0.97])
def test_a_cut_report_is_read_up_to_its_last_whole_row(tmp_path: Path, cut: float) -> None:
    data, values = compressed(replace(SEL_351, settings=False, after=""))
    head = data.index(b'"TRIG"') + 200
    path = tmp_path / "event.cev"
    path.write_bytes(data[: head + int(cut * (len(data) - head))])
    raw = read_sel_event(path, ReadOptions())
    rows = raw.source.shape[1]
    assert cut * len(values) * 0.9 <= rows + 2 <= cut * len(values) + 6


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (b"", "is this an SEL event report"),
        (b'"FID","0143"\r\n"FID=SEL-351","0000"\r\n', "ends before its line of columns"),
        (b'"IA","IB","IC","TRIG","X"\r\n"SETTINGS"\r\n', "no rows of samples"),
        (b'"*","TRIG","X"\r\n1,2\r\n', "names 0 columns"),
        (b'"IA","IB","IC","TRIG","X"\r\n1,2,3,">"\r\n1,2\r\n1,2,3,""\r\n', "line 3: expected 3 values"),
    ],
)
def test_a_broken_report_is_one_line_that_names_the_file(tmp_path: Path, broken: bytes, message: str) -> None:
    path = tmp_path / "event.cev"
    path.write_bytes(broken)
    with pytest.raises(RecordError, match=message) as caught:
        open_waveforms(path)
    assert "event.cev" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_beyond_the_limit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="at most 1,000 bytes"):
        open_waveforms(written(tmp_path, SEL_351), options=ReadOptions(max_bytes=1000))


TEXT = replace(SEL_351, columns=("IA", "IB", "IC", "IN", "IG", "VA(kV)", "VB(kV)", "VC(kV)", "VS(kV)", "VDC", "FREQ"))
TEXTS = {
    "351": TEXT,
    "16 rows": replace(TEXT, per_cycle=16, cycles=11),
    "421": replace(TEXT, columns=("IA", "IB", "IC", "IG", "VA(kV)", "VB(kV)", "VC(kV)", "V1MEM"), volt=199_000.0),
    "749M": replace(TEXT, columns=("IA", "IB", "IC", "IN", "VAB(kV)", "VBC(kV)", "VCA(kV)")),
    "50 Hz": replace(TEXT, frequency_hz=50.0, event="BCG"),
}


@pytest.mark.parametrize("labels", [True, False])
@pytest.mark.parametrize("form", TEXTS)
def test_a_plain_report_reads_back_to_the_same_values(tmp_path: Path, form: str, labels: bool) -> None:
    relay = TEXTS[form]
    path = tmp_path / "event.txt"
    path.write_bytes(plain_text(relay, labels=labels))
    assert is_sel_event(path)
    raw = read_sel_event(path, ReadOptions())
    wanted = np.array([np.round(c, d) for c, d in zip(relay.table().T, relay.decimals(), strict=True)])
    for k, (channel, values) in enumerate(zip(raw.channels, wanted, strict=True)):
        factor = 1.0 if channel.name in ("VDC", "FREQ") else ROOT_TWO
        assert raw.source.read([k])[0] == pytest.approx(factor * values, rel=1e-6, abs=1e-6)
    assert raw.segments[0].rate_hz == pytest.approx(relay.per_cycle * relay.frequency_hz)
    assert raw.trigger_ns == relay.trigger_ns
    said = {statement.source: statement.text for statement in raw.statements}
    assert said == {"Event": relay.event, "Location": relay.location, "Targets": "INST 50"}
    assert (raw.station, raw.channels[0].unit, raw.channels[0].side) == ("STATION A, FEEDER 1", "A", "P")
    assert not [finding for finding in raw.findings if finding.level == "warning"]


def test_the_line_of_a_plain_report_is_found(tmp_path: Path) -> None:
    path = tmp_path / "event.eve"
    path.write_bytes(plain_text(replace(TEXT, per_cycle=16)))
    assert len(open_waveforms(path).lines) == 1


def test_cycles_that_were_left_out_are_a_gap(tmp_path: Path) -> None:
    path = tmp_path / "event.txt"
    path.write_bytes(plain_text(TEXT, skip=(1, 2)))
    raw = read_sel_event(path, ReadOptions())
    assert [len(segment) for segment in raw.segments] == [4, 48]
    assert raw.segments[1].start_s == pytest.approx(3 / 60)
    assert TEXT.trigger_ns - raw.start_ns == pytest.approx(TEXT.trigger_row / 240 * 1e9, abs=2)


@given(
    values=st.lists(st.lists(st.integers(-999_999, 999_999), min_size=4, max_size=4), min_size=3, max_size=30),
    spaces=st.integers(0, 4),
)
def test_numbers_of_a_plain_report_may_touch_each_other(values: list[list[int]], spaces: int) -> None:
    rows = ["".join(" " * spaces + f"{value / 10:+9.1f}" for value in row) + ">..b." for row in values]
    text = "Date: 01/02/20  Time: 03:04:05.678\nIA IB IC IG 12 34\n" + "\n".join(rows)
    report = parse_text(text, Path("event.txt"))
    assert np.allclose(report.values.T, np.array(values) / 10)


@given(
    data=st.binary(max_size=300), head=st.sampled_from([b'"FID","0143"\r\n', b'"MONTH","DAY"\n', b"IA IB IC\n", b""])
)
def test_arbitrary_text_is_refused_or_read(data: bytes, head: bytes) -> None:
    for parse in (parse_compressed, lambda content, path: parse_text(content.decode("latin-1"), path)):
        with contextlib.suppress(RecordError):
            assert parse(head + data, Path("event.cev")).values.shape[1] >= 2


def test_a_report_of_a_relay_with_two_feeders_keeps_all_columns(tmp_path: Path) -> None:
    columns = tuple(f"I{p}{w}(A)" for w in "WX" for p in "ABC") + tuple(f"V{p}{w}(kV)" for w in "YZ" for p in "ABC")
    raw = read_sel_event(written(tmp_path, replace(SEL_421, columns=(*columns, "FREQ"))), ReadOptions())
    assert [channel.name for channel in raw.channels] == [name.partition("(")[0] for name in (*columns, "FREQ")]
    assert {channel.unit for channel in raw.channels} == {"A", "kV", "Hz"}
