"""Parse the plain text event report of SEL relays: columns of samples in cycles ``[1]``, ``[2]``, …, and a summary."""

from __future__ import annotations

import itertools
import math
import re
from array import array
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from domains.powerline.waveforms.errors import RecordError
from domains.powerline.waveforms.formats.sel.report import EventReport
from domains.powerline.waveforms.formats.times import stamp_ns

_NAME = re.compile(r"3?I(?:[ABCNGRPQ]|POL)[A-Z0-9]{0,3}|V(?:AB|BC|CA|[ABCSN])[A-Z0-9]{0,3}|V1MEM|VDC|FREQ", re.I)
_PHASE = re.compile(r"[IV][ABC]", re.I)
_NUMBER = r"[+-]?\d{1,9}(?:\.\d{0,6})?|[+-]?\.\d{1,6}"
_VALUE = re.compile(rf"\s*({_NUMBER})(?=[\s>*+-]|$)")
_CYCLE = re.compile(r"\s*\[\s*(\d{1,5})\s*\]")
_AFTER_SAMPLES = re.compile(r"\s*(event\s*:|protection|digital|relay word|settings|group|targets\s*:|=>)", re.I)
_STAMP = re.compile(r"^(.*?)\bdate\s*:?\s*(\S+)\s+time\s*:?\s*(\S+)", re.I)
_FID = re.compile(r"\bFID\s*[=:]?\s*(SEL[^\s,]{1,80})", re.I)
_ITEM = re.compile(
    r"\b(Event|Fault Location|Location|Shot|Frequency|Freq|Targets|Duration|Flt Current|Fault Type)\s*[:=]\s*"
    r"((?:(?!\s\s|\s[A-Z]\w+(?: \w+)?\s*[:=]).){0,120})"
)
_SUMMARY_CURRENTS = re.compile(r"Currents \(A\w* Pri\), ABC\w*\s*: +(\d{1,7}) +(\d{1,7}) +(\d{1,7})\b")
_CURRENT_UNIT = re.compile(r"\b(k?amps?|k?a)\b\W{0,3}(pri|sec)?", re.I)
_VOLTAGE_UNIT = re.compile(r"\b(kv|volts?|v)\b\W{0,3}(pri|sec)?", re.I)
UNITS_ABOVE = 4
"""Number of lines above the names of the columns that may hold their units."""
SUMMARY_LINES = 80
"""Number of lines after the samples in which the summary is searched."""


@dataclass(slots=True)
class _Samples:
    """Rows of samples and the cycles to which they belong."""

    flat: array[float] = field(default_factory=lambda: array("d"))
    marks: list[str] = field(default_factory=list)
    cycles: list[tuple[int | None, int]] = field(default_factory=list)
    """Label of each cycle, if it has one, and its number of rows."""

    def add(self, values: list[float], mark: str) -> None:
        """Add a row to the last cycle."""
        self.flat.extend(values)
        self.marks.append(mark)
        if not self.cycles:
            self.cycles.append((None, 0))
        label, count = self.cycles[-1]
        self.cycles[-1] = (label, count + 1)

    def begin(self, label: int | None) -> None:
        """Begin a cycle, unless the last one is empty and has no label either."""
        if self.cycles and self.cycles[-1][1] == 0:
            self.cycles.pop()
        self.cycles.append((label, 0))


def parse_text(text: str, path: Path) -> EventReport:
    """Parse a report.

    Args:
        text: content of the file; text of a terminal before and after the report is ignored.
        path: the file, for messages.

    Returns:
        The first report in the file.

    Raises:
        RecordError: the file has no names of columns or no rows of samples.
    """
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    at, names = _column_names(lines, path)
    samples, count, end = _samples(lines, at + 1, len(names))
    if len(samples.marks) < 2:
        raise RecordError.in_line(path, at + 1, f"no rows with values of {', '.join(names[:4])} … follow this line")
    values = np.array(samples.flat).reshape(len(samples.marks), count).T.copy()
    report = EventReport("SEL event report", names[:count], [""] * count, values, samples.marks)
    report.per_cycle = _rows_per_cycle(samples)
    report.numbers = _row_numbers(samples, report.per_cycle)
    _units(report, lines[max(0, at - UNITS_ABOVE) : at])
    _header(report, lines[:at])
    _summary(report, lines, end)
    return report


def _column_names(lines: list[str], path: Path) -> tuple[int, list[str]]:
    """Return the index of the line of names, and the names of the columns of samples."""
    for number, line in enumerate(lines):
        if names := _names(line):
            return number, _unique(names)
    raise RecordError(
        f"{path}: no line with the columns IA, IB, IC or VA, VB, VC was found: is this an SEL event report? "
        "The commands EVE and CEV of the relay give one"
    )


def _names(line: str) -> list[str]:
    """Return the names of columns at the start of a line; an empty list if it names fewer than two phases."""
    names = list(itertools.takewhile(_NAME.fullmatch, line[:400].split()))
    return names if sum(_PHASE.match(name) is not None for name in names) >= 2 else []


def _unique(names: list[str]) -> list[str]:
    seen: Counter[str] = Counter()
    unique = []
    for name in names:
        seen[name] += 1
        unique.append(name if seen[name] == 1 else f"{name} #{seen[name]}")
    return unique


