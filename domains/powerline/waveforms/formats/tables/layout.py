"""Find the layout of a text table: separator, decimal sign, lines before the names, names, units, first row."""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from domains.powerline.waveforms.errors import RecordError
from domains.powerline.waveforms.formats.tables.column_units import is_unit
from domains.powerline.waveforms.formats.tables.text import GROUPED, is_missing, is_number
from domains.powerline.waveforms.formats.tables.times import TIME_NAME

BLANKS = " "
"""Separator of a table whose columns are separated by any number of blanks and tabs."""
SEPARATORS = (",", ";", "\t", "|", BLANKS)
COMMENT = re.compile(r"^\s*(?:#+|%+|//+|!+|\*+|;(?=\s))\s*")
RULE = re.compile(r"^[\s\W_]+$")
SCANNED_LINES = 2000
"""Number of lines at the start that contain everything before the first row."""
SAMPLE_LINES, SAMPLE_CHARS = 100, 300_000
"""Number of rows from which separator and kinds of columns are found, and their greatest length together."""
MOST_COLUMNS = 20_000
CELL_LINES = 20
"""Greatest number of lines of a cell in quotes."""
HEADER_LINES = 4
HEADER_REACH = 10
"""Number of lines above the first row among which the names are sought."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Layout of a text table.

    Attributes:
        names, units: name and unit of every column; empty if the table has none.
        named: True if the table has a row of names.
        separator: character between the columns; ``BLANKS`` for any number of blanks.
        comma: True if the decimal sign is a comma.
        thousands: sign between the thousands; empty if there is none.
        mixed: True if some numbers have a decimal comma and others a decimal point.
        paired: True if decimal sign and separator are both commas.
        fortran: True if exponents are written with a D.
        numeric: True for every column of numbers.
        sample: cells of some rows, at least one.
        offset: position of the first row in the bytes.
        line: number of the line of the first row, from 1.
        preamble: lines before the first row.
    """

    names: tuple[str, ...]
    units: tuple[str, ...]
    named: bool
    separator: str
    comma: bool
    thousands: str
    mixed: bool
    paired: bool
    fortran: bool
    numeric: tuple[bool, ...]
    sample: tuple[tuple[str, ...], ...]
    offset: int
    line: int
    preamble: tuple[str, ...]


def find_layout(lines: Sequence[bytes], rows: Sequence[str], path: Path, numbers: Sequence[str] = ()) -> Layout:
    """Find the layout.

    Args:
        lines: lines of the table's start, with their line ends.
        rows: the same lines as text.
        path: the file, for messages.
        numbers: numbers from other rows, as written.

    Returns:
        The layout of the table.

    Raises:
        RecordError: no rows of numbers are found, or names and rows differ in number.
    """
    rows = _with_whole_cells(rows[:SCANNED_LINES])
    filled = [k for k, row in enumerate(rows) if row.strip(" \t,;|")]
    if not filled:
        raise RecordError(f"{path}: the table has no rows")
    separator, count = _separator([rows[k] for k in filled], path)
    if count > MOST_COLUMNS:
        raise RecordError(f"{path}: {count:,} columns are more than the {MOST_COLUMNS:,} that are read: cut the table")
    cells = {k: split(rows[k], separator) for k in filled}
    paired = separator == "," and _is_paired([cells[k] for k in filled], count)
    if paired:
        count //= 2
        for k in filled:
            if len(cells[k]) == 2 * count and any(map(is_number, cells[k])):
                cells[k] = [f"{whole}.{part}" for whole, part in zip(cells[k][::2], cells[k][1::2], strict=True)]
    table = [cells[k] for k in filled if len(cells[k]) == count and any(map(is_number, cells[k]))][-SAMPLE_LINES:]
    numeric = tuple(_is_numeric([row[j] for row in table]) for j in range(count))
    first = next((k for k in filled if _fits(cells[k], numeric)), None)
    if first is None:
        raise RecordError(f"{path}: the table has no row of numbers")
    open_end = all(is_missing(row[-1]) for row in table)
    header, first = _header_lines(rows, filled, first, separator, count, open_end, path)
    names, units, named = _names([found for _, found in header], numeric)
    # A column without a name and values follows from a separator at the end of every row.
    if open_end and not any(found[-1] for _, found in header):
        numeric = (*numeric[:-1], False)
    sample = [row for row in table if _fits(row, numeric)]
    values = [cell for row in sample for cell, wanted in zip(row, numeric, strict=True) if wanted]
    values += numbers
    comma, thousands, mixed = _decimal_sign(values)
    return Layout(
        names=names,
        units=units,
        named=named,
        separator=separator,
        comma=comma,
        thousands=thousands,
        mixed=mixed,
        paired=paired,
        fortran=any(re.search(r"\d[dD][+-]?\d", cell) for cell in values),
        numeric=numeric,
        sample=tuple(map(tuple, sample)),
        offset=sum(map(len, lines[:first])),
        line=first + 1,
        preamble=tuple(row.strip() for row in rows[:first] if row.strip()),
    )


