"""Texts whose reading would need time or memory out of proportion to their size, and files that change."""

import math
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from domains.powerline.waveforms import ReadOptions, RecordError, open_waveforms
from domains.powerline.waveforms.batch import expanded
from domains.powerline.waveforms.formats.comtrade.stored_bytes import IN_MEMORY_BYTES

STAMP = "01/01/2020,00:00:00.0"
ROWS = 64


def write_pair(
    folder: Path,
    *,
    names: tuple[str, str] = ("IA", "IB"),
    frequency: str = "50",
    rates: str = f"1\n1000,{ROWS}",
    stamps: tuple[str, str] = (STAMP, STAMP),
) -> Path:
    channels = "".join(f"{k},{name},,,A,1,0,0,-32767,32767,1,1,P\n" for k, name in enumerate(names, 1))
    header = f"S,D,1999\n2,2A,0D\n{channels}{frequency}\n{rates}\n{stamps[0]}\n{stamps[1]}\nASCII\n1\n"
    (folder / "a.cfg").write_text(header, encoding="utf-8")
    rows = (f"{k},{1000 * k},{wave(k)},{wave(k + 7)}\n" for k in range(1, ROWS + 1))
    (folder / "a.dat").write_text("".join(rows), encoding="utf-8")
    return folder / "a.cfg"


def wave(k: int) -> int:
    return round(1000 * math.sin(2 * math.pi * k / 20))


def table(above: str = "", names: str = "t,ia,ib,ic", rows: int = 200) -> str:
    return f"{above}{names}\n" + "".join(f"{k / 1000},{wave(k)},{wave(k + 7)},{wave(k + 14)}\n" for k in range(rows))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"frequency": "5" + " " * 2_000_000 + "x"}, "line 5: the mains frequency must be a number"),
        ({"frequency": "5" * 1_000_000 + "x"}, "line 5: the mains frequency must be a number"),
        ({"rates": "1\n" + "\n".join(f"1000,{k}" for k in range(1, 300_000))}, "more than 1,000 sampling rates"),
        ({"rates": "200000\n" + "1000,1\n" * 200_000}, "more than 1,000 sampling rates"),
        ({"names": ('"' + "x" * 200_000 + '"', "IB")}, "line 2: the line has a field that is too long"),
    ],
)
def test_a_hostile_header_is_an_error_that_names_the_line(tmp_path: Path, given: dict[str, str], message: str) -> None:
    with pytest.raises(RecordError, match=message):
        open_waveforms(write_pair(tmp_path, **given))  # type: ignore[arg-type]


def test_a_time_stamp_with_a_million_blanks_is_unreadable(tmp_path: Path) -> None:
    stamp = f"01/01/2020{' ' * 1_000_000}x,00:00:00.{' ' * 1_000_000}x"
    record = open_waveforms(write_pair(tmp_path, stamps=(stamp, stamp)))
    assert record.start_ns == 0


def test_a_cell_of_a_hundred_thousand_digits_is_no_row(tmp_path: Path) -> None:
    path = write_pair(tmp_path)
    (tmp_path / "a.dat").write_text('"' + "1" * 200_000 + '",1,2,3\n', encoding="utf-8")
    with pytest.raises(RecordError, match=r"a\.dat, line 1"):
        open_waveforms(path)


def test_the_encoding_of_a_long_header_is_detected_from_a_part_of_it(tmp_path: Path) -> None:
    path = write_pair(tmp_path, names=("Ток A", "Ток B"))
    text = path.read_text(encoding="utf-8") + "Линия 110 кВ, секция шин\n" * 100_000
    path.write_bytes(text.encode("cp1251"))
    assert open_waveforms(path).encoding == "cp1251"


