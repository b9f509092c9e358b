"""The formats of waveform files, in the order in which they are tried."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from domains.powerline.waveforms.errors import RecordError
from domains.powerline.waveforms.formats.archive import is_archive, read_archive
from domains.powerline.waveforms.formats.comtrade.files import is_comtrade, read_comtrade
from domains.powerline.waveforms.formats.matlab.files import is_matlab, read_matlab
from domains.powerline.waveforms.formats.pqdif.files import is_pqdif, read_pqdif
from domains.powerline.waveforms.formats.pscad import is_pscad, read_pscad
from domains.powerline.waveforms.formats.sel.event import is_sel_event, read_sel_event
from domains.powerline.waveforms.formats.tables.files import is_table, read_table
from domains.powerline.waveforms.record import RawRecord, ReadOptions


@dataclass(frozen=True, slots=True)
class Format:
    """A format of waveform files.

    Attributes:
        name: name for people, with the suffixes.
        recognises: returns True for a file of this format, by its name and first bytes.
        read: reads such a file.
    """

    name: str
    recognises: Callable[[Path], bool]
    read: Callable[[Path, ReadOptions], RawRecord]


FILE_FORMATS = (
    Format("COMTRADE (.cfg with .dat, or .cff)", is_comtrade, read_comtrade),
    Format("PSCAD output (.out, .inf)", is_pscad, read_pscad),
    Format("MATLAB (.mat)", is_matlab, read_matlab),
    Format("SEL event report (.cev, .eve, .txt)", is_sel_event, read_sel_event),
    Format("PQDIF (.pqd, .pqdif)", is_pqdif, read_pqdif),
    Format("CSV or other table of text (.csv, .tsv, .txt), or Parquet table", is_table, read_table),
)
"""Formats of single files."""


def read_record(path: Path, options: ReadOptions) -> RawRecord:
    """Read a file, or a record in an archive.

    Raises:
        RecordError: the file is of an unknown kind, or it cannot be read.
    """
    return _read(path, options, FORMATS)


def _read(path: Path, options: ReadOptions, formats: Sequence[Format]) -> RawRecord:
    for kind in formats:
        if kind.recognises(path):
            return kind.read(path, options)
    known = ", ".join(kind.name for kind in FORMATS)
    raise RecordError(f"{path}: unknown kind of file; give one of these kinds: {known}")


def _read_unpacked(path: Path, options: ReadOptions) -> RawRecord:
    return _read(path, options, FILE_FORMATS)


FORMATS = (
    Format("zip of a record (.zip)", is_archive, lambda path, options: read_archive(path, options, _read_unpacked)),
    *FILE_FORMATS,
)
"""All formats. Archives come first, as a path into an archive may have any suffix."""
