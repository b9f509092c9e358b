"""Open a file for a replay: the kinds of file there are, and as many lines as asked for."""

from __future__ import annotations

from pathlib import Path

from domains.powerline.class_data import CLASS_DATA
from domains.powerline.fan_out import ManyLines
from domains.powerline.replay import record_kind
from domains.powerline.waveforms import ReadOptions
from model.spec import SignalSpec
from stream.recordings.sources import RECORDING, Source, SourceOptions, kind_of, open_source


def open_replay(
    path: Path, spec: SignalSpec, options: SourceOptions | None = None, read: ReadOptions | None = None
) -> Source:
    """What a file is to send, as many lines where that is asked for.

    Args:
        path: a recording, ``classData.csv``, COMTRADE, CSV or a Parquet table.
        spec: of the windows that are made of records, and that are made many lines.
        options: which part of it and how.
        read: what is known of a record of waveforms better than the file tells.

    Raises:
        RecordingError: the file cannot be replayed, or not as many lines.
    """
    options = options or SourceOptions()
    # The header of classData.csv is known, so it comes before tables of whatever columns.
    kinds = (RECORDING, CLASS_DATA, record_kind(spec, read))
    if options.lines is None or kind_of(_pair(path), kinds) is CLASS_DATA:
        return open_source(_pair(path), options, kinds)
    return ManyLines(open_source(_pair(path), options, kinds), options.lines, spec)


def _pair(path: Path) -> Path:
    """A COMTRADE pair is named by either file, or by neither's ending."""
    if path.is_file():
        return path
    return next((there for end in (".cfg", ".CFG", ".cff", ".CFF") if (there := Path(f"{path}{end}")).is_file()), path)
