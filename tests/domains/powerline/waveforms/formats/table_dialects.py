"""Tables in the dialects of programs and people, written independently of the reader."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

PREAMBLES = {
    "none": (),
    "metadata": ("Station: North 110", "Device: REC-7", "Sampling rate: 4800 Hz", "Nominal frequency: 50 Hz"),
    "hash": ("# made by a program", "#", "# rows follow"),
    "percent": ("% Created 2024", "%"),
    "title": ("Fault of 2 January",),
    "labview": ("LabVIEW Measurement", "Writer_Version\t2", "***End_of_Header***", "Delta_X\t0.000208333"),
}
NAMES = {
    "plain": ("ia", "ib", "ic", "va", "vb", "vc"),
    "rtds": (
        *(f"Subsystem #1|Branch Currents|I{p}Line" for p in "abc"),
        *(f"Subsystem #1|Node Voltages|V{p}Bus" for p in "abc"),
    ),
    "rtds controls": (
        *(f"Subsystem #1|CTLs|Vars|IBRK{p}" for p in "ABC"),
        *(f"Subsystem #1|CTLs|Vars|VBUS{p}" for p in "ABC"),
    ),
    "pscad": (*(f"Main : I{p}:1" for p in "abc"), *(f"Main : V{p}:1" for p in "abc")),
    "simulink": (*(f"Iabc:{k}" for k in (1, 2, 3)), *(f"Vabc:{k}" for k in (1, 2, 3))),
    "german": ("IL1", "IL2", "IL3", "UL1", "UL2", "UL3"),
    "commas": (*(f"Line 1, current, I{p}" for p in "abc"), *(f"Line 1, voltage, V{p}" for p in "abc")),
}
UNIT_FORMS = {
    "none": None,
    "row": "{unit}",
    "bracket row": "({unit})",
    "square": "{name} [{unit}]",
    "round": "{name} ({unit})",
    "underscore": "{name}_{unit}",
    "in": "{name} in {unit}",
    "slash": "{name}/{unit}",
    "comma": "{name}, {unit}",
}
TIME_FORMS = (
    "s",
    "ms",
    "us",
    "clock",
    "iso",
    "date and time",
    "index",
    "none",
    "excel",
    "coarse",
    "day first",
    "month name",
)
MOMENT = np.datetime64("2024-01-02T03:04:05")


@dataclass(frozen=True)
class Dialect:
    """One way to write a table."""

    separator: str = ","
    comma: bool = False
    quoting: str = "needed"
    preamble: str = "none"
    names: str = "plain"
    units: str = "none"
    time: str = "s"
    encoding: str = "utf-8"
    line_end: str = "\n"
    trailing: bool = False
    spaces: bool = False
    exponent: str = ""
    devices: bool = False
    sep_line: bool = False
    blank_lines: bool = False
    status: bool = False


def table_text(dialect: Dialect, waves: NDArray[np.float64], seconds: NDArray[np.float64]) -> str:
    """Return the text of a table whose columns are times and ``waves`` (t, 6), in A and V or kA and kV."""
    time_names, time_unit, time_cells = _times(dialect, seconds)
    pattern = UNIT_FORMS[dialect.units]
    unit_row = pattern is not None and "{name}" not in pattern
    kilo = dialect.units != "none" and dialect.names == "plain"
    units = ["kA" if kilo else "A"] * 3 + ["kV" if kilo else "V"] * 3
    names = [
        name if pattern is None or unit_row else pattern.format(name=name, unit=unit)
        for name, unit in zip(NAMES[dialect.names], units, strict=True)
    ]
    header = [*(_with_unit(name, time_unit, pattern, unit_row) for name in time_names), *names]
    rows: list[list[str]] = []
    if dialect.devices:
        rows.append([*([""] * len(time_names)), *["Feeder 7"] * 3, *["Bus 2"] * 3])
    rows.append(header)
    if unit_row and pattern is not None:
        rows.append([*(pattern.format(unit=time_unit) for _ in time_names), *(pattern.format(unit=u) for u in units)])
    heads = len(rows)
    for k, values in enumerate(waves / (1000 if kilo else 1)):
        cells = [_number(value, dialect) for value in values]
        rows.append([*(cells_of[k] for cells_of in time_cells), *cells])
    if dialect.status:
        rows = [[*row, ("Status", "", "")[k] if k < heads else "OK"] for k, row in enumerate(rows)]
    lines = [_joined(row, dialect, k < heads) for k, row in enumerate(rows)]
    if dialect.blank_lines:
        lines[heads:heads] = [""]
        lines.append("")
    before = list(PREAMBLES[dialect.preamble])
    if dialect.sep_line:
        before.insert(0, f"sep={dialect.separator}")
    if dialect.time in ("none", "index") and dialect.preamble != "metadata":
        before.append("Sampling rate: 4800 Hz")
    return dialect.line_end.join([*before, *lines]) + dialect.line_end


def write_table(path: Path, dialect: Dialect, waves: NDArray[np.float64], seconds: NDArray[np.float64]) -> Path:
    """Write a table and return its path."""
    path.write_bytes(table_text(dialect, waves, seconds).encode(dialect.encoding))
    return path


def _with_unit(name: str, unit: str, pattern: str | None, unit_row: bool) -> str:
    return name if pattern is None or unit_row or not unit else pattern.format(name=name, unit=unit)


def _number(value: float, dialect: Dialect) -> str:
    text = f"{value:.9E}".replace("E", dialect.exponent) if dialect.exponent else f"{value:.7f}"
    return text.replace(".", ",") if dialect.comma else text


def _times(dialect: Dialect, seconds: NDArray[np.float64]) -> tuple[list[str], str, list[list[str]]]:
    """Return names, unit and cells of the columns of time."""

    def decimal(values: NDArray[np.float64], digits: int) -> list[str]:
        return [f"{value:.{digits}f}".replace(".", "," if dialect.comma else ".") for value in values]

    moments = MOMENT + np.round(seconds * 1e9).astype("timedelta64[ns]")
    point = "," if dialect.comma else "."
    clock = [str(moment)[11:26].replace(".", point) for moment in moments]
    form = dialect.time
    if form == "clock":
        return ["Time"], "", [clock]
    if form == "iso":
        return ["timestamp"], "", [[str(moment) for moment in moments]]
    if form == "date and time":
        return ["Date", "Time"], "", [["02.01.2024"] * len(clock), clock]
    if form == "day first":
        return ["Date/Time"], "", [[f"02.01.2024 {text}" for text in clock]]
    if form == "month name":
        return ["Time"], "", [[f"02-Jan-2024 {text}" for text in clock]]
    if form == "index":
        return ["Sample"], "", [[str(k) for k in range(len(seconds))]]
    if form == "none":
        return [], "", []
    if form == "excel":
        return ["Time"], "", [decimal(45293 + seconds / 86400, 12)]
    if form == "coarse":
        return ["Time"], "s", [decimal(seconds, 3)]
    factor, digits = {"s": (1.0, 9), "ms": (1e3, 6), "us": (1e6, 3)}[form]
    return ["Time"], form, [decimal(seconds * factor, digits)]


def _joined(cells: Sequence[str], dialect: Dialect, is_header: bool) -> str:
    if dialect.separator == " ":
        quoted = [f'"{cell}"' if " " in cell else cell or '""' for cell in cells]
        return "  ".join(f"{cell:>16}" for cell in quoted)
    file = io.StringIO()
    always = dialect.quoting == "all" or (dialect.quoting == "names" and is_header)
    style: Literal[0, 1] = csv.QUOTE_ALL if always else csv.QUOTE_MINIMAL
    csv.writer(file, delimiter=dialect.separator, quoting=style, lineterminator="").writerow(cells)
    text = file.getvalue()
    if dialect.spaces and '"' not in text:
        text = text.replace(dialect.separator, f"{dialect.separator} ")
    return text + (dialect.separator if dialect.trailing else "")
