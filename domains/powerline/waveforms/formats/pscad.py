"""Read output files of PSCAD: ``NAME_01.out`` … with at most ten columns each, and their listing ``NAME.inf``."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from domains.powerline.waveforms.errors import RecordError
from domains.powerline.waveforms.formats.encodings import decode_text
from domains.powerline.waveforms.formats.file_size import check_size
from domains.powerline.waveforms.formats.tables.columns import Columns, Times, collected, timed_record
from domains.powerline.waveforms.formats.tables.layout import BLANKS, unique_names
from domains.powerline.waveforms.formats.tables.text import Dialect, is_number, table_batches
from domains.powerline.waveforms.formats.tables.times import TimeColumns
from domains.powerline.waveforms.record import Finding, RawChannel, RawRecord, ReadOptions

COLUMNS = 10
"""Number of columns of a file besides the time."""
MOST_FILES = 1000
HEAD_BYTES = 1 << 16
LISTING_BYTES = 16 << 20
NUMBERED = re.compile(r"^(?P<run>.+)_(?P<number>\d{2,4})$")
ENTRY = re.compile(r"^\s*PGB\((?P<number>\d{1,6})\)(?P<rest>.*)$", re.IGNORECASE)
FIELD = re.compile(r'\b(\w+)\s*=\s*(?:"([^"]*)"|(\S+))')


@dataclass(frozen=True, slots=True)
class _Run:
    """Files of one run of the simulator: the listing, and the output files by their numbers from 1."""

    name: str
    listing: Path | None
    outputs: dict[int, Path]


def is_pscad(path: Path) -> bool:
    """Return True for an output file of PSCAD or its listing, by the name and the first lines."""
    suffix = path.suffix.lower()
    if suffix not in (".out", ".inf"):
        return False
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError:
        return False
    if suffix == ".inf":
        return re.search(rb"^\s*PGB\(\d", head, re.MULTILINE) is not None
    return _first_row(head) is not None


def read_pscad(path: Path, options: ReadOptions) -> RawRecord:
    """Read the run to which a file belongs.

    Args:
        path: an output file or the listing.
        options: values that replace those in the files.

    Returns:
        All channels of the run.

    Raises:
        RecordError: a file cannot be read, or the files do not belong to one run.
    """
    run = _run_of(path)
    check_size([*run.outputs.values()], options.max_bytes, "store fewer channels, or a shorter run")
    findings: list[Finding] = []
    parts = {number: _output(output, findings) for number, output in sorted(run.outputs.items())}
    times, values = _joined(path, run, parts, findings)
    numbers = [
        (number - 1) * COLUMNS + column for number, (_, part) in parts.items() for column in range(1, len(part) + 1)
    ]
    entries, encoding = _listing(run.listing, options) if run.listing is not None else ({}, "")
    _report_differences(run, numbers, entries, findings)
    return timed_record(
        path,
        "PSCAD output",
        _channels(numbers, entries),
        values,
        Times(times, "s"),
        options,
        encoding=encoding,
        findings=findings,
    )


def _run_of(path: Path) -> _Run:
    """Return the files of the run; names are compared without regard to capital letters."""
    numbered = NUMBERED.match(path.stem) if path.suffix.lower() == ".out" else None
    name = numbered["run"] if numbered is not None else path.stem
    listing, outputs, alone = None, {}, None
    for other in path.parent.iterdir():
        suffix, stem = other.suffix.lower(), other.stem
        if suffix == ".inf" and stem.lower() == name.lower() and is_pscad(other):
            listing = other
        elif suffix == ".out":
            found = NUMBERED.match(stem)
            if found is not None and found["run"].lower() == name.lower():
                outputs[int(found["number"])] = other
            elif stem.lower() == name.lower():
                alone = other
    if not outputs and alone is not None:
        outputs = {1: alone}
    outputs.pop(0, None)
    if not outputs:
        raise RecordError(f"{path}: no output file {name}_01.out lies beside the listing: copy it there")
    if len(outputs) > MOST_FILES:
        raise RecordError(f"{path}: the run has {len(outputs):,} files, more than the {MOST_FILES:,} that are read")
    return _Run(name, listing, outputs)


def _first_row(head: bytes) -> tuple[int, int, int] | None:
    """Return position and line number of the first row and its number of columns; None if there are no rows.

    The first line is a title, which may be empty or a number.
    """
    offset = 0
    rows: list[tuple[int, int, int]] = []
    for number, line in enumerate(head.splitlines(keepends=True)[:50], 1):
        cells = line.decode("ascii", "replace").split()
        if len(cells) >= 2 and all(is_number(cell) or _is_tiny(cell) or set(cell) == {"*"} for cell in cells):
            rows.append((offset, number, len(cells)))
            if len(rows) == 2:
                break
        elif cells and number > 1:
            # Text below the title is no output of PSCAD.
            return None
        offset += len(line)
    if not rows or rows[0][2] > COLUMNS + 1 + (len(rows) > 1):
        return None
    # A title of numbers has another number of columns than the rows.
    return rows[-1] if rows[0][2] != rows[-1][2] and rows[0][1] == 1 else rows[0]


def _is_tiny(cell: str) -> bool:
    """Return True for a number whose exponent of three digits has no E, as Fortran writes it."""
    return re.fullmatch(r"[+-]?\d*\.\d*[+-]\d{3}", cell) is not None


def _output(path: Path, findings: list[Finding]) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Return times and values (columns, t) of one file."""
    with path.open("rb") as file:
        first = _first_row(file.read(HEAD_BYTES))
        if first is None:
            raise RecordError(f"{path}: the file has no rows of a time and at most {COLUMNS} values")
        offset, line, count = first
        file.seek(offset)
        notes: list[str] = []
        dialect = Dialect(BLANKS, fortran=True)
        batches = table_batches(file, path, dialect, count=count, numbers=range(count), first_line=line, notes=notes)
        columns = _columns(count, batches)
        values, times, _ = collected(path, columns)
    findings += [Finding("note", "table-cut", f"{path.name}: {note}") for note in notes]
    if times is None:
        raise RecordError(f"{path}: the file has no rows")
    return times, values


