"""PQDIF: every form of the file reads back to the same samples; what is no waveform is left out; damage is named."""

from __future__ import annotations

import random
import struct
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domains.powerline.waveforms import ReadOptions, RecordError, open_waveforms
from domains.powerline.waveforms.formats.pqdif.files import is_pqdif, read_pqdif
from domains.powerline.waveforms.formats.pqdif.records import LEAST_INFLATED
from domains.powerline.waveforms.record import RawRecord
from tests.domains.powerline.waveforms.formats import pqdif_seeds
from tests.domains.powerline.waveforms.formats.pqdif_writer import (
    SECOND,
    SIX,
    Channel,
    Document,
    Event,
    Form,
    as_read,
    body,
    chained,
    document,
    guid,
    sample_times,
    three_phase,
    write,
)

START_NS = 1_700_000_000 * SECOND
DAY_NS = 86_400 * SECOND
DOCUMENTS = pqdif_seeds.documents()
FORMS = st.builds(
    Form,
    compress=st.booleans(),
    stored=st.sampled_from(["<i2", "<i4", "<f4", "<f8"]),
    scale=st.sampled_from([None, (1.0, 0.0), (0.5, 0.0), (2.0, -7.0)]),
    times=st.sampled_from(["increments", "scaled increments", "values", "float32 values", "cycles", "stamps"]),
    shared=st.booleans(),
    reverse=st.booleans(),
    backwards=st.booleans(),
    embed=st.booleans(),
    streams=st.sampled_from([1, 1, 3]),
    checksum=st.sampled_from(["", "adler", "crc", "crc inflated"]),
    wide=st.booleans(),
    blanks=st.booleans(),
    moved=st.booleans(),
)


def read(folder: Path, written: Document | bytes, name: str = "meter.pqd", **options: object) -> RawRecord:
    path = folder / name
    path.write_bytes(written if isinstance(written, bytes) else write(written))
    return read_pqdif(path, ReadOptions(**options))


def codes(raw: RawRecord) -> list[str]:
    return [finding.code for finding in raw.findings]


def refused(folder: Path, written: Document | bytes, **options: object) -> str:
    with pytest.raises(RecordError) as caught:
        read(folder, written, **options)
    assert "meter.pqd" in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@given(form=FORMS, rate=st.sampled_from([960.0, 1000.0, 7680.0, 12_800.0]), first_s=st.sampled_from([0.0, -0.05, 0.25]))
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_form_reads_back_to_the_same_samples(tmp_path: Path, form: Form, rate: float, first_s: float) -> None:
    event = Event(three_phase(rate, 0.2), rate_hz=rate, first_s=first_s, start_ns=START_NS + 123_456_789)
    one = Document(SIX, (event,), form=form)
    raw = read(tmp_path, one)
    assert [channel.name for channel in raw.channels] == [channel.name for channel in SIX]
    assert [channel.phase for channel in raw.channels] == ["A", "B", "C"] * 2
    assert [channel.unit for channel in raw.channels] == ["V"] * 3 + ["A"] * 3
    values = raw.source.read(range(6))
    assert values.dtype == np.float32
    for index, row in enumerate(values):
        np.testing.assert_array_equal(row, as_read(event.values[index], form))
    (segment,) = raw.segments
    assert (segment.first, segment.stop, segment.start_s) == (0, len(event.values[0]), 0.0)
    assert segment.rate_hz == pytest.approx(rate, rel=1e-4)
    assert raw.start_ns == pytest.approx(event.start_ns + round(first_s * SECOND), abs=20_000)
    assert (raw.header_hz, raw.station, raw.findings) == (60.0, "Meter", [])


@given(form=FORMS.filter(lambda form: form.times != "float32 values"), count=st.integers(2, 5))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_observations_of_the_same_channels_are_segments_in_time_order(tmp_path: Path, form: Form, count: int) -> None:
    events = [
        replace(Event(three_phase(1920.0, 0.1 * (k + 1))), rate_hz=1920.0, start_ns=START_NS + k * DAY_NS, name=f"E{k}")
        for k in range(count)
    ]
    shuffled = tuple(events[1::2] + events[::2])
    raw = read(tmp_path, Document(SIX, shuffled, form=form, sources_each=form.reverse))
    assert len(raw.segments) == count
    assert [segment.start_s for segment in raw.segments] == pytest.approx([86_400.0 * k for k in range(count)])
    values = raw.source.read([3])[0]
    assert raw.source.shape == (6, len(values))
    for segment, event in zip(raw.segments, events, strict=True):
        np.testing.assert_array_equal(values[segment.first : segment.stop], as_read(event.values[3], form))
    assert codes(raw) == ["observations"]
    assert [statement.text.split(";")[0] for statement in raw.statements] == [f"E{k}" for k in range(count)]


