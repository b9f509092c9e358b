"""Records in .zip archives and folders: one, several, none, with odd names, damaged and hostile."""

from __future__ import annotations

import io
import random
import stat
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from domains.powerline.waveforms import ReadOptions, RecordError, is_record, open_waveforms
from domains.powerline.waveforms.batch import expanded
from domains.powerline.waveforms.formats.archive import records_in
from tests.domains.powerline.waveforms.formats.sel_samples import SEL_351, compressed
from tests.domains.powerline.waveforms.mutations import mutated
from tests.domains.powerline.waveforms.record_samples import healthy

TABLE = ("time,ia,ib,ic,va,vb,vc\n" + "\n".join(f"{k / 1000},{k % 7},1,2,3,4,5.5" for k in range(80))).encode()


def pair(folder: Path, **changes: object) -> dict[str, bytes]:
    """Return the files of a COMTRADE record."""
    path = healthy(folder, **changes).path
    return {other.name: other.read_bytes() for other in sorted(folder.iterdir()) if other.stem == path.stem}


def packed(path: Path, members: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def temporary() -> set[Path]:
    return set(Path(tempfile.gettempdir()).glob("faultline-record-*"))


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("container", ["pair", "upper", "cff"])
def test_the_only_record_of_an_archive_is_read_as_if_unpacked(tmp_path: Path, container: str, method: int) -> None:
    before = temporary()
    files = pair(tmp_path / "plain", container=container)
    plain = open_waveforms(next(tmp_path.glob("plain/*.[cC][fF]*")))
    path = packed(tmp_path / "a.zip", {f"in/{name}": data for name, data in files.items()}, method)
    record = open_waveforms(path)
    assert np.array_equal(record.lines[0].samples, plain.lines[0].samples)
    assert record.lines[0].name == "record"
    assert record.path.parent == path / "in"
    assert temporary() == before


@pytest.mark.parametrize(
    ("name", "data", "kind"),
    [
        ("fault.csv", TABLE, "CSV"),
        ("fault.TXT", TABLE.replace(b",", b"\t"), "CSV"),
        ("C4_10001.TXT", compressed(SEL_351)[0], "SEL compressed event report"),
        ("event.CEV", compressed(SEL_351)[0], "SEL compressed event report"),
    ],
)
def test_an_archive_of_any_format_is_read(tmp_path: Path, name: str, data: bytes, kind: str) -> None:
    members = {"readme.txt": b"These records come from the north station.\nCall 12 34 56.\n", name: data}
    assert open_waveforms(packed(tmp_path / "a.zip", members)).format == kind


@pytest.mark.parametrize(
    ("raw_name", "shown"),
    [
        ("故障/录波", "故障/录波"),
        ("..\\..\\etc\\fault", "etc/fault"),
        ("/abs/fault", "abs/fault"),
        ("../../fault", "fault"),
        ("a b/x" + 80 * "y", "a b/x" + 80 * "y"),
    ],
)
def test_names_in_an_archive_are_never_paths_on_the_disk(tmp_path: Path, raw_name: str, shown: str) -> None:
    files = pair(tmp_path / "plain")
    members = {raw_name + Path(name).suffix: data for name, data in files.items()}
    (tmp_path / "in").mkdir()
    path = packed(tmp_path / "in" / "a.zip", members)
    record = open_waveforms(path)
    assert record.path == path / f"{shown}.cfg"
    assert [other.name for other in (tmp_path / "in").iterdir()] == ["a.zip"]
    assert open_waveforms(record.path).path == record.path


@pytest.mark.parametrize("encoding", ["cp866", "gbk"])
def test_names_in_a_code_page_are_decoded(tmp_path: Path, encoding: str) -> None:
    word = {"cp866": "Авария линии", "gbk": "线路故障"}[encoding]
    stand_in = word.encode(encoding).decode("cp437")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in pair(tmp_path / "plain").items():
            archive.writestr(zipfile.ZipInfo("x" * len(stand_in) + Path(name).suffix), data)
    content = buffer.getvalue().replace(b"x" * len(stand_in), word.encode(encoding))
    path = tmp_path / "a.zip"
    path.write_bytes(content)
    assert open_waveforms(path).path.stem == word


def test_an_archive_of_several_records_names_them(tmp_path: Path) -> None:
    files = pair(tmp_path / "plain")
    several = {f"{day}/{name}": data for day in ("mon", "tue") for name, data in files.items()} | {"t.csv": TABLE}
    path = packed(tmp_path / "a.zip", several)
    with pytest.raises(RecordError, match="3 records") as caught:
        open_waveforms(path)
    assert str(path / "mon/record.cfg") in str(caught.value)
    assert "faultline classify" in str(caught.value)
    names = [path / "mon/record.cfg", path / "t.csv", path / "tue/record.cfg"]
    assert list(records_in(path)) == names == expanded([path])
    assert all(is_record(name) for name in names)
    assert [open_waveforms(name).path for name in names] == names
    assert open_waveforms(path / "mon/record.dat").channels == open_waveforms(names[0]).channels
    with pytest.raises(RecordError, match="no such member"):
        open_waveforms(path / "wed/record.cfg")


def test_messages_name_the_archive_and_the_line(tmp_path: Path) -> None:
    files = pair(tmp_path / "plain")
    files["record.cfg"] = files["record.cfg"].replace(b"1,IA", b"x,IA", 1).replace(b",6A,", b",6Q,")
    path = packed(tmp_path / "a.zip", files)
    with pytest.raises(RecordError, match="line 2") as caught:
        open_waveforms(path)
    assert str(caught.value).startswith(str(path / "record.cfg"))
    assert caught.value.line == 2


def test_sizes_beyond_the_limit_are_refused(tmp_path: Path) -> None:
    before = temporary()
    bomb = packed(tmp_path / "a.zip", {"a.cfg": b"x", "a.dat": bytes(3_000_000)})
    with pytest.raises(RecordError, match="max_bytes allows at most 1,000,000"):
        open_waveforms(bomb, options=ReadOptions(max_bytes=1_000_000))
    content = bytearray(bomb.read_bytes())
    for position in (content.find(b"a.dat") - 30 + 22, content.rfind(b"a.dat") - 46 + 24):
        content[position : position + 4] = (500).to_bytes(4, "little")
    bomb.write_bytes(bytes(content))
    with pytest.raises(RecordError, match=r"a\.zip"):
        open_waveforms(bomb, options=ReadOptions(max_bytes=1_000_000))
    assert temporary() == before


def test_an_archive_with_an_enormous_directory_is_refused(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.zip", {f"{k:06d}{'n' * 120}": b"" for k in range(26_000)}, zipfile.ZIP_STORED)
    with pytest.raises(RecordError, match="too many members"):
        open_waveforms(path)
    path = packed(tmp_path / "b.zip", {f"{k}": b"" for k in range(10_001)}, zipfile.ZIP_STORED)
    with pytest.raises(RecordError, match="more than 10,000 members"):
        open_waveforms(path)


def test_links_nested_archives_and_rubbish_are_no_records(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link.csv")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    inner = packed(tmp_path / "inner.zip", {"t.csv": TABLE}).read_bytes()
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(link, "/etc/passwd")
        archive.writestr("__MACOSX/t.csv", TABLE)
        archive.writestr("._t.csv", TABLE)
        archive.writestr("inner.zip", inner)
        archive.writestr("notes.csv", "name,value\nnorth,3\n")
    with pytest.raises(RecordError, match=r"no record .* only inner.zip, notes.csv: unpack it and give the folder"):
        open_waveforms(path)


def test_an_empty_archive_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="the archive is empty"):
        open_waveforms(packed(tmp_path / "a.zip", {}))


def test_an_encrypted_archive_is_refused_in_one_line(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.zip", pair(tmp_path / "plain"), zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    for magic, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        position = content.find(magic)
        while position >= 0:
            content[position + offset] |= 1
            position = content.find(magic, position + 4)
    path.write_bytes(bytes(content))
    with pytest.raises(RecordError, match="the archive is encrypted"):
        open_waveforms(path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"PK\x05\x06" + bytes(18), b"not a zip"])
def test_a_damaged_archive_is_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(content)
    with pytest.raises(RecordError, match=r"a\.zip") as caught:
        open_waveforms(path)
    assert "\n" not in str(caught.value)


def test_mutated_archives_leave_nothing_behind(tmp_path: Path) -> None:
    before, rng = temporary(), random.Random(3)
    whole = packed(tmp_path / "whole.zip", pair(tmp_path / "plain")).read_bytes()
    path = tmp_path / "a.zip"
    for _ in range(150):
        path.write_bytes(mutated(rng, whole))
        try:
            open_waveforms(path)
        except RecordError as error:
            assert "a.zip" in str(error) or "record" in str(error)  # noqa: PT017
    assert temporary() == before


def test_a_folder_stands_for_the_records_in_it(tmp_path: Path) -> None:
    folder = tmp_path / "records"
    healthy(folder / "b")
    healthy(folder / "a", container="cff")
    healthy(folder / "upper", container="upper")
    packed(folder / "one.zip", pair(tmp_path / "plain"))
    packed(folder / "two.zip", {"x/t.csv": TABLE, "y.csv": TABLE})
    packed(folder / "none.zip", {"photo.jpg": b"\xff\xd8"})
    for name, data in {
        "t.csv": TABLE, "events.csv": b"time,what\n1,open\n2,close\n", "readme.txt": b"hello\n", "x.pdf": b"%PDF",
        "orphan.dat": b"1", "orphan.hdr": b"1", "app.cfg": b"colour=red", ".hidden.csv": TABLE,
        "C8_1.TXT": compressed(SEL_351)[0],
    }.items():  # fmt: skip
        (folder / name).write_bytes(data)
    shown = [str(path.relative_to(folder)) for path in expanded([folder])]
    assert shown == [
        "a/record.cff", "b/record.cfg", "C8_1.TXT", "one.zip", "t.csv", "two.zip/x/t.csv", "two.zip/y.csv",
        "upper/record.CFG",
    ]  # fmt: skip
    assert all(open_waveforms(path).channels for path in expanded([folder]))
    with pytest.raises(RecordError, match="8 records"):
        open_waveforms(folder)


def test_a_folder_without_records_stays_and_names_its_files(tmp_path: Path) -> None:
    (tmp_path / "notes.pdf").write_bytes(b"%PDF")
    assert expanded([tmp_path]) == [tmp_path]
    with pytest.raises(RecordError, match=r"no record .* only notes\.pdf"):
        open_waveforms(tmp_path)


def test_the_parts_of_a_record_count_once(tmp_path: Path) -> None:
    path = healthy(tmp_path).path
    given = [path.with_suffix(".dat"), path, path.with_suffix(".hdr"), path]
    assert expanded(given) == [path]
    assert expanded([path.with_suffix(".dat")]) == [path.with_suffix(".dat")]
