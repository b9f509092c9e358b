"""Read tables of samples: CSV and other text with a header or a mapping, Parquet, and ``classData.csv``."""

from __future__ import annotations

import io
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from domains.powerline.waveforms.channel_values import StoredValues
from domains.powerline.waveforms.errors import RecordError
from domains.powerline.waveforms.formats.encodings import decode_text
from domains.powerline.waveforms.formats.file_size import check_size
from domains.powerline.waveforms.formats.tables.column_units import split_units
from domains.powerline.waveforms.formats.tables.columns import Columns, Times, collected, timed_record
from domains.powerline.waveforms.formats.tables.layout import Layout, find_layout
from domains.powerline.waveforms.formats.tables.text import Dialect, NotationError, table_batches
from domains.powerline.waveforms.formats.tables.times import (
    TimeColumns,
    find_time_columns,
    stated_values,
)
from domains.powerline.waveforms.mapping_file import read_mapping
from domains.powerline.waveforms.record import Finding, RawChannel, RawRecord, ReadOptions, Segment

SUFFIXES = {".csv", ".tsv", ".txt", ".asc", ".prn", ".lvm", ".adf"}
PARQUET_MAGIC = b"PAR1"
HEAD_BYTES = 1 << 20
"""Number of bytes at the start of a text table that must contain its header and first rows."""
CLASS_DATA_HEADER = ("G", "C", "B", "A", "Ia", "Ib", "Ic", "Va", "Vb", "Vc")
CLASS_DATA_HZ, CLASS_DATA_RATE_HZ = 50.0, 20_000.0
"""Mains frequency and sampling rate of ``classData.csv``: it has no times, and about 400 samples per cycle."""
BATCH_VALUES = 1 << 22
"""Number of values of a Parquet table that are unpacked at a time."""
MOST_NOTATIONS = 3
KNOWN_KEYS = {"time", "time_unit", "rate_hz", "lines"}


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
    check_size([path], options.max_bytes, "cut it into shorter ones")
    mapping = read_mapping(options.mapping) if options.mapping is not None else {}
    unknown = set(mapping) - KNOWN_KEYS
    if unknown:
        raise RecordError(
            f"{options.mapping}: unknown key {sorted(unknown)[0]!r}; use one of {', '.join(sorted(KNOWN_KEYS))}"
        )
    with path.open("rb") as file:
        is_parquet = file.read(4) == PARQUET_MAGIC
    if is_parquet:
        return _record(path, _parquet(path, mapping), options, mapping, "Parquet", [])
    numbers: list[str] = []
    while True:
        findings: list[Finding] = []
        try:
            columns = _csv(path, options, mapping, findings, numbers)
            return _record(path, columns, options, mapping, "CSV", findings)
        except NotationError as error:
            # The first rows did not show how numbers are written, e.g. because they hold only zeros.
            if len(numbers) == MOST_NOTATIONS:
                raise
            numbers.append(error.cell)


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))


def _is_moment(kind: pa.DataType) -> bool:
    return bool(pa.types.is_timestamp(kind))


def _parquet(path: Path, mapping: dict[str, Any]) -> Columns:
    try:
        file = pq.ParquetFile(path)
        fields = [
            f for f in file.schema_arrow if _is_number(f.type) or _is_moment(f.type) or pa.types.is_string(f.type)
        ]
        written = [f.name for f in fields]
        # A run-length encoded column may claim many rows in few bytes, so check the number before unpacking it.
        if file.metadata.num_rows * max(1, len(fields)) > 1 << 30:
            raise RecordError(
                f"{path}: {file.metadata.num_rows:,} rows would need too much memory: cut the file into shorter ones"
            )
        if len(set(written)) < len(written):
            raise RecordError(f"{path}: two columns have the same name: rename one of them")
        names, units = _named_columns(written, [""] * len(written))
        numeric = [_is_number(f.type) for f in fields]
        wanted = _wanted_time(path, mapping, names, written)
        times = find_time_columns(names, units, numeric, _parquet_sample(file, written), named=True, wanted=wanted)
        moments = [k for k, f in enumerate(fields) if _is_moment(f.type)]
        if moments and wanted is None:
            times = TimeColumns(texts=(moments[0],))
    except (pa.ArrowException, OSError) as error:
        raise RecordError(f"{path}: the Parquet file cannot be read: {str(error).splitlines()[0]}") from None
    values = tuple(k for k, is_numeric in enumerate(numeric) if is_numeric and k not in times.used)
    return Columns(names, units, values, times, _parquet_batches(path, file, written, sorted({*values, *times.used})))


