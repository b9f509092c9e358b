"""Read a record of any format in a .zip: the only one, or one that is named as ``a.zip/folder/b.cfg``.

Members are copied to a temporary folder under names of our own, so that no path in the archive is used as a path on the
disk. The folder is removed when the record is open.
"""

from __future__ import annotations

import re
import stat
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from domains.powerline.waveforms.errors import RecordError
from domains.powerline.waveforms.formats.encodings import decode_text
from domains.powerline.waveforms.formats.record_files import FEW_BYTES, listed, main_files, same_record
from domains.powerline.waveforms.record import RawRecord, ReadOptions

SUFFIX = ".zip"
MAGIC = b"PK\x03\x04"
MOST_MEMBERS = 10_000
"""Number of members above which an archive is refused."""
MOST_DIRECTORY_BYTES = 4 << 20
"""Size of the largest directory of an archive: zipfile reads it whole, with many times its size in memory."""
CHUNK = 1 << 20
MOST_NAME_BYTES = 255
END_BYTES = 22 + 65_535 + 76
"""Length of the end of an archive: its record with the longest comment, and the records of a large archive."""
_UTF8_NAME = 0x800
_ENCRYPTED = 0x1


@dataclass(frozen=True, slots=True)
class _Member:
    """A file in an archive."""

    path: PurePosixPath
    info: zipfile.ZipInfo


def is_archive(path: Path) -> bool:
    """Return True for a .zip, and for a path into one."""
    if path.is_file():
        return path.suffix.lower() == SUFFIX or (path.suffix == "" and _starts_as_zip(path))
    return _split(path) is not None


def read_archive(path: Path, options: ReadOptions, read: Callable[[Path, ReadOptions], RawRecord]) -> RawRecord:
    """Read the only record of an archive, or the record that a path into an archive names.

    Args:
        path: the archive, or a path into it.
        options: values that replace those in the file; ``max_bytes`` limits the unpacked size.
        read: function that reads a file.

    Raises:
        RecordError: the archive is damaged, encrypted, holds no record or several ones, or the record is broken.
    """
    archive, wanted = _split(path) or (path, None)
    # Values that are not in memory are read from files that stay open; their names are no longer needed.
    with tempfile.TemporaryDirectory(prefix="faultline-record-") as folder:
        with _opened(archive, options) as opened:
            members = list(_members(opened))
            records = _records(opened, members)
            if wanted is None and len(records) != 1:
                raise RecordError(_not_one(archive, members, records))
            main = records[0] if wanted is None else _named(archive, members, records, wanted)
            parts = [part for part in members if same_record(main.path, part.path)]
            _unpack(opened, archive, parts, folder, options)
        raw = _read_unpacked(Path(folder), archive / main.path, options, read)
    raw.path = archive / main.path
    return raw


def records_in(path: Path, options: ReadOptions | None = None) -> tuple[Path, ...]:
    """Return the paths of the records in an archive, such as ``a.zip/folder/b.cfg``.

    Raises:
        RecordError: the archive cannot be read.
    """
    options = options or ReadOptions()
    with _opened(path, options) as opened:
        members = list(_members(opened))
        return tuple(path / member.path for member in _records(opened, members))


