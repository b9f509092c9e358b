"""Parse columns of numbers from text with pyarrow; errors name the line."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from domains.powerline.waveforms.errors import RecordError

BLOCK_BYTES = 4 << 20
"""Number of bytes parsed at a time; a longer line is an error."""
MOST_WRONG_ROWS = 10_000
"""Number of rows of another length that may follow the table."""
PLAIN = bytes(code if code < 128 else ord("?") for code in range(256))
"""Table that replaces bytes that are not ASCII. Numbers are ASCII, and pyarrow quotes the text in errors as UTF-8."""
BLANK = PLAIN.replace(b"\t", b" ")
EXPONENT = bytes.maketrans(b"dD", b"eE")
MISSING = [
    *("", " ", "NaN", "nan", "NAN", "null", "NULL", "None", "none", "NA", "N/A", "n/a", "#N/A"),
    *(
        "-",
        "--",
        "---",
        "?",
        "*",
        "#DIV/0!",
        "#VALUE!",
        "1.#QNAN",
        "-1.#QNAN",
        "1.#IND",
        "-1.#IND",
        "-nan",
        "-NaN",
        "-nan(ind)",
        "nan(ind)",
    ),
]

_MISSING = {text.strip().lower() for text in MISSING}
NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eEdD][+-]?\d{1,4})?|[+-]?(inf|infinity)", re.IGNORECASE)
GROUPED = re.compile(r"[+-]?\d{1,3}(?:([.,' \u00a0\u202f])\d{3})(?:\1\d{3})*(?:(?!\1)[.,]\d*)?")
"""Number with a sign between the thousands."""


def is_number(cell: str) -> bool:
    """Return True for a number in any notation: decimal comma, D exponent, signs between the thousands.

    Example:
        >>> [is_number(cell) for cell in ("1,5", "-1.0D-3", "1.234,5", "12:30", "NaN", "")]
        [True, True, True, False, False, False]
    """
    return NUMBER.fullmatch(cell) is not None or GROUPED.fullmatch(cell) is not None


def is_missing(cell: str) -> bool:
    """Return True for an empty cell and for a usual sign of a missing value."""
    return cell.lower() in _MISSING


class NotationError(RecordError):
    """A number is written in another way than the rows before it, e.g. with a decimal comma.

    Attributes:
        cell: the number as written.
    """

    cell: str = ""


def whole_lines(read: Callable[[int], bytes], size: int = BLOCK_BYTES) -> Iterator[bytes]:
    """Yield a text in blocks of whole lines.

    pyarrow's own reader of blocks reads ahead in a thread, and may crash the process when it is dropped before the end
    of the text, as after an error (apache/arrow issue 43604). Each block is therefore parsed by itself.

    Args:
        read: function that returns at most the given number of bytes, and none at the end of the text.
        size: number of bytes of a block; a longer line is divided.
    """
    held = b""
    while block := read(size):
        block = held + block
        # A carriage return at the end of the block may be the first half of a line end.
        stop = max(block.rfind(b"\n"), block.rfind(b"\r", 0, -1)) + 1 or (len(block) if len(block) > size else 0)
        held = block[stop:]
        if block[:stop].strip():
            yield block[:stop]
    if held.strip():
        yield held


@dataclass(frozen=True, slots=True)
class Dialect:
    """Notation of the rows of a table.

    Attributes:
        separator: character between the columns; a blank for any number of blanks and tabs.
        comma: True if the decimal sign is a comma.
        thousands: sign between the thousands; empty if there is none.
        mixed: True if some numbers have a decimal comma and others a decimal point.
        paired: True if decimal sign and separator are both commas, and every number has both parts.
        fortran: True if Fortran wrote the numbers: 1.0D-3, 1.0-103 without a letter, stars for what is too long.
    """

    separator: str = ","
    comma: bool = False
    thousands: str = ""
    mixed: bool = False
    paired: bool = False
    fortran: bool = False


def table_batches(
    file: BinaryIO,
    path: Path,
    dialect: Dialect,
    *,
    count: int,
    numbers: Sequence[int],
    texts: Sequence[int] = (),
    first_line: int = 1,
    notes: list[str] | None = None,
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a text table in batches, so that memory does not hold the text.

    Args:
        file: the file, at the first row.
        path: its path, for messages.
        dialect: notation of the rows.
        count: number of columns.
        numbers: columns to be read as float64 in columns named by their index, null where missing.
        texts: columns to be read as text.
        first_line: number of the first row's line in the file.
        notes: list to which a note is added if the last line is cut off, or if text follows the rows.

    Yields:
        Batches of the wanted columns, whose names are the indices as text.

    Raises:
        RecordError: a row has another number of columns, or a value is not a number; the message names the line.
    """
    first_wrong: tuple[int, int, str] | None = None
    wrong = empty = 0

    def wrong_row(row: Any) -> str:
        # A row of blanks or separators alone holds nothing; rows at the end are judged when the end is reached.
        nonlocal empty, first_wrong, wrong
        if row.text.strip(" \t,;|"):
            wrong += 1
            if first_wrong is None:
                message = f"expected {row.expected_columns} values, found {row.actual_columns}"
                number = numbered + (row.number or 0)
                first_wrong = number, number - empty, message
        else:
            empty += 1
        return "skip" if wrong <= MOST_WRONG_ROWS else "error"

    as_text = bool(dialect.thousands) or dialect.mixed
    kinds = {str(k): pa.string() if as_text else pa.float64() for k in numbers} | {str(k): pa.string() for k in texts}
    if not kinds:
        raise RecordError(f"{path}: the table has no column of numbers")
    rows, start = 0, file.tell()

    def line_of(number: int) -> int:
        file.seek(start)
        return first_line + _line_of(_Rows(file, dialect), number)

    numbered = 0
    try:
        for block in whole_lines(_Rows(file, dialect).read):
            found = pa.csv.read_csv(
                pa.BufferReader(block),
                read_options=pa.csv.ReadOptions(
                    column_names=[str(k) for k in range(count)], use_threads=False, block_size=max(len(block), 1)
                ),
                parse_options=pa.csv.ParseOptions(delimiter=dialect.separator, invalid_row_handler=wrong_row),
                convert_options=pa.csv.ConvertOptions(
                    column_types=kinds,
                    include_columns=[str(k) for k in (*numbers, *texts)],
                    null_values=MISSING,
                    strings_can_be_null=True,
                    decimal_point="," if dialect.comma else ".",
                ),
            )
            rows += found.num_rows
            numbered = rows + wrong + empty
            if first_wrong is not None and rows >= first_wrong[1]:
                raise RecordError.in_line(path, line_of(first_wrong[0]), first_wrong[2])
            for batch in found.to_batches():
                yield _numbers(batch, numbers, dialect) if as_text else batch
    except (pa.ArrowException, OSError) as error:
        if first_wrong is not None:
            raise RecordError.in_line(path, line_of(first_wrong[0]), first_wrong[2]) from None
        raise _converted(path, error, lambda number: line_of(numbered + number)) from None
    if first_wrong is not None and rows == 0:
        raise RecordError.in_line(path, line_of(first_wrong[0]), first_wrong[2])
    if first_wrong is not None and notes is not None:
        notes.append(f"the rows end before line {line_of(first_wrong[0])}, which is incomplete or text: it is skipped")