def _parquet_sample(file: pq.ParquetFile, names: list[str]) -> list[list[str]]:
    """Return the first rows as text; moments, which need no examination, are empty."""
    for batch in file.iter_batches(batch_size=64, columns=names):
        columns = [_texts(column) for column in batch.select(names).columns]
        return [list(row) for row in zip(*columns, strict=True)]
    return []


def _texts(column: pa.Array) -> list[str]:
    if _is_moment(column.type):
        return [""] * len(column)
    return ["" if value is None else str(value) for value in column.to_pylist()]


def _parquet_batches(
    path: Path, file: pq.ParquetFile, names: Sequence[str], wanted: Sequence[int]
) -> Iterator[pa.RecordBatch]:
    size = max(256, BATCH_VALUES // max(1, len(wanted)))
    read = [names[k] for k in wanted]
    try:
        for batch in file.iter_batches(batch_size=size, columns=read):
            yield pa.RecordBatch.from_arrays(batch.select(read).columns, names=list(map(str, wanted)))
    except (pa.ArrowException, OSError) as error:
        raise RecordError(f"{path}: the Parquet file cannot be read: {str(error).splitlines()[0]}") from None


def _csv(
    path: Path, options: ReadOptions, mapping: dict[str, Any], findings: list[Finding], numbers: Sequence[str]
) -> Columns:
    converted, stated_encoding = _converted(path, options)
    with _opened(path, converted) as file:
        head = file.read(HEAD_BYTES)
    lines = head.splitlines(keepends=True)
    whole = lines[:-1] if len(head) == HEAD_BYTES else lines
    encoding = "utf-8" if stated_encoding else options.encoding
    text, found_encoding = decode_text(b"\n".join(line.rstrip(b"\r\n") for line in whole), encoding, path)
    layout = find_layout(whole, text.split("\n"), path, numbers)
    names, units = _named_columns(layout.names, layout.units)
    if layout.names == CLASS_DATA_HEADER:
        names, units = layout.names, layout.units
    wanted = _wanted_time(path, mapping, names, layout.names)
    times = find_time_columns(names, units, layout.numeric, layout.sample, named=layout.named, wanted=wanted)
    if layout.names == CLASS_DATA_HEADER:
        times = TimeColumns()
    values = tuple(k for k, is_numeric in enumerate(layout.numeric) if is_numeric and k not in times.used)
    return Columns(
        names=names,
        units=units,
        values=values,
        times=times,
        batches=_csv_batches(path, converted, layout, values, times, findings),
        encoding=stated_encoding or found_encoding,
        stated=stated_values(layout.preamble),
        named=layout.named,
    )


def _converted(path: Path, options: ReadOptions) -> tuple[bytes | None, str]:
    """Return a text in UTF-16 or UTF-32 in UTF-8, with its encoding; None for any other text."""
    with path.open("rb") as file:
        start = file.read(2048)
    encoding = (options.encoding or "").lower().replace("_", "-")
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        encoding = "utf-16"
    elif not encoding and len(start) >= 16:
        even, odd = start[::2].count(0) / len(start), start[1::2].count(0) / len(start)
        # Half of the bytes of Latin text in UTF-16 are zero.
        if max(even, odd) > 0.4 and min(even, odd) < 0.05:
            encoding = "utf-16-be" if even > odd else "utf-16-le"
    if not encoding.startswith(("utf-16", "utf-32")):
        return None, ""
    try:
        return path.read_bytes().decode(encoding, "replace").encode(), encoding
    except LookupError:
        raise RecordError(f"{path}: unknown encoding {options.encoding!r}; try utf-16 or utf-8") from None


def _opened(path: Path, converted: bytes | None) -> BinaryIO:
    return path.open("rb") if converted is None else io.BytesIO(converted)


def _csv_batches(
    path: Path,
    converted: bytes | None,
    layout: Layout,
    values: Sequence[int],
    times: TimeColumns,
    findings: list[Finding],
) -> Iterator[pa.RecordBatch]:
    numbers = [*values] if times.number is None else [*values, times.number]
    dialect = Dialect(layout.separator, layout.comma, layout.thousands, layout.mixed, layout.paired, layout.fortran)
    notes: list[str] = []
    with _opened(path, converted) as file:
        file.seek(layout.offset)
        yield from table_batches(
            file,
            path,
            dialect,
            count=len(layout.numeric),
            numbers=numbers,
            texts=times.texts,
            first_line=layout.line,
            notes=notes,
        )
    findings += [Finding("note", "table-cut", note) for note in notes]


def _named_columns(names: Sequence[str], units: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names without their units, and the units from the names or from the row of units."""
    pairs = split_units(names)
    uses = Counter(name for name, _ in pairs)
    # Ia [A] and Ia [kA] keep their units in the name, so that a name means one column.
    unique = [name if uses[name] == 1 else whole for (name, _), whole in zip(pairs, names, strict=True)]
    return tuple(unique), tuple(own or unit for (_, own), unit in zip(pairs, units, strict=True))


def _wanted_time(path: Path, mapping: dict[str, Any], names: Sequence[str], written: Sequence[str]) -> str | None:
    """Return the name of the time column that the mapping names, as written or without its unit."""
    wanted = None if mapping.get("time") is None else str(mapping["time"])
    if wanted is None or wanted in names:
        return wanted
    if wanted in written:
        return str(names[list(written).index(wanted)])
    raise RecordError(
        f"{path}: the mapping names the time column {wanted!r}, but the table has the columns {', '.join(written[:12])}"
    )


def _record(
    path: Path, columns: Columns, options: ReadOptions, mapping: dict[str, Any], kind: str, findings: list[Finding]
) -> RawRecord:
    if columns.names == CLASS_DATA_HEADER:
        return _class_data(path, columns)
    rate_hz = options.rate_hz or mapping.get("rate_hz")
    values, numbers, moments = collected(path, columns, strict=not rate_hz)
    place = columns.times.number
    unit = "" if place is None else columns.units[place]
    if place is not None and columns.times.texts:
        unit = unit or columns.names[place]
    return timed_record(
        path,
        kind,
        [
            RawChannel(number if columns.named else k + 1, columns.names[k], columns.units[k])
            for number, k in enumerate(columns.values, 1)
        ],
        values,
        Times(numbers, str(mapping.get("time_unit") or unit), moments, columns.stated.rate_hz, columns.stated.start_ns),
        options,
        rate_hz=rate_hz,
        header_hz=columns.stated.mains_hz,
        encoding=columns.encoding,
        findings=findings,
    )


def _class_data(path: Path, columns: Columns) -> RawRecord:
    """Return ``classData.csv`` as a raw record.

    Each run of equal bits is a separate waveform. Currents are in ampere and voltages in per unit; the file has no
    other columns.
    """
    found, _, _ = collected(path, columns)
    bits, values = found[:4], found[4:]
    if not found.shape[1]:
        raise RecordError(f"{path}: the table has no rows")
    edges = [0, *(np.flatnonzero((np.diff(bits) != 0).any(axis=0)) + 1).tolist(), bits.shape[1]]
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
