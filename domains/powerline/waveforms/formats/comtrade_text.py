"""Read the rows of a COMTRADE record in ASCII as they are needed: the file stays on the disk, and blocks are parsed."""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
from numpy.typing import NDArray

from domains.powerline.waveforms.errors import RecordError
from domains.powerline.waveforms.formats.text_table import MISSING, PLAIN

BLOCK_BYTES = 2 << 20
"""Number of bytes parsed at a time; a longer line is an error."""
HEAD_BYTES = 1 << 20
"""Number of bytes at the start that must contain the first row."""
PROBED_LINES = 8
ENDING = b"\x1a\x00 \t\r\n"
"""Bytes that may follow the last row."""
NUMBER, STAMP = "number", "stamp"

Bytes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class TextRows:
    """Rows of numbers in text.

    Attributes:
        path: the file, for messages.
        source: bytes of the rows.
        names: names of the columns: ``number``, ``stamp``, the index of each channel, and others that are not read.
        delimiter: character between the columns.
        comma: True if the decimal separator is a comma.
        first_line: number of the first row's line in the file.
        header_lines: number of lines before the first row.
    """

    path: Path
    source: pa.Buffer
    names: tuple[str, ...]
    delimiter: str
    comma: bool
    first_line: int
    header_lines: int = 0

    def blocks(self, wanted: Sequence[str]) -> Iterator[dict[str, NDArray[np.float64]]]:
        """Yield some columns in blocks of rows, NaN where a value is missing.

        Raises:
            RecordError: a row has another number of columns, or a value is not a number; the message names the line.
        """
        wrong: list[str] = []

        def wrong_row(row: Any) -> str:
            # An additional separator at the end of some lines changes nothing.
            wrong.append(f"expected {row.expected_columns} values, found {row.actual_columns}")
            return "error"

        rows_before = 0
        try:
            reader = pa.csv.open_csv(
                pa.BufferReader(self.source),
                read_options=pa.csv.ReadOptions(
                    column_names=list(self.names),
                    skip_rows=self.header_lines,
                    use_threads=False,
                    block_size=BLOCK_BYTES,
                ),
                parse_options=pa.csv.ParseOptions(delimiter=self.delimiter, invalid_row_handler=wrong_row),
                convert_options=pa.csv.ConvertOptions(
                    column_types=dict.fromkeys(wanted, pa.float64()),
                    include_columns=list(wanted),
                    null_values=MISSING,
                    decimal_point="," if self.comma else ".",
                ),
            )
            for batch in reader:
                rows_before += len(batch)
                yield {
                    name: np.array(column.to_numpy(zero_copy_only=False), np.float64)
                    for name, column in zip(wanted, batch.columns, strict=True)
                }
        except (pa.ArrowException, OSError) as error:
            raise self._converted(error, wrong, rows_before) from None

    def _converted(self, error: Exception, wrong: Sequence[str], rows_before: int) -> RecordError:
        """Convert an error of pyarrow, with the number of the line if pyarrow gives one."""
        message = " ".join(str(error).split())[:200]
        found = re.search(r"[Rr]ow #(\d+)\s*:?\s*(.*)", message)
        if found is None:
            return RecordError(f"{self.path}: after row {rows_before:,}: {message}")
        what = wrong[0] if wrong else found.group(2) or "cannot be read"
        return RecordError.in_line(self.path, self.first_line - 1 + int(found.group(1)), what)