def _samples(lines: list[str], first: int, columns: int) -> tuple[_Samples, int, int]:
    """Return the rows of samples, their number of columns, and the index of the line after them."""
    samples, names = _Samples(), _names(lines[first - 1])
    for number in range(first, len(lines)):
        line = lines[number]
        label = _CYCLE.match(line)
        if label is not None:
            samples.begin(int(label.group(1)))
            line = line[label.end() :]
        elif not line.strip():
            if samples.cycles and samples.cycles[-1][0] is None:
                samples.begin(None)
            continue
        values, mark = _row(line, columns)
        if not samples.marks and len(values) >= 3:
            columns = len(values)
        if len(values) == columns:
            samples.add(values, mark)
        elif samples.marks and (_AFTER_SAMPLES.match(line) or _names(line) not in ([], names)):
            return samples, columns, number
    return samples, columns, len(lines)


def _row(line: str, columns: int) -> tuple[list[float], str]:
    """Return at most ``columns`` numbers from the start of a line, and the mark after them."""
    cells = line.replace(">", " > ").replace("*", " * ").split(None, columns + 1)
    try:
        values = [float(cell) for cell in cells[:columns]]
    except ValueError:
        pass
    else:
        if len(values) == columns and all(map(math.isfinite, values)):
            return values, cells[columns] if cells[columns : columns + 1] in ([">"], ["*"]) else ""
    values = []
    position = 0
    while len(values) < columns and (found := _VALUE.match(line, position)) is not None:
        values.append(float(found.group(1)))
        position = found.end()
    mark = line[position : position + 2].strip()[:1]
    return values, mark if mark in (">", "*") else ""


def _rows_per_cycle(samples: _Samples) -> float | None:
    """Return the most frequent number of rows of a cycle; None if the rows are not divided into cycles."""
    counts = Counter(count for _, count in samples.cycles if count > 1)
    if not counts or len(samples.cycles) < 2:
        return None
    return float(max(counts, key=lambda count: (counts[count], count)))


def _row_numbers(samples: _Samples, per_cycle: float | None) -> NDArray[np.int64] | None:
    """Return the numbers of the rows by the labels of their cycles; None if the labels leave out no cycle."""
    labels = [label for label, count in samples.cycles if count]
    if per_cycle is None or any(label is None for label in labels):
        return None
    numbers: list[int] = []
    for label, count in samples.cycles:
        first = int(label or 0) * int(per_cycle)
        # A first cycle that is not complete lacks its beginning, any other one its end.
        first += max(0, int(per_cycle) - count) if not numbers else 0
        numbers += range(first, first + count)
    result = np.array(numbers, np.int64)
    steps = np.diff(result)
    return result if (steps > 0).all() and (steps > 1).any() else None


def _units(report: EventReport, above: list[str]) -> None:
    """Set units and side from the titles above the names, such as ``Currents (Amps Pri)  Voltages (kV Pri)``."""
    title = " ".join(above)
    current, voltage = _CURRENT_UNIT.search(title), _VOLTAGE_UNIT.search(title)
    for k, name in enumerate(report.plain_names):
        if re.match(r"3?I", name) and current is not None:
            report.units[k] = "kA" if current.group(1).lower().startswith("k") else "A"
        elif re.match(r"V(?!DC)", name) and voltage is not None:
            report.units[k] = "kV" if voltage.group(1).lower() == "kv" else "V"
    sides = {found.group(2).lower() for found in (current, voltage) if found is not None and found.group(2)}
    report.primary = True if sides == {"pri"} else False if sides == {"sec"} else None


def _header(report: EventReport, head: list[str]) -> None:
    """Set station, device and time of the trigger."""
    for number, line in enumerate(head):
        found = _STAMP.search(line[:400])
        if found is None:
            continue
        relay, date, time = (part.strip() for part in found.groups())
        below = next((text.strip() for text in head[number + 1 : number + 3] if text.strip()), "")
        place = re.split(r"\s{3,}|\bSerial Number\b|\bTime Source\b", below)[0].strip()
        report.station = ", ".join(part for part in (place if "FID" not in place else "", relay) if part)[:120]
        report.stamp_ns, _, messages = stamp_ns(date, time, month_first=True)
        for message in messages:
            report.warn("trigger-time", f"time of the trigger: {message}")
        break
    fid = _FID.search("\n".join(head))
    report.device = fid.group(1) if fid is not None else ""


def _summary(report: EventReport, lines: list[str], end: int) -> None:
    """Add the relay's statements about the event, and take the frequency from them."""
    begin = next((k for k in range(end, len(lines)) if re.match(r"\s*event\s*:", lines[k], re.I)), end)
    said: dict[str, str] = {}
    for line in lines[begin : begin + SUMMARY_LINES]:
        for name, text in _ITEM.findall(line[:400]):
            said.setdefault(name, text.strip())
    for name in ("Event", "Fault Type", "Location", "Fault Location", "Duration", "Flt Current", "Targets"):
        report.state(name, said.get(name, ""))
    currents = _SUMMARY_CURRENTS.search("\n".join(lines[begin : begin + SUMMARY_LINES]))
    if currents is not None:
        report.summary_currents = dict(zip(("IA", "IB", "IC"), map(float, currents.groups()), strict=True))
    stated = re.match(r"\d{1,3}(?:\.\d{1,6})?", said.get("Frequency", said.get("Freq", "")))
    report.frequency_hz = float(stated.group()) if stated is not None else None
