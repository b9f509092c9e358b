"""The formats of waveform files, in the order in which they are tried."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from domains.powerline.waveforms.formats.comtrade import is_comtrade, read_comtrade
from domains.powerline.waveforms.formats.matlab import is_matlab, read_matlab
from domains.powerline.waveforms.formats.pscad import is_pscad, read_pscad
from domains.powerline.waveforms.formats.sel_event import is_sel_event, read_sel_event
from domains.powerline.waveforms.formats.table import is_table, read_table
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


FORMATS = (
    Format("COMTRADE (.cfg with .dat, or .cff)", is_comtrade, read_comtrade),
    Format("PSCAD output (.out, .inf)", is_pscad, read_pscad),
    Format("MATLAB (.mat)", is_matlab, read_matlab),
    Format("SEL event report (.cev, .eve, .txt)", is_sel_event, read_sel_event),
    Format("CSV or Parquet table", is_table, read_table),
)