def text_rows(data: Bytes, path: Path, channels: int, status: int, *, first_byte: int, first_line: int) -> TextRows:
    """Find separators and columns of the rows, and return them without reading the values.

    Args:
        data: bytes of the DAT file or section.
        path: the file, for messages.
        channels: number of analogue channels.
        status: number of status channels that the header announces; rows may have others.
        first_byte: position in the file at which the data begin.
        first_line: number of the line in the file at which the data begin.

    Raises:
        RecordError: there are no rows, or the first one has too few columns.
    """
    stop, plain = _extent(data)
    if stop == 0:
        raise RecordError.at_byte(path, first_byte, "the record holds no samples")
    head = data[: min(stop, HEAD_BYTES)].tobytes()
    lines = [line for line in re.split(rb"[\r\n]+", head) if line.strip()]
    lines = lines[: max(1, min(PROBED_LINES, len(lines) - (stop > HEAD_BYTES)))]
    header_lines = int(not re.search(rb"\d", lines[0]))
    delimiter, comma = _separators([line.decode("latin-1") for line in lines[header_lines:]])
    source = pa.py_buffer(data[:stop])
    if not plain or delimiter == " ":
        text = data[:stop].tobytes().translate(PLAIN, b"\x00\x1a")
        if delimiter == " ":
            text = re.sub(rb"[ \t]*([,;]|[ \t])[ \t]*", b",", re.sub(rb"(?m)^[ \t]+|[ \t]+(?=\r?$)", b"", text))
            delimiter = ","
            lines = [line for line in re.split(rb"[\r\n]+", text[:HEAD_BYTES]) if line.strip()][:PROBED_LINES]
        source = pa.py_buffer(text)
    rows = [_cells(line.decode("latin-1"), delimiter) for line in lines[header_lines:]]
    names = _names(rows, channels, status)
    if names is None:
        found = len(rows[0]) if rows else 0
        message = f"expected {2 + channels + status} values, found {found}: do header and data belong together?"
        raise RecordError.in_line(path, first_line + header_lines, message)
    return TextRows(path, source, names, delimiter, comma, first_line, header_lines)


def _extent(data: Bytes) -> tuple[int, bool]:
    """Return the end of the last row, and False if the bytes before it have to be cleaned before they are parsed."""
    stop, plain = len(data), True
    for first in range(0, len(data), BLOCK_BYTES):
        block = data[first : first + BLOCK_BYTES]
        ends = np.flatnonzero(block == 0x1A)
        if len(ends):
            stop = first + int(ends[0])
            break
        # Null bytes that fill the end of the file need no cleaning.
        used = block[: len(block.tobytes().rstrip(ENDING))] if (block == 0).any() else block
        plain = plain and not bool(((used > 127) | (used == 0)).any())
    while stop > 0:
        tail = data[max(0, stop - BLOCK_BYTES) : stop].tobytes()
        kept = len(tail.rstrip(ENDING))
        stop += kept - len(tail)
        if kept:
            break
    if not plain:
        # Null bytes that only fill the end of the file need no cleaning.
        plain = not any(
            bool(
                (
                    (data[first : min(stop, first + BLOCK_BYTES)] > 127)
                    | (data[first : min(stop, first + BLOCK_BYTES)] == 0)
                ).any()
            )
            for first in range(0, stop, BLOCK_BYTES)
        )
    return stop, plain


def _separators(lines: Sequence[str]) -> tuple[str, bool]:
    """Return the character between the columns, a space for any white space, and True for decimal commas."""
    bare = [re.sub(r'"[^"]*"', "0", line) for line in lines]
    first = bare[0] if bare else ""
    for delimiter in ";\t":
        if delimiter in first:
            return delimiter, "," in first
    if "," in first:
        return ",", False
    return " ", False


def _cells(line: str, delimiter: str) -> list[str]:
    return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter), [])]


def _names(rows: Sequence[Sequence[str]], channels: int, status: int) -> tuple[str, ...] | None:
    """Return the names of the columns; None if there are too few of them."""
    if not rows:
        return None
    count = len(rows[0])
    values = tuple(str(k) for k in range(channels))
    if count == 1 + channels + status and not _second_column_counts(rows):
        return (NUMBER, *values, *(f"status {k}" for k in range(status)))
    if count < 2 + channels:
        return None
    return (NUMBER, STAMP, *values, *(f"more {k}" for k in range(count - 2 - channels)))


def _second_column_counts(rows: Sequence[Sequence[str]]) -> bool:
    """Return True if the second column may hold times: it increases or stands still, or it is empty."""
    try:
        column = [float(row[1]) for row in rows if len(row) > 1 and row[1]]
    except ValueError:
        return True
    return all(a <= b for a, b in itertools.pairwise(column))