@pytest.mark.parametrize(
    "text",
    [
        table(above=("fs" + " " * 296 + "x\n") * 200),
        table(names="t,i" + " " * 200_000 + "a,ib,ic"),
        table(names="t,i" + "1" * 200_000 + "a,ib,ic"),
    ],
)
def test_long_runs_in_the_text_above_a_table_do_not_matter(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(text, encoding="utf-8")
    assert open_waveforms(path).channels[0].highest == 1000


def test_a_stated_interval_too_small_for_a_number_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(table(above="sample interval 1e-320 ns\n"), encoding="utf-8")
    assert open_waveforms(path).segments[0].rate_hz == 1000


def test_a_cell_with_thousands_of_blanks_is_no_moment(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("t,ia,ib\n" + "".join(f"12:00:00{' ' * 3000}x,{k},{k}\n" for k in range(40)), encoding="utf-8")
    with pytest.raises(RecordError, match="no usable time column"):
        open_waveforms(path)


def test_text_of_many_lines_after_a_table_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(table(rows=100_000) + "a\n" * 500_000, encoding="utf-8")
    with pytest.raises(RecordError, match=r"line 100002: expected 4 values, found 1"):
        open_waveforms(path)


def test_a_label_of_blanks_in_an_event_report_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.cev"
    head = '"FID","MONTH","0000"\n"x","1","0000"\n"I(A)' + " " * 120_000 + 'x","IA","IB","TRIG","0000"\n'
    path.write_text(head + "".join(f'{k},{wave(k)},{wave(k)},,"0000"\n' for k in range(64)), encoding="utf-8")
    assert open_waveforms(path).channels[0].name.startswith("I(A) X")


def test_a_listing_with_a_long_word_is_read(tmp_path: Path) -> None:
    rows = "".join(f" {k / 1000} {wave(k)} {wave(k + 7)} {wave(k + 14)}\n" for k in range(200))
    (tmp_path / "a_01.out").write_text("title\n" + rows, encoding="utf-8")
    (tmp_path / "a.inf").write_text(f'PGB(1) Output Desc="Ia" {"a" * 2_000_000}\n', encoding="utf-8")
    assert open_waveforms(tmp_path / "a_01.out").channels[0].name == "Ia"


def test_variables_beside_thousands_of_texts_are_read(tmp_path: Path) -> None:
    variables: dict[str, object] = {f"i{k}": np.sin(np.arange(64.0) + k) for k in range(1000)}
    variables |= {f"text{k}": "abc" for k in range(20_000)} | {"fs": 1000.0}
    savemat(tmp_path / "a.mat", variables)
    assert len(open_waveforms(tmp_path / "a.mat").channels) == 1000


def test_a_pipe_in_a_folder_is_no_record(tmp_path: Path) -> None:
    path = write_pair(tmp_path)
    os.mkfifo(tmp_path / "b.csv")
    assert expanded([tmp_path]) == [path]


def test_a_pipe_in_place_of_the_data_is_an_error(tmp_path: Path) -> None:
    path = write_pair(tmp_path)
    (tmp_path / "a.dat").unlink()
    os.mkfifo(tmp_path / "a.dat")
    with pytest.raises(RecordError, match="no file"):
        open_waveforms(path)


def test_files_of_long_names_in_an_archive_are_kept_apart(tmp_path: Path) -> None:
    rows = "".join(f" {k / 1000} {wave(k)} {wave(k + 7)} {wave(k + 14)}\n" for k in range(200))
    name = "n" * 100
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(f"{name}_01.out", "title\n" + rows)
        archive.writestr(f"{name}_02.out", "title\n" + rows)
        archive.writestr(f"{name}.inf", 'PGB(1) Output Desc="Ia"\n')
    assert len(open_waveforms(tmp_path / "a.zip").channels) == 6


@pytest.mark.parametrize("data_format", ["ASCII", "BINARY"])
def test_values_of_a_file_that_became_shorter_are_an_error(tmp_path: Path, data_format: str) -> None:
    path = write_pair(tmp_path)
    rows = 400_000
    header = path.read_text(encoding="utf-8").replace(f"1000,{ROWS}", f"1000,{rows}")
    path.write_text(header.replace("ASCII", data_format), encoding="utf-8")
    data = tmp_path / "a.dat"
    if data_format == "ASCII":
        data.write_text("".join(f"{k},{1000 * k},{wave(k)},{wave(k + 7)}\n" for k in range(1, rows + 1)))
    else:
        stored = np.zeros(rows, [("number", "<u4"), ("stamp", "<u4"), ("values", "<i2", (2,))])
        stored["number"] = np.arange(1, rows + 1)
        stored["stamp"] = 1000 * stored["number"]
        stored["values"] = 1000 * np.sin(stored["number"] * np.pi / 10)[:, None]
        data.write_bytes(stored.tobytes())
    assert data.stat().st_size > IN_MEMORY_BYTES
    record = open_waveforms(path)
    # The text ends with a whole line.
    os.truncate(data, data.read_bytes().find(b"\n", 1000) + 1 if data_format == "ASCII" else 1000)
    with pytest.raises(RecordError, match=r"a\.dat: the file has become shorter"):
        list(record.channels)


def test_files_above_the_limit_are_refused_with_a_remedy(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(table(), encoding="utf-8")
    for name in ("a.mat", "a.pqd", "a.cev"):
        (tmp_path / name).write_bytes(bytes(2000))
    (tmp_path / "b.cfg").write_bytes(b"1" * (9 << 20))
    expected = {
        "a.csv": "cut it into shorter ones: max_bytes allows at most 1,000 bytes",
        "a.mat": "save fewer variables: max_bytes allows at most 1,000 bytes",
        "a.pqd": "export fewer observations: max_bytes allows at most 1,000 bytes",
        "a.cev": "copy the report alone: it may have at most 1,000 bytes",
        "b.cfg": "is this a COMTRADE header",
    }
    for name, message in expected.items():
        with pytest.raises(RecordError, match=message):
            open_waveforms(tmp_path / name, options=ReadOptions(max_bytes=1000))


def test_a_folder_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="absent: cannot be read: No such file or directory"):
        open_waveforms(tmp_path / "absent" / "a.cfg")


def test_control_characters_of_a_file_reach_no_terminal(tmp_path: Path) -> None:
    path = write_pair(tmp_path, names=("\x1b[2JI\x9bA", "\u202eIB"))
    path.write_text(path.read_text(encoding="utf-8").replace("S,D,1999", "\x1b]0;S\x07,D\x1b,1999"), encoding="utf-8")
    (tmp_path / "a.hdr").write_text("Fault type: \x1b[31mAG", encoding="utf-8")
    record = open_waveforms(path)
    texts = [record.station, record.device, record.no_line, *(statement.text for statement in record.statements)]
    texts += [text for channel in record.channels for text in (channel.name, channel.unit, channel.role)]
    texts += [str(finding) for finding in record.findings]
    texts += [text for decision in record.decisions for text in (decision.channels, decision.use, decision.reason)]
    assert all(text.isprintable() for text in texts)
    assert record.channels[0].name == " [2JI A"


def test_a_channel_number_in_other_digits_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="no channel is called '²'"):
        open_waveforms(write_pair(tmp_path), options=ReadOptions(channels="ia=² ib=2"))
