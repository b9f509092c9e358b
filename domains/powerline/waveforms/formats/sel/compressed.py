"""Parse the compressed ASCII event report of SEL relays: quoted labels, a line of values, rows of samples, settings.

Every line ends with a checksum: the sum of the bytes before it, as four hexadecimal digits in quotes. Relays differ in
the labels and their order, so that labels are found by name.
"""

from __future__ import annotations

import csv
import itertools
import math
import operator
import re
from array import array
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from domains.powerline.waveforms.errors import RecordError
from domains.powerline.waveforms.formats.sel.report import EventReport
from domains.powerline.waveforms.formats.times import stamp_ns

_LABELS = {
    "FID", "MONTH", "REC_NUM", "REF_NUM", "FREQ", "SAM/CYC_A", "SAM/CYC_D", "NUM_OF_CYC", "EVENT", "LOCATION",
    "TARGETS", "PRIM_VAL", "PART_NUM", "SER_NUM", "CEV_VER", "CTR_IA", "NUM_CH_A", "SHOT", "RID", "SID", "NFREQ",
}  # fmt: skip
"""Labels of which one at least is in every line of labels before the samples."""
_HEAD = re.compile(rb'"(FID|MONTH_?|TRIG|SAM/CYC_A)" ?,')
_CHECKSUM = re.compile(rb'" *([0-9A-Fa-f]{4}) *" *$')
_UNIT = re.compile(r" ?\( ?([^()]{1,12}) ?\)$")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?")
_FRAME = b" \t\x00\x02\x03\x1a"
"""Bytes around a line that do not belong to it: spaces, the frame of the relay's protocol, the end of old files."""
MOST_CHANNELS = 500
HIGHEST = 1e12
"""Magnitude from which a value counts as missing."""
REMEDY = "copy the report from the relay again"


def is_compressed(data: bytes) -> bool:
    """Return True if the text has the quoted labels of a compressed report."""
    return _HEAD.search(data) is not None


class _Lines:
    """Lines of the report as fields, which are taken one by one; wrong checksums are counted."""

    def __init__(self, data: bytes, path: Path) -> None:
        self._lines = [line.strip(_FRAME) for line in re.split(rb"\r\n|\n|\r", data)]
        while self._lines and not self._lines[-1]:
            self._lines.pop()
        self.path = path
        self.taken = 0
        self.checked = 0
        self.wrong: list[int] = []

    def take(self, *, samples: bool = False) -> list[str] | None:
        """Return the fields of the next line that is not empty, without the checksum; None after the last one.

        Args:
            samples: True for a row of samples, whose quoted fields contain no commas.
        """
        while self.taken < len(self._lines):
            line = self._lines[self.taken]
            self.taken += 1
            if line:
                text = self._checked(line)
                return text.split(",") if samples else self._fields(text)
        return None

    @property
    def last(self) -> bool:
        """Return True if no line with content follows."""
        return self.taken >= len(self._lines)

    def error(self, message: str) -> RecordError:
        """Return an error that names the line taken last."""
        return RecordError.in_line(self.path, self.taken, message)

    def _checked(self, line: bytes) -> str:
        """Return a line without its checksum, which is verified."""
        found = _CHECKSUM.search(line)
        if found is not None:
            self.checked += 1
            if sum(line[: found.start()]) & 0xFFFF != int(found.group(1), 16):
                self.wrong.append(self.taken)
            line = line[: found.start()].rstrip(b" ").removesuffix(b",")
        return line.decode("ascii", "replace")

    def _fields(self, text: str) -> list[str]:
        try:
            return next(csv.reader([text]), [])
        except csv.Error:
            raise self.error(f"the line cannot be split into fields: {REMEDY}") from None


def parse_compressed(data: bytes, path: Path) -> EventReport:
    """Parse a report.

    Args:
        data: content of the file; text of a terminal before and after the report is ignored.
        path: the file, for messages.

    Returns:
        The first report in the file.

    Raises:
        RecordError: the columns or rows of samples are missing or broken; the message names the line.
    """
    lines = _Lines(data, path)
    summary, columns = _summary(lines)
    at = next(k for k, name in enumerate(columns) if name == "TRIG")
    names, units, kept = _columns(columns[:at], lines)
    values, marks = _rows(lines, kept, at)
    checked, wrong = lines.checked, list(lines.wrong)
    several = _after_samples(lines, summary)
    report = EventReport(
        "SEL compressed event report",
        names,
        units,
        values,
        marks,
        per_cycle=_count(summary.get("SAM/CYC_A", "")),
        frequency_hz=_value(summary.get("FREQ", "")),
        device=summary.get("FID", "").removeprefix("FID=").strip(),
        station=summary.get("SID", "").strip() or summary.get("RID", "").strip(),
    )
    stated = summary.get("PRIM_VAL", "").strip().upper()
    report.primary = {"Y": True, "N": False}.get(stated[:1])
    for name, text in summary.items():
        value = _value(text)
        if value is not None and value > 0 and re.match(r"[CP]TR", name):
            report.ratios[name] = value
        if value is not None and _UNIT.sub("", name) in ("IA", "IB", "IC"):
            report.summary_currents[_UNIT.sub("", name)] = abs(value)
    _stamp(report, summary)
    for name in ("EVENT", "LOCATION", "TARGETS"):
        report.state(name, summary.get(name, ""))
    _report_checksums(report, checked, wrong)
    if several:
        report.note("several-reports", "the file holds several reports: the first one is read")
    return report


