"""Parse columns of numbers from text with pyarrow; errors name the line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv

from domains.powerline.waveforms.errors import RecordError

BLOCK_BYTES = 4 << 20
"""Number of bytes parsed at a time; a longer line is an error."""
PLAIN = bytes(code if code < 128 else ord("?") for code in range(256))
"""Table that replaces bytes that are not ASCII. Numbers are ASCII, and pyarrow quotes the text in errors as UTF-8."""
MISSING = ["", " ", "NaN", "nan", "NAN", "null", "-"]


def csv_table(
    source: bytes,
    path: Path,
    *,
    names: Sequence[str],
    numbers: Sequence[str],
    texts: Sequence[str] = (),
    delimiter: str = ",",
    comma: bool = False,
    skip: int = 0,
    first_line: int = 1,
) -> pa.Table:
    """Read columns from text.

    Args:
        source: the rows.
        path: the file, for messages.
        names: names of all columns, in order.
        numbers: columns to be read as float64, null where empty.
        texts: columns to be read as text.
        delimiter: character between the columns.
        comma: True if the decimal separator is a comma.
        skip: number of lines before the first row.
        first_line: number of the source's first line in its file.

    Returns:
        The requested columns.

    Raises:
        RecordError: a row has another number of columns, or a value is not a number; the message names the line.
    """
    wrong: list[str] = []

    def wrong_row(row: Any) -> str:
        wrong.append(f"expected {row.expected_columns} values, found {row.actual_columns}")
        return "error"

    wanted = [name for name in names if name in set(numbers) | set(texts)]
    if not wanted:
        raise RecordError(f"{path}: the table has no column of numbers")
    try:
        return pa.csv.read_csv(
            pa.BufferReader(source.translate(PLAIN)),
            read_options=pa.csv.ReadOptions(
                column_names=list(names), skip_rows=skip, use_threads=False, block_size=BLOCK_BYTES
            ),
            parse_options=pa.csv.ParseOptions(delimiter=delimiter, invalid_row_handler=wrong_row),
            convert_options=pa.csv.ConvertOptions(
                column_types={name: pa.string() if name in texts else pa.float64() for name in wanted},
                include_columns=wanted,
                null_values=MISSING,
                decimal_point="," if comma else ".",
            ),
        )
    except (pa.ArrowException, OSError) as error:
        raise _converted(path, error, wrong, first_line) from None


def _converted(path: Path, error: Exception, wrong: Sequence[str], first_line: int) -> RecordError:
    """Convert an error of pyarrow, with the number of the line if pyarrow gives one."""
    message = " ".join(str(error).split())[:200]
    found = re.search(r"[Rr]ow #(\d+)\s*:?\s*(.*)", message)
    if found is None:
        return RecordError(f"{path}: {message}")
    what = wrong[0] if wrong else found.group(2) or "cannot be read"
    return RecordError.in_line(path, first_line - 1 + int(found.group(1)), what)
