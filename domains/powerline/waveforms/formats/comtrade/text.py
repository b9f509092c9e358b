"""Read the rows of a COMTRADE record in ASCII as they are needed: the file stays on the disk, and blocks are parsed."""

from __future__ import annotations

import codecs
import csv
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
from numpy.typing import NDArray

from domains.powerline.waveforms.errors import RecordError
from domains.powerline.waveforms.formats.comtrade.stored_bytes import DataPart, StoredBytes
from domains.powerline.waveforms.formats.tables.text import MISSING, PLAIN, whole_lines

BLOCK_BYTES = 512 << 10
"""Number of bytes parsed at a time; a longer line is an error."""
HEAD_BYTES = 1 << 20
"""Number of bytes at the start that must contain the first row."""
PROBED_LINES = 8
END_OF_FILE = b"\x1a"
ENDING = b"\x00 \t\r\n"
"""Bytes that may follow the last row."""
REPAIRED_BYTES = 32 << 20
"""Size up to which rows with different numbers of columns are repaired."""
NUMBER, STAMP = "number", "stamp"


@dataclass(frozen=True, slots=True)
class TextRows:
    """Rows of numbers in text.

    Attributes:
        path: the file, for messages.
        source: bytes that hold the rows.
        begin: position of the first byte in the source.
        stop: position after the last byte.
        names: names of the columns: ``number``, ``stamp``, the index of each channel, and others that are not read.
        delimiter: character between the columns.
        comma: True if the decimal separator is a comma.
        first_line: number of the first row's line in the file.
        header_lines: number of lines before the first row.
    """

    path: Path
    source: StoredBytes
    begin: int
    stop: int
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
            wrong.append(f"expected {row.expected_columns} values, found {row.actual_columns}")
            return "error"

        position = self.begin

        def read(size: int) -> bytes:
            nonlocal position
            text = self.source.read_at(min(size, self.stop - position), position)
            position += len(text)
            return text

        rows = 0
        for number, block in enumerate(whole_lines(read, BLOCK_BYTES)):
            try:
                found = pa.csv.read_csv(
                    pa.BufferReader(block),
                    read_options=pa.csv.ReadOptions(
                        column_names=list(self.names),
                        skip_rows=0 if number else self.header_lines,
                        use_threads=False,
                        block_size=len(block),
                    ),
                    parse_options=pa.csv.ParseOptions(delimiter=self.delimiter, invalid_row_handler=wrong_row),
                    convert_options=pa.csv.ConvertOptions(
                        column_types=dict.fromkeys(wanted, pa.float64()),
                        include_columns=list(wanted),
                        null_values=MISSING,
                        decimal_point="," if self.comma else ".",
                    ),
                )
            except (pa.ArrowException, OSError) as error:
                raise self._converted(error, wrong, rows + (self.header_lines if number else 0)) from None
            rows += len(found)
            yield {name: np.array(found.column(name).to_numpy(), np.float64) for name in wanted}

    def repaired(self) -> tuple[TextRows, list[str]] | None:
        """Return the rows without empty columns at the end of some lines and without an incomplete last line.

        Returns:
            The rows and messages about what was changed; None if nothing of this kind is wrong with them.
        """
        if self.stop - self.begin > REPAIRED_BYTES:
            return None
        text = self.source.read_at(self.stop - self.begin, self.begin)
        if b'"' in text:
            return None
        mark, most = self.delimiter.encode(), len(self.names) - 1
        lines, messages = text.splitlines(), []
        for k, line in enumerate(lines):
            if line.count(mark) > most and not line.replace(b" ", b"").split(mark, most + 1)[-1].strip(mark):
                lines[k] = mark.join(line.split(mark, most + 1)[: most + 1])
        if lines and lines[-1].count(mark) < most:
            lines.pop()
            messages.append("the last row is not complete: it is left out")
        changed = b"\n".join(lines)
        if changed == text or len(lines) <= self.header_lines:
            return None
        return replace(self, source=StoredBytes(changed), begin=0, stop=len(changed)), messages

    def _converted(self, error: Exception, wrong: Sequence[str], lines_before: int) -> RecordError:
        """Convert an error of pyarrow, with the number of the line if pyarrow gives one."""
        message = " ".join(str(error).split())[:200]
        found = re.search(r"[Rr]ow #(\d+)\s*:?\s*(.*)", message)
        if found is None:
            return RecordError(f"{self.path}: after line {self.first_line - 1 + lines_before:,}: {message}")
        what = wrong[0] if wrong else found.group(2) or "cannot be read"
        return RecordError.in_line(self.path, self.first_line - 1 + lines_before + int(found.group(1)), what)