@pytest.mark.parametrize("times", ["increments", "scaled increments", "values", "stamps"])
def test_two_rates_are_two_segments(tmp_path: Path, times: str) -> None:
    event = Event(three_phase(7680.0, 0.2), rate_hz=7680.0, second_rate=(512, 1920.0))
    raw = read(tmp_path, document(Form(times=times), events=(event,)))
    assert [(one.first, one.stop) for one in raw.segments] == [(0, 512), (512, 1536)]
    assert [one.rate_hz for one in raw.segments] == pytest.approx([7680.0, 1920.0], rel=1e-3)
    assert raw.segments[1].start_s == pytest.approx(sample_times(event)[512], abs=1e-6)


def test_a_gap_in_explicit_times_is_a_gap_between_segments(tmp_path: Path) -> None:
    event = Event(three_phase(4000.0, 0.3), rate_hz=4000.0)
    written = write(document(Form(compress=False, times="values"), events=(event,)))
    times = sample_times(event)
    moved = times + np.where(np.arange(len(times)) >= 600, 1.0, 0.0)
    assert written.count(times.tobytes()) == 1
    raw = read(tmp_path, written.replace(times.tobytes(), moved.tobytes()))
    assert [(one.first, one.stop) for one in raw.segments] == [(0, 600), (600, 1200)]
    assert raw.segments[1].start_s == pytest.approx(1.0 + 600 / 4000, abs=1e-6)


def test_channels_in_observations_of_their_own_are_one_record(tmp_path: Path) -> None:
    values = three_phase(7680.0, 0.2)
    events = tuple(Event({index: values[index]}, start_ns=START_NS + 40 * index) for index in (3, 4, 5, 0, 1, 2))
    raw = read(tmp_path, document(events=events))
    assert [channel.name for channel in raw.channels] == [SIX[k].name for k in (3, 4, 5, 0, 1, 2)]
    assert len(raw.segments) == 1
    assert raw.findings == []


def test_observations_of_other_channels_are_named_and_left(tmp_path: Path) -> None:
    transient = tuple(Channel(f"TR_WF_U{k}", "V", phase) for k, phase in enumerate("ABC", 1))
    values = three_phase(1920.0, 0.2)
    events = (
        Event({6 + k: three_phase(100_000.0, 0.2)[k] for k in range(3)}, rate_hz=100_000.0, name="Transient 1"),
        Event(values, rate_hz=1920.0, name="Sag 1"),
        Event(values, rate_hz=1920.0, name="Sag 2", start_ns=START_NS + DAY_NS),
    )
    raw = read(tmp_path, Document((*SIX, *transient), events))
    assert raw.source.shape == (6, 768)
    (finding,) = [finding for finding in raw.findings if finding.code == "observations-not-read"]
    assert finding.level == "warning"
    assert "Transient 1 (3 channels)" in finding.message


def test_of_observations_at_the_same_time_the_longest_is_read(tmp_path: Path) -> None:
    events = tuple(Event(three_phase(1920.0, seconds), rate_hz=1920.0, name=f"{seconds} s") for seconds in (0.1, 0.3))
    raw = read(tmp_path, document(events=events))
    assert raw.source.shape == (6, 576)
    assert len(raw.segments) == 1
    assert "0.1 s (6 channels)" in next(f.message for f in raw.findings if f.code == "observations-not-read")


def test_observations_without_a_pause_are_one_stretch(tmp_path: Path) -> None:
    events = tuple(
        Event(three_phase(1920.0, 0.2), rate_hz=1920.0, start_ns=START_NS + round(0.2 * k * SECOND)) for k in range(3)
    )
    record_path = tmp_path / "meter.pqd"
    record_path.write_bytes(write(document(events=events)))
    record = open_waveforms(record_path)
    assert [segment.start_s for segment in record.segments] == pytest.approx([0.0, 0.2, 0.4])
    assert not [finding for finding in record.findings if finding.code == "gap"]


