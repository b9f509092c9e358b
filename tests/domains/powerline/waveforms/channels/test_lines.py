"""The assignment of channels to lines: languages, several bays, doubt, and the user's own choice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from domains.powerline.waveforms import ReadOptions, Record, RecordError, open_waveforms
from tests.domains.powerline.waveforms.record_samples import LATIN, PEAK, Shape, healthy, load_waves, write_record

NO_PHASES = ("",) * 6


def codes(record: Record) -> set[str]:
    return {finding.code for finding in record.findings}


@pytest.mark.parametrize(
    ("encoding", "names", "units"),
    [
        ("utf-8", ("Ia", "Ib", "Ic", "Ua", "Ub", "Uc"), ("A", "A", "A", "V", "V", "V")),
        ("utf-8", ("IL1", "IL2", "IL3", "UL1", "UL2", "UL3"), ("",) * 6),
        ("utf-8", ("IR", "IY", "IB", "VR", "VY", "VB"), ("",) * 6),
        ("utf-8", ("I_U", "I_V", "I_W", "U_U", "U_V", "U_W"), ("",) * 6),
        ("utf-8", ("I1", "I2", "I3", "V1", "V2", "V3"), ("A", "A", "A", "V", "V", "V")),
        ("gbk", ("A相电流", "B相电流", "C相电流", "A相电压", "B相电压", "C相电压"), ("A", "A", "A", "V", "V", "V")),
        (
            "utf-8",
            ("1号线A相电流", "1号线B相电流", "1号线C相电流", "母线A相电压", "母线B相电压", "母线C相电压"),
            ("",) * 6,
        ),
        (
            "cp1251",
            ("Ток фазы А", "Ток фазы В", "Ток фазы С", "Напряжение фазы А", "Напряжение фазы В", "Напряжение фазы С"),
            ("А", "А", "А", "В", "В", "В"),
        ),
        (
            "cp866",
            ("Ток фазы А", "Ток фазы В", "Ток фазы С", "Напряжение фазы А", "Напряжение фазы В", "Напряжение фазы С"),
            ("",) * 6,
        ),
        (
            "koi8-r",
            ("Ток фазы А", "Ток фазы В", "Ток фазы С", "Напряжение фазы А", "Напряжение фазы В", "Напряжение фазы С"),
            ("",) * 6,
        ),
        (
            "cp1252",
            ("Corriente línea R", "Corriente línea S", "Corriente línea T", "Tensión R", "Tensión S", "Tensión T"),
            ("A", "A", "A", "V", "V", "V"),
        ),
        (
            "cp1252",
            ("Leiterströme L1", "Leiterströme L2", "Leiterströme L3", "Spannung L1", "Spannung L2", "Spannung L3"),
            ("A", "A", "A", "V", "V", "V"),
        ),
        ("utf-8-sig", LATIN, ("A", "A", "A", "V", "V", "V")),
    ],
)
def test_names_in_any_language_and_encoding_make_the_line(
    tmp_path: Path, encoding: str, names: Sequence[str], units: Sequence[str]
) -> None:
    written = healthy(tmp_path, encoding=encoding, names=names, phases=NO_PHASES, units=units)
    record = open_waveforms(written.path)
    assert tuple(channel.name for channel in record.channels) == tuple(names)
    assert len(record.lines) == 1
    assert [record.lines[0].sources[name].split(" ", 1)[1] for name in ("ia", "ib", "ic", "va", "vb", "vc")] == list(
        names
    )
    assert record.lines[0].samples == pytest.approx(load_waves(written.shape) / PEAK, abs=1e-3)


def test_the_phase_field_decides_where_names_do_not(tmp_path: Path) -> None:
    names = ("CT 1", "CT 1", "CT 1", "VT 1", "VT 1", "VT 1")
    written = healthy(tmp_path, names=names, phases=("C", "A", "B", "L2", "L3", "L1"))
    sources = open_waveforms(written.path).lines[0].sources
    assert [sources[name][0] for name in LATIN_LOWER] == ["2", "3", "1", "6", "4", "5"]


LATIN_LOWER = ("ia", "ib", "ic", "va", "vb", "vc")


def test_a_given_encoding_is_taken_and_a_wrong_one_refused(tmp_path: Path) -> None:
    written = healthy(tmp_path, encoding="gbk", station="变电站")
    assert open_waveforms(written.path, options=ReadOptions(encoding="gbk")).station == "变电站"
    with pytest.raises(RecordError, match="the text is not valid utf-8: omit --encoding"):
        open_waveforms(written.path, options=ReadOptions(encoding="utf-8"))
    with pytest.raises(RecordError, match="unknown encoding 'klingon'"):
        open_waveforms(written.path, options=ReadOptions(encoding="klingon"))


def station(tmp_path: Path, names: Sequence[str], circuits: Sequence[str], columns: Sequence[int]) -> Path:
    """Return a record of several bays: channel k shows wave ``columns[k]``, with currents of later bays scaled."""
    shape = Shape(
        names=names,
        phases=("",) * len(names),
        circuits=circuits,
        units=["A" if column < 3 else "V" for column in columns],
        skew_us=(0.0,) * len(names),
    )
    waves = load_waves(shape)
    ratings = np.array([1.0 + 0.1 * (k // 3) for k in range(len(names))])
    return write_record(tmp_path, shape, waves[:, list(columns)] * ratings).path


def test_bays_with_their_own_voltages_are_lines_of_their_own(tmp_path: Path) -> None:
    names = [f"{bay} {name}" for bay in ("NORTH", "SOUTH") for name in LATIN]
    record = open_waveforms(station(tmp_path, names, [""] * 12, [*range(6)] * 2))
    assert [line.name for line in record.lines] == ["record/NORTH", "record/SOUTH"]
    assert record.lines[1].sources["va"] == "10 SOUTH VA"
    assert "ambiguous-channels" not in codes(record)


def test_bays_share_the_only_voltages_there_are(tmp_path: Path) -> None:
    names = [*(f"F{bay} {name}" for bay in (1, 2, 3) for name in LATIN[:3]), "VA", "VB", "VC"]
    record = open_waveforms(station(tmp_path, names, [""] * 12, [0, 1, 2] * 3 + [3, 4, 5]))
    assert [line.name for line in record.lines] == ["record/F1", "record/F2", "record/F3"]
    assert {line.sources["va"] for line in record.lines} == {"10 VA"}
    assert "shared-voltages" in codes(record)


def test_the_circuit_field_parts_bays_of_the_same_names(tmp_path: Path) -> None:
    circuits = ["T1"] * 6 + ["T2"] * 6
    record = open_waveforms(station(tmp_path, [*LATIN] * 2, circuits, [*range(6)] * 2))
    assert [line.name for line in record.lines] == ["record/T1", "record/T2"]
    assert record.lines[1].sources["ia"].startswith("7 ")


def test_circuits_numbered_channel_by_channel_do_not_part_a_bay(tmp_path: Path) -> None:
    names = [f"{name}_G{bay}" for bay in (1, 2) for name in LATIN]
    record = open_waveforms(station(tmp_path, names, [*"123567"] * 2, [*range(6)] * 2))
    assert [line.name for line in record.lines] == ["record/G1", "record/G2"]


def test_lines_that_share_two_busbars_can_be_named(tmp_path: Path) -> None:
    names = [*(f"F{bay} {name}" for bay in (1, 2, 3) for name in LATIN[:3])]
    names += [f"BUS{bus} {name}" for bus in ("A", "B") for name in LATIN[3:]]
    path = station(tmp_path, names, [""] * 15, [0, 1, 2] * 3 + [3, 4, 5] * 2)
    told = "north: ia=1 ib=2 ic=3 va=10 vb=11 vc=12; south: ia=4,ib=5,ic=6,va='BUSB VA',vb='BUSB VB',vc='BUSB VC'"
    record = open_waveforms(path, options=ReadOptions(channels=told))
    assert [line.name for line in record.lines] == ["record/north", "record/south"]
    assert record.lines[1].sources["vc"] == "15 BUSB VC"


def test_a_mapping_file_says_the_same(tmp_path: Path) -> None:
    path = healthy(tmp_path).path
    mapping = tmp_path / "map.toml"
    mapping.write_text('[lines.feeder]\nia = 1\nib = 2\nic = "IC"\nva = 4\nvb = 5\nvc = 6\n')
    assert open_waveforms(path, options=ReadOptions(mapping=mapping)).lines[0].sources["ic"] == "3 IC"


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ("ia=99", "no channel is called '99'; give the channel's number: 1 IA, 2 IB"),
        ("ia=1 ix=2", "a line has no role 'ix': use ia, ib, ic"),
        ("nonsense", "write for example 'ia=4 ib=5"),
    ],
)
def test_channels_that_there_are_not_are_an_error(tmp_path: Path, told: str, says: str) -> None:
    with pytest.raises(RecordError, match=says):
        open_waveforms(healthy(tmp_path).path, options=ReadOptions(channels=told))


def test_derived_and_neutral_channels_are_no_lines(tmp_path: Path) -> None:
    names = [*LATIN, "IN", "3I0", "IA RMS", "IB RMS", "IC RMS", "FREQ"]
    record = open_waveforms(station(tmp_path, names, [""] * 12, [*range(6), 0, 0, 0, 1, 2, 0]))
    assert len(record.lines) == 1
    assert [channel.role for channel in record.channels[6:]] == ["(current)"] * 6


def test_a_missing_phase_is_zero_and_reported(tmp_path: Path) -> None:
    names = ["IA", "IB", "IC", "VA", "VC"]
    record = open_waveforms(station(tmp_path, names, [""] * 5, [0, 1, 2, 3, 5]))
    assert record.lines[0].missing == ("vb",)
    assert not record.lines[0].samples[:, 4].any()
    assert "missing-channel" in codes(record)


def test_voltages_alone_are_a_line_without_currents(tmp_path: Path) -> None:
    record = open_waveforms(station(tmp_path, LATIN[3:], [""] * 3, [3, 4, 5]))
    assert record.lines[0].missing == ("ia", "ib", "ic")
    assert "no-currents" in codes(record)


def test_phase_to_phase_voltages_become_voltages_to_ground(tmp_path: Path) -> None:
    shape = replace(Shape(), names=("IA", "IB", "IC", "VAB", "VBC", "VCA"), phases=NO_PHASES)
    waves = load_waves(shape)
    waves[:, 3:] -= np.roll(waves[:, 3:], -1, axis=1)
    record = open_waveforms(write_record(tmp_path, shape, waves).path)
    assert record.lines[0].samples == pytest.approx(load_waves(shape) / PEAK, abs=1e-3)
    assert "no-ground-voltages" in codes(record)


def test_phase_to_phase_voltages_of_the_opposite_sign_give_the_same_line(tmp_path: Path) -> None:
    records = []
    for folder, names, sign in (("ab", ("VAB", "VBC", "VCA"), 1), ("ba", ("U21", "U32", "U13"), -1)):
        shape = replace(Shape(), names=("IA", "IB", "IC", *names), phases=NO_PHASES)
        waves = load_waves(shape)
        waves[:, 3:] -= np.roll(waves[:, 3:], -1, axis=1)
        waves[:, 3:] *= sign
        (tmp_path / folder).mkdir()
        records.append(open_waveforms(write_record(tmp_path / folder, shape, waves).path))
    straight, opposite = records
    assert opposite.lines[0].samples == pytest.approx(straight.lines[0].samples, abs=1e-3)
    assert opposite.lines[0].voltage_base == pytest.approx(straight.lines[0].voltage_base, rel=1e-3)
    assert opposite.lines[0].channels_option.endswith("vba=4 vcb=5 vac=6")
    again = open_waveforms(opposite.path, options=ReadOptions(channels=opposite.lines[0].channels_option))
    assert np.array_equal(again.lines[0].samples, opposite.lines[0].samples)


@pytest.mark.parametrize("letter", ["x", "ж", "線", "\U0001f600"])
def test_names_of_lines_stay_below_the_contract_s_bytes(tmp_path: Path, letter: str) -> None:
    path = healthy(tmp_path / "folder").path
    long = path.with_name(f"{letter * (240 // len(letter.encode()))}.cfg")
    path.with_suffix(".dat").rename(long.with_suffix(".dat"))
    path.rename(long)
    told = "; ".join(f"{letter * 200}{k}: ia=1 ib=2 ic=3 va=4 vb=5 vc=6" for k in (1, 2))
    names = [line.name for line in open_waveforms(long, options=ReadOptions(channels=told)).lines]
    assert len(set(names)) == 2
    assert all(len(name.encode()) <= 255 for name in names)
