"""Read ASCII event reports of SEL relays: the compressed form (CEV, C4_ and C8_ files) and the plain text (EVE).

The instruction manuals of the relays describe both forms, under the commands CEVENT and EVENT.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from domains.powerline.waveforms.channel_values import StoredValues
from domains.powerline.waveforms.formats.encodings import decode_text
from domains.powerline.waveforms.formats.file_size import check_size
from domains.powerline.waveforms.formats.segments import SampleClock, find_segments
from domains.powerline.waveforms.formats.sel.compressed import is_compressed, parse_compressed
from domains.powerline.waveforms.formats.sel.report import EventReport
from domains.powerline.waveforms.formats.sel.text import parse_text
from domains.powerline.waveforms.record import MAX_HZ, MIN_HZ, RawChannel, RawRecord, ReadOptions
from stream.contract import NS_PER_S

SUFFIXES = {".cev", ".eve"}
MAX_BYTES = 32 << 20
"""Size of the largest report that is read. A report of 60 cycles at 32 samples per cycle has about one megabyte."""
HEAD_BYTES = 1 << 14
"""Number of bytes at the start of a file that show whether it is a report."""
_COMPRESSED_HEAD = re.compile(rb'"(FID|MONTH_?)" ?, ?"')
_TEXT_STAMP = re.compile(rb"\bdate\W{0,4}\d\S{5,11}[ \t]+time\W", re.I)
_TEXT_COLUMNS = re.compile(rb"\b([IV])A\w{0,4}[ \t]+\1B\w{0,4}[ \t]+\1C", re.I)
DEFAULT_HZ = 60.0
PER_CYCLE = (4, 8, 12, 16, 32, 64)
"""Numbers of samples per cycle that reports have."""
FILTERED_PER_CYCLE = 8
"""Largest number of samples per cycle at which every relay reports instantaneous values divided by √2."""
SCALED_PER_CYCLE = 16
"""Largest number of samples per cycle at which this division is assumed if the report does not show it."""
KILOVOLT_LIMIT = 1500.0
"""Voltage in kV above which a voltage without a unit can only be in volts."""


def is_sel_event(path: Path) -> bool:
    """Return True for a report by its suffix or its first lines."""
    if path.suffix.lower() in SUFFIXES:
        return True
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError:
        return False
    if _COMPRESSED_HEAD.search(head[:2048]) is not None:
        return True
    return _TEXT_STAMP.search(head) is not None and _TEXT_COLUMNS.search(head) is not None


def read_sel_event(path: Path, options: ReadOptions) -> RawRecord:
    """Read an event report.

    Args:
        path: a report in compressed ASCII or as plain text.
        options: values that replace those in the file.

    Returns:
        The channels of the report. Reports hold instantaneous values divided by √2, so that two rows a quarter of a
        cycle apart give an RMS value; the channels hold the instantaneous values.

    Raises:
        RecordError: the file is no report or is broken; the message names the line.
    """
    why = "an event report is expected to be shorter"
    check_size([path], min(MAX_BYTES, options.max_bytes), "copy the report alone", why)
    data = path.read_bytes()
    if is_compressed(data):
        report, encoding = parse_compressed(data, path), "ascii"
    else:
        text, encoding = decode_text(data, options.encoding, path)
        report = parse_text(text, path)
    return _raw(path, report, options, encoding)


def _raw(path: Path, report: EventReport, options: ReadOptions, encoding: str) -> RawRecord:
    values = report.values
    frequency = _frequency(report)
    per_cycle = _per_cycle(report)
    rate = options.rate_hz or per_cycle * frequency
    clock = SampleClock(values.shape[1], [(rate, 1 << 40)], report.numbers, None, 1e-9)
    segments, found = find_segments(clock)
    marked = report.trigger_row
    start_ns = 0
    if report.stamp_ns is None:
        report.warn("no-start-time", "the report has no valid date and time: times count from 1970")
    else:
        if marked is None:
            report.warn("no-trigger", "no row is marked as the trigger: the stated time is taken for the first row")
        before = 0 if marked is None else marked
        start_ns = max(0, report.stamp_ns - round(_offset_s(report, before, rate) * NS_PER_S))
    channels = _channels(report, _peak_factor(report, per_cycle))
    with np.errstate(over="ignore"):
        stored: NDArray[np.float32] = report.values.astype(np.float32)
    return RawRecord(
        path=path,
        format=report.format,
        channels=channels,
        source=StoredValues(stored),
        segments=segments,
        start_ns=start_ns if options.start_ns is None else options.start_ns,
        trigger_ns=report.stamp_ns,
        header_hz=frequency,
        encoding=encoding,
        station=report.station,
        device=report.device,
        statements=tuple(report.statements),
        findings=[*report.findings, *found],
    )


def _offset_s(report: EventReport, row: int, rate: float) -> float:
    """Return the seconds from the first row to another one."""
    if report.numbers is None:
        return row / rate
    return float(report.numbers[row] - report.numbers[0]) / rate


def _frequency(report: EventReport) -> float:
    """Return the frequency to which the relay's sampling was locked."""
    candidates = [report.frequency_hz]
    if "FREQ" in report.plain_names:
        column = report.values[report.plain_names.index("FREQ")]
        alive = column[np.isfinite(column) & (column > MIN_HZ) & (column < MAX_HZ)]
        candidates.append(float(np.median(alive)) if len(alive) else None)
    for value in candidates:
        if value is not None and MIN_HZ < value < MAX_HZ:
            return value
    report.warn(
        "frequency-unknown",
        f"the report states no mains frequency: {DEFAULT_HZ:g} Hz is assumed (--rate sets the sampling rate)",
    )
    return DEFAULT_HZ


