"""Open the samples of a COMTRADE record (DAT): ASCII, integers of 16 and 32 bits, floats of 32 bits.

The values stay in the file. Reading some channels takes memory for these only, whatever the size of the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from domains.powerline.waveforms.channel_values import ChannelStatistics, ChannelValues, RunningStatistics
from domains.powerline.waveforms.errors import RecordError
from domains.powerline.waveforms.formats.comtrade.header import MAX_SAMPLES, ComtradeHeader
from domains.powerline.waveforms.formats.comtrade.stored_bytes import DataPart, changed
from domains.powerline.waveforms.formats.comtrade.text import NUMBER, STAMP, TextRows, is_text, text_rows
from domains.powerline.waveforms.formats.segments import SampleClock
from domains.powerline.waveforms.formats.stamps import Counts

BLOCK_BYTES = 4 << 20
"""Number of bytes scaled at a time, so that intermediate results stay in the cache and need little memory."""
STORED = {"BINARY": "i2", "BINARY32": "i4", "FLOAT32": "f4"}
MISSING_STAMP = 0xFFFFFFFF
LEAST_FLOAT = -3.4e38
"""FLOAT32 value at or below which a value is missing (the standard uses the lowest float)."""
ASCII_MISSING = 99999.0
HEAD_BYTES = 16
PROBED_ROWS = 64
MORE_STATUS_WORDS = 16
"""Number of status words by which the rows may exceed those of the header."""
MOST_MISSING_STAMPS = 0.1
"""Share of missing times up to which they are interpolated."""
BELOW_UNITS = (1, 10, 1000, 1_000_000)
"""Factors by which times with a fraction are multiplied to become whole."""

Values = NDArray[np.float32]


def open_data(header: ComtradeHeader, data: DataPart) -> tuple[ChannelValues, SampleClock]:
    """Return the values, which are read when they are needed, and the clock of the samples.

    The size of the data bounds the memory; the header's claims are only compared with it.

    Args:
        header: header of the record; findings about the data are added to it.
        data: the DAT file or section.

    Raises:
        RecordError: no sample can be read; the message names the position.
    """
    _check_text(header, data.head(HEAD_BYTES))
    if header.data_format == "ASCII":
        return _open_ascii(header, data)
    layout = _layout(header, data)
    header.data_format = layout.format
    row = layout.row(len(header.channels))
    count = _row_count(header, data, row.itemsize)
    rows = _BinaryRows(data, row, count)
    numbers, stamps = np.empty(count), np.empty(count)
    for first, block in rows.blocks(BLOCK_BYTES // row.itemsize):
        numbers[first : first + len(block)], stamps[first : first + len(block)] = block["number"], block["stamp"]
    return BinaryValues(rows, header, layout.format), _clock(header, count, numbers, stamps)


def _check_text(header: ComtradeHeader, head: bytes) -> None:
    """Correct the header's data format if it states text for binary data or the reverse; empty is any binary one."""
    text = is_text(head)
    if len(head) < HEAD_BYTES or text == (header.data_format == "ASCII") or not (text or b"\x00" in head):
        return
    if header.data_format:
        message = f"the header states {header.data_format}, but the data are {'text' if text else 'binary'}"
        header.warn("format-contradicts-header", f"{message}: they are read as such")
    header.data_format = "ASCII" if text else ""


