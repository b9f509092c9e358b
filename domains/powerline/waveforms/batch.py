"""Replace folders, and archives of several records, by the records in them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from domains.powerline.waveforms.errors import RecordError
from domains.powerline.waveforms.formats.archive import SUFFIX as ARCHIVE
from domains.powerline.waveforms.formats.archive import records_in
from domains.powerline.waveforms.formats.record_files import COMTRADE_PARTS, FEW_BYTES, listed, main_files
from domains.powerline.waveforms.formats.registry import FORMATS
from domains.powerline.waveforms.record import ReadOptions

MOST_FILES = 100_000
"""Number of files above which a folder is refused."""


def expanded(paths: Iterable[str | Path], options: ReadOptions | None = None) -> list[Path]:
    """Return the paths of the records that files, folders and archives hold.

    A folder stands for all records in it and below; a .zip of several records for each of them, as
    ``a.zip/folder/b.cfg``. A .dat, .hdr or .inf beside a .cfg that is given too is left out. A folder or an archive
    without a record stays as it is, so that reading it gives the reason.

    Args:
        paths: files, folders and archives.
        options: ``max_bytes`` limits the size of archives.

    Example:
        >>> expanded(["fault.cfg", "fault.dat"])
        [PosixPath('fault.cfg')]
    """
    given = [Path(path) for path in paths]
    headers = {str(path.with_suffix("")).lower() for path in given if path.suffix.lower() == ".cfg"}
    records: list[Path] = []
    for path in given:
        if path.suffix.lower() in COMTRADE_PARTS and str(path.with_suffix("")).lower() in headers:
            continue
        inside = _in_folder(path, options) if path.is_dir() else _in_archive(path, options)
        records += inside or [path]
    return list(dict.fromkeys(records))


def folder_message(folder: Path) -> str:
    """Return the reason why a folder is not a record, for the message of an error."""
    records = _in_folder(folder, None)
    if records:
        return (
            f"{folder}: the folder holds {len(records)} records, the first {records[0]}: name one, or read all with "
            f"faultline classify {folder}"
        )
    names = listed([path.relative_to(folder) for path in _files(folder)]) or "nothing"
    return f"{folder}: the folder holds no record that can be read, only {names}"


def _in_archive(path: Path, options: ReadOptions | None) -> list[Path]:
    """Return the records of an archive of several, else the path; an empty list for an archive without a record."""
    if path.suffix.lower() != ARCHIVE or not path.is_file():
        return [path]
    try:
        records = records_in(path, options)
    except RecordError:
        return [path]
    return [path] if len(records) == 1 else [*records]


def _in_folder(folder: Path, options: ReadOptions | None) -> list[Path]:
    files = _files(folder)
    archives = [path for path in files if path.suffix.lower() == ARCHIVE]
    found = [path for path in main_files(files, _head) if any(kind.recognises(path) for kind in FORMATS)]
    found += [record for path in archives for record in _in_archive(path, options)]
    return sorted(found, key=lambda path: str(path).lower())


def _files(folder: Path) -> list[Path]:
    """Return the files in a folder and below; hidden ones are left out, and links to folders are not followed."""
    files: list[Path] = []
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found = [Path(root, name) for name in sorted(names) if not name.startswith(".")]
        # Reading a named pipe would wait for its writer.
        files += [path for path in found if path.is_file()]
        if len(files) > MOST_FILES:
            raise RecordError(f"{folder} holds more than {MOST_FILES:,} files: give the folder of the records")
    return files


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(FEW_BYTES)
    except OSError:
        return b""
