"""COMTRADE as it is written in the field is read to the same samples, or refused in one clear line."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import comtrade
import numpy as np
import pytest

from domains.powerline.waveforms import ReadOptions, RecordError, open_waveforms
from domains.powerline.waveforms.formats.comtrade.files import read_comtrade
from tests.domains.powerline.waveforms.record_samples import Shape, Written, load_waves, write_record

Lines = list[str]
CHANNELS = slice(2, 8)
STATUS = slice(8, 11)
FREQUENCY, COUNT, RATE, START, TRIGGER, FORMAT, MULTIPLIER = range(11, 18)


def fields(lines: Lines, change: Callable[[list[str]], list[str]], where: slice = CHANNELS) -> Lines:
    """Change the fields of every analogue channel."""
    changed = [",".join(change(line.split(","))) for line in lines[where]]
    return [*lines[: where.start], *changed, *lines[where.stop :]]


def line(lines: Lines, place: int, text: str | None) -> Lines:
    """Replace a line, or leave it out."""
    return [*lines[:place], *([] if text is None else [text]), *lines[place + 1 :]]


def semicolons(lines: Lines) -> Lines:
    """Write the header with semicolons and decimal commas, as a German Excel does."""
    return [text.replace(",", ";").replace(".", ",") if k not in (START, TRIGGER) else text.replace(",", ";")
            for k, text in enumerate(lines)]  # fmt: skip


HEADERS: dict[str, Callable[[Lines], Lines]] = {
    "long dashes": lambda h: fields(h, lambda f: [*f[:5], *(text.replace("-", "–") for text in f[5:])]),
    "minus signs": lambda h: fields(h, lambda f: [*f[:5], *(text.replace("-", "−") for text in f[5:])]),
    "10 fields": lambda h: fields(h, lambda f: f[:10]),
    "12 fields": lambda h: fields(h, lambda f: f[:12]),
    "trailing comma in channels": lambda h: fields(h, lambda f: [*f, ""]),
    "three trailing commas": lambda h: fields(h, lambda f: [*f, "", "", ""]),
    "further fields after the side": lambda h: fields(h, lambda f: [*f, "7", "extra"]),
    "no field for the circuit": lambda h: fields(h, lambda f: [*f[:3], *f[4:]]),
    "comma in the name": lambda h: fields(h, lambda f: [f[0], "Bay", f"no 1 {f[1]}", *f[2:]]),
    "quoted fields": lambda h: fields(h, lambda f: [f'"{part}"' for part in f]),
    "quoted names with commas": lambda h: fields(h, lambda f: [f[0], f'"Bay, {f[1]}"', *f[2:]]),
    "blanks around fields": lambda h: [re.sub(",", " , ", text) for text in h],
    "empty limits": lambda h: fields(h, lambda f: [*f[:8], "", "", *f[10:]]),
    "dashes as limits and skew": lambda h: fields(h, lambda f: [*f[:7], "-", "-", "-", *f[10:]]),
    "limits as text": lambda h: fields(h, lambda f: [*f[:8], "min", "max", *f[10:13]]),
    "offset in exponents": lambda h: fields(h, lambda f: [*f[:6], f"{float(f[6]):+.12E}", *f[7:]]),
    "multiplier of Fortran": lambda h: fields(h, lambda f: [*f[:5], f"{float(f[5]):.12E}".replace("E", "D"), *f[6:]]),
    "multiplier without leading zero": lambda h: fields(
        h, lambda f: [*f[:5], re.sub(r"^0\.", "+.", f"{float(f[5]):.15f}"), *f[6:]]
    ),
    "side in words": lambda h: fields(h, lambda f: [*f[:12], "primary"]),
    "lower-case side": lambda h: fields(h, lambda f: [*f[:12], "p "]),
    "channel numbers missing": lambda h: fields(h, lambda f: ["", *f[1:]]),
    "wrong total": lambda h: line(h, 1, "17,6A,3D"),
    "no total": lambda h: line(h, 1, "6A,3D"),
    "counts in the other order": lambda h: line(h, 1, "9,3D,6A"),
    "counts in lower case with blanks": lambda h: line(h, 1, " 9 , 6 a, 3 d "),
    "letters before the counts": lambda h: line(h, 1, "9,A6,D3"),
    "counts without letters": lambda h: line(h, 1, "9,6,3"),
    "counts with a trailing comma": lambda h: line(h, 1, "9,6A,3D,"),
    "fewer analogue channels announced": lambda h: line(h, 1, "7,4A,3D"),
    "more analogue channels announced": lambda h: line(h, 1, "11,8A,3D"),
    "letters of the counts exchanged": lambda h: line(h, 1, "9,3A,6D"),
    "only status channels announced": lambda h: line(h, 1, "9,0A,9D"),
    "status channels not listed": lambda h: [*h[:8], *h[11:]],
    "one status channel not listed": lambda h: [*h[:10], *h[11:]],
    "status lines of 1991": lambda h: fields(h, lambda f: [f[0], f[1], f[-1]], STATUS),
    "station alone": lambda h: line(h, 0, "STATION"),
    "station and device": lambda h: line(h, 0, "STATION,DEVICE"),
    "station and revision": lambda h: line(h, 0, "STATION,1999"),
    "no line of the station": lambda h: h[1:],
    "comma in the station": lambda h: line(h, 0, "STATION, north,DEVICE,1999"),
    "quoted station": lambda h: line(h, 0, '"STATION, north","DEVICE","1999"'),
    "revision 1997": lambda h: line(h, 0, "STATION,DEVICE,1997") if h else h,
    "revision 2001": lambda h: line(h, 0, "STATION,DEVICE,2001"),
    "revision with blanks": lambda h: line(h, 0, "STATION,DEVICE, 1999  "),
    "revision as text": lambda h: line(h, 0, "STATION,DEVICE,C37.111-1999"),
    "trailing comma in the first line": lambda h: line(h, 0, "STATION,DEVICE,1999,"),
    "blank lines between": lambda h: [part for text in h for part in (text, "", "  ")],
    "blank lines at the end": lambda h: [*h, "", "", "", " "],
    "blank lines at the start": lambda h: ["", "", *h],
    "no frequency": lambda h: line(h, FREQUENCY, None),
    "blank frequency": lambda h: line(h, FREQUENCY, ""),
    "frequency with unit": lambda h: line(h, FREQUENCY, "50 Hz"),
    "frequency with comma": lambda h: line(h, FREQUENCY, "50.0,"),
    "no number of rates": lambda h: line(h, COUNT, None),
    "too many rates announced": lambda h: line(h, COUNT, "2"),
    "no rates announced": lambda h: line(h, COUNT, "0"),
    "rate in exponents": lambda h: line(h, RATE, "4.8E+03,960"),
    "rate with decimals and blanks": lambda h: line(h, RATE, "  4800.000,    960 "),
    "rate with unit": lambda h: line(h, RATE, "4800 Hz,960"),
    "last sample with decimals": lambda h: line(h, RATE, "4800,960.0"),
    "rate with a trailing comma": lambda h: line(h, RATE, "4800,960,"),
    "last sample unknown": lambda h: line(h, RATE, "4800,0"),
    "no last sample": lambda h: line(h, RATE, "4800"),
    "one sample more announced": lambda h: line(h, RATE, "4800,961"),
    "many samples more announced": lambda h: line(h, RATE, "4800,100000"),
    "format in lower case": lambda h: line(h, FORMAT, h[FORMAT].lower()),
    "format with blanks": lambda h: line(h, FORMAT, f"  {h[FORMAT]}  "),
    "format with a comma": lambda h: line(h, FORMAT, f"{h[FORMAT]},"),
    "format quoted": lambda h: line(h, FORMAT, f'"{h[FORMAT]}"'),
    "format with words": lambda h: line(h, FORMAT, f"{h[FORMAT]} file"),
    "no multiplier": lambda h: line(h, MULTIPLIER, None),
    "blank multiplier": lambda h: line(h, MULTIPLIER, ""),
    "multiplier 1.0": lambda h: line(h, MULTIPLIER, "1.0E+00"),
    "multiplier 0": lambda h: line(h, MULTIPLIER, "0"),
    "no format": lambda h: h[:FORMAT],
    "no trigger": lambda h: line(h, TRIGGER, None),
    "text after the end": lambda h: [*h, "0,0", "written by a relay", "\x1a"],
    "end of file": lambda h: [*h, "\x1a\x00\x00"],
    "semicolons": semicolons,
    "tabs": lambda h: [text.replace(",", "\t") for text in h],
}  # fmt: skip
ENCODED: dict[str, Callable[[str], bytes]] = {
    "CR only": lambda text: text.replace("\n", "\r").encode(),
    "CR CR LF": lambda text: text.replace("\n", "\r\r\n").encode(),
    "byte order mark": lambda text: b"\xef\xbb\xbf" + text.encode(),
    "UTF-16 with mark": lambda text: text.encode("utf-16"),
    "UTF-16 big-endian with mark": lambda text: b"\xfe\xff" + text.encode("utf-16-be"),
    "UTF-16 without mark": lambda text: text.encode("utf-16-le"),
    "UTF-16 big-endian without mark": lambda text: text.encode("utf-16-be"),
    "UTF-16 without mark, Cyrillic": lambda text: text.replace("STATION", "ПС Северная").encode("utf-16-le"),
    "null bytes at the end": lambda text: text.encode() + b"\0" * 500,
    "no last line end": lambda text: text.rstrip("\n").encode(),
    "cp1251": lambda text: text.replace("STATION", "ПС Северная").encode("cp1251"),
}
ROWS: dict[str, Callable[[Lines], str]] = {
    "blanks after commas": lambda rows: "\n".join(row.replace(",", ", ") for row in rows),
    "blanks of a fixed width": lambda rows: "\n".join(
        ",".join(f"{cell:>9}" for cell in row.split(",")) for row in rows
    ),
    "blanks alone": lambda rows: "\n".join("  ".join(f"{c:>6}" for c in row.split(",")) for row in rows),
    "tabs": lambda rows: "\n".join(row.replace(",", "\t") for row in rows),
    "semicolons": lambda rows: "\n".join(row.replace(",", ";") for row in rows),
    "semicolons and decimal commas": lambda rows: "\n".join(
        ";".join(c if k < 2 else f"{c},0" for k, c in enumerate(row.split(","))) for row in rows
    ),
    "trailing commas": lambda rows: "\n".join(f"{row}," for row in rows),
    "trailing commas on some rows": lambda rows: "\n".join(
        f"{row}," if k % 7 == 3 else row for k, row in enumerate(rows)
    ),
    "quoted": lambda rows: "\n".join(",".join(f'"{c}"' for c in row.split(",")) for row in rows),
    "decimals": lambda rows: "\n".join(
        ",".join(c if k < 2 else f"{c}.000" for k, c in enumerate(row.split(","))) for row in rows
    ),
    "exponents": lambda rows: "\n".join(
        ",".join(c if k < 2 else f"{float(c):.9E}" for k, c in enumerate(row.split(","))) for row in rows
    ),
    "plus signs": lambda rows: "\n".join(re.sub(r",(?=\d)", ",+", row) for row in rows),
    "leading zeros": lambda rows: "\n".join(re.sub(r"(^|,)(?=\d)", r"\g<1>000", row) for row in rows),
    "no status": lambda rows: "\n".join(row.rsplit(",", 3)[0] for row in rows),
    "empty status": lambda rows: "\n".join(row.rsplit(",", 3)[0] + ",,," for row in rows),
    "more status": lambda rows: "\n".join(f"{row},0,0,0,0" for row in rows),
    "no times": lambda rows: "\n".join(re.sub(r",\d+", ",", row, count=1) for row in rows),
    "no column of times": lambda rows: "\n".join(re.sub(r",\d+", "", row, count=1) for row in rows),
    "some times missing": lambda rows: "\n".join(
        re.sub(r",\d+", ",", row, count=1) if k % 40 == 5 else row for k, row in enumerate(rows)
    ),
    "times in exponents": lambda rows: "\n".join(
        re.sub(r",(\d+)", lambda m: f",{float(m.group(1)):.9E}", row, count=1) for row in rows
    ),
    "end of file": lambda rows: "\n".join(rows) + "\n\x1a",
    "text after the end of file": lambda rows: "\n".join(rows) + "\n\x1aold text\n1,2,3\n",
    "null bytes at the end": lambda rows: "\n".join(rows) + "\n" + "\0" * 1000,
    "blank lines": lambda rows: "\n\n".join(rows) + "\n\n\n",
    "CR only": "\r".join,
    "CR CR LF": "\r\r\n".join,
    "a row of names": lambda rows: "\n".join(["n,t,IA,IB,IC,VA,VB,VC,D,D,D", *rows]),
    "a half row at the end": lambda rows: "\n".join([*rows, "961,2000"]),
    "numbers from 0": lambda rows: "\n".join(re.sub(r"^\d+", str(k), row) for k, row in enumerate(rows)),
    "numbers without order": lambda rows: "\n".join(re.sub(r"^\d+", "1", row) for row in rows),
    "byte order mark": lambda rows: "\ufeff" + "\n".join(rows),
}


def base(folder: Path, data_format: str = "BINARY", revision: str = "1999") -> tuple[Written, Lines]:
    shape = Shape(data_format=data_format, revision=revision, line_end="\n")
    written = write_record(folder, shape, load_waves(shape))
    return written, written.path.read_text().splitlines()


def assert_same(written: Written, path: Path | None = None, count: int = 960) -> None:
    raw = read_comtrade(path or written.path, ReadOptions())
    found = raw.source.read(range(6)).T
    scale = np.abs(written.values).max(axis=0)
    assert found.shape == (count, 6)
    assert found / scale == pytest.approx(written.values[:count] / scale, abs=1e-6)
    assert [(round(part.rate_hz), len(part)) for part in raw.segments] == [(4800, count)]
    assert all("\n" not in finding.message for finding in raw.findings)


@pytest.mark.parametrize("data_format", ["ASCII", "BINARY"])
@pytest.mark.parametrize("kind", HEADERS)
def test_a_header_of_the_field_gives_the_same_samples(tmp_path: Path, kind: str, data_format: str) -> None:
    written, lines = base(tmp_path, data_format)
    written.path.write_text("\n".join(HEADERS[kind](lines)) + "\n")
    assert_same(written)
    names = [channel.name for channel in read_comtrade(written.path, ReadOptions()).channels]
    assert [name.split()[-1] for name in names] == ["IA", "IB", "IC", "VA", "VB", "VC"]


@pytest.mark.parametrize("kind", ENCODED)
def test_a_header_in_any_encoding_gives_the_same_samples(tmp_path: Path, kind: str) -> None:
    written, _ = base(tmp_path)
    written.path.write_bytes(ENCODED[kind](written.path.read_text()))
    assert_same(written)
    cyrillic = "Cyrillic" in kind or kind == "cp1251"
    assert read_comtrade(written.path, ReadOptions()).station == ("ПС Северная" if cyrillic else "STATION")


@pytest.mark.parametrize("word", ["ascii", "Ascii ", "ASCII,", "ASC", "TEXT"])
def test_words_for_ascii(tmp_path: Path, word: str) -> None:
    written, lines = base(tmp_path, "ASCII")
    written.path.write_text("\n".join(line(lines, FORMAT, word)))
    assert_same(written)


@pytest.mark.parametrize(
    ("data_format", "word"),
    [("BINARY", "BINARY16"), ("BINARY", "Binary (16)"), ("BINARY", "BIN"), ("BINARY", "INT16"), ("BINARY", "binary"),
     ("BINARY32", "Binary 32"), ("BINARY32", "INT32"), ("FLOAT32", "float"), ("FLOAT32", "Float-32"),
     ("FLOAT32", "REAL32")],
)  # fmt: skip
def test_words_for_binary(tmp_path: Path, data_format: str, word: str) -> None:
    written, lines = base(tmp_path, data_format)
    written.path.write_text("\n".join(line(lines, FORMAT, word)))
    assert_same(written)


@pytest.mark.parametrize("stated", ["ASCII", "BINARY", "BINARY32", "FLOAT32"])
@pytest.mark.parametrize("data_format", ["ASCII", "BINARY", "BINARY32", "FLOAT32"])
def test_a_wrong_format_is_found_from_the_data(tmp_path: Path, data_format: str, stated: str) -> None:
    written, lines = base(tmp_path, data_format)
    written.path.write_text("\n".join(line(lines, FORMAT, stated)))
    assert_same(written)


@pytest.mark.parametrize("kind", ROWS)
def test_rows_of_the_field_give_the_same_samples(tmp_path: Path, kind: str) -> None:
    written, _ = base(tmp_path, "ASCII")
    data = written.path.with_suffix(".dat")
    data.write_bytes(ROWS[kind](data.read_text().splitlines()).encode())
    assert_same(written)
    record = open_waveforms(written.path)
    assert len(record.lines) == 1
    assert len(record.channels) == 6
    assert record.channels[0].rms == pytest.approx(np.sqrt(np.square(written.values[:, 0]).mean()), rel=1e-5)


@pytest.mark.parametrize("words", [0, 2, 3, 5, 9])
@pytest.mark.parametrize("data_format", ["BINARY", "BINARY32", "FLOAT32"])
def test_the_data_say_how_many_words_of_status_there_are(tmp_path: Path, data_format: str, words: int) -> None:
    shape = Shape(data_format=data_format, status=16 * words)
    written = write_record(tmp_path, shape, load_waves(shape))
    text = written.path.read_text()
    lines = [part for part in text.splitlines() if "TRIP" not in part]
    written.path.write_text("\n".join(line(lines, 1, "22,6A,16D")))
    assert_same(written)


@pytest.mark.parametrize("tail", [b"\0", b"\0" * 7, b"\r\n", b"\x1a", b"trailing bytes", b"\0" * 4096])
def test_bytes_after_the_last_sample_are_left_out(tmp_path: Path, tail: bytes) -> None:
    written, _ = base(tmp_path)
    data = written.path.with_suffix(".dat")
    data.write_bytes(data.read_bytes() + tail)
    assert_same(written)


@pytest.mark.parametrize("data_format", ["BINARY", "BINARY32", "FLOAT32"])
def test_big_endian_data_are_read(tmp_path: Path, data_format: str) -> None:
    written, _ = base(tmp_path, data_format)
    kind = {"BINARY": "i2", "BINARY32": "i4", "FLOAT32": "f4"}[data_format]
    row = [("n", "u4"), ("t", "u4"), ("v", kind, (6,)), ("d", "u2", (1,))]
    data = written.path.with_suffix(".dat")
    rows = np.frombuffer(data.read_bytes(), np.dtype(row))
    data.write_bytes(rows.astype(np.dtype([(n, f">{k}", *rest) for n, k, *rest in row])).tobytes())
    assert_same(written)


@pytest.mark.parametrize("numbers", ["zero", "from 0", "steps of 4", "16 bits", "ones"])
def test_sample_numbers_that_do_not_count_by_one_are_read(tmp_path: Path, numbers: str) -> None:
    written, _ = base(tmp_path)
    row = np.dtype([("n", "<u4"), ("t", "<u4"), ("v", "<i2", (6,)), ("d", "<u2", (1,))])
    data = written.path.with_suffix(".dat")
    rows = np.frombuffer(data.read_bytes(), row).copy()
    count = np.arange(960)
    rows["n"] = {"zero": 0 * count, "from 0": count, "steps of 4": 1 + 4 * count,
                 "16 bits": (65_000 + count) % 65_536, "ones": 0 * count + 1}[numbers]  # fmt: skip
    data.write_bytes(rows.tobytes())
    assert_same(written)


@pytest.mark.parametrize("parts", [1, 2, 3, 7, 11])
def test_numbered_parts_of_the_data_are_joined(tmp_path: Path, parts: int) -> None:
    written, _ = base(tmp_path)
    data = written.path.with_suffix(".dat")
    content = data.read_bytes()
    size = -(-len(content) // parts)
    data.unlink()
    for k in range(parts):
        (tmp_path / f"RECORD.D{k:02d}").write_bytes(content[k * size : (k + 1) * size])
    assert_same(written)


SECTIONS = {
    "as in the standard": "--- file type: {} ---",
    "without blanks": "---file type:{}---",
    "upper case": "--- FILE TYPE: {} ---",
    "more dashes": "----- file type : {} -----",
    "blanks before and after": "   --- file type: {} ---   ",
    "tabs": "---\tfile type:\t{}\t---",
}


@pytest.mark.parametrize("kind", SECTIONS)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("data_format", ["ASCII", "BINARY"])
def test_a_single_file_with_any_form_of_sections(
    tmp_path: Path, data_format: str, mark: bytes, end: str, kind: str
) -> None:
    written, lines = base(tmp_path, data_format)
    data = written.parts["data"]
    size = f" {data_format}" if data_format == "ASCII" else f" BINARY: {len(data)}"
    section = SECTIONS[kind].format
    text = end.join([section("CFG"), *lines, section("INF"), "", section("HDR"), "old text", section(f"DAT{size}"), ""])
    path = tmp_path / "single.cff"
    path.write_bytes(mark + text.encode() + data)
    assert_same(written, path)


def test_a_single_file_in_utf_16(tmp_path: Path) -> None:
    written, lines = base(tmp_path, "ASCII")
    text = "\r\n".join(["--- file type: CFG ---", *lines, "--- file type: DAT ASCII ---", ""])
    path = tmp_path / "single.cff"
    path.write_bytes((text + written.parts["data"].decode()).encode("utf-16"))
    assert_same(written, path)


def test_numbers_of_samples_at_each_rate_are_taken_as_such(tmp_path: Path) -> None:
    shape = Shape(segments=((4800.0, 480), (1200.0, 240), (4800.0, 240)), line_end="\n")
    written = write_record(tmp_path, shape, load_waves(shape))
    text = written.path.read_text()
    written.path.write_text(text.replace("4800,480\n1200,720\n4800,960", "4800,480\n1200,240\n4800,240"))
    raw = read_comtrade(written.path, ReadOptions())
    assert [(part.rate_hz, len(part)) for part in raw.segments] == [(4800, 480), (1200, 240), (4800, 240)]
    assert "rate-counts" in {finding.code for finding in raw.findings}


@pytest.mark.parametrize(
    ("place", "text", "says"),
    [
        (0, "Dear reader, this is a letter", "line 2: expected counts of channels such as '15,15A,0D'"),
        (1, "nine,6A,3D", "line 2: expected counts of channels such as '15,15A,0D'"),
        (4, "3,IC,C", "line 5: an analogue channel has 13 fields, this line has 3: its scale is not known"),
        (4, "3,IC,C,,A,gain,0,0,-1,1,1,1,P", "line 5: the multiplier a must be a number, not 'gain'"),
        (4, "3,IC,C,,A,1,0,0,-1,1,many,1,P", "line 5: the primary factor must be a number, not 'many'"),
        (FREQUENCY, "fifty", "line 12: the mains frequency must be a number, not 'fifty'"),
        (COUNT, "some", "line 13: the number of sampling rates must be a whole number, not 'some'"),
        (COUNT, "77", "line 13: 77 sampling rates are announced, but only"),
        (RATE, "-4800,960", "line 14: the sampling rate must be between 0 and 1e9 Hz"),
        (RATE, "inf,960", "line 14: the sampling rate must be finite"),
        (RATE, "4800,9999999999999", "line 14: the number of the last sample must be at most"),
        (FORMAT, "PACKED", "line 17: the data format must be one of ASCII, BINARY, BINARY32, FLOAT32, not 'PACKED'"),
        (MULTIPLIER, "one", "line 18: the time multiplier must be a number, not 'one'"),
    ],
)
def test_what_cannot_be_read_is_refused_with_line_and_reason(tmp_path: Path, place: int, text: str, says: str) -> None:
    written, lines = base(tmp_path)
    changed = line(lines, place, text)
    if place == 0:
        changed[1] = "it has no counts"
    written.path.write_text("\n".join(changed))
    with pytest.raises(RecordError) as caught:
        open_waveforms(written.path)
    assert f"record.cfg, {says}" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("row", "text", "says"),
    [
        (0, "1,0,5", "line 1: expected 11 values, found 3: do header and data belong together?"),
        (41, "42,1,2", "line 42: expected 11 values, found 3"),
        (41, "42,8541,1,2,3,4,5,6,0,0,0,7,7", "line 42: expected 11 values, found 13"),
        (41, "42,time,1,2,3,4,5,6,0,0,0", "line 42: "),
        (41, "n,8541,1,2,3,4,5,6,0,0,0", "line 42: "),
        (41, "42,8541,1,2,3,****,5,6,0,0,0", "line 42: "),
    ],
)
def test_a_row_that_cannot_be_read_names_its_line(tmp_path: Path, row: int, text: str, says: str) -> None:
    written, _ = base(tmp_path, "ASCII")
    data = written.path.with_suffix(".dat")
    rows = data.read_text().splitlines()
    rows[row] = text
    data.write_text("\n".join(rows))
    with pytest.raises(RecordError) as caught:
        open_waveforms(written.path)
    assert f"record.dat, {says}" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", sorted(HEADERS))
def test_the_comtrade_library_agrees_where_it_reads_the_variant(tmp_path: Path, kind: str) -> None:
    written, lines = base(tmp_path)
    written.path.write_text("\n".join(HEADERS[kind](lines)) + "\n")
    theirs = comtrade.Comtrade(ignore_warnings=True, use_numpy_arrays=True, use_double_precision=True)
    try:
        theirs.load(str(written.path), str(written.path.with_suffix(".dat")))
    except Exception:
        pytest.skip("the library cannot read this variant")
    if len(theirs.analog) != 6 or len(theirs.analog[0]) != 960:
        pytest.skip("the library reads other channels or samples than the file has")
    ours = read_comtrade(written.path, ReadOptions()).source.read(range(6))
    assert ours == pytest.approx(np.asarray(theirs.analog), rel=1e-6, abs=1e-3)


def test_a_large_file_is_read_like_a_small_one(tmp_path: Path) -> None:
    """Values of a file that stays on the disk are those of one that is read at once; blocks of rows are joined."""
    count = 60_000
    for data_format in ("ASCII", "BINARY", "FLOAT32"):
        shape = Shape(data_format=data_format, segments=((4800.0, count),), line_end="\n")
        written = write_record(tmp_path / data_format, shape, load_waves(shape))
        data = written.path.with_suffix(".dat")
        if data_format != "ASCII":
            words = np.frombuffer(data.read_bytes(), np.uint8).reshape(count, -1)
            data.write_bytes(np.concatenate([words, np.zeros((count, 100), np.uint8)], axis=1).tobytes())
            lines = written.path.read_text().splitlines()
            lines[1] = "809,6A,803D"
            written.path.write_text("\n".join(lines))
        else:
            data.write_text("\n".join(f"{row}{',0' * 40}" for row in data.read_text().splitlines()))
        assert data.stat().st_size > 4 << 20
        source = read_comtrade(written.path, ReadOptions()).source
        scale = np.abs(written.values).max(axis=0)
        assert source.read([5, 0]).T / scale[[5, 0]] == pytest.approx(
            written.values[:, [5, 0]] / scale[[5, 0]], abs=1e-6
        )
        every, some = source.statistics(), source.statistics([4, 1])
        assert every.highest == pytest.approx(written.values.max(axis=0), rel=1e-6)
        assert every.lowest == pytest.approx(written.values.min(axis=0), rel=1e-6)
        assert every.rms == pytest.approx(np.sqrt(np.square(written.values).mean(axis=0)), rel=1e-6)
        assert some.rms.tolist() == every.rms[[4, 1]].tolist()
        assert every.missing.tolist() == [0] * 6


@pytest.mark.parametrize("code", ["NA,NA", "n/a,n/a", "x,x", ","])
def test_a_recorder_without_a_time_zone_gives_no_warning(tmp_path: Path, code: str) -> None:
    written, lines = base(tmp_path, revision="2013")
    written.path.write_text("\n".join(line(lines, MULTIPLIER + 1, code)) + "\n")
    assert not [
        finding for finding in read_comtrade(written.path, ReadOptions()).findings if finding.level == "warning"
    ]


@pytest.mark.parametrize("revision", ["1997", "1995", "2", "edition 1"])
def test_the_form_of_the_channels_decides_how_an_unknown_revision_writes_dates(tmp_path: Path, revision: str) -> None:
    written, lines = base(tmp_path)
    lines = line(line(lines, 0, f"STATION,DEVICE,{revision}"), START, "04/12/2014,07:01:48.813000")
    written.path.write_text("\n".join(lines) + "\n")
    start_ns = read_comtrade(written.path, ReadOptions()).start_ns
    assert start_ns == pytest.approx(np.datetime64("2014-12-04T07:01:48.813", "ns").astype(int))
