"""Read the samples of a COMTRADE record (DAT): ASCII, integers of 16 and 32 bits, floats of 32 bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from domains.powerline.waveforms.errors import RecordError
from domains.powerline.waveforms.formats.comtrade_header import ComtradeHeader
from domains.powerline.waveforms.formats.segments import Counts, SampleClock
from domains.powerline.waveforms.formats.text_table import csv_table
from domains.powerline.waveforms.record import Finding

BLOCK_BYTES = 4 << 20
"""Number of bytes scaled at a time, so that intermediate results stay in the cache and need little memory."""
STORED = {"BINARY": "i2", "BINARY32": "i4", "FLOAT32": "f4"}
MISSING_STAMP = 0xFFFFFFFF
LEAST_FLOAT = -3.4e38
"""FLOAT32 value at or below which a value is missing (the standard uses the lowest float)."""
ASCII_MISSING = 99999.0
PROBED_ROWS = 64

Values = NDArray[np.float32]


def read_data(
    header: ComtradeHeader, data: NDArray[np.uint8], path: Path, first_byte: int, first_line: int = 1
) -> tuple[Values, SampleClock]:
    """Return values (channels, t) in the channels' units, NaN where missing, and the clock of the samples.

    The size of the data bounds the memory; the header's claims are only compared with it.

    Args:
        header: header of the record; findings about the data are added to it.
        data: bytes of the DAT file or section.
        path: the file, for messages.
        first_byte: position in the file at which the data begin.
        first_line: number of the line in the file at which the data begin.

    Raises:
        RecordError: no sample can be read; the message names the position.
    """
    if header.data_format == "ASCII":
        return _read_ascii(header, data, path, first_byte, first_line)
    name, order = _layout(header, data)
    row = _row_type(header, name, order)
    count = _row_count(header, len(data), row.itemsize, path, first_byte)
    rows = data[: count * row.itemsize].view(row)
    values = np.empty((len(header.channels), count), np.float32)
    block = max(1, BLOCK_BYTES // row.itemsize)
    gains, offsets = np.asarray(header.gains)[:, None], np.asarray(header.offsets)[:, None]
    with np.errstate(over="ignore", invalid="ignore"):
        for first in range(0, count, block):
            stored = rows["values"][first : first + block].T
            scaled = stored * gains + offsets
            scaled[_missing(stored, name, header.revision)] = np.nan
            values[:, first : first + block] = scaled
    numbers = rows["number"].astype(np.int64)
    return values, _clock(header, count, numbers, rows["stamp"].astype(np.int64))


def _row_type(header: ComtradeHeader, name: str, order: str) -> np.dtype[Any]:
    words = -(-header.status_count // 16)
    return np.dtype(
        [
            ("number", order + "u4"),
            ("stamp", order + "u4"),
            ("values", order + STORED[name], (len(header.channels),)),
            ("status", order + "u2", (words,)),
        ]
    )


def _layout(header: ComtradeHeader, data: NDArray[np.uint8]) -> tuple[str, str]:
    """Return the format and byte order with which sample numbers increase by one, trying the header's first."""
    stated = (header.data_format, "<")
    others = [(name, order) for order in "<>" for name in STORED if (name, order) != stated]
    for name, order in [stated, *others]:
        row = _row_type(header, name, order)
        count = min(len(data) // row.itemsize, PROBED_ROWS)
        if count < 2:
            continue
        numbers = data[: count * row.itemsize].view(row)["number"].astype(np.int64)
        if (np.diff(numbers) == 1).mean() > 0.9:
            if (name, order) != stated:
                if name in ("BINARY32", "FLOAT32"):
                    name = _format_of_words(
                        data[: count * row.itemsize].view(_row_type(header, "FLOAT32", order))["values"]
                    )
                what = f"{name}{' in big-endian byte order' if order == '>' else ''}"
                header.warn(
                    "format-contradicts-header",
                    f"the header states {stated[0]}, but the data are {what}: they are read as such",
                )
            return name, order
    return stated


def _format_of_words(words: NDArray[np.float32]) -> str:
    """Return the format of four-byte words: floats or integers, since rows of both have the same size.

    Integers below 2²⁴ are denormal when read as floats, and floats read as integers exceed the range of any converter.
    """
    sizes = np.abs(words[words != 0])
    return "FLOAT32" if len(sizes) and ((sizes > 1e-12) & (sizes < 1e12)).mean() > 0.9 else "BINARY32"


def _row_count(header: ComtradeHeader, size: int, row_bytes: int, path: Path, first_byte: int) -> int:
    count, rest = divmod(size, row_bytes)
    claimed = header.rates[-1][1]
    if count == 0:
        raise RecordError.at_byte(
            path,
            first_byte,
            f"there are {size} bytes of data, but one sample needs {row_bytes}: the record holds no samples",
        )
    if count < claimed:
        header.warn("data-cut", f"the header announces {claimed:,} samples, but the data end after {count:,}")
    elif count > claimed or rest:
        extra = f"{count - claimed:,} more samples" if count > claimed else f"{rest} more bytes"
        header.note("data-beyond-header", f"the data have {extra} than the header announces: they are skipped")
    return min(count, claimed)


def _missing(stored: NDArray[Any], name: str, revision: str) -> NDArray[np.bool_]:
    if name == "FLOAT32":
        return np.asarray(~np.isfinite(stored) | (stored <= LEAST_FLOAT))
    if revision == "1991":
        # All bits set also encodes the value −1, so a row counts as missing only if all its values are −1.
        return np.asarray((stored == -1) & (stored == -1).all(axis=0) & (stored.shape[0] > 1))
    return np.asarray(stored == np.iinfo(stored.dtype).min)


def _read_ascii(
    header: ComtradeHeader, data: NDArray[np.uint8], path: Path, first_byte: int, first_line: int
) -> tuple[Values, SampleClock]:
    text = data.tobytes().rstrip(b"\x1a\x00 \t\r\n")
    if not text:
        raise RecordError.at_byte(path, first_byte, "the record holds no samples")
    names = ["number", "stamp", *(str(k) for k in range(len(header.channels)))]
    names += [f"status {k}" for k in range(header.status_count)]
    # The status columns are not read, but the parser has to know their number.
    wanted = names[: 2 + len(header.channels)]
    table = csv_table(text, path, names=names, numbers=wanted, first_line=first_line)
    count = len(table)
    if count == 0:
        raise RecordError.at_byte(path, first_byte, "the record holds no samples")
    claimed = header.rates[-1][1]
    if count < claimed:
        header.warn("data-cut", f"the header announces {claimed:,} samples, but the data end after {count:,}")
    elif count > claimed:
        extra = f"{count - claimed:,} more samples"
        header.note("data-beyond-header", f"the data have {extra} than the header announces: they are skipped")
        count = claimed
    values = np.empty((len(header.channels), count), np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        for k, (gain, offset) in enumerate(zip(header.gains, header.offsets, strict=True)):
            stored = _numbers(table, str(k))[:count]
            stored[(stored == ASCII_MISSING) & (header.revision != "1991")] = np.nan
            values[k] = stored * gain + offset
    values[~np.isfinite(values)] = np.nan
    numbers, stamps = _numbers(table, "number")[:count], _numbers(table, "stamp")[:count]
    whole = _whole(stamps)
    return values, _clock(header, count, _whole(numbers), whole)


def _numbers(table: pa.Table, column: str) -> NDArray[np.float64]:
    return np.array(table.column(column).to_numpy(), np.float64)


def _whole(values: NDArray[np.float64]) -> Counts | None:
    """Return the values rounded to integers; None if one is missing or too large."""
    if not np.isfinite(values).all() or np.abs(values).max(initial=0) > 2**53:
        return None
    return np.asarray(values.round().astype(np.int64))


def _clock(header: ComtradeHeader, count: int, numbers: Counts | None, stamps: Counts | None) -> SampleClock:
    """Return the clock of the samples, with counters of 32 bits unwrapped.

    Times are dropped if one of them is missing or all are equal.
    """
    if stamps is not None:
        absent = stamps == MISSING_STAMP
        if absent.any() or count < 2 or (stamps == stamps[0]).all():
            if absent.any() and not absent.all():
                message = "the time column lacks some times: the sampling rate is used instead"
                header.findings.append(Finding("note", "time-column", message))
            stamps = None
        else:
            steps = np.diff(stamps)
            steps[steps < -(2**31)] += 2**32
            stamps = np.concatenate([[0], np.cumsum(steps)])
    if numbers is not None:
        steps = np.diff(numbers)
        steps[steps < -(2**31)] += 2**32
        numbers = np.concatenate([numbers[:1], numbers[0] + np.cumsum(steps)])
    return SampleClock(count, header.rates, numbers, stamps, header.stamp_unit_s)