@dataclass(frozen=True, slots=True)
class _BinaryRows:
    """Rows of a binary file: their place, type and number."""

    data: DataPart
    row: np.dtype[Any]
    count: int

    def blocks(self, size: int) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield the rows in blocks of at most ``size``, each with the index of its first row."""
        size = max(size, 1)
        for first in range(0, self.count, size):
            count = min(size, self.count - first)
            stored = self.data.read(count * self.row.itemsize, first * self.row.itemsize)
            yield first, np.frombuffer(stored, self.row)


class BinaryValues:
    """Values of a binary file, which are scaled when they are read.

    Args:
        rows: the rows, as stored.
        header: header of the record, for the scales.
        data_format: format of the values.
    """

    def __init__(self, rows: _BinaryRows, header: ComtradeHeader, data_format: str) -> None:
        self._rows, self._format, self._revision = rows, data_format, header.revision
        self._gains, self._offsets = np.asarray(header.gains)[:, None], np.asarray(header.offsets)[:, None]

    @property
    def shape(self) -> tuple[int, int]:
        """Number of channels, and number of samples of each."""
        return len(self._gains), self._rows.count

    def read(self, indices: Sequence[int]) -> Values:
        """Return the values of some channels: see ``ChannelValues.read``."""
        values = np.empty((len(indices), self._rows.count), np.float32)
        for first, block in self._blocks(list(indices)):
            values[:, first : first + block.shape[1]] = block
        return values

    def statistics(self, indices: Sequence[int] | None = None) -> ChannelStatistics:
        """Return the statistics of some channels: see ``ChannelValues.statistics``."""
        wanted = list(range(len(self._gains)) if indices is None else indices)
        running = RunningStatistics(len(wanted))
        for _, block in self._blocks(wanted):
            running.add(block)
        return running.result()

    def _blocks(self, wanted: list[int]) -> Iterator[tuple[int, Values]]:
        gains, offsets = self._gains[wanted], self._offsets[wanted]
        for first, rows in self._rows.blocks(BLOCK_BYTES // max(8 * len(wanted), self._rows.row.itemsize)):
            all_stored = rows["values"]
            stored = all_stored[:, wanted].T
            with np.errstate(over="ignore", invalid="ignore"):
                scaled = (stored * gains + offsets).astype(np.float32)
            scaled[self._missing(stored, all_stored)] = np.nan
            yield first, scaled

    def _missing(self, stored: NDArray[Any], all_stored: NDArray[Any]) -> NDArray[np.bool_]:
        if self._format == "FLOAT32":
            return np.asarray(~np.isfinite(stored) | (stored <= LEAST_FLOAT))
        if self._revision == "1991":
            # All bits set also encodes the value −1, so a row counts as missing only if all its values are −1.
            suspects = np.flatnonzero((stored == -1).all(axis=0) & (all_stored.shape[1] > 1))
            empty = suspects[(all_stored[suspects] == -1).all(axis=1)]
            missing = np.zeros(stored.shape, np.bool_)
            missing[:, empty] = True
            return missing
        return np.asarray(stored == np.iinfo(stored.dtype).min)


class AsciiValues:
    """Values of a text file, which are parsed when they are read.

    Args:
        rows: the rows.
        header: header of the record, for the scales.
        count: number of rows to use.
    """

    def __init__(self, rows: TextRows, header: ComtradeHeader, count: int) -> None:
        self._rows, self._count, self._gains, self._offsets = rows, count, header.gains, header.offsets
        self._marked = header.revision != "1991"

    @property
    def shape(self) -> tuple[int, int]:
        """Number of channels, and number of samples of each."""
        return len(self._gains), self._count

    def read(self, indices: Sequence[int]) -> Values:
        """Return the values of some channels: see ``ChannelValues.read``."""
        values = np.empty((len(indices), self._count), np.float32)
        first = 0
        for block in self._blocks(list(indices)):
            values[:, first : first + block.shape[1]] = block
            first += block.shape[1]
        return values

    def statistics(self, indices: Sequence[int] | None = None) -> ChannelStatistics:
        """Return the statistics of some channels: see ``ChannelValues.statistics``."""
        wanted = list(range(len(self._gains)) if indices is None else indices)
        running = RunningStatistics(len(wanted))
        for block in self._blocks(wanted):
            running.add(block)
        return running.result()

    def _blocks(self, wanted: list[int]) -> Iterator[Values]:
        left = self._count
        for columns in self._rows.blocks([str(k) for k in dict.fromkeys(wanted)]) if wanted else ():
            size = min(left, len(next(iter(columns.values()))))
            block = np.empty((len(wanted), size), np.float32)
            with np.errstate(over="ignore", invalid="ignore"):
                for row, k in zip(block, wanted, strict=True):
                    stored = columns[str(k)][:size]
                    if self._marked:
                        stored[stored == ASCII_MISSING] = np.nan
                    row[:] = stored * self._gains[k] + self._offsets[k]
            block[~np.isfinite(block)] = np.nan
            yield block
            left -= size
            if left == 0:
                return
        if wanted and left:
            raise changed(self._rows.path)


@dataclass(frozen=True, slots=True)
class _Layout:
    """Layout of a row: format and byte order of the values, and number of status words."""

    format: str
    order: str
    words: int

    def row(self, channels: int) -> np.dtype[Any]:
        """Return the type of a row."""
        return np.dtype(
            [
                ("number", self.order + "u4"),
                ("stamp", self.order + "u4"),
                ("values", self.order + STORED[self.format], (channels,)),
                ("status", self.order + "u2", (self.words,)),
            ]
        )


def _layout(header: ComtradeHeader, part: DataPart) -> _Layout:
    """Return the layout with which sample numbers increase by one, trying the header's first."""
    words = -(-header.status_count // 16)
    stated = _Layout(header.data_format or "BINARY", "<", words)
    kinds = [(stated.format, "<"), *((name, order) for order in "<>" for name in STORED)]
    others = range(words + MORE_STATUS_WORDS + 1)
    tried = [_Layout(name, order, words) for name, order in kinds]
    tried += [_Layout(name, order, other) for name, order in kinds for other in others]
    tried = list(dict.fromkeys(tried))
    channels = len(header.channels)
    data = part.head(PROBED_ROWS * max(layout.row(channels).itemsize for layout in tried))
    found = next((layout for layout in tried if _counts_up(layout.row(channels), data, one=True)), None)
    if found is None and not _counts_up(stated.row(channels), data, one=False):
        sizes = header.rates[-1][1] * np.array([layout.row(channels).itemsize for layout in tried])
        fitting = np.flatnonzero(sizes == part.size)
        found = tried[int(fitting[0])] if len(fitting) else None
    found = _with_format_of_words(found or stated, data, channels)
    if found == stated:
        return stated
    if header.data_format and (found.format, found.order) != (stated.format, stated.order):
        what = f"{found.format}{' in big-endian byte order' if found.order == '>' else ''}"
        header.warn(
            "format-contradicts-header",
            f"the header states {stated.format}, but the data are {what}: they are read as such",
        )
    if found.words != words:
        header.note(
            "status-channels",
            f"the header announces {header.status_count} status channels, but every sample has "
            f"{found.words} words of them: the data are read as they are",
        )
    return found


def _counts_up(row: np.dtype[Any], data: bytes, *, one: bool) -> bool:
    """Return True if the sample numbers increase by one, or else by another constant step."""
    count = min(len(data) // row.itemsize, PROBED_ROWS)
    if count < 2:
        return False
    steps = np.diff(np.frombuffer(data, row, count)["number"].astype(np.int64))
    return bool(((steps == 1) if one else (steps == steps[0]) & (steps > 0)).mean() > 0.9)


def _with_format_of_words(layout: _Layout, data: bytes, channels: int) -> _Layout:
    """Return the layout with floats or integers of four bytes, whichever is plausible: their rows are of one size.

    Integers below 2²⁴ are denormal when read as floats, and floats read as integers exceed the range of any converter.
    """
    if layout.format not in ("BINARY32", "FLOAT32"):
        return layout
    floats = replace(layout, format="FLOAT32").row(channels)
    count = min(len(data) // floats.itemsize, PROBED_ROWS)
    words = np.frombuffer(data, floats, count)["values"]
    sizes = np.abs(words[np.isfinite(words) & (words != 0) & (words > LEAST_FLOAT)])
    if not len(sizes):
        return layout
    share = float(((sizes > 1e-12) & (sizes < 1e12)).mean())
    return (
        replace(layout, format="FLOAT32")
        if share > 0.9
        else replace(layout, format="BINARY32")
        if share < 0.5
        else layout
    )


def _row_count(header: ComtradeHeader, data: DataPart, row_bytes: int) -> int:
    count, rest = divmod(data.size, row_bytes)
    if count == 0:
        message = f"there are {data.size} bytes of data, but one sample needs {row_bytes}: the record holds no samples"
        raise RecordError.at_byte(data.path, data.begin, message)
    return _used(header, count, rest)


def _used(header: ComtradeHeader, count: int, rest: int = 0) -> int:
    """Return the number of samples to use, and report a difference from the header."""
    header.settle_rates(count)
    claimed = header.rates[-1][1]
    if claimed == MAX_SAMPLES:
        return count
    if count < claimed:
        report = header.note if claimed - count <= 2 else header.warn
        report("data-cut", f"the header announces {claimed:,} samples, but the data end after {count:,}")
    elif count > claimed or rest:
        extra = f"{count - claimed:,} more samples" if count > claimed else f"{rest} more bytes"
        header.note("data-beyond-header", f"the data have {extra} than the header announces: they are skipped")
    return min(count, claimed)


def _open_ascii(header: ComtradeHeader, data: DataPart) -> tuple[ChannelValues, SampleClock]:
    rows = text_rows(data, len(header.channels), header.status_count)
    wanted = [name for name in (NUMBER, STAMP) if name in rows.names]
    try:
        blocks = list(rows.blocks(wanted))
    except RecordError:
        repaired = rows.repaired()
        if repaired is None:
            raise
        rows, messages = repaired
        for message in messages:
            header.warn("data-cut", message)
        blocks = list(rows.blocks(wanted))
    columns = {name: np.concatenate([block[name] for block in blocks]) for name in wanted} if blocks else {}
    if not blocks or not len(columns[NUMBER]):
        raise RecordError.at_byte(data.path, data.begin, "the record holds no samples")
    count = _used(header, len(columns[NUMBER]))
    stamps = columns[STAMP][:count] if STAMP in columns else None
    return AsciiValues(rows, header, count), _clock(header, count, columns[NUMBER][:count], stamps)


def _whole(values: NDArray[np.float64]) -> Counts | None:
    """Return the values rounded to integers; None if one is missing or too large."""
    if not np.isfinite(values).all() or np.abs(values).max(initial=0) > 2**53:
        return None
    return np.asarray(values.round().astype(np.int64))


def _clock(
    header: ComtradeHeader, count: int, numbers: NDArray[np.float64], stamps: NDArray[np.float64] | None
) -> SampleClock:
    """Return the clock of the samples; times that are missing are interpolated if they are few."""
    whole, unit_s = None, header.stamp_unit_s
    absent = np.ones(count, np.bool_) if stamps is None else ~np.isfinite(stamps) | (stamps == MISSING_STAMP)
    if stamps is not None and not absent.all() and count > 1:
        there = np.flatnonzero(~absent)
        probed = stamps[there[:PROBED_ROWS]]
        with np.errstate(over="ignore", invalid="ignore"):
            finer = next((f for f in BELOW_UNITS if not np.modf(np.round(probed * f, 3))[0].any()), 1)
        few = absent.mean() <= MOST_MISSING_STAMPS
        if absent.any():
            done = "they are interpolated" if few else "the sampling rate is used instead"
            header.note("time-column", f"the time column lacks {int(absent.sum()):,} times: {done}")
        if few:
            whole = _whole((np.interp(np.arange(count), there, stamps[there]) if absent.any() else stamps) * finer)
            unit_s /= finer
    return SampleClock(count, header.rates, _whole(numbers), whole, unit_s)