def _columns(count: int, batches: Iterator[pa.RecordBatch]) -> Columns:
    names = [str(k) for k in range(count)]
    return Columns(names, [""] * count, range(1, count), TimeColumns(number=0), batches)


def _joined(
    path: Path,
    run: _Run,
    parts: dict[int, tuple[NDArray[np.float64], NDArray[np.float32]]],
    findings: list[Finding],
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Return the times of the run, and the values of all its files."""
    rows = min(len(times) for times, _ in parts.values())
    if any(len(times) != rows for times, _ in parts.values()):
        longest = max(len(times) for times, _ in parts.values())
        message = f"the files of the run have {rows:,} to {longest:,} rows: the first {rows:,} rows are read"
        findings.append(Finding("warning", "data-cut", message))
    first = next(iter(parts.values()))[0][:rows]
    for number, (times, _) in parts.items():
        if rows and not np.allclose(times[:rows], first, rtol=1e-6, atol=1e-9, equal_nan=True):
            raise RecordError(
                f"{path}: the times of {run.outputs[number].name} differ from those of "
                f"{run.outputs[min(run.outputs)].name}: copy the files of one run into a folder of their own"
            )
    return first, np.concatenate([values[:, :rows] for _, values in parts.values()])


def _listing(path: Path, options: ReadOptions) -> tuple[dict[int, dict[str, str]], str]:
    """Return the fields of every channel by its number, and the encoding."""
    with path.open("rb") as file:
        text, encoding = decode_text(file.read(LISTING_BYTES), options.encoding, path)
    entries = {}
    for line in text.splitlines():
        found = ENTRY.match(line)
        if found is not None:
            fields = FIELD.findall(found["rest"])
            entries[int(found["number"])] = {name.lower(): (quoted or bare).strip() for name, quoted, bare in fields}
    return entries, encoding


def _report_differences(
    run: _Run, numbers: Sequence[int], entries: dict[int, dict[str, str]], findings: list[Finding]
) -> None:
    if run.listing is None:
        message = f"no {run.name}.inf lies beside the output: the channels have numbers instead of names"
        findings.append(Finding("warning", "no-listing", message))
        return
    absent = sorted(set(entries) - set(numbers))
    if absent:
        shown = ", ".join(map(str, absent[:8])) + (" …" if len(absent) > 8 else "")
        message = f"{run.listing.name} lists channels that the output files do not have: {shown}"
        findings.append(Finding("warning", "channels-absent", message))


def _channels(numbers: Sequence[int], entries: dict[int, dict[str, str]]) -> list[RawChannel]:
    descriptions = [entries.get(number, {}).get("desc", "") or str(number) for number in numbers]
    uses = Counter(descriptions)
    groups = [entries.get(number, {}).get("group", "") for number in numbers]
    names = unique_names(
        [
            f"{group}|{name}" if group and uses[name] > 1 else name
            for name, group in zip(descriptions, groups, strict=True)
        ]
    )
    return [
        RawChannel(number, name, entries.get(number, {}).get("units", ""), circuit=group)
        for number, name, group in zip(numbers, names, groups, strict=True)
    ]