def test_logs_phasors_and_effective_values_are_no_waveforms(tmp_path: Path) -> None:
    others = (
        Channel("V RMS A", "V", "A", kind="phasor"),
        Channel("V log A", "V", "A", kind="log"),
        Channel("V declared a waveform", "V", "A", series=("value", "lowest", "highest")),
        Channel("V effective", "V", "A", characteristic="rms"),
    )
    values = three_phase(7680.0, 0.2)
    event = Event({**values, **{6 + k: np.full(20, 120.0) for k in range(4)}})
    raw = read(tmp_path, Document((*SIX, *others), (event,), form=Form(shared=False)))
    assert len(raw.channels) == 6
    assert codes(raw) == ["no-waveforms"]
    message = refused(tmp_path, Document((*SIX, *others), (Event({6: np.full(20, 120.0)}),)))
    assert "holds no waveforms" in message
    assert "export the waveforms" in message
    assert "holds no waveforms" in refused(tmp_path, document(events=()))


@pytest.mark.parametrize("use", [True, False])
def test_ratios_are_applied_if_the_file_says_so(tmp_path: Path, use: bool) -> None:
    channels = tuple(replace(one, ratio=(100.0, 1.0) if one.quantity == "V" else (600.0, 5.0)) for one in SIX)
    one = document(channels=channels, use_ratios=use)
    raw = read(tmp_path, one)
    factor = 120.0 if use else 1.0
    np.testing.assert_allclose(raw.source.read([4])[0], factor * as_read(one.events[0].values[4], one.form), rtol=1e-6)
    assert {(channel.primary, channel.secondary, channel.side) for channel in raw.channels} == {
        (100.0, 1.0, "P"), (600.0, 5.0, "P"),
    }  # fmt: skip
    assert raw.channels[4].step == pytest.approx(0.25 * factor)


def test_a_calibration_that_must_be_applied_is_a_warning(tmp_path: Path) -> None:
    raw = read(tmp_path, document(use_calibration=True))
    assert [(finding.level, finding.code) for finding in raw.findings] == [("warning", "calibration")]


def test_phases_of_neutral_residual_and_lines(tmp_path: Path) -> None:
    phases = ("A", "AB", "BC", "CA", "NG", "RES", "NET", "")
    channels = tuple(Channel(f"{quantity}{k}", quantity, phase) for quantity in "VI" for k, phase in enumerate(phases))
    raw = read(tmp_path, Document(channels, (Event({k: three_phase(7680.0, 0.1)[k % 6] for k in range(16)}),)))
    assert [channel.phase for channel in raw.channels] == [
        "A", "AB", "BC", "CA", "NG", "N", "NET", "", "A", "AB", "BC", "CA", "N", "N", "NET", "",
    ]  # fmt: skip


def test_channels_of_one_name_are_told_apart(tmp_path: Path) -> None:
    channels = tuple(replace(one, name="5530 Data channel") for one in SIX)
    path = tmp_path / "meter.pqd"
    path.write_bytes(write(document(channels=channels)))
    record = open_waveforms(path)
    assert [channel.name for channel in record.channels] == [
        f"5530 Data channel {quantity}{phase}" for quantity in "VI" for phase in "ABC"
    ]
    (line,) = record.lines
    assert line.sources["ia"] == "4 5530 Data channel IA"
    assert line.missing == ()


