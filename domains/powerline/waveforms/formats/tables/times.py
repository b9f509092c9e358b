"""Times of the rows of a table: numbers or text in columns, or a sampling rate stated above the names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from domains.powerline.waveforms.formats.tables.text import is_number
from domains.powerline.waveforms.record import Finding

TIME_NAME = re.compile(
    r"^\W*(.*\|\s*)?(t(?!_)|t(?=_[mµun]?s)|times?|time ?stamp|date ?time|date|datum|zeit|temps|tiempo|tempo|"
    r"x_value|b:tnow|время|时间|(sample|rel\w*|abs\w*|elapsed|simulation|sim)[ _]?(time|zeit))(\b|_)",
    re.IGNORECASE,
)
INDEX_NAME = re.compile(
    r"^\W*(n|no|nr|num|number|№|#|index|idx|i|k|id|row|rows|sample|samples|sample ?(no|nr|number|index|#)|points?|"
    r"unnamed: 0|column 1|номер|序号|采样点)\W*$",
    re.IGNORECASE,
)
TIME_UNITS = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds", "с", "сек", "秒"), 1.0),
    **dict.fromkeys(("ms", "msec", "millisecond", "milliseconds", "мс", "毫秒"), 1e-3),
    **dict.fromkeys(("us", "usec", "µs", "μs", "microsecond", "microseconds", "мкс", "微秒"), 1e-6),
    **dict.fromkeys(("ns", "nsec", "nanosecond", "nanoseconds", "нс"), 1e-9),
    **dict.fromkeys(("min", "minutes"), 60.0),
    **dict.fromkeys(("d", "day", "days"), 86400.0),
}
"""Seconds of one unit, by its name in lower case."""
FRACTION_NAMES = {"ms", "msec", "millisecond", "milliseconds", "us", "usec", "µs", "microsecond", "microseconds", "мс"}
"""Names of a column that holds the fraction of the second beside a column with the time of day."""
PLAUSIBLE_RATE_HZ = (200.0, 2e6)
EPOCH_S = 1e8
"""Time in seconds above which times are Unix times."""
DAY_S, DAY_NS = 86400, 86_400_000_000_000
EXCEL_DAYS, MATLAB_DAYS = (20_000.0, 80_000.0), (693_000.0, 803_000.0)
"""Days since 1899-12-30 and since year 0 of dates from 1954 to 2119, as Excel and MATLAB count them."""
EXCEL_EPOCH, MATLAB_EPOCH = 25_569, 719_529
"""Day on which Unix time begins."""
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
MOMENT = (
    r"^\s*(?:(?P<y>\d{1,4})[-./ ](?P<m>\d{1,2})[-./ ](?P<d>\d{1,4})\.?)?[T ,;_]*"
    r"(?:(?:(?P<H>\d{1,2}):)?(?P<M>\d{1,3}):(?P<S>\d{1,2})(?:[.,:](?P<f>\d{1,9})\d*)?)?"
    r"\s*(?P<p>[AaPp]\.?[Mm]\.?)?\s*(?P<z>Z|UTC|[+-]\d{2}:?\d{2})?\s*$"
)
"""Date, time of day, or both."""
MOST_LETTERS = 80
"""Letters of the longest text that can be a date or a time."""
IRREGULAR = 0.02
"""Share of irregular steps above which the times are examined for a coarse resolution."""
STATED_RATE = re.compile(
    r"(?:sampl\w*[\s_]*(?:rate|freq\w*)|abtast(?:rate|frequenz)|частота\s+\w*дискр\w*|采样(?:率|频率)|\bfs\b|\bf_s\b|"
    r"\brate\b|samples?\s*/\s*s\w*)"
    r"\W*?(?:\[|\()?\s*(?P<before>[kMк]?(?:Hz|sps|Гц))?\W*?(?P<value>\d+(?:[.,]\d+)?(?:[eE][+-]?\d+)?)\s*(?P<unit>[kMк]?(?:Hz|sps|S/s|Гц))?",
    re.IGNORECASE,
)
STATED_STEP = re.compile(
    r"(?:sampl\w*[\s_]*(?:interval|period|time|step)|time[\s_]*step|\bdelta[\s_]*t\b|\bdelta_x\b|\bdt\b|h?resolution|"
    r"x?increment|abtastintervall|период\s+дискр\w*|采样间隔)"
    r"\W*?(?:\[|\()?\s*(?P<before>[mµun]?s(?:ec)?)?\b\W*?(?P<value>\d+(?:[.,]\d+)?(?:[eE][+-]?\d+)?)\s*"
    r"(?P<unit>[mµμun]?s(?:ec)?\b)?",
    re.IGNORECASE,
)
STATED_START = re.compile(
    r"(\d{4}[-./]\d{1,2}[-./]\d{1,2}|\d{1,2}[-./]\d{1,2}[-./]\d{4})[T ,;\t]+(\d{1,2}:\d{2}:\d{2}(?:[.,]\d{1,9})?)"
)
STATED_MAINS = re.compile(
    r"(?:nominal|system|mains|grid|line|network|power|rated|base)[\s_]*freq\w*\W*(?:hz\W*)?(?P<value>\d+(?:[.,]\d+)?)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class TimeColumns:
    """Columns that hold the time of a row.

    Attributes:
        number: index of a column of numbers, to which ``texts`` are added; None if there is none.
        texts: indices of columns of text with date, time of day, or both.
        index: index of a column that counts the rows; None if there is none.
    """

    number: int | None = None
    texts: tuple[int, ...] = ()
    index: int | None = None

    @property
    def used(self) -> set[int]:
        """Return the indices of all these columns."""
        return {k for k in (self.number, *self.texts, self.index) if k is not None}


def find_time_columns(
    names: Sequence[str],
    units: Sequence[str],
    numeric: Sequence[bool],
    sample: Sequence[Sequence[str]],
    *,
    named: bool,
    wanted: str | None,
) -> TimeColumns:
    """Find the columns that hold the time.

    Args:
        names: names of the columns.
        units: units of the columns.
        numeric: True for every column of numbers.
        sample: cells of some rows, in any order of rows that the file has.
        named: True if the names come from the file.
        wanted: name of the column that the user chose; None if the user chose none.

    Returns:
        The columns; all None if no column holds times.
    """
    texts = _text_columns(sample, numeric)
    if wanted is not None and wanted in names:
        chosen = names.index(wanted)
        return TimeColumns(number=chosen) if numeric[chosen] else TimeColumns(texts=(chosen,))
    exact = [k for k in texts if any(re.search(r":\d+[.,:]\d{3}", row[k]) for row in sample)]
    numbers = [k for k, is_numeric in enumerate(numeric) if is_numeric]
    index = next((k for k in numbers if INDEX_NAME.match(names[k]) and _counts_rows(sample, k)), None)
    named_time = [k for k in numbers if named and TIME_NAME.match(names[k])]
    by_unit = [k for k in numbers if units[k].lower() in TIME_UNITS and k != index]
    number = next(iter([*named_time, *by_unit]), None)
    if number is None and numbers and index is None and _runs_evenly(sample, numbers[0]):
        first = numbers[0]
        if not named or INDEX_NAME.match(names[first]):
            number, index = (None, first) if _counts_rows(sample, first) else (first, None)
    if texts and not exact:
        part = next((k for k in numbers if names[k].strip().lower() in FRACTION_NAMES), None)
        if part is not None:
            return TimeColumns(number=part, texts=tuple(texts), index=index)
    if texts and (exact or number is None):
        return TimeColumns(texts=tuple(texts), index=index)
    return TimeColumns(number=number, index=index if index != number else None)


def _text_columns(sample: Sequence[Sequence[str]], numeric: Sequence[bool]) -> list[int]:
    """Return the first column of text with dates and times of day, or one column of each."""
    dates: list[int] = []
    clocks: list[int] = []
    for k, is_numeric in enumerate(numeric):
        cells = [row[k] for row in sample if row[k]]
        if is_numeric or not cells or max(map(len, cells)) > MOST_LETTERS:
            continue
        found = [re.match(MOMENT, _numbered_months(cell)) for cell in cells[:20]]
        if not all(found):
            continue
        has_date = all(match is not None and match["y"] for match in found)
        has_clock = all(match is not None and match["S"] for match in found)
        if has_date and has_clock:
            return [k]
        (dates if has_date else clocks if has_clock else []).append(k)
    return [*dates[:1], *clocks[:1]] if clocks else []


def _column(sample: Sequence[Sequence[str]], k: int) -> NDArray[np.float64]:
    cells = [row[k].replace(",", ".").translate(str.maketrans("dD", "eE")) for row in sample]
    try:
        return np.array([float(cell) for cell in cells if is_number(cell)])
    except ValueError:
        return np.empty(0)


def _counts_rows(sample: Sequence[Sequence[str]], k: int) -> bool:
    values = _column(sample, k)
    return len(values) > 2 and bool(np.isfinite(values).all()) and bool((np.diff(values) == 1).all())


def _runs_evenly(sample: Sequence[Sequence[str]], k: int) -> bool:
    values = _column(sample, k)
    if len(values) < 8 or len(values) != len(sample) or not np.isfinite(values).all():
        return False
    steps = np.diff(values)
    return bool(np.median(steps) > 0 and (np.abs(steps - np.median(steps)) <= 0.5 * np.median(steps)).all())


def _numbered_months(text: str) -> str:
    for number, month in enumerate(MONTHS, 1):
        if month in text.lower():
            return re.sub(rf"[-./ ]?(?i:{month})[a-z]*[-./ ]?", f"-{number}-", text, count=1)
    return text


def moments_of(column: pa.Array) -> NDArray[np.int64] | None:
    """Return moments written as text in ns since 1970 or since midnight; None if some cell holds none.

    Day and month are distinguished by their size and by the sign between them: 02.01. and 02/01 are 2 January.

    Example:
        >>> moments_of(pa.array(["00:00:01.5", "01:00:00,000001"])).tolist()
        [1500000000, 3600000001000]
    """
    if not len(column):
        return np.empty(0, np.int64)
    if re.search(r"[a-z]{3}", column[0].as_py().lower()):
        column = _with_numbered_months(column)
    found = pc.extract_regex(column, MOMENT)
    if found.null_count:
        return None
    first = column[0].as_py()
    parts = {field.name: found.field(k) for k, field in enumerate(found.type)}
    clock = _clock_ns(parts)
    if not pc.any(pc.not_equal(parts["y"], "")).as_py():
        return clock
    days = _days(parts, "/" in first.split(":")[0])
    return None if days is None else days * DAY_NS + clock


def _with_numbered_months(column: pa.Array) -> pa.Array:
    for number, month in enumerate(MONTHS, 1):
        column = pc.replace_substring_regex(column, rf"(?i)[-./ ]?{month}[a-z]*[-./ ]?", f"-{number}-")
    return column


def _whole(text: pa.Array) -> NDArray[np.int64]:
    """Return numbers in text as integers, 0 where empty."""
    filled = pc.if_else(pc.equal(text, ""), "0", text)
    return np.asarray(filled.cast(pa.int64()).to_numpy(zero_copy_only=False), np.int64)


def _clock_ns(parts: dict[str, pa.Array]) -> NDArray[np.int64]:
    hours, minutes, seconds = (_whole(parts[name]) for name in "HMS")
    digits = np.asarray(pc.utf8_length(parts["f"]).to_numpy(zero_copy_only=False), np.int64)
    fraction = _whole(parts["f"]) * 10 ** (9 - np.minimum(digits, 9))
    half = np.asarray(pc.utf8_lower(pc.utf8_slice_codeunits(parts["p"], 0, 1)).to_numpy(zero_copy_only=False))
    hours = np.where(half == "p", hours % 12 + 12, np.where(half == "a", hours % 12, hours))
    ns = ((hours * 60 + minutes) * 60 + seconds) * 1_000_000_000 + fraction
    zone = pc.extract_regex(parts["z"], r"^(?P<s>[+-])(?P<h>\d{2}):?(?P<m>\d{2})$")
    if zone.null_count == len(zone):
        return np.asarray(ns)
    sign = np.where(np.asarray(zone.field(0).to_numpy(zero_copy_only=False)) == "-", -1, 1)
    shift = _whole(zone.field(1).fill_null("")) * 60 + _whole(zone.field(2).fill_null(""))
    return np.asarray(ns - sign * shift * 60_000_000_000)


def _days(parts: dict[str, pa.Array], slashes: bool) -> NDArray[np.int64] | None:
    """Return the days since 1970 of dates in the order year month day, day month year, or month day year."""
    first, second, third = (_whole(parts[name]) for name in "ymd")
    if first.max() > 31:
        years, months, days = first, second, third
    elif slashes and first.max() <= 12 < second.max():
        years, months, days = third, first, second
    else:
        years, months, days = third, second, first
    years = np.where(years < 70, years + 2000, np.where(years < 100, years + 1900, years))
    if months.min() < 1 or months.max() > 12 or days.min() < 1 or days.max() > 31:
        return None
    if years.min() < 1900 or years.max() > 2200:
        return None
    dates = (years - 1970).astype("datetime64[Y]").astype("datetime64[M]") + (months - 1).astype("timedelta64[M]")
    return np.asarray(dates.astype("datetime64[D]").astype(np.int64) + days - 1)


def stamps_of_text(columns: Sequence[NDArray[np.int64]]) -> tuple[NDArray[np.int64], int]:
    """Return ns since the first row, and the first row's Unix time, from the moments of one column or of two.

    A time of day that passes midnight continues on the next day.
    """
    ns = np.sum(columns, axis=0)
    # Only times of day wrap: dates have larger numbers than one day.
    if ns.max() < 2 * DAY_NS:
        ns = ns + DAY_NS * np.cumsum(np.concatenate([[0], np.diff(ns) < -DAY_NS // 2]))
        return ns - ns[0], 0
    return ns - ns[0], max(0, int(ns[0]))


def stamps_of_numbers(
    values: NDArray[np.float64], unit_name: str | None, findings: list[Finding]
) -> tuple[NDArray[np.int64] | None, int]:
    """Return ns since the first row and the first row's Unix time, from numbers; None if they are unusable.

    Args:
        values: the column, float64.
        unit_name: unit of the column; None to guess it.
        findings: list to which a guess is added.
    """
    if not np.isfinite(values).all():
        return None, 0
    zero = 0.0
    unit = TIME_UNITS.get(unit_name.strip().lower()) if unit_name else None
    if unit is None:
        unit, zero = _guessed_unit(values, findings)
    if unit is None:
        return None, 0
    with np.errstate(over="ignore", invalid="ignore"):
        seconds = (values - zero) * unit
        span = float(np.abs(seconds - seconds[0]).max())
    if not span < 2**62 / 1e9:
        return None, 0
    stamps = np.round((values - values[0]) * (unit * 1e9)).astype(np.int64)
    start = float(seconds[0]) if EPOCH_S < seconds[0] < 9e9 else 0.0
    return stamps, round(start * 1e9)


def _guessed_unit(values: NDArray[np.float64], findings: list[Finding]) -> tuple[float | None, float]:
    """Return the first unit that gives a sampling rate that recorders use, and the number of Unix time 0."""
    step = float(np.median(np.diff(values)))
    if not step > 0:
        step = float(values[-1] - values[0]) / max(len(values) - 1, 1)
    if not step > 0:
        return None, 0.0
    for (low, high), zero, maker in ((EXCEL_DAYS, EXCEL_EPOCH, "Excel"), (MATLAB_DAYS, MATLAB_EPOCH, "MATLAB")):
        if low < values[0] < high and step < 1e-6:
            message = f"the time column holds days as {maker} counts them: {1 / (step * DAY_S):.6g} Hz follow"
            findings.append(Finding("note", "time-unit", message))
            return float(DAY_S), float(zero)
    for unit, symbol in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")):
        if PLAUSIBLE_RATE_HZ[0] <= 1 / (step * unit) <= PLAUSIBLE_RATE_HZ[1]:
            message = f"the time column gives no unit: {symbol} is assumed, which gives {1 / (step * unit):.6g} Hz"
            findings.append(Finding("note", "time-unit", message))
            return unit, 0.0
    return None, 0.0


def even_rate(stamps: NDArray[np.int64]) -> float | None:
    """Return the rate of times that run evenly but are written with too few digits; None for all other times.

    Example:
        >>> even_rate(np.round(np.arange(1000) / 4.8).astype(np.int64) * 1_000_000)
        4800.0
    """
    if len(stamps) < 16:
        return None
    steps = np.diff(stamps)
    usual = max(float(np.median(steps)), 1.0)
    if ((steps <= 0) | (steps > 1.4 * usual) | (steps < 0.6 * usual)).mean() <= IRREGULAR or steps.min() < 0:
        return None
    rising = steps[steps > 0]
    if not len(rising):
        return None
    rows = np.arange(len(stamps), dtype=np.float64)
    slope, start = np.polyfit(rows, stamps.astype(np.float64), 1)
    rest = stamps - (slope * rows + start)
    if slope <= 0 or float(rest.max() - rest.min()) > 1.2 * float(rising.min()):
        return None
    rate = 1e9 / float(slope)
    # Rates are whole numbers; the estimate is only as exact as the digits.
    error = rate * float(rising.min()) / float(stamps[-1] - stamps[0])
    whole = [step * round(rate / step) for step in (100.0, 10.0, 1.0)]
    return next((value for value in whole if value > 0 and abs(value - rate) <= error), rate)


@dataclass(frozen=True, slots=True)
class Stated:
    """Values that the lines above the names state."""

    rate_hz: float | None = None
    mains_hz: float | None = None
    start_ns: int = 0


def stated_values(preamble: Sequence[str]) -> Stated:
    """Return sampling rate and mains frequency from the lines above the names.

    Example:
        >>> stated_values(["Station: X", "Sampling rate: 4.8 kHz", "Nominal frequency = 60 Hz"])
        Stated(rate_hz=4800.0, mains_hz=60.0, start_ns=0)
        >>> stated_values(["Sample interval (ms);0,25"]).rate_hz
        4000.0
    """
    rate = mains = None
    start = 0
    for line in preamble[:200]:
        text = " ".join(line[:300].split())
        moment = STATED_START.search(text)
        if moment is not None and not start and not re.search(r"creat|export|print|saved", text, re.IGNORECASE):
            ns = moments_of(pa.array([f"{moment[1]} {moment[2]}"]))
            start = 0 if ns is None else max(0, int(ns[0]))
        found = STATED_MAINS.search(text)
        if found is not None:
            value = _value(found["value"])
            mains = value if mains is None and value is not None and 10 <= value <= 80 else mains
            continue
        found = STATED_RATE.search(text)
        if found is not None and rate is None:
            value, unit = _value(found["value"]), (found["unit"] or found["before"] or "").lower()
            if value is not None:
                rate = value * {"k": 1e3, "к": 1e3, "m": 1e6}.get(unit[:1], 1.0)
            continue
        found = STATED_STEP.search(text)
        if found is not None and rate is None:
            value, name = _value(found["value"]), (found["unit"] or found["before"] or "s").lower()
            step_s = (value or 0.0) * TIME_UNITS.get(name, 1.0)
            if step_s > 0:
                rate = round(1 / step_s, 6)
    return Stated(rate if rate is not None and 1 <= rate <= 1e9 else None, mains, start)


def _value(text: str) -> float | None:
    try:
        return float(text.replace(",", "."))
    except ValueError:
        return None