def _numbers(batch: pa.RecordBatch, numbers: Sequence[int], dialect: Dialect) -> pa.RecordBatch:
    """Convert columns of text to numbers, without the signs between the thousands and with decimal points."""
    wanted = {str(k) for k in numbers}
    columns = []
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        if name in wanted:
            for sign in dict.fromkeys((dialect.thousands, " ", "?" * 2, "?")) if dialect.thousands else ():
                column = pc.replace_substring(column, sign, "")
            column = pc.utf8_trim_whitespace(pc.replace_substring(column, ",", "."))
            missing = pc.is_in(column, pa.array(MISSING))
            column = pc.if_else(missing, pa.scalar(None, pa.string()), column).cast(pa.float64())
        columns.append(column)
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


class _Rows:
    """File object that gives the rows in a notation that pyarrow reads."""

    closed = False

    def __init__(self, file: BinaryIO, dialect: Dialect) -> None:
        self._file = file
        self._table = BLANK if dialect.separator == " " else PLAIN
        self._fortran, self._paired = dialect.fortran, dialect.paired
        if dialect.fortran:
            self._table = self._table.translate(EXPONENT)
        self._blanks = dialect.separator == " "
        self._held = b"\n"
        """Last byte given, and the blanks read after it: whether they end a line shows in the next block."""

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._file.close()

    def read(self, size: int = -1) -> bytes:
        """Return the next rows; an empty text only at the end of the file."""
        while True:
            block = self._file.read(size)
            if not block:
                return b""
            rows: bytes = block.translate(self._table)
            if self._paired or self._fortran:
                rest: bytes = self._file.readline(BLOCK_BYTES)
                rows += rest.translate(self._table)
            if self._paired:
                rows = _with_points(rows)
            if self._fortran:
                rows = _with_exponents(rows)
            if self._blanks:
                rows = self._single_blanks(rows)
            if rows:
                return rows

    def _single_blanks(self, rows: bytes) -> bytes:
        """Replace every run of blanks by one, without those at the start and the end of a line."""
        text = np.frombuffer(self._held + rows, np.uint8)
        blank = text == 0x20
        end = (text == 0x0A) | (text == 0x0D)
        # A blank stays if it is the last one of a run that neither begins nor ends a line.
        keep = ~blank
        keep[:-1] |= blank[:-1] & ~blank[1:] & ~end[1:]
        before = np.maximum.accumulate(np.where(blank, 0, np.arange(len(text))))
        keep &= ~(blank & end[before])
        # Blanks at the end of the block are held back with the byte before them.
        stop = len(text) - int(blank[::-1].argmin()) if not blank.all() else 0
        last = text[stop - 1 :]
        kept = text[1:stop][keep[1:stop]]
        self._held = last.tobytes()
        return bytes(kept.tobytes())


