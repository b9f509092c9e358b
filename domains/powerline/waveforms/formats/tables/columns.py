"""Columns of a table, and the record that follows from values and times."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from domains.powerline.waveforms.channel_values import StoredValues
from domains.powerline.waveforms.errors import RecordError
from domains.powerline.waveforms.formats.segments import SampleClock, find_segments
from domains.powerline.waveforms.formats.tables.times import (
    TIME_UNITS,
    Stated,
    TimeColumns,
    even_rate,
    moments_of,
    stamps_of_numbers,
    stamps_of_text,
)
from domains.powerline.waveforms.record import Finding, RawChannel, RawRecord, ReadOptions

NO_MOMENT = np.iinfo(np.int64).min


@dataclass(frozen=True, slots=True)
class Columns:
    """Columns of a table, and its rows in batches whose columns are named by their indices.

    Attributes:
        names: names of all columns.
        units: their units.
        values: indices of the columns of numbers that are no times.
        times: columns with the times.
        batches: rows.
        encoding: encoding of the text.
        stated: values stated above the names.
        named: True if the table has names; if not, channels have the numbers of their columns.
    """

    names: Sequence[str]
    units: Sequence[str]
    values: Sequence[int]
    times: TimeColumns
    batches: Iterator[pa.RecordBatch]
    encoding: str = ""
    stated: Stated = field(default_factory=Stated)
    named: bool = True


@dataclass(frozen=True, slots=True)
class Times:
    """Times of the samples in the form in which the file has them.

    Attributes:
        numbers: times as numbers, float64 (t,); None if the file has none.
        unit: unit of the numbers; empty if it is not known.
        moments: ns since 1970 or midnight, one array for each column of text; None if the file has none.
        rate_hz: sampling rate that the file states; None if it states none.
        start_ns: Unix time of the first sample that the file states apart from the times; 0 if it states none.
    """

    numbers: NDArray[np.float64] | None = None
    unit: str = ""
    moments: Sequence[NDArray[np.int64]] | None = None
    rate_hz: float | None = None
    start_ns: int = 0


def timed_record(
    path: Path,
    kind: str,
    channels: Sequence[RawChannel],
    values: NDArray[np.float32],
    times: Times,
    options: ReadOptions,
    *,
    rate_hz: float | None = None,
    header_hz: float | None = None,
    encoding: str = "",
    findings: Sequence[Finding] = (),
) -> RawRecord:
    """Return a record of values and their times.

    Args:
        path: the file.
        kind: name of its format.
        channels: channels of the rows of ``values``.
        values: float32 (channels, t), NaN where missing.
        times: times of the samples.
        options: values that replace those of the file.
        rate_hz: sampling rate that replaces the times; None to follow the times.
        header_hz: mains frequency that the file states.
        encoding: encoding of its text.
        findings: findings so far.

    Returns:
        The record.

    Raises:
        RecordError: there are less than two samples or no channels, or no times and no rate.
    """
    found = list(findings)
    rows = values.shape[1]
    if rows < 2 or not channels:
        raise RecordError(f"{path}: the table needs a column of numbers besides the time, and at least two rows")
    rate = options.rate_hz or rate_hz
    stamps: NDArray[np.int64] | None = None
    start_ns = 0
    if times.moments is not None:
        parts = list(times.moments)
        if times.numbers is not None:
            # A column beside the time of day holds the fraction of the second.
            factor = 1e9 * TIME_UNITS.get(times.unit.lower(), 1e-3)
            parts.append(np.round(np.nan_to_num(times.numbers) * factor).astype(np.int64))
        stamps, start_ns = stamps_of_text(parts)
    elif times.numbers is not None:
        stamps, start_ns = stamps_of_numbers(times.numbers, times.unit or None, found)
    even = even_rate(stamps) if stamps is not None and not rate else None
    if even is not None:
        message = f"the times have too few digits for every row: {even:g} Hz follow from all of them"
        found.append(Finding("note", "rate-from-times", message))
        rate, stamps = even, None
    if not rate and times.rate_hz and (stamps is None or not (stamps > 0).any()):
        rate = times.rate_hz
        message = f"the rows have no usable time: the {rate:g} Hz that the file states are used"
        found.append(Finding("note", "rate-stated", message))
    if rate is None and stamps is None:
        raise RecordError(f"{path}: the table has no usable time column: set the sampling rate with --rate")
    clock = SampleClock(rows, [(float(rate or 0.0), rows)], None, None if rate else stamps, 1e-9)
    segments, more = find_segments(clock)
    if not segments:
        raise RecordError(f"{path}: the times do not advance: set the sampling rate with --rate")
    start_ns = start_ns or times.start_ns
    if not start_ns and options.start_ns is None:
        found.append(Finding("note", "no-start-time", "the table has no date: times count from 1970"))
    return RawRecord(
        path=path,
        format=kind,
        channels=tuple(channels),
        source=StoredValues(values),
        segments=segments,
        start_ns=start_ns if options.start_ns is None else options.start_ns,
        header_hz=header_hz,
        encoding=encoding,
        findings=[*found, *more],
    )


def collected(
    path: Path, columns: Columns, *, strict: bool = True
) -> tuple[NDArray[np.float32], NDArray[np.float64] | None, list[NDArray[np.int64]] | None]:
    """Return values float32 (columns, t), NaN where missing, the times as numbers, and the times written as text.

    Unless ``strict``, texts that are no times are ignored.
    """
    parts: list[NDArray[np.float32]] = []
    numbers: list[NDArray[np.float64]] = []
    moments: list[list[NDArray[np.int64]]] = [[] for _ in columns.times.texts]
    for batch in columns.batches:
        values = np.empty((len(columns.values), batch.num_rows), np.float32)
        with np.errstate(over="ignore"):
            for row, k in enumerate(columns.values):
                values[row] = _floats(batch.column(str(k)))
        values[~np.isfinite(values)] = np.nan
        parts.append(values)
        if columns.times.number is not None:
            numbers.append(_floats(batch.column(str(columns.times.number))))
        for place, k in enumerate(columns.times.texts):
            moments[place].append(_moments(path, columns.names[k], batch.column(str(k)), strict))
    if not parts:
        return np.empty((len(columns.values), 0), np.float32), None, None
    values = np.concatenate(parts, axis=1)
    parts.clear()
    time = np.concatenate(numbers) if numbers else None
    texts = [np.concatenate(part) for part in moments]
    # Rows at the end that hold only separators are no samples.
    stop = values.shape[1]
    while stop and np.isnan(values[:, stop - 1]).all() and (time is None or np.isnan(time[stop - 1])):
        if any(text[stop - 1] != NO_MOMENT for text in texts):
            break
        stop -= 1
    for text, k in zip(list(texts), columns.times.texts, strict=True):
        if (text[:stop] == NO_MOMENT).any():
            if not strict:
                texts = []
                break
            raise RecordError(f"{path}: column {columns.names[k]!r} has rows without a time: set the rate with --rate")
    return values[:, :stop], None if time is None else time[:stop], [text[:stop] for text in texts] or None


def _floats(column: pa.Array) -> NDArray[np.float64]:
    return np.asarray(column.to_numpy(zero_copy_only=False), np.float64)


def _moments(path: Path, name: str, column: pa.Array, strict: bool) -> NDArray[np.int64]:
    """Return moments in ns, ``NO_MOMENT`` where missing, from a column of text or of timestamps."""
    moments = np.full(len(column), NO_MOMENT, np.int64)
    there = column.is_valid().to_numpy(zero_copy_only=False)
    found: NDArray[np.int64] | None
    try:
        column = column.drop_null()
        if pa.types.is_timestamp(column.type):
            column = column.cast(pa.timestamp("ns")).cast(pa.int64())
            found = np.asarray(column.to_numpy(zero_copy_only=False), np.int64)
        else:
            found = moments_of(column)
    except (pa.ArrowException, OverflowError):
        found = None
    if found is None and not strict:
        return moments
    if found is None:
        raise RecordError(f"{path}: column {name!r} has rows that are no date or time: set the rate with --rate")
    moments[there] = found
    return moments