def _summary(lines: _Lines) -> tuple[dict[str, str], list[str]]:
    """Return the labels and values before the samples, and the labels of the samples."""
    summary: dict[str, str] = {}
    while (fields := lines.take()) is not None:
        labels = [_label(field) for field in fields]
        if "TRIG" in labels:
            return summary, labels
        if _LABELS.intersection(labels):
            values = lines.take()
            if values is None:
                break
            for label, value in zip(labels, values, strict=False):
                summary.setdefault(label, value)
    raise lines.error(f'the report ends before its line of columns, which has "TRIG": {REMEDY}')


def _label(field: str) -> str:
    return " ".join(field.split()).upper().rstrip("_")


def _columns(columns: list[str], lines: _Lines) -> tuple[list[str], list[str], list[int]]:
    """Return names, units and positions of the columns with values; ``*`` names an unused column."""
    kept = [k for k, name in enumerate(columns) if name.strip("* ")]
    if not kept or len(kept) > MOST_CHANNELS:
        raise lines.error(f"the line names {len(kept)} columns of samples before TRIG: {REMEDY}")
    names = [_UNIT.sub("", columns[k]) for k in kept]
    found = [_UNIT.search(columns[k]) for k in kept]
    units = ["" if unit is None else unit.group(1).strip() for unit in found]
    return names, [{"KV": "kV", "HZ": "Hz", "KA": "kA"}.get(unit, unit) for unit in units], kept


def _rows(lines: _Lines, kept: list[int], at: int) -> tuple[NDArray[np.float64], list[str]]:
    """Return the values (columns, rows) and the marks of the rows of samples."""
    flat, marks = array("d"), list[str]()
    chosen = operator.itemgetter(*kept, at)
    while not lines.last:
        before = lines.taken
        fields = lines.take(samples=True)
        if fields is None or not _is_row(fields):
            # The line belongs to what follows the samples.
            lines.taken = before
            break
        if len(fields) < at:
            if lines.last:
                break
            raise lines.error(f"expected {at} values and the mark of the trigger, found {len(fields)} fields: {REMEDY}")
        *cells, mark = chosen((*fields, ""))
        try:
            flat.extend([float(cell) for cell in cells])
        except ValueError:
            flat.extend(math.nan if (value := _value(cell)) is None else value for cell in cells)
        marks.append(mark.strip(' "')[:1])
    if len(marks) < 2:
        raise lines.error(f"no rows of samples follow the line of columns: {REMEDY}")
    values = np.array(flat).reshape(len(marks), len(kept)).T.copy()
    values[~(np.abs(values) < HIGHEST)] = np.nan
    return values, marks


def _is_row(fields: list[str]) -> bool:
    return len(fields) > 1 and any(_NUMBER.fullmatch(field.strip()) for field in itertools.islice(fields, 3))


def _value(text: str) -> float | None:
    """Return a finite number; None if the text is none."""
    text = text.strip()
    if _NUMBER.fullmatch(text) is None:
        return None
    value = float(text)
    return value if abs(value) < HIGHEST else None


def _count(text: str) -> float | None:
    value = _value(text)
    return value if value is not None and 1 <= value <= 10_000 else None


def _stamp(report: EventReport, summary: dict[str, str]) -> None:
    """Set the time of the trigger."""
    parts = [summary.get(name, "").strip() for name in ("MONTH", "DAY", "YEAR", "HOUR", "MIN", "SEC")]
    if not all(part.isdigit() for part in parts):
        return
    month, day, year, hour, minute, second = parts
    fraction = min(max(_value(summary.get("MSEC", "")) or 0.0, 0.0), 999.999999)
    ns, _, messages = stamp_ns(
        f"{month}/{day}/{year}", f"{hour}:{minute}:{second}.{round(fraction * 1e6):09d}", month_first=True
    )
    report.stamp_ns = ns
    for message in messages:
        report.warn("trigger-time", f"time of the trigger: {message}")


def _after_samples(lines: _Lines, summary: dict[str, str]) -> bool:
    """Add the labels after the samples to the summary, and return True if another report follows."""
    labels: list[str] = []
    while (fields := lines.take()) is not None:
        if labels and len(labels) == len(fields):
            for label, value in zip(labels, fields, strict=True):
                summary.setdefault(label, value)
        found = [_label(field) for field in fields]
        if {"FID", "MONTH", "TRIG"}.intersection(found):
            return True
        labels = found if len(_LABELS.intersection(found)) > 1 else []
    return False


def _report_checksums(report: EventReport, checked: int, wrong: list[int]) -> None:
    if wrong:
        shown = ", ".join(str(number) for number in wrong[:5])
        more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        report.warn(
            "checksum",
            f"the checksum of {len(wrong)} of {checked} lines is wrong (line {shown}{more}): "
            "values may have changed on the way; copy the report from the relay again",
        )