def _with_whole_cells(rows: Sequence[str]) -> list[str]:
    """Join lines that a cell in quotes covers; the lines that it ends on become empty."""
    joined = list(rows)
    for k, row in enumerate(joined):
        if row.count('"') % 2 == 0:
            continue
        end = next((j for j in range(k + 1, min(k + CELL_LINES, len(joined))) if joined[j].count('"') % 2), None)
        if end is not None:
            joined[k : end + 1] = [" ".join(joined[k : end + 1]), *[""] * (end - k)]
    return joined


def split(row: str, separator: str) -> list[str]:
    """Split a row into its cells, without quotes and surrounding blanks."""
    if '"' in row:
        text = re.sub(r"[ \t]+", " ", row.strip()) if separator == BLANKS else row
        try:
            found = next(csv.reader([text], delimiter=separator, skipinitialspace=True), [])
        except csv.Error:
            found = row.split(separator)
        return [cell.strip().strip('"').strip() for cell in found]
    return row.split() if separator == BLANKS else [cell.strip() for cell in row.split(separator)]


def _separator(rows: Sequence[str], path: Path) -> tuple[str, int]:
    """Return the separator that gives most numbers in rows of equal length, and that length."""
    chosen, chars = [], 0
    for row in reversed(rows[-SAMPLE_LINES:]):
        chosen.append(row)
        chars += len(row)
        if chars > SAMPLE_CHARS:
            break
    best: tuple[float, str, int] = (0.0, "", 0)
    for separator in SEPARATORS:
        scores: dict[int, float] = defaultdict(float)
        for row in chosen:
            if separator != BLANKS and separator not in row:
                continue
            cells = split(row, separator)
            scores[len(cells)] += sum(map(is_number, cells)) ** 2 / max(sum(map(bool, cells)), 1)
        for count, score in scores.items():
            if count >= 2 and score > best[0]:
                best = (score, separator, count)
    if not best[1]:
        raise RecordError(f"{path}: the table has no rows with two columns of numbers")
    return best[1], best[2]


def _is_paired(cells: Sequence[Sequence[str]], count: int) -> bool:
    """Return True if the rows have twice as many cells as the names above them, and every second cell is a fraction."""
    rows = [row for row in cells if len(row) == count and all(map(is_number, row))]
    names = [row for row in cells if 2 * len(row) == count and not any(map(is_number, row))]
    return bool(names and rows) and all(cell.isdigit() for row in rows for cell in row[1::2])


def _is_numeric(column: Sequence[str]) -> bool:
    there = [cell for cell in column if not is_missing(cell)]
    return 2 * sum(map(is_number, there)) >= len(there)


def _fits(cells: Sequence[str], numeric: Sequence[bool]) -> bool:
    """Return True if a row has a number or a missing value in every column of numbers, and at least one number."""
    if len(cells) != len(numeric):
        return False
    pairs = [cell for cell, wanted in zip(cells, numeric, strict=True) if wanted]
    return any(map(is_number, pairs)) and all(is_number(cell) or is_missing(cell) for cell in pairs)


def _header_lines(
    rows: Sequence[str], filled: Sequence[int], first: int, separator: str, count: int, open_end: bool, path: Path
) -> tuple[list[tuple[int, list[str]]], int]:
    """Return the lines of names and units, from top to bottom, and the number of the first row."""
    above = [k for k in filled if k < first][::-1][:HEADER_REACH]
    others = tuple(sign for sign in SEPARATORS if sign != separator)
    header: list[tuple[int, list[str]]] = []
    for signs in ((separator,), others):
        for k in [] if header else above:
            cells = None if RULE.match(rows[k]) else _header_cells(rows[k], signs, count, open_end)
            if cells is not None:
                header.insert(0, (k, cells))
            elif header and not RULE.match(rows[k]):
                break
            if len(header) == HEADER_LINES or (header and signs == others):
                break
    if separator == BLANKS:
        # A title has words too: names above the names are in quotes.
        last = max((k for k, cells in header if not _are_units(cells)), default=None)
        header = [(k, cells) for k, cells in header if k == last or '"' in rows[k] or _are_units(cells)]
    # A row below the names that is mostly numbers is no part of them: it is a row with an invalid value.
    while len(header) > 1 and 2 * sum(map(is_number, header[-1][1])) > count:
        first = header.pop()[0]
    if not header and above and count >= 3:
        found = split(rows[above[0]], separator)
        words = sum(not is_number(cell) for cell in found)
        if len(found) >= 3 and words == len(found):
            message = f"expected {len(found)} values, as the line above has names, found {count}"
            raise RecordError.in_line(path, first + 1, message)
        if len(found) >= 3 and not words:
            raise RecordError.in_line(path, above[0] + 1, f"expected {count} values, found {len(found)}")
    return header, first


