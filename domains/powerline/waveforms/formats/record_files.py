"""Find the records among the files of a folder or an archive: one main file for each, without its other parts."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import PurePath
from typing import TypeVar

P = TypeVar("P", bound=PurePath)
FEW_BYTES = 1 << 14
"""Number of bytes at the start of a file that decide whether it is a record."""
COMTRADE_PARTS = {".dat", ".hdr", ".inf"}
TABLES = {".csv", ".tsv", ".txt"}
OTHER_RECORDS = {".cff", ".parquet", ".cev", ".eve", ".mat", ".pqd", ".pqdif"}
_EVENT_REPORT = re.compile(rb'"(FID|MONTH_?|TRIG)" ?,|\b[IV]A\w{0,4}[ \t]+[IV]B\w{0,4}[ \t]+[IV]C', re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?")
_SEPARATORS = re.compile(r"[,;\t| ]+")
_PART_NUMBER = re.compile(r"_\d{1,3}$")
LEAST_ROWS = 0.5
"""Share of a text's lines that must be rows of numbers for a table."""
ROWS_READ = 60
MOST_LISTED = 6
"""Number of names that a message lists."""


def main_files(paths: Iterable[P], head: Callable[[P], bytes]) -> list[P]:
    """Return the main file of each record, in the order of the names.

    A .cfg stands for its .dat, .hdr and .inf, the first .out of PSCAD for the others and their .inf. Text counts if it
    is an event report or a table of numbers.

    Args:
        paths: all files of the folder or archive.
        head: function that returns the first bytes of a file.
    """
    ordered = sorted(paths, key=lambda path: str(path).lower())
    groups: dict[tuple[str, str], set[str]] = defaultdict(set)
    for path in ordered:
        groups[_folder(path), path.stem.lower()].add(path.suffix.lower())
    found, simulated = [], set()
    for path in ordered:
        suffix, folder, stem = path.suffix.lower(), _folder(path), path.stem.lower()
        if suffix == ".cfg":
            chosen = ".dat" in groups[folder, stem]
        elif suffix == ".out":
            key = folder, _PART_NUMBER.sub("", stem)
            chosen = ".inf" in groups[key] and key not in simulated
            simulated.add(key)
        else:
            chosen = suffix in OTHER_RECORDS or (suffix in TABLES and _is_table(head(path)))
        if chosen:
            found.append(path)
    return found


def same_record(main: PurePath, other: PurePath) -> bool:
    """Return True for the files that belong to a main file: same folder and stem, or the parts of a PSCAD record."""
    if main == other:
        return True
    if _folder(main) != _folder(other):
        return False
    one, two = main.stem.lower(), other.stem.lower()
    if main.suffix.lower() in (".cfg", ".dat"):
        return one == two and other.suffix.lower() in (".cfg", *COMTRADE_PARTS)
    if main.suffix.lower() == ".out":
        return _PART_NUMBER.sub("", one) == _PART_NUMBER.sub("", two) and other.suffix.lower() in (".out", ".inf")
    return False


def listed(names: Sequence[object]) -> str:
    """Return the first names, and the number of the others.

    Example:
        >>> listed(["a", "b"]), listed(range(9))
        ('a, b', '0, 1, 2, 3, 4, 5 and 3 more')
    """
    more = f" and {len(names) - MOST_LISTED} more" if len(names) > MOST_LISTED else ""
    return ", ".join(map(str, names[:MOST_LISTED])) + more


def _folder(path: PurePath) -> str:
    return str(path.parent).lower()


def _is_table(head: bytes) -> bool:
    """Return True for text that is an event report or consists of rows of numbers after its header."""
    if b"\x00" in head and not head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return False
    if _EVENT_REPORT.search(head) is not None:
        return True
    text = head.decode("utf-16" if head.startswith((b"\xff\xfe", b"\xfe\xff")) else "latin-1", "replace")
    lines = [line[:400] for line in text.splitlines()[:ROWS_READ] if line.strip()]
    rows = sum(_is_row(line) for line in lines)
    return rows >= 2 and rows >= LEAST_ROWS * (len(lines) - 1)


def _is_row(line: str) -> bool:
    """Return True for a line of at least two numbers, of which at most one cell is something else, such as a date."""
    cells = [cell.strip('" ') for cell in _SEPARATORS.split(line.strip()) if cell.strip('" ')]
    numbers = sum(_NUMBER.fullmatch(cell) is not None for cell in cells)
    return numbers >= 2 and len(cells) - numbers <= max(1, len(cells) // 4)
