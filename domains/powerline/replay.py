"""Replay files of power lines as the windows that a gateway would have sent.

Waveform records (COMTRADE, CSV, tables) become windows of the spec in use. ``classData.csv`` becomes labelled
``instant`` windows in the file's own units (ampere and per unit): the ``instant`` artefact is trained on these, so
nothing is scaled.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from domains.powerline.data.classdata import HEADER, read_classdata
from domains.powerline.waveforms import (
    ReadOptions,
    Record,
    RecordLine,
    is_record,
    messages_of,
    open_waveforms,
    skipped_parts,
)
from domains.powerline.waveforms.formats.archive import is_archive
from model.spec import SignalSpec, load_spec
from stream.errors import RecordingError
from stream.recordings.sources import ReplayRecord, SamplesSource, Source, SourceKind, SourceOptions
from stream.windowing import MSGPACK_HEADERS

WINDOWS_PER_MESSAGE = 4
"""Number of windows per message, one mains cycle: at a pace of 1, a window is sent at most one cycle after its end."""


class RecordSource:
    """Source of all lines of a waveform record in time order. A message is due at the time of its last sample.

    A line whose voltages are not certain is left out, because one of its alternatives would have to be sent.

    Args:
        record: the waveform record.
        spec: spec of the windows.
        windows_per_message: number of windows in one message.

    Raises:
        RecordingError: the record has no line, no line whose voltages are certain, or no line as long as a window.
    """

    def __init__(self, record: Record, spec: SignalSpec, windows_per_message: int = WINDOWS_PER_MESSAGE) -> None:
        if not record.lines:
            raise RecordingError(f"{record.path}: {record.no_line}")
        self._lines = [line for line in record.lines if not line.alternatives]
        if not self._lines:
            raise RecordingError(f"{record.path}: {'; '.join(open_choices(record))}")
        self._spec = spec
        self._per_message = windows_per_message
        self.topics: frozenset[str] = frozenset()
        self.total: int | None = 0
        dues = []
        for message in self._messages():
            self.total = (self.total or 0) + 1
            dues.append(message.due_ns)
        if not dues:
            raise RecordingError(f"{record.path}: {_no_windows(self._lines, spec)}")
        self.begin_ns = min(dues)

    def records(self) -> Iterator[ReplayRecord]:
        """Yield the messages of all lines in time order."""
        return self._messages()

    def _messages(self) -> Iterator[ReplayRecord]:
        lines = [messages_of(line, self._spec, windows_per_message=self._per_message) for line in self._lines]
        for message in heapq.merge(*lines, key=lambda message: message.end_ns):
            yield ReplayRecord(
                topic=None,
                key=message.line.encode(),
                value=message.value,
                headers=MSGPACK_HEADERS,
                timestamp_ms=None,
                due_ns=message.end_ns,
                windows=message.count,
            )


def open_choices(record: Record) -> list[str]:
    """Return a sentence for each line whose voltages are not certain, with the options that choose them."""
    return [
        f"{line.name}: the record does not show which voltages belong to the line: it is not sent; assign them with "
        + " or ".join(one.paste_option for one in (line, *line.alternatives))
        for line in record.lines
        if line.alternatives
    ]


def _no_windows(lines: Sequence[RecordLine], spec: SignalSpec) -> str:
    """Return the reason why no line has a window."""
    slow = [part.samples_per_cycle for line in lines for part in skipped_parts(line, spec) if part.too_slow]
    if slow:
        return f"{max(slow):.1f} samples per cycle are too few for a waveform: give a record of a higher rate"
    return f"every line is shorter than a window of spec {spec.name!r}: give a longer record"


def record_kind(spec: SignalSpec, read: ReadOptions | None = None) -> SourceKind:
    """Return the kind of source for waveform records.

    Args:
        spec: spec of the windows that are sent.
        read: values that replace those in the file.
    """
    return SourceKind(
        "waveform record (COMTRADE, SEL event report, PQDIF, CSV, Parquet, MATLAB, PSCAD, or a .zip of one)",
        is_record,
        partial(_open, spec=spec, read=read),
        # A COMTRADE pair can be named by either file, or without a suffix.
        endings=(".cfg", ".CFG", ".cff", ".CFF"),
        is_inside=is_archive,
    )


def _open(path: Path, options: SourceOptions, *, spec: SignalSpec, read: ReadOptions | None) -> RecordSource:
    read = read or ReadOptions()
    if options.start_ns is not None:
        read = read.model_copy(update={"start_ns": options.start_ns})
    record = open_waveforms(path, options=read)
    source = RecordSource(record, spec, options.windows_per_message or WINDOWS_PER_MESSAGE)
    # The choice of voltages replaces the finding that the record leaves it open.
    warnings = [str(one) for one in record.findings if one.level == "warning" and one.code != "ambiguous-voltages"]
    for text in [*warnings, *open_choices(record)]:
        options.warn(f"{path.name}: {text}")
    return source


CLASS_DATA_RATE_HZ = 20_000.0
"""Sampling rate of about 400 samples per cycle at 50 Hz; the file itself has no times."""


def is_class_data(path: Path) -> bool:
    """Return True if a file begins with the header of ``classData.csv``."""
    with path.open("rb") as file:
        first = file.readline(256).decode("utf-8-sig", "replace")
    return tuple(cell.strip() for cell in first.split(",")) == HEADER


def open_class_data(path: Path, options: SourceOptions) -> Source:
    """Read the rows as one line per contiguous run of one class, or as ``options.lines`` lines of equal length.

    Raises:
        DataSetError: a row is invalid; the message names it.
    """
    spec = load_spec("instant")
    windows = read_classdata(path, spec)
    if options.lines is None:
        edges = np.flatnonzero(np.diff(windows.episode)) + 1
    else:
        edges = np.linspace(0, len(windows), options.lines + 1).round().astype(int)[1:-1]
    rows = np.split(np.arange(len(windows)), edges)
    lines = [
        (f"classdata-{number}", windows.data[part, 0, :], windows.labels[part])
        for number, part in enumerate(rows, start=1)
    ]
    return SamplesSource(lines, spec, CLASS_DATA_RATE_HZ, options)


CLASS_DATA = SourceKind("classData.csv", is_class_data, open_class_data, cuts_lines=True)


def source_kinds(spec: SignalSpec, read: ReadOptions | None = None) -> tuple[SourceKind, ...]:
    """Return the kinds of file that can be replayed as power lines."""
    # classData.csv has a known header, so it is tried before tables with any columns.
    return CLASS_DATA, record_kind(spec, read)