def _starts_as_zip(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(4) == MAGIC
    except OSError:
        return False


def _split(path: Path) -> tuple[Path, PurePosixPath] | None:
    """Return archive and member of a path into an archive; None for any other path."""
    for parent in path.parents:
        if parent.is_file():
            inside = path.relative_to(parent)
            return (parent, PurePosixPath(*inside.parts)) if parent.suffix.lower() == SUFFIX else None
    return None


@contextmanager
def _opened(archive: Path, options: ReadOptions) -> Iterator[zipfile.ZipFile]:
    """Open an archive; every error inside becomes one line."""
    try:
        if archive.stat().st_size > options.max_bytes:
            raise RecordError(f"{archive} has {archive.stat().st_size:,} bytes, more than max_bytes allows: unpack it")
        if _directory_bytes(archive) > MOST_DIRECTORY_BYTES:
            raise RecordError(f"{archive} has too many members: unpack it and give the folder")
        with zipfile.ZipFile(archive) as opened:
            if len(opened.infolist()) > MOST_MEMBERS:
                raise RecordError(f"{archive} has more than {MOST_MEMBERS:,} members: unpack it and give the folder")
            if any(info.flag_bits & _ENCRYPTED for info in opened.infolist()):
                raise RecordError(f"{archive}: the archive is encrypted: unpack it with its password first")
            yield opened
    except RecordError:
        raise
    except Exception as error:
        # zipfile raises errors of many kinds for damaged archives, down to struct.error and UnicodeDecodeError.
        what = " ".join(str(error).split())[:160] or type(error).__name__
        raise RecordError(f"{archive}: the archive cannot be read ({what}): unpack it or copy it again") from error


def _directory_bytes(archive: Path) -> int:
    """Return the size of the directory that the end of an archive states; 0 if there is no such end."""
    with archive.open("rb") as file:
        file.seek(max(0, archive.stat().st_size - END_BYTES))
        tail = file.read()
    end, large = tail.rfind(b"PK\x05\x06"), tail.rfind(b"PK\x06\x06")
    size = int.from_bytes(tail[end + 12 : end + 16], "little") if end >= 0 else 0
    if large >= 0 and size == 0xFFFFFFFF:
        return int.from_bytes(tail[large + 40 : large + 48], "little")
    return size


def _members(opened: zipfile.ZipFile) -> Iterator[_Member]:
    """Yield the files of an archive with clean paths; folders, links and the metadata of macOS are left out."""
    seen = set()
    for info in opened.infolist():
        if info.is_dir() or stat.S_ISLNK(info.external_attr >> 16):
            continue
        parts = [part for part in re.split(r"[/\\]", _name(info)) if part not in ("", ".", "..")]
        if not parts or parts[0] == "__MACOSX" or parts[-1].startswith("._"):
            continue
        path = PurePosixPath(*(re.sub(r"[\x00-\x1f:]", "_", part)[:200] for part in parts))
        if path not in seen:
            seen.add(path)
            yield _Member(path, info)


def _name(info: zipfile.ZipInfo) -> str:
    """Return the name of a member; without the flag for UTF-8 it is in the code page of the computer that packed it."""
    if info.flag_bits & _UTF8_NAME:
        return info.filename
    try:
        return decode_text(info.filename.encode("cp437"), None, Path("name"))[0]
    except UnicodeEncodeError:
        return info.filename


def _records(opened: zipfile.ZipFile, members: Sequence[_Member]) -> list[_Member]:
    """Return the members that are the main files of records."""
    by_path = {member.path: member for member in members}

    def head(path: PurePosixPath) -> bytes:
        with opened.open(by_path[path].info) as file:
            return file.read(FEW_BYTES)

    return [by_path[path] for path in main_files(list(by_path), head)]


def _named(archive: Path, members: Sequence[_Member], records: Sequence[_Member], wanted: PurePosixPath) -> _Member:
    for member in (*records, *members):
        if member.path == wanted or str(member.path).lower() == str(wanted).lower():
            return member
    raise RecordError(f"{archive / wanted}: no such member; {_list(archive, records)}")


def _not_one(archive: Path, members: Sequence[_Member], records: Sequence[_Member]) -> str:
    if not records:
        if not members:
            return f"{archive}: the archive is empty"
        names = listed([member.path for member in members])
        inner = any(member.path.suffix.lower() == SUFFIX for member in members)
        remedy = ": unpack it and give the folder" if inner else ""
        return f"{archive}: the archive holds no record that can be read, only {names}{remedy}"
    return f"{archive}: {_list(archive, records)}: name one, or read all with faultline classify {archive}"


def _list(archive: Path, records: Sequence[_Member]) -> str:
    if not records:
        return "the archive holds no record"
    return f"the archive holds {len(records)} records, {listed([archive / member.path for member in records])}"


def _unpack(
    opened: zipfile.ZipFile, archive: Path, parts: Sequence[_Member], folder: str, options: ReadOptions
) -> None:
    """Copy the files of a record to a folder, at most ``options.max_bytes`` in all, whatever sizes they claim."""
    claimed = sum(part.info.file_size for part in parts)
    if claimed > options.max_bytes:
        raise RecordError(
            f"{archive / parts[0].path} unpacks to {claimed:,} bytes: max_bytes allows at most {options.max_bytes:,}"
        )
    left = options.max_bytes
    for part in parts:
        with opened.open(part.info) as source, Path(folder, _own_name(part.path)).open("wb") as file:
            while block := source.read(CHUNK):
                left -= len(block)
                if left < 0:
                    raise RecordError(f"{archive / part.path} unpacks to more than max_bytes allows")
                file.write(block)


def _read_unpacked(
    folder: Path, member: Path, options: ReadOptions, read: Callable[[Path, ReadOptions], RawRecord]
) -> RawRecord:
    """Read an unpacked record; messages name the archive instead of the folder."""
    try:
        return read(folder / _own_name(PurePosixPath(*member.parts)), options)
    except RecordError as error:
        named = type(error)(str(error).replace(str(folder), str(member.parent)))
        named.line, named.offset = error.line, error.offset
        raise named from error


def _own_name(path: PurePosixPath) -> str:
    """Return the file name for the folder, short enough for a file system; the parts of a record differ at the end."""
    return path.name if len(path.name.encode()) <= MOST_NAME_BYTES else f"{path.stem[-50:]}{path.suffix[:12]}"
