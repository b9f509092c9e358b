"""Read tables of samples: CSV with a header or a mapping, Parquet, and ``classData.csv``, which has its own rules."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from domains.powerline.waveforms.channel_values import StoredValues
from domains.powerline.waveforms.errors import RecordError
from domains.powerline.waveforms.formats.encodings import decode_text
from domains.powerline.waveforms.formats.segments import SampleClock, find_segments
from domains.powerline.waveforms.formats.text_table import csv_table
from domains.powerline.waveforms.mapping import read_mapping
from domains.powerline.waveforms.record import Finding, RawChannel, RawRecord, ReadOptions, Segment

SUFFIXES = {".csv", ".tsv", ".txt"}
PARQUET_MAGIC = b"PAR1"
HEAD_BYTES = 1 << 16
"""Number of bytes at the start of a CSV file that must contain its header and first row."""
CLASS_DATA_HEADER = ("G", "C", "B", "A", "Ia", "Ib", "Ic", "Va", "Vb", "Vc")
CLASS_DATA_HZ, CLASS_DATA_RATE_HZ = 50.0, 20_000.0
"""Mains frequency and sampling rate of ``classData.csv``: it has no times, and about 400 samples per cycle."""
TIME_NAME = re.compile(
    r"^\W*(t|time|times|timestamp|date ?time|zeit|temps|tiempo|tempo|время|时间|sample ?time)\b", re.IGNORECASE
)
TIME_UNITS = {"s": 1.0, "sec": 1.0, "с": 1.0, "ms": 1e-3, "мс": 1e-3, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ns": 1e-9}
PLAUSIBLE_RATE_HZ = (200.0, 2e6)
NUMBER = re.compile(r"\s*[+-]?(\d+[.,]?\d*|[.,]\d+)([eE][+-]?\d+)?\s*")
EPOCH_S = 1e8
"""Time in seconds above which times are Unix times."""
KNOWN_KEYS = {"time", "time_unit", "rate_hz", "lines"}


@dataclass(frozen=True, slots=True)
class _Columns:
    """A table, the names of its columns and the encoding of its text."""

    names: list[str]
    table: pa.Table
    encoding: str


def is_table(path: Path) -> bool:
    """Return True if a file is a CSV by its name, or a Parquet table that is not a recording of topics."""
    if path.suffix.lower() in SUFFIXES:
        return True
    try:
        with path.open("rb") as file:
            if file.read(4) != PARQUET_MAGIC:
                return False
        schema = pq.read_schema(path)
    except (OSError, pa.ArrowException):
        return path.suffix.lower() == ".parquet"
    plain = [field for field in schema if _is_number(field.type)]
    return "value" not in schema.names and len(plain) >= 3


def read_table(path: Path, options: ReadOptions) -> RawRecord:
    """Read a table.

    Args:
        path: a CSV or Parquet file.
        options: values that replace those in the file.

    Returns:
        The channels of the table in their own units.

    Raises:
        RecordError: the table cannot be read, has neither times nor ``rate_hz``, or no columns of numbers.
    """
    size = path.stat().st_size
    if size > options.max_bytes:
        raise RecordError(
            f"{path} has {size:,} bytes: reading it would need too much memory; cut it into shorter ones: "
            f"max_bytes allows at most {options.max_bytes:,} bytes"
        )
    mapping = read_mapping(options.mapping) if options.mapping is not None else {}
    unknown = set(mapping) - KNOWN_KEYS
    if unknown:
        raise RecordError(
            f"{options.mapping}: unknown key {sorted(unknown)[0]!r}; use one of {', '.join(sorted(KNOWN_KEYS))}"
        )
    with path.open("rb") as file:
        is_parquet = file.read(4) == PARQUET_MAGIC
    columns = _parquet(path) if is_parquet else _csv(path, options, mapping)
    if tuple(columns.names) == CLASS_DATA_HEADER:
        return _class_data(path, columns)
    return _raw(path, columns, options, mapping, "Parquet" if is_parquet else "CSV")


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))


def _parquet(path: Path) -> _Columns:
    try:
        file = pq.ParquetFile(path)
        wanted = [f.name for f in file.schema_arrow if _is_number(f.type) or pa.types.is_timestamp(f.type)]
        # A run-length encoded column may claim many rows in few bytes, so check the number before unpacking it.
        if file.metadata.num_rows * max(1, len(wanted)) > 1 << 30:
            raise RecordError(
                f"{path}: {file.metadata.num_rows:,} rows would need too much memory: cut the file into shorter ones"
            )
        table = file.read(columns=wanted)
    except (pa.ArrowException, OSError) as error:
        raise RecordError(f"{path}: the Parquet file cannot be read: {str(error).splitlines()[0]}") from None
    return _Columns(list(table.column_names), table, "")


def _csv(path: Path, options: ReadOptions, mapping: dict[str, Any]) -> _Columns:
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    lines = head.splitlines()
    text, encoding = decode_text(b"\n".join(lines[:-1] if len(head) == HEAD_BYTES else lines), options.encoding, path)
    rows = text.split("\n")
    filled = [k for k, row in enumerate(rows) if row.strip() and not row.lstrip().startswith("#")]
    if not filled:
        raise RecordError(f"{path}: the table has no rows")
    first = filled[0]
    if rows[first].lower().startswith("sep=") and len(filled) > 1:
        first = filled[1]
    delimiter = max(",;\t|", key=lambda sign: (rows[first].count(sign), sign == ","))
    cells = [cell.strip().strip('"') for cell in rows[first].split(delimiter)]
    has_header = not all(NUMBER.fullmatch(cell) for cell in cells if cell)
    names = _unique(cells) if has_header else [str(k + 1) for k in range(len(cells))]
    after = [k for k in filled if k > first] if has_header else filled
    if not after:
        raise RecordError(f"{path}: the table has no rows after its header")
    sample = [cell.strip().strip('"') for cell in rows[after[0]].split(delimiter)]
    comma = delimiter != "," and any("," in cell for cell in sample) and not any("." in cell for cell in sample)
    texts = _time_texts(names, sample, mapping)
    numbers = [name for name, cell in zip(names, sample, strict=False) if not cell or NUMBER.fullmatch(cell)]
    table = csv_table(
        path.read_bytes(),
        path,
        names=names,
        numbers=[name for name in numbers if name not in texts],
        texts=texts,
        delimiter=delimiter,
        comma=comma,
        skip=after[0],
    )
    return _Columns([name for name in names if name in table.column_names], table, encoding)


def _time_texts(names: Sequence[str], sample: Sequence[str], mapping: dict[str, Any]) -> list[str]:
    """Return the name of the time column if it holds dates as text; else an empty list."""
    return [
        name
        for name, cell in zip(names, sample, strict=False)
        if (TIME_NAME.match(name) or name == mapping.get("time")) and cell and not NUMBER.fullmatch(cell)
    ][:1]


def _unique(names: Sequence[str]) -> list[str]:
    seen: dict[str, int] = {}
    unique = []
    for number, name in enumerate(names, 1):
        plain = name or f"column {number}"
        seen[plain] = seen.get(plain, 0) + 1
        unique.append(plain if seen[plain] == 1 else f"{plain} #{seen[plain]}")
    return unique


def _raw(path: Path, columns: _Columns, options: ReadOptions, mapping: dict[str, Any], kind: str) -> RawRecord:
    findings: list[Finding] = []
    time = mapping.get("time") or next((name for name in columns.names if TIME_NAME.match(name)), None)
    if time is not None and time not in columns.names:
        raise RecordError(
            f"{path}: the mapping names the time column {time!r}, but the table has the columns "
            f"{', '.join(columns.names[:12])}"
        )
    names = [name for name in columns.names if name != time]
    rows = len(columns.table)
    if rows < 2 or not names:
        raise RecordError(f"{path}: the table needs a column of numbers besides the time, and at least two rows")
    values = np.empty((len(names), rows), np.float32)
    for k, name in enumerate(names):
        with np.errstate(over="ignore"):
            values[k] = np.array(columns.table.column(name).to_numpy(), np.float64)
    values[~np.isfinite(values)] = np.nan
    rate = options.rate_hz or mapping.get("rate_hz")
    stamps, start_ns = _times(columns.table.column(time), time, mapping, path, findings) if time else (None, 0)
    if rate is None and stamps is None:
        raise RecordError(f"{path}: the table has no usable time column: set the sampling rate with --rate")
    clock = SampleClock(rows, [(float(rate or 0.0), rows)], None, None if rate else stamps, 1e-9)
    segments, found = find_segments(clock)
    if not segments:
        raise RecordError(f"{path}: the times of column {time!r} do not advance: set the sampling rate with --rate")
    if not start_ns and options.start_ns is None:
        findings.append(Finding("note", "no-start-time", "the table has no date: times count from 1970"))
    return RawRecord(
        path=path,
        format=kind,
        channels=tuple(_channel(k, name) for k, name in enumerate(names, 1)),
        source=StoredValues(values),
        segments=segments,
        start_ns=start_ns if options.start_ns is None else options.start_ns,
        encoding=columns.encoding,
        findings=[*findings, *found],
    )


def _channel(number: int, name: str) -> RawChannel:
    """Return a column as a channel; its name has the unit in brackets or after the last underscore."""
    found = re.search(r"[\[(]\s*([^\[\]()]{1,12})\s*[\])]\s*$", name) or re.search(r"_(k?[AV])$", name)
    if found is None:
        return RawChannel(number, name)
    return RawChannel(number, name[: found.start()].strip() or name, unit=found.group(1).strip())


def _times(
    column: pa.ChunkedArray, name: str, mapping: dict[str, Any], path: Path, findings: list[Finding]
) -> tuple[NDArray[np.int64] | None, int]:
    """Return nanoseconds since the first row, and the first row's Unix time; None if the column is unusable."""
    if pa.types.is_timestamp(column.type) or pa.types.is_string(column.type):
        try:
            moments = column.cast(pa.timestamp("ns")).to_numpy().astype("datetime64[ns]")
        except pa.ArrowException as error:
            raise RecordError(
                f"{path}: column {name!r} does not hold dates: {str(error).splitlines()[0][:120]}"
            ) from None
        if np.isnat(moments).any():
            raise RecordError(f"{path}: column {name!r} has rows without a time")
        ns = moments.astype(np.int64)
        return ns - ns[0], max(0, int(ns[0]))
    values = np.array(column.to_numpy(), np.float64)
    if not np.isfinite(values).all():
        return None, 0
    unit_name = mapping.get("time_unit") or _unit_in_name(name)
    unit = TIME_UNITS.get(str(unit_name).lower()) if unit_name else _guessed_unit(values, findings)
    if unit is None:
        return None, 0
    seconds = values * unit
    span = float(np.abs(seconds - seconds[0]).max())
    if not span < 2**62 / 1e9:
        return None, 0
    stamps = np.round((values - values[0]) * (unit * 1e9)).astype(np.int64)
    start = seconds[0] if EPOCH_S < seconds[0] < 9e9 else 0.0
    return stamps, round(start * 1e9)