def _with_points(rows: bytes) -> bytes:
    """Replace every second comma of a line, from the first, by a decimal point."""
    text = np.frombuffer(rows, np.uint8).copy()
    comma = text == 0x2C
    count = np.cumsum(comma)
    end = (text == 0x0A) | (text == 0x0D)
    before = np.maximum.accumulate(np.where(end, count, 0))
    text[comma & ((count - before) % 2 == 1)] = 0x2E
    return bytes(text.tobytes())


def _with_exponents(rows: bytes) -> bytes:
    """Write exponents that Fortran gives no letter with an E, and stars as a missing value."""
    if b"**" in rows:
        rows = re.sub(rb"\*{2,}", b" NaN ", rows)
    text = np.frombuffer(rows, np.uint8)
    signs = (text[1:] == 0x2D) | (text[1:] == 0x2B)
    if (signs & (text[:-1] >= 0x30) & (text[:-1] <= 0x39)).any():
        rows = re.sub(rb"(?<=\d)([+-]\d{3})(?!\d)", rb"E\1", rows)
    return rows


def _line_of(rows: _Rows, number: int) -> int:
    """Return the number of lines before a row; pyarrow counts the rows without the empty lines."""
    lines = found = 0
    held = b""
    while found < number:
        block = rows.read(BLOCK_BYTES)
        parts = (held + block).splitlines(keepends=True)
        if block:
            held = parts.pop()
        for part in parts:
            lines += 1
            found += bool(part.strip(b"\r\n"))
            if found == number:
                return lines - 1
        if not block:
            break
    return max(lines - 1, 0)


def _converted(path: Path, failure: Exception, line_of: Callable[[int], int]) -> RecordError:
    """Convert an error of pyarrow, with the number of the line if pyarrow gives one."""
    message = " ".join(str(failure).split())[:200]
    found = re.search(r"[Rr]ow #(\d+)\s*:?\s*(.*)", message)
    if found is None:
        return RecordError(f"{path}: {message}")
    what = found.group(2) or "cannot be read"
    value = re.search(r"invalid value '([^']*)'", what)
    if value is None or not is_number(value[1].strip()):
        return RecordError.in_line(path, line_of(int(found.group(1))), what)
    error = NotationError.in_line(path, line_of(int(found.group(1))), what)
    error.cell = value[1].strip()
    return error