def _header_cells(row: str, separators: Sequence[str], count: int, open_end: bool) -> list[str] | None:
    """Split a line of names into as many cells as the rows have; None if it cannot be split so."""
    for text in dict.fromkeys((row, COMMENT.sub("", row))):
        for sign in separators:
            cells = split(text, sign)
            while len(cells) > count and not cells[-1]:
                cells.pop()
            if len(cells) == count + 1 and cells[-1].lower() == "comment":
                cells.pop()
            if open_end and len(cells) == count - 1:
                # Rows that end with the separator have an empty last column.
                cells.append("")
            if len(cells) == count and any(cells):
                return cells
            if sign == BLANKS:
                cells = [cell for cell in re.split(r"\s{2,}|\t", text.strip()) if cell]
                if len(cells) == count:
                    return cells
    return None


def _are_units(cells: Sequence[str]) -> bool:
    there = [cell for cell in map(_bare, cells) if cell]
    return bool(there) and all(map(is_unit, there))


def _bare(cell: str) -> str:
    return cell.strip("[](){}<> ")


def _names(header: Sequence[Sequence[str]], numeric: Sequence[bool]) -> tuple[tuple[str, ...], tuple[str, ...], bool]:
    """Return names, units and True if there are names, from the lines of names and units."""
    count = len(numeric)
    units = [""] * count
    lines = []
    for cells in header:
        if _are_units(cells) and (len(header) > 1 or sum(map(bool, cells)) > 1):
            units = [_bare(cell) for cell in cells]
        else:
            lines.append(cells)
    if not lines:
        plain = tuple(unit or str(k) for k, unit in enumerate(units, 1))
        return (unique_names(plain) if any(units) else plain), tuple(units), False
    names = list(lines[-1])
    if len(lines) > 1 and count >= 3:
        names = _joined(lines[-2], names)
    return unique_names(names), tuple(units), True


def _joined(upper: Sequence[str], lower: Sequence[str]) -> list[str]:
    """Join two lines of names (device above quantity); a device stands above the first of its columns, or above each.

    A first line with one text is a title, and one of numbers counts the columns.
    """
    texts = [cell for cell in upper if cell]
    if len(texts) < 2 or 2 * sum(map(is_number, texts)) > len(texts):
        return list(lower)
    names, device = [], ""
    for above, below in zip(upper, lower, strict=True):
        device = above or device
        if TIME_NAME.match(below):
            names.append(below)
        elif not below or below == device:
            names.append(device)
        else:
            names.append(f"{device}|{below}" if device else below)
    return names


def unique_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return names with a number after those that occurred before, and a number instead of an empty one."""
    seen: dict[str, int] = {}
    unique = []
    for number, name in enumerate(names, 1):
        plain = name or f"column {number}"
        seen[plain] = seen.get(plain, 0) + 1
        unique.append(plain if seen[plain] == 1 else f"{plain} #{seen[plain]}")
    return tuple(unique)


def _decimal_sign(values: Sequence[str]) -> tuple[bool, str, bool]:
    """Return True for a decimal comma, the sign between the thousands, and True if both decimal signs occur."""
    thousands, decimal = "", ""
    for cell in values:
        found = GROUPED.fullmatch(cell)
        if found is None:
            continue
        sign = found.group(1)
        rest = cell.rpartition(sign)[2]
        # 1,234 alone may be a decimal fraction; two signs, or one sign twice, show the thousands.
        if sign not in ".," or cell.count(sign) > 1 or re.search(r"[.,]", rest):
            thousands = sign
            decimal = next(iter(re.findall(r"[.,]", rest)), decimal)
    if thousands in (".", ","):
        return thousands == ".", thousands, False
    comma = any("," in cell for cell in values)
    point = any("." in cell for cell in values)
    return comma and not point, thousands, comma and point