def _unit_in_name(name: str) -> str | None:
    found = re.search(r"[\[(_\s]\s*([mµμun]?s|sec|мс|с)\s*[\])]?\s*$", name)
    return found.group(1) if found else None


def _guessed_unit(values: NDArray[np.float64], findings: list[Finding]) -> float | None:
    """Return the first unit that gives a sampling rate that recorders use."""
    step = float(np.median(np.diff(values)))
    for unit in (1.0, 1e-3, 1e-6, 1e-9):
        if step > 0 and PLAUSIBLE_RATE_HZ[0] <= 1 / (step * unit) <= PLAUSIBLE_RATE_HZ[1]:
            symbol = {1.0: "s", 1e-3: "ms", 1e-6: "µs", 1e-9: "ns"}[unit]
            message = f"the time column gives no unit: {symbol} is assumed, which gives {1 / (step * unit):.6g} Hz"
            findings.append(Finding("note", "time-unit", message))
            return unit
    return None


def _class_data(path: Path, columns: _Columns) -> RawRecord:
    """Return ``classData.csv`` as a raw record.

    Each run of equal bits is a separate waveform. Currents are in ampere and voltages in per unit; the file has no
    other columns.
    """
    bits = np.stack([np.array(columns.table.column(name).to_numpy()) for name in CLASS_DATA_HEADER[:4]])
    edges = [0, *(np.flatnonzero((np.diff(bits) != 0).any(axis=0)) + 1).tolist(), bits.shape[1]]
    values = np.stack([np.array(columns.table.column(n).to_numpy(), np.float32) for n in CLASS_DATA_HEADER[4:]])
    segments = tuple(Segment(a, b, CLASS_DATA_RATE_HZ, a / CLASS_DATA_RATE_HZ) for a, b in itertools.pairwise(edges))
    channels = tuple(
        RawChannel(k, name, "A" if name.startswith("I") else "pu") for k, name in enumerate(CLASS_DATA_HEADER[4:], 1)
    )
    message = (
        f"the file has no times: a sampling rate of {CLASS_DATA_RATE_HZ:g} Hz is assumed, and every run of one class "
        "is read as a separate line"
    )
    return RawRecord(
        path=path,
        format="classData.csv",
        channels=channels,
        source=StoredValues(values),
        segments=segments,
        header_hz=CLASS_DATA_HZ,
        encoding=columns.encoding,
        line_channels=(0, 1, 2, 3, 4, 5),
        segments_are_lines=True,
        findings=[Finding("note", "class-data", message)],
    )