def text_rows(data: DataPart, channels: int, status: int) -> TextRows:
    """Find separators and columns of the rows, and return them without reading the values.

    Args:
        data: the part of the file that holds them.
        channels: number of analogue channels.
        status: number of status channels that the header announces; rows may have others.

    Raises:
        RecordError: there are no rows, or the first one has too few columns.
    """
    source, begin, size, path, first_line = data.source, data.begin, data.size, data.path, data.first_line
    mark = data.head(3)
    if mark[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        text = source.read_at(size, begin).decode("utf-16", "replace").encode()
        source, begin, size = StoredBytes(text), 0, len(text)
    elif mark == codecs.BOM_UTF8:
        begin, size = begin + 3, size - 3
    stop, plain = _extent(source, begin, begin + size)
    if stop == begin:
        raise RecordError.at_byte(path, begin, "the record holds no samples")
    lines = _first_lines(source, begin, stop)
    header_lines = int(not re.search(rb"\d", lines[0]))
    delimiter, comma = _separators([line.decode("latin-1") for line in lines[header_lines:]])
    if not plain or delimiter == " ":
        text = source.read_at(stop - begin, begin).translate(PLAIN, b"\x00")
        if delimiter == " ":
            text = re.sub(rb"[ \t]+", b",", re.sub(rb"(?m)^[ \t]+|[ \t]+(?=\r?$)", b"", text))
            delimiter = ","
        source, begin, stop = StoredBytes(text), 0, len(text)
        lines = _first_lines(source, begin, stop)
    rows = [_cells(line.decode("latin-1"), delimiter) for line in lines[header_lines:]]
    names = _names(rows, channels, status)
    if names is None:
        found = len(rows[0]) if rows else 0
        message = f"expected {2 + channels + status} values, found {found}: do header and data belong together?"
        raise RecordError.in_line(path, first_line + header_lines, message)
    return TextRows(path, source, begin, stop, names, delimiter, comma, first_line, header_lines)


def is_text(head: bytes) -> bool:
    r"""Return True if data begin with rows of numbers in text; binary data have null bytes in the first sample number.

    Example:
        >>> is_text(b"1,0,35,-7\\r\\n"), is_text(bytes([1, 0, 0, 0, 0, 0, 0, 0]))
        (True, False)
    """
    if head[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return True
    bare = head.removeprefix(codecs.BOM_UTF8).lstrip(ENDING)
    # Four bytes of a sample number, with which binary data begin, are never all printable.
    return len(bare) > 3 and re.match(rb"[\x20-\x7e\t]{3}", bare) is not None and b"\x00" not in bare[:8]


def _extent(source: StoredBytes, begin: int, end: int) -> tuple[int, bool]:
    """Return the end of the last row, and False if the bytes before it have to be cleaned before they are parsed."""
    stop, plain = begin, True
    for first in range(begin, end, BLOCK_BYTES):
        block = source.read_at(min(BLOCK_BYTES, end - first), first)
        ended = block.find(END_OF_FILE)
        used = (block if ended < 0 else block[:ended]).rstrip(ENDING)
        if used:
            stop = first + len(used)
            plain = plain and used.isascii() and b"\x00" not in used
        if ended >= 0:
            break
    return stop, plain


def _first_lines(source: StoredBytes, begin: int, stop: int) -> list[bytes]:
    """Return the first lines that are not blank."""
    head = source.read_at(min(stop - begin, HEAD_BYTES), begin)
    lines = [line for line in re.split(rb"[\r\n]+", head) if line.strip()]
    # The last line of the head may be cut.
    return lines[: max(1, min(PROBED_LINES, len(lines) - (stop - begin > HEAD_BYTES)))] or [b""]


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
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter), [])]
    except csv.Error:
        # A cell is longer than any number.
        return []


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