def _per_cycle(report: EventReport) -> float:
    """Return the number of rows per cycle, estimated from the waveforms if the report does not state it."""
    if report.per_cycle is not None:
        return report.per_cycle
    phases = report.values[[k for k, name in enumerate(report.plain_names) if re.match(r"[IV][ABC]", name)] or [0]]
    phases = np.nan_to_num(phases - np.nanmean(phases, axis=1, keepdims=True))
    strongest = phases[int(np.argmax(np.square(phases).sum(axis=1)))]
    spectrum = np.abs(np.fft.rfft(strongest * np.hanning(len(strongest))))
    period = len(strongest) / max(1, int(np.argmax(spectrum)))
    nearest = min(PER_CYCLE, key=lambda count: abs(np.log(count / period)))
    report.warn(
        "rate-estimated",
        f"the report states no samples per cycle: the waveforms suggest {nearest} (--rate sets the sampling rate)",
    )
    return float(nearest)


def _peak_factor(report: EventReport, per_cycle: float) -> float:
    """Return the factor from the columns to instantaneous values.

    Filtered reports hold instantaneous values divided by √2. Unfiltered ones differ by relay: the phase currents in the
    report's summary, which are RMS values, show it.
    """
    scaled = per_cycle <= SCALED_PER_CYCLE
    if per_cycle > FILTERED_PER_CYCLE:
        ratio = _peak_to_summary(report, round(per_cycle / 4))
        scaled = ratio < 2**0.25 if 0.75 < ratio < 1.9 else scaled
    if not scaled:
        return 1.0
    report.note("scaled-by-root-two", "the report holds instantaneous values divided by √2: they are multiplied by √2")
    return float(np.sqrt(2))


def _peak_to_summary(report: EventReport, quarter: int) -> float:
    """Return the peaks of the phase currents over the RMS values in the summary; 0 if there are none.

    The summary gives the currents of one moment. A peak elsewhere in the record, or with a d.c. component, is higher,
    so that the smallest ratio of the phases counts.
    """
    ratios = []
    for name, stated in report.summary_currents.items():
        if name in report.plain_names and stated > 0 and report.values.shape[1] > quarter:
            row = report.values[report.plain_names.index(name)]
            factor = (report.ratio_of(name) or 1.0) if report.primary is False else 1.0
            pairs = np.nan_to_num(np.hypot(row[quarter:], row[:-quarter]))
            ratios.append(factor * float(pairs.max()) / stated)
    return min(ratios, default=0.0)


def _channels(report: EventReport, peak: float) -> tuple[RawChannel, ...]:
    """Return the channels, and scale their values to instantaneous ones, primary if the ratios are known."""
    channels = []
    converted = False
    for k, (name, plain, unit) in enumerate(zip(report.names, report.plain_names, report.units, strict=True)):
        row = report.values[k]
        wave = re.match(r"3?I|V(?!DC)", plain) is not None
        ratio = report.ratio_of(plain) if report.primary is False and wave else None
        if wave:
            row *= peak * (ratio or 1.0)
        converted |= ratio is not None
        side = "P" if report.primary or ratio is not None else "S" if report.primary is False else ""
        channels.append(
            RawChannel(k + 1, name, unit or _usual_unit(plain, row, report), side=side if wave else "")  # type: ignore[arg-type]
        )
    if converted:
        report.note(
            "secondary-values", "the report holds secondary values: they are multiplied by its CT and VT ratios"
        )
    return tuple(channels)


def _usual_unit(plain: str, row: NDArray[np.float64], report: EventReport) -> str:
    """Return the unit that a column without a stated unit has."""
    if plain == "FREQ":
        return "Hz"
    if plain == "VDC":
        return "V"
    if re.match(r"3?I", plain):
        return "A"
    if plain.startswith("V"):
        highest = float(np.nanmax(np.abs(row), initial=0.0))
        return "V" if report.primary is False or highest > KILOVOLT_LIMIT else "kV"
    return ""