def test_channels_without_names_and_units(tmp_path: Path) -> None:
    channels = (*(replace(one, name="") for one in SIX[3:]), *(Channel("", "?", phase) for phase in "ABC"))
    values = three_phase(7680.0, 0.2)
    raw = read(tmp_path, Document(channels, (Event({k: values[(k + 3) % 6] for k in range(6)}),)))
    assert [(one.name, one.unit) for one in raw.channels] == [
        ("IA", "A"), ("IB", "A"), ("IC", "A"), ("VA", "V"), ("VB", "V"), ("VC", "V"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("encoding", "name"),
    [("cp1251", "Напряжение А"), ("gbk", "电压 A相"), ("utf-8", "Spannung Süd"), ("latin-1", "Tensão")],
)
def test_names_in_local_encodings(tmp_path: Path, encoding: str, name: str) -> None:
    channels = (replace(SIX[0], name=name), *SIX[1:])
    raw = read(tmp_path, document(Form(encoding=encoding), channels=channels))
    assert raw.channels[0].name == name
    assert read(tmp_path, document(Form(encoding=encoding), channels=channels), encoding=encoding).encoding == encoding
    assert "unknown encoding" in refused(tmp_path, document(), encoding="klingon")


def test_names_have_no_control_characters(tmp_path: Path) -> None:
    raw = read(tmp_path, document(channels=(replace(SIX[0], name="V\x1b[31m A\n B"), *SIX[1:])))
    assert raw.channels[0].name == "V[31m A B"


def test_statements_of_the_event(tmp_path: Path) -> None:
    event = Event(three_phase(7680.0, 0.2), name="Event 9", disturbance="momentary sag", trigger_channel=1)
    raw = read(tmp_path, document(events=(event,)))
    (statement,) = raw.statements
    assert statement.source == "observation"
    assert statement.text == "Event 9; disturbance: momentary sag; trigger: channel; triggered by: V Waveform B"
    assert raw.trigger_ns == START_NS


def test_a_trigger_in_the_year_one_is_none(tmp_path: Path) -> None:
    event = Event(three_phase(7680.0, 0.2), triggered_ns=None)
    assert read(tmp_path, document(events=(event,))).trigger_ns is None


def test_no_valid_start_time_is_a_warning(tmp_path: Path) -> None:
    event = Event(three_phase(7680.0, 0.2), start_ns=-DAY_NS, triggered_ns=None)
    raw = read(tmp_path, document(events=(event,)))
    assert (raw.start_ns, codes(raw)) == (0, ["no-start-time"])
    raw = read(tmp_path, document(events=(event,)), start_ns=START_NS)
    assert (raw.start_ns, codes(raw)) == (START_NS, [])


def test_times_in_cycles_need_a_frequency(tmp_path: Path) -> None:
    one = document(Form(times="cycles"), frequency_hz=None)
    raw = read(tmp_path, one)
    assert raw.segments[0].rate_hz == pytest.approx(7680.0)
    assert codes(raw) == ["cycles"]
    assert read(tmp_path, one, frequency_hz=60.0).segments[0].rate_hz == pytest.approx(7680.0 * 60 / 50)


def test_the_rate_can_be_set(tmp_path: Path) -> None:
    assert read(tmp_path, document(), rate_hz=1000.0).segments[0].rate_hz == 1000.0
    no_times = write(document(Form(compress=False))).replace(guid("shared channel"), guid("blank"))
    assert "set the sampling rate with --rate" in next(
        finding.message for finding in read(tmp_path, no_times).findings if finding.code == "not-read"
    )
    assert len(read(tmp_path, no_times, rate_hz=7680.0).channels) == 6


def test_a_scale_that_the_definition_does_not_declare(tmp_path: Path) -> None:
    written = write(document(Form(compress=False, checksum="")))
    storage = guid("storage") + bytes((2, 32, 1, 0))
    undeclared = written.replace(storage + struct.pack("<Q", 3), storage + struct.pack("<Q", 1))
    raw = read(tmp_path, undeclared)
    assert codes(raw) == ["scale-not-declared"]
    np.testing.assert_array_equal(raw.source.read([0]), read(tmp_path, written).source.read([0]))


def test_location_and_groups(tmp_path: Path) -> None:
    channels = tuple(replace(one, group=f"Feeder {1 + number % 2}") for number, one in enumerate(SIX))
    raw = read(tmp_path, document(channels=channels, location="North"))
    assert (raw.station, raw.device, raw.channels[1].circuit) == ("North", "Meter", "Feeder 2")
    assert read(tmp_path, document(location="N/A")).station == "Meter"


def test_a_file_is_recognised_by_suffix_or_first_bytes(tmp_path: Path) -> None:
    for name in ("a.pqd", "a.PQDIF", "a.bin"):
        path = tmp_path / name
        path.write_bytes(write(document()))
        assert is_pqdif(path)
        assert open_waveforms(path).lines
    (tmp_path / "b.bin").write_bytes(b"something else")
    assert not is_pqdif(tmp_path / "b.bin")
    assert not is_pqdif(tmp_path / "missing.bin")


def test_a_healthy_file_gives_the_line_without_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "meter.pqd"
    path.write_bytes(write(document(Form(scale=(0.25, 0.0)))))
    record = open_waveforms(path)
    (line,) = record.lines
    assert line.missing == ()
    assert record.frequency_hz == pytest.approx(60.0, abs=0.05)
    assert [finding for finding in record.findings if finding.level == "warning"] == []
    assert record.format == "PQDIF 1.5 compressed"


def test_statistics_are_those_of_the_values(tmp_path: Path) -> None:
    raw = read(tmp_path, document())
    values, found = raw.source.read(range(6)), raw.source.statistics()
    np.testing.assert_allclose(found.rms, np.sqrt(np.square(values, dtype=float).mean(axis=1)), rtol=1e-6)
    np.testing.assert_array_equal(found.lowest, values.min(axis=1))
    np.testing.assert_array_equal(found.missing, np.zeros(6))


def test_a_truncated_file_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    events = tuple(Event(three_phase(1920.0, 0.2), rate_hz=1920.0, start_ns=START_NS + k * DAY_NS) for k in range(3))
    for compress in (True, False):
        whole = write(document(Form(compress=compress), events=events))
        raw = read(tmp_path, whole[:-300])
        assert len(raw.segments) >= 2
        assert "record-damaged" in codes(raw)
        assert "cut off at the end of the file" in refused(tmp_path, whole[:400])


def test_wrong_checksums_are_reported_and_the_data_read(tmp_path: Path) -> None:
    raw = read(tmp_path, document(Form(checksum="wrong")))
    assert set(codes(raw)) == {"record-checksum"}
    assert len(raw.channels) == 6
    plain = write(document(Form(streams=1, checksum="")))
    raw = read(tmp_path, plain[:-1] + bytes((plain[-1] ^ 255,)))
    assert "record-damaged" in codes(raw)
    assert len(raw.channels) == 6
    assert next(f.level for f in raw.findings if f.code == "record-damaged") == "warning"


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    written = bytearray(write(document(Form(compress=False))))
    last = written.rfind(guid("signature"))
    written[last + 40 : last + 44] = struct.pack("<I", written.find(guid("signature"), 1))
    raw = read(tmp_path, bytes(written))
    assert len(raw.segments) == 1
    assert "record-damaged" in codes(raw)


def test_a_collection_in_itself_ends(tmp_path: Path) -> None:
    plain = Form(compress=False)
    around: list[tuple[str, object]] = [("channel instances", [("one channel instance", [])])]
    content = bytearray(body(around, plain))
    content[24:28] = struct.pack("<I", 0)
    records = [("container", body([], plain), False), ("data source", body([], plain), False)]
    message = refused(tmp_path, chained([*records, ("observation", bytes(content), False)], plain))
    assert "no waveforms" in message


def test_sizes_and_positions_outside_the_file_are_named(tmp_path: Path) -> None:
    written = write(document(Form(compress=False)))
    at = written.rfind(guid("channel instances")) + 20
    message = refused(tmp_path, written[:at] + struct.pack("<I", 0x7FFFFFF0) + written[at + 4 :])
    assert "lies outside its record" in message
    assert "byte" in message
    count = written.find(guid("channel definitions")) + 20
    (position,) = struct.unpack("<I", written[count : count + 4])
    start = written.find(guid("signature"), 1) + 64
    broken = written[: start + position] + struct.pack("<I", 0xFFFFFFFF) + written[start + position + 4 :]
    assert "lies outside its record" in refused(tmp_path, broken)


def test_a_body_that_inflates_beyond_measure_is_refused(tmp_path: Path) -> None:
    plain = Form(compress=True)
    bomb = chained([("container", body([], plain), False), ("data source", bytes(40 << 20), True)], plain)
    assert len(bomb) < 1 << 20
    assert "unpack to more than" in refused(tmp_path, bomb)
    whole = write(document())
    assert "max_bytes" in refused(tmp_path, whole, max_bytes=100)
    zeros = document(events=(Event({k: np.zeros(200_000) for k in range(6)}),))
    assert "unpack to more than" in refused(tmp_path, zeros, max_bytes=1 << 20)


def test_one_vector_for_many_channels_is_refused(tmp_path: Path) -> None:
    channels = tuple(Channel(f"V{k}", "V", "A") for k in range(40))
    event = Event({k: np.ones(1 if k else 20_000) for k in range(40)})
    written = bytearray(write(Document(channels, (event,), form=Form(compress=False))))
    entry = guid("values") + bytes((3, 21, 0, 0))
    first = written.find(entry) + len(entry)
    at = first
    while (at := written.find(entry, at)) > 0:
        at += len(entry)
        written[at : at + 8] = written[first : first + 8]
    raw = read(tmp_path, bytes(written))
    assert len(raw.channels) < 5
    assert any("overlap" in finding.message for finding in raw.findings)


def test_other_compressions_are_refused(tmp_path: Path) -> None:
    written = write(document())
    style = guid("compression style") + bytes((2, 32, 1, 0))
    total = written.replace(style + struct.pack("<Q", 2), style + struct.pack("<Q", 1))
    assert "export it with zlib by record" in refused(tmp_path, total)
    assert "not begin with a record of PQDIF" in refused(tmp_path, b"RIFF" + written)
    assert "not begin with a record of PQDIF" in refused(tmp_path, b"")


@pytest.mark.parametrize(("times", "late_s"), [("float32 values", 3600.0), ("milliseconds", 0.0)])
def test_coarse_times_are_even_within_their_resolution(tmp_path: Path, times: str, late_s: float) -> None:
    # In single precision after an hour, and in whole milliseconds, several samples have the same time.
    event = Event(three_phase(7680.0, 0.5), first_s=late_s)
    raw = read(tmp_path, document(Form(times=times), events=(event,)))
    assert len(raw.segments) == 1
    assert raw.segments[0].rate_hz == pytest.approx(7680.0, rel=0.005)


def test_irregular_times_have_a_mean_rate(tmp_path: Path) -> None:
    event = Event(three_phase(4000.0, 0.5), rate_hz=4000.0)
    written = write(document(Form(compress=False, times="values", checksum=""), events=(event,)))
    times = sample_times(event)
    irregular = times + np.random.default_rng(1).uniform(-0.6, 0.6, len(times)) / 4000
    raw = read(tmp_path, written.replace(times.tobytes(), irregular.tobytes()))
    assert codes(raw) == ["times-irregular"]
    assert [one.rate_hz for one in raw.segments] == pytest.approx([4000.0], rel=1e-3)
    random_times = np.sort(np.random.default_rng(1).exponential(size=len(times)).cumsum() ** 2)
    message = refused(tmp_path, written.replace(times.tobytes(), random_times.tobytes()))
    assert "unusable: set the sampling rate with --rate" in message


@pytest.mark.parametrize(
    "names",
    [
        [f"Waveform {quantity}{phase}" for quantity in "VI" for phase in ("AN", "BN", "CN")],
        [f"SS_WF_{quantity}{phase}" for quantity in "UI" for phase in "123"],
        [f"{quantity} L{phase}-N" for quantity in ("Voltage", "Current") for phase in "123"],
        [f"{phase} {quantity}" for quantity in "VI" for phase in "ABC"],
        ["Channel"] * 6,
        [f"Ch{number}" for number in range(1, 7)],
    ],
)
def test_names_of_meters_are_a_line(tmp_path: Path, names: list[str]) -> None:
    neutral = Channel("Neutral", "I", "NG")
    channels = (*(replace(one, name=name) for one, name in zip(SIX, names, strict=True)), neutral)
    values = three_phase(7680.0, 0.3)
    path = tmp_path / "meter.pqd"
    path.write_bytes(write(Document(channels, (Event({**values, 6: values[3] + values[4] + values[5]}),))))
    (line,) = open_waveforms(path).lines
    assert {role: int(source.split()[0]) for role, source in line.sources.items()} == {
        "va": 1, "vb": 2, "vc": 3, "ia": 4, "ib": 5, "ic": 6,
    }  # fmt: skip


def refusal(path: Path) -> str | None:
    """Return the reason why a file is refused; None if it is read."""
    try:
        record = open_waveforms(path)
    except RecordError as error:
        return str(error)
    assert all(np.isfinite(line.samples).all() for line in record.lines)
    return None


@given(seed=st.integers(0, 2**32))
@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_bodies_are_read_or_refused_in_one_line(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    path = tmp_path / f"damaged-{seed}.pqd"
    nested = rng.random() < 0.05
    path.write_bytes(pqdif_seeds.nested_streams(rng) if nested else pqdif_seeds.damaged(rng, rng.choice(DOCUMENTS)))
    tracemalloc.start()
    try:
        refused = refusal(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert refused is None or (path.name in refused and "\n" not in refused)
    assert peak < 4 * LEAST_INFLATED
