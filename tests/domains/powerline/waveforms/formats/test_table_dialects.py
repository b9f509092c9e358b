"""Tables as programs and people write them: separators, decimal signs, quotes, lines above, units, forms of time."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from domains.powerline.waveforms import ReadOptions, RecordError, open_waveforms
from domains.powerline.waveforms.channels.naming import kind_of, unit_of
from domains.powerline.waveforms.formats.tables.column_units import split_units
from domains.powerline.waveforms.formats.tables.files import read_table
from domains.powerline.waveforms.record import RawRecord
from tests.domains.powerline.waveforms.formats.table_dialects import (
    NAMES,
    PREAMBLES,
    TIME_FORMS,
    UNIT_FORMS,
    Dialect,
    write_table,
)
from tests.domains.powerline.waveforms.record_samples import Shape, load_waves

SHAPE = Shape(segments=((4800.0, 240),))
SECONDS = SHAPE.times()
WAVES = load_waves(SHAPE)


def read(dialect: Dialect, folder: Path) -> RawRecord:
    return read_table(write_table(folder / "t.csv", dialect, WAVES, SECONDS), ReadOptions())


def assert_same(raw: RawRecord, dialect: Dialect) -> None:
    assert len(raw.channels) == 6, [channel.name for channel in raw.channels]
    factors = [unit_of(channel)[1] for channel in raw.channels]
    found = raw.source.read(range(6)) * np.array(factors)[:, None]
    np.testing.assert_allclose(found.T, WAVES, rtol=1e-5, atol=0.5)
    assert [len(segment) for segment in raw.segments] == [240]
    assert raw.segments[0].rate_hz == pytest.approx(4800, rel=1e-3)
    if dialect.units != "none":
        assert [kind_of(channel) for channel in raw.channels] == ["current"] * 3 + ["voltage"] * 3
    prefix = ("Feeder 7|", "Bus 2|") if dialect.devices else ("", "")
    assert [channel.name for channel in raw.channels] == [
        prefix[k // 3] + name for k, name in enumerate(NAMES[dialect.names])
    ]


def possible(dialect: Dialect) -> bool:
    """Return True for a dialect that says unambiguously what it means."""
    if dialect.comma and dialect.separator == "," and dialect.quoting not in ("all", "needed"):
        return False
    if dialect.separator == " " and (dialect.trailing or dialect.time in ("day first", "month name")):
        return False
    return not (dialect.trailing and dialect.status)


dialects = st.builds(
    Dialect,
    separator=st.sampled_from([",", ";", "\t", "|", " "]),
    comma=st.booleans(),
    quoting=st.sampled_from(["needed", "names", "all"]),
    preamble=st.sampled_from([*PREAMBLES]),
    names=st.sampled_from([*NAMES]),
    units=st.sampled_from([*UNIT_FORMS]),
    time=st.sampled_from(TIME_FORMS),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1"]),
    line_end=st.sampled_from(["\n", "\r\n", "\r"]),
    trailing=st.booleans(),
    spaces=st.booleans(),
    exponent=st.sampled_from(["", "", "E", "e", "D"]),
    devices=st.booleans(),
    sep_line=st.booleans(),
    blank_lines=st.booleans(),
    status=st.booleans(),
).filter(possible)


@settings(max_examples=300)
@given(dialect=dialects)
@example(dialect=Dialect(separator=" ", units="bracket row"))
@example(dialect=Dialect(separator="\t", units="row", time="clock", trailing=True))
def test_a_table_is_read_in_any_dialect(dialect: Dialect) -> None:
    with tempfile.TemporaryDirectory() as folder:
        raw = read(dialect, Path(folder))
    assert_same(raw, dialect)


HEADER = "ia,ib,ic,va,vb,vc"
S_TEXT = [f"{second:.9f}" for second in SECONDS]


def rows_of(separator: str = ",", times: list[str] | None = None, pattern: str = "{:.6f}") -> list[str]:
    """Return rows of numbers with decimal points."""
    cells = [[pattern.format(value) for value in row] for row in WAVES]
    return [separator.join([*([times[k]] if times else []), *row]) for k, row in enumerate(cells)]


def grouped(thousands: str, decimal: str, separator: str, quote: str) -> str:
    """Return a table whose numbers have a sign between the thousands."""
    signs = str.maketrans({",": thousands, ".": decimal})
    rows = []
    for k, row in enumerate(WAVES):
        cells = [S_TEXT[k].replace(".", decimal), *(f"{value:,.4f}".translate(signs) for value in row)]
        rows.append(separator.join(f"{quote}{cell}{quote}" for cell in cells))
    return "\n".join([separator.join(["t", *HEADER.split(",")]), *rows])


def paired() -> str:
    """Return a table whose decimal sign is its separator."""
    rows = [row.replace(".", ",") for row in rows_of(times=S_TEXT)]
    return "\n".join([f"t,{HEADER}", *rows])


POWERFACTORY = (
    '"Results.ElmRes";' + ";".join(['"Line 7.ElmLne"'] * 3 + ['"Bus 2.ElmTerm"'] * 3) + '\n"Time in s";'
    + ";".join([f'"Phase Current {p}/Terminal i in A"' for p in "ABC"] + [f'"Phase Voltage {p} in V"' for p in "ABC"])
)  # fmt: skip
LABVIEW = (
    "LabVIEW Measurement\t\nSeparator\tTab\nDate\t2024/01/02\n***End_of_Header***\t\t\t\nChannels\t6\t\t\t\t\t\t\n"
    "Samples\t" + "240\t" * 6 + "\nDate\t" + "2024/01/02\t" * 6 + "\nDelta_X\t" + "0.000208\t" * 6
    + "\n***End_of_Header***\t\t\t\t\t\t\t\nX_Value\tIa\tIb\tIc\tVa\tVb\tVc\tComment"
)  # fmt: skip
ATP = "  time  c:X0001A-X0002A  c:X0001B-X0002B c:X0001C-X0002C v:X0001A- v:X0001B- v:X0001C-"
OF_PROGRAMS = {
    "PowerFactory": "\n".join([POWERFACTORY, *rows_of(";", S_TEXT)]),
    "PowerFactory variables": "\n".join(
        ["b:tnow in s;" + ";".join([f"m:I:bus1:{p} in A" for p in "ABC"] + [f"m:U:bus1:{p} in V" for p in "ABC"]),
         *rows_of(";", S_TEXT)]
    ),
    "ATP": "\n".join([ATP, *(f"  {row}" for row in rows_of("   ", S_TEXT))]),
    "LabVIEW": "\n".join([LABVIEW, *rows_of("\t", S_TEXT)]),
    "numpy": "\n".join(["# t ia ib ic va vb vc", *rows_of(" ", S_TEXT, "{:.18e}")]),
    "pandas": "\n".join([f",time,{HEADER}", *(f"{k},{row}" for k, row in enumerate(rows_of(times=S_TEXT)))]),
    "an oscilloscope": "\n".join(
        ["Model,X", "Points,240", "", "TIME,CH1 (A),CH2 (A),CH3 (A),CH4 (V),CH5 (V),CH6 (V)", *rows_of(times=S_TEXT)]
    ),
    "names apart by blanks": "\n".join(
        ["Time    Current A   Current B   Current C   Voltage A   Voltage B   Voltage C", *rows_of("   ", S_TEXT)]
    ),
    "thousands with points": grouped(".", ",", ";", ""),
    "thousands with commas": grouped(",", ".", ",", '"'),
    "thousands with blanks": grouped(" ", ",", ";", ""),
    "thousands with narrow blanks": grouped("\u202f", ",", ";", ""),
    "thousands with quotes": grouped("'", ".", ";", ""),
    "decimal sign as separator": paired(),
    "names by commas, rows by semicolons": "\n".join([f"t,{HEADER}", *rows_of(";", S_TEXT)]),
    "three lines of names": "\n".join(
        ["Time,Line 1,Line 1,Line 1,Bus 1,Bus 1,Bus 1", ",IA,IB,IC,VA,VB,VC", "s,A,A,A,V,V,V", *rows_of(times=S_TEXT)]
    ),
    "merged cells": "\n".join(
        [",Line 1,,,Bus 1,,", "Time (s),IA (A),IB (A),IC (A),VA (V),VB (V),VC (V)", *rows_of(times=S_TEXT)]
    ),
    "units above the names": "\n".join(["s,A,A,A,V,V,V", f"t,{HEADER}", *rows_of(times=S_TEXT)]),
    "text below": "\n".join([f"t,{HEADER}", *rows_of(times=S_TEXT), "", "End of file", "Rows: 240"]),
    "minutes and seconds": "\n".join(
        [f"t,{HEADER}", *rows_of(times=[f"00:{second:012.9f}" for second in SECONDS])]
    ),
    "milliseconds apart": "\n".join(
        [f"Date,Time,ms,{HEADER}", *rows_of(times=[f"2024-01-02,03:04:05,{1000 * second:.6f}" for second in SECONDS])]
    ),
    "afternoon": "\n".join([f"t,{HEADER}", *rows_of(times=[f"1/2/2024 3:04:{5 + s:012.9f} PM" for s in SECONDS])]),
    "universal time": "\n".join(
        [f"t,{HEADER}", *rows_of(times=[f"2024-01-02T03:04:{5 + s:012.9f}Z" for s in SECONDS])]
    ),
    "Unix time in milliseconds": "\n".join(
        [f"t,{HEADER}", *rows_of(times=[f"{1_704_164_645_000 + 1000 * second:.4f}" for second in SECONDS])]
    ),
}  # fmt: skip


@pytest.mark.parametrize("program", OF_PROGRAMS)
def test_the_table_of_a_program_is_read(tmp_path: Path, program: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(OF_PROGRAMS[program], encoding="utf-8")
    raw = read_table(path, ReadOptions())
    assert len(raw.channels) == 6, [channel.name for channel in raw.channels]
    np.testing.assert_allclose(raw.source.read(range(6)).T, WAVES, rtol=1e-5, atol=0.5)
    assert [len(segment) for segment in raw.segments] == [240]
    assert raw.segments[0].rate_hz == pytest.approx(4800, rel=1e-3)


@pytest.mark.parametrize(
    ("program", "names"),
    [
        ("PowerFactory", ("Line 7.ElmLne|Phase Current A/Terminal i", "Bus 2.ElmTerm|Phase Voltage C")),
        ("ATP", ("c:X0001A-X0002A", "v:X0001C-")),
        ("merged cells", ("Line 1|IA", "Bus 1|VC")),
        ("names apart by blanks", ("Current A", "Voltage C")),
    ],
)
def test_names_over_two_lines_are_joined(tmp_path: Path, program: str, names: tuple[str, str]) -> None:
    path = tmp_path / "t.csv"
    path.write_text(OF_PROGRAMS[program], encoding="utf-8")
    channels = read_table(path, ReadOptions()).channels
    assert (channels[0].name, channels[-1].name) == names


@pytest.mark.parametrize(
    ("late", "value"), [("1,5", 1.5), ("1.234,5", 1234.5), ("-0,25", -0.25), ("1.5", 1.5), ("1.0D-3", 0.001)]
)
def test_a_notation_that_appears_late_is_understood(tmp_path: Path, late: str, value: float) -> None:
    rows = [f"{k};0;0;0" for k in range(5000)]
    rows[4500] = f"4500;0;{late};0"
    path = tmp_path / "t.csv"
    path.write_text("\n".join(["t;ia;ib;ic", *rows]))
    values = read_table(path, ReadOptions(rate_hz=4800)).source.read([1])[0]
    assert values[4500] == pytest.approx(value)
    assert np.count_nonzero(values) == 1


def test_a_name_over_two_lines_of_one_cell_is_read(tmp_path: Path) -> None:
    names = ",".join(f'"{name}\n(kA)"' for name in HEADER.split(","))
    path = tmp_path / "t.csv"
    path.write_text("\n".join([f'"Time\n(s)",{names}', *rows_of(times=S_TEXT)]))
    channels = read_table(path, ReadOptions()).channels
    assert [(channel.name, channel.unit) for channel in channels] == [(name, "kA") for name in HEADER.split(",")]


def test_times_that_are_none_do_not_matter_beside_a_rate(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    rows = rows_of(times=["03:04:05", *["--"] * 10, *["03:04:05"] * 229])
    path.write_text("\n".join([f"t,{HEADER}", *rows]))
    with pytest.raises(RecordError, match="set the rate with --rate"):
        read_table(path, ReadOptions())
    assert read_table(path, ReadOptions(rate_hz=4800)).source.shape == (6, 240)


@pytest.mark.parametrize("separator", [",", ";", "\t", " "])
@pytest.mark.parametrize(
    "title",
    ["Fault of line 3 on Monday morning", "Channel{0}1{0}2{0}3{0}4{0}5{0}6", "Report{0}{0}{0}{0}{0}{0}", "a b c d"],
)
def test_a_title_is_no_part_of_the_names(tmp_path: Path, separator: str, title: str) -> None:
    names = f"t,{HEADER}".replace(",", separator)
    path = tmp_path / "t.csv"
    path.write_text("\n".join([title.format(separator), names, *rows_of(separator, S_TEXT)]))
    assert [channel.name for channel in read_table(path, ReadOptions()).channels] == HEADER.split(",")


@pytest.mark.parametrize("missing", ["", "NaN", "nan", "--", "-", "N/A", "#N/A", "null", "1.#QNAN"])
def test_missing_values_are_gaps_and_not_errors(tmp_path: Path, missing: str) -> None:
    rows = [row.split(",") for row in rows_of(times=S_TEXT)]
    for k in (0, 7, 239):
        rows[k][3] = missing
    path = tmp_path / "t.csv"
    path.write_text("\n".join([f"t,{HEADER}", *map(",".join, rows)]))
    values = read_table(path, ReadOptions()).source.read([2])[0]
    assert np.flatnonzero(np.isnan(values)).tolist() == [0, 7, 239]


@pytest.mark.parametrize(
    ("lines", "rate", "mains"),
    [
        (["Sampling rate: 4800 Hz"], 4800, None),
        (["# fs = 4.8 kHz"], 4800, None),
        (['"Sample interval (ms)";"0,25"'], 4000, None),
        (["SampleRate;6400", "Nominal frequency;60"], 6400, 60),
        (["% dt=0.0005"], 2000, None),
        (["Abtastrate [Hz]: 12800", "System frequency: 16.7 Hz"], 12800, 16.7),
        (["Частота дискретизации, Гц: 1600"], 1600, None),
        (["采样率：5000Hz"], 5000, None),
    ],
)
def test_rate_and_mains_frequency_above_the_names_are_used(
    tmp_path: Path, lines: list[str], rate: float, mains: float | None
) -> None:
    path = tmp_path / "t.csv"
    path.write_text("\n".join([*lines, "", HEADER.replace(",", ";"), *rows_of(";")]), encoding="utf-8")
    raw = read_table(path, ReadOptions())
    assert raw.segments[0].rate_hz == pytest.approx(rate)
    assert raw.header_hz == mains


def test_a_rate_given_by_the_user_replaces_all_times(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("\n".join(["Sampling rate: 100 Hz", f"t,{HEADER}", *rows_of(times=S_TEXT)]))
    assert read_table(path, ReadOptions(rate_hz=9600)).segments[0].rate_hz == 9600


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "the table has no rows"),
        ("\n\n,,,\n", "the table has no rows"),
        ("only words\nand more\n", "no rows with two columns of numbers"),
        ("t,ia,ib\n1,2,3,4\n2,3,4,5\n", r"line 2: expected 3 values, as the line above has names, found 4"),
        ("t,ia,ib,ic\n0,1,2,3\n0.001,1,2\n0.002,1,2,3\n", r"line 3: expected 4 values, found 3"),
        ("t,ia,ib,ic\n0,1,2,3\n\n\n0.001,1,2,3\n0.002,1,x,3\n", r"line 6: .*x"),
        ("time,ia,ib,ic\n" + "03:04:05,1,2,3\n" * 20, "times do not advance: set the sampling rate with --rate"),
        ("ia,ib,ic\n" + "1.5,2.5,-3.5\n" * 20, "no usable time column: set the sampling rate with --rate"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_line(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(RecordError, match=says) as caught:
        read_table(path, ReadOptions())
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_last_line_that_is_cut_is_skipped_with_a_note(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("\n".join([f"t,{HEADER}", *rows_of(times=S_TEXT), "0.05,1"]))
    raw = read_table(path, ReadOptions())
    assert raw.source.shape == (6, 240)
    assert any("before line 242" in finding.message for finding in raw.findings)


def test_two_thousand_columns_fit(tmp_path: Path) -> None:
    names = [f"Subsystem #1|Branch Currents and much more|Signal {k}" for k in range(2000)]
    rows = [",".join([f"{k / 4800:.9f}", *["1.5"] * 2000]) for k in range(40)]
    path = tmp_path / "t.csv"
    path.write_text("\n".join([",".join(["Time", *(f'"{name}"' for name in names)]), *rows]))
    raw = read_table(path, ReadOptions())
    assert [channel.name for channel in raw.channels] == names
    assert raw.source.shape == (2000, 40)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("I (A)", "I (B)", "I (C)", "V (A)", "V (B)", "V (C)"), None),
        (("I_A", "I_B", "I_C", "V_A", "V_B", "V_C"), None),
        (("I (А)", "I (В)", "I (С)", "U (А)", "U (В)", "U (С)"), None),
        (("I_U", "I_V", "I_W", "U_U", "U_V", "U_W"), None),
        (("Ia_s", "Ib_s", "Ic_s", "Va_s", "Vb_s", "Vc_s"), None),
        (("I L1 [A rms]", "I L2 [A rms]", "I L3 [A rms]", "U L1 [kV]", "U L2 [kV]", "U L3 [kV]"), ("A rms", "kV")),
        (("Ia, А", "Ib, А", "Ic, А", "Ua, кВ", "Ub, кВ", "Uc, кВ"), ("А", "кВ")),
        (("Ia/A", "Ib/A", "Ic/A", "Ua/V", "Ub/V", "Uc/V"), ("A", "V")),
        (("Ia {kA}", "Ib {kA}", "Ic {kA}", "Ua {kV}", "Ub {kV}", "Uc {kV}"), ("kA", "kV")),
    ],
)
def test_letters_of_phases_are_no_units(names: tuple[str, ...], expected: tuple[str, str] | None) -> None:
    found = split_units(names)
    if expected is None:
        assert found == [(name, "") for name in names]
    else:
        assert [unit for _, unit in found] == [expected[0]] * 3 + [expected[1]] * 3


def test_the_quoted_header_of_the_case_is_read(data_dir: Path) -> None:
    path = data_dir.parent / "cases" / "quoted_header.csv"
    if not path.is_file():
        pytest.skip(f"no {path}")
    record = open_waveforms(path)
    assert record.channels[0].name == "Bay 1|Branch currents|IA"
    assert [line.sources["ia"] for line in record.lines] == ["1 Bay 1|Branch currents|IA"]
    assert not [finding for finding in record.findings if finding.level == "warning"]
