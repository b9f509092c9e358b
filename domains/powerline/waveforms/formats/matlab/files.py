"""Read waveforms from MATLAB files: vectors, matrices, structs, cells, and what Simulink writes."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.io.matlab import MatlabFunction, MatlabObject, MatlabOpaque

from domains.powerline.waveforms.errors import RecordError
from domains.powerline.waveforms.formats.matlab.contents import load_variables
from domains.powerline.waveforms.formats.tables.column_units import split_units
from domains.powerline.waveforms.formats.tables.columns import Times, timed_record
from domains.powerline.waveforms.formats.tables.layout import unique_names
from domains.powerline.waveforms.record import Finding, RawChannel, RawRecord, ReadOptions

FEWEST_SAMPLES = 16
MOST_COLUMNS = 4096
MOST_ARRAYS = 100_000
TIME_NAME = re.compile(
    r"^(t|tt|tout|t_?vec|time|times|time_?(?:stamps?|vec(?:tor)?|axis)|zeit|temps|tiempo|tempo|x_?values?)"
    r"(?:_?(?P<unit>s|sec|ms|us))?$",
    re.IGNORECASE,
)
RATE_NAME = re.compile(
    r"^(fs|f_s|fsamp\w*|fsample|sampl\w*_?(rate|freq\w*|hz)|rate|rate_?hz|sr|srate|fa|fabt)$", re.IGNORECASE
)
STEP_NAME = re.compile(
    r"^(ts|t_s|dt|d_t|delta_?t|sampl\w*_?(time|period|interval|step)|time_?step|tstep|step|xincr\w*|tinterval)$",
    re.IGNORECASE,
)
MAINS_NAME = re.compile(
    r"^(f|f0|f_0|fn|f_n|fnom|f_nom|freq|frequency|fr|f_?(base|sys|grid|mains|line|nominal))$", re.IGNORECASE
)
NAMES_NAME = re.compile(
    r"^(names?|labels?|headers?|channels?|channel_?names?|col_?(headers|names)|signal_?names?|vars?|variables)$",
    re.IGNORECASE,
)
UNITS_NAME = re.compile(r"^(units?|channel_?units?)$", re.IGNORECASE)
PARTS = {"data", "values", "value", "y", "signal", "signals"}
"""Names of fields that say only that they hold the samples; the name is that of the struct."""


@dataclass(frozen=True, slots=True, eq=False)
class _Array:
    """An array of numbers, and the struct in which it lies.

    Attributes:
        name: path of the variable, e.g. ``data.Va``.
        key: last part of the path.
        scope: path of the struct, empty for a variable of its own.
        values: the numbers, two-dimensional.
        label: name that Simulink gives the signal; empty if there is none.
    """

    name: str
    key: str
    scope: str
    values: NDArray[np.generic]
    label: str = ""


@dataclass(slots=True)
class _Content:
    """Content of a file: arrays, texts by scope and name, and the variables that cannot be read."""

    arrays: list[_Array] = field(default_factory=list)
    texts: dict[str, dict[str, list[str]]] = field(default_factory=lambda: defaultdict(dict))
    objects: list[str] = field(default_factory=list)

    def add_texts(self, scope: str, key: str, texts: list[str]) -> None:
        """Add the texts of a variable if its name says that they are names or units."""
        if NAMES_NAME.match(key) or UNITS_NAME.match(key):
            self.texts[scope][key] = texts


def is_matlab(path: Path) -> bool:
    """Return True for a file with the suffix ``.mat``."""
    return path.suffix.lower() == ".mat" and path.is_file()


def read_matlab(path: Path, options: ReadOptions) -> RawRecord:
    """Read the waveforms of a MATLAB file.

    The samples are those arrays of one length that have most columns. Their times come from a vector of that length, or
    from a sampling rate among the variables.

    Args:
        path: the file.
        options: values that replace those in the file.

    Returns:
        The channels, named by the paths of their variables.

    Raises:
        RecordError: the file cannot be read or has no waveforms.
    """
    content = _Content()
    for name, value in load_variables(path, options).items():
        _collect(content, value, name, name, "", 0)
    length = _length(content.arrays)
    if length is None:
        hint = ""
        if content.objects:
            hint = f"; {content.objects[0]} is an object of MATLAB: save its Time and Data as variables of their own"
        raise RecordError(f"{path}: no variable holds at least {FEWEST_SAMPLES} samples{hint}")
    findings: list[Finding] = []
    times, unit, used = _times(content.arrays, length)
    columns = [
        column
        for array in content.arrays
        if id(array) not in used and length in array.values.shape
        for column in _columns(content, array, length, times)
    ]
    if not columns:
        raise RecordError(f"{path}: no variable holds samples besides the time")
    if len(columns) > MOST_COLUMNS:
        raise RecordError(f"{path}: {len(columns):,} columns are no channels: save the waveforms alone")
    _report_left(content, length, findings)
    rate, mains = _rate(content.arrays), _scalar(content.arrays, MAINS_NAME, 10, 80)
    names = split_units([name for name, _, _ in columns])
    uses = Counter(name for name, _ in names)
    unique = unique_names(
        [name if uses[name] == 1 else whole for (name, _), (whole, _, _) in zip(names, columns, strict=True)]
    )
    channels = [
        RawChannel(number, name, own or given)
        for number, (name, (_, own), (_, given, _)) in enumerate(zip(unique, names, columns, strict=True), 1)
    ]
    with np.errstate(over="ignore", invalid="ignore"):
        values = np.stack([np.asarray(column, np.float32) for *_, column in columns])
    values[~np.isfinite(values)] = np.nan
    return timed_record(
        path, "MATLAB", channels, values, Times(times, unit, None, rate), options, header_hz=mains, findings=findings
    )


def _collect(content: _Content, value: object, name: str, key: str, scope: str, depth: int, label: str = "") -> None:
    """Add the arrays of a value to the content; structs and cells are entered."""
    if isinstance(value, MatlabOpaque | MatlabFunction | MatlabObject):
        content.objects.append(name)
        return
    if not isinstance(value, np.ndarray) or depth > 40 or len(content.arrays) > MOST_ARRAYS:
        return
    if value.dtype.names is not None:
        for number, entry in enumerate(value.ravel(), 1):
            own = name if value.size == 1 else f"{name}({number})"
            _collect_struct(content, {part: entry[part] for part in value.dtype.names}, own, depth)
    elif value.dtype.kind == "U":
        content.add_texts(scope, key, [str(text).strip() for text in value.ravel()])
    elif value.dtype.kind == "O":
        entries = list(value.ravel())
        words = [_text(entry) for entry in entries]
        if entries and all(word is not None for word in words):
            content.add_texts(scope, key, [word or "" for word in words])
            return
        for number, entry in enumerate(entries, 1):
            own = name if len(entries) == 1 else f"{name}{{{number}}}"
            _collect(content, entry, own, key, own, depth + 1, label)
    elif value.dtype.kind in "fiub":
        plain = _two_dimensional(value)
        if plain is not None:
            content.arrays.append(_Array(name, key, scope, plain, label))


def _collect_struct(content: _Content, fields: Mapping[str, object], name: str, depth: int) -> None:
    label = next((text for part in ("label", "title", "Name", "name") if (text := _text(fields.get(part)))), "")
    for part, value in fields.items():
        own = name if part.lower() in PARTS and not (part == "signals" and depth > 0) else f"{name}.{part}"
        of_signal = label if part.lower() in PARTS else ""
        _collect(content, value, own, part, name, depth + 1, of_signal.strip("<>"))


def _text(value: object) -> str | None:
    """Return a text, which MATLAB stores as an array of letters; None if the value is none."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, np.ndarray) and value.dtype.kind == "U" and value.size <= 1:
        return str(value.ravel()[0]).strip() if value.size else ""
    if isinstance(value, np.ndarray) and value.dtype.kind == "O" and value.size == 1 and value.dtype.names is None:
        inner = value.ravel()[0]
        return _text(inner) if not (isinstance(inner, np.ndarray) and inner.dtype.kind == "O") else None
    return None


def _two_dimensional(values: NDArray[np.generic]) -> NDArray[np.generic] | None:
    """Return an array without dimensions of size 1 as a matrix; None if it has three or more that are larger."""
    plain = np.squeeze(values)
    if plain.ndim == 0:
        return plain.reshape(1, 1)
    if plain.ndim == 1:
        return plain.reshape(-1, 1)
    return plain if plain.ndim == 2 else None


def _length(arrays: Sequence[_Array]) -> int | None:
    """Return the number of samples: the length of the arrays that have most columns, of those with times if any."""
    votes: dict[int, int] = defaultdict(int)
    timed = {
        len(array.values)
        for array in arrays
        if array.values.shape[1] == 1 and TIME_NAME.match(array.key) and _rises(array.values[:, 0])
    }
    for array in arrays:
        if max(array.values.shape) >= FEWEST_SAMPLES and min(array.values.shape) <= MOST_COLUMNS:
            votes[max(array.values.shape)] += min(array.values.shape)
    # A vector of times alone is no recording.
    return max(votes, key=lambda count: (count in timed and votes[count] > 1, votes[count], count), default=None)


def _rises(values: NDArray[np.generic]) -> bool:
    """Return True for numbers that never fall, and rise as a whole."""
    plain = np.asarray(values, np.float64)
    if len(plain) < FEWEST_SAMPLES or not np.isfinite(plain).all():
        return False
    return bool((np.diff(plain) >= 0).all() and plain[-1] > plain[0])


def _runs_evenly(values: NDArray[np.generic]) -> bool:
    if not _rises(values):
        return False
    steps = np.diff(np.asarray(values, np.float64))
    usual = float(np.median(steps))
    return usual > 0 and bool((np.abs(steps - usual) <= 0.5 * usual).mean() > 0.99)


def _counts(values: NDArray[np.generic]) -> bool:
    """Return True for the numbers 0, 1, 2 … or 1, 2, 3 …, which count samples and are no times."""
    return float(values[0]) in (0.0, 1.0) and bool((np.diff(np.asarray(values, np.float64)) == 1).all())


def _times(arrays: Sequence[_Array], length: int) -> tuple[NDArray[np.float64] | None, str, set[int]]:
    """Return times and their unit, and the identities of all arrays that hold times or count the samples."""
    vectors = [array for array in arrays if array.values.shape == (length, 1)]
    named = [array for array in vectors if TIME_NAME.match(array.key) and _rises(array.values[:, 0])]
    even = [array for array in vectors if array not in named and _runs_evenly(array.values[:, 0])]
    used = {id(array) for array in (*named, *even)}
    for array in (*named, *(other for other in even if not _counts(other.values[:, 0]))):
        found = TIME_NAME.match(array.key)
        unit = (found["unit"] or "") if found is not None else ""
        return np.asarray(array.values[:, 0], np.float64), unit, used
    for array in arrays:
        matrix = _oriented(array, length)
        if matrix is not None and matrix.shape[1] > 1 and _runs_evenly(matrix[:, 0]) and not _counts(matrix[:, 0]):
            return np.asarray(matrix[:, 0], np.float64), "", used
    return None, "", used


def _oriented(array: _Array, length: int) -> NDArray[np.generic] | None:
    """Return an array with its samples along the first axis; None if no axis has the length."""
    if array.values.shape[0] == length:
        return array.values
    return array.values.T if array.values.shape[1] == length else None


def _columns(
    content: _Content, array: _Array, length: int, times: NDArray[np.float64] | None
) -> Iterator[tuple[str, str, NDArray[np.generic]]]:
    """Yield name, unit and samples of every column that is no time."""
    matrix = _oriented(array, length)
    if matrix is None or min(matrix.shape) > MOST_COLUMNS:
        return
    count = matrix.shape[1]
    names = _beside(content, array, NAMES_NAME, count)
    units = _beside(content, array, UNITS_NAME, count) or [""] * count
    plain = array.label or array.name
    skipped = 0
    for k in range(count):
        values = matrix[:, k]
        same = times is not None and np.array_equal(np.asarray(values, np.float64), times)
        if k == 0 and count > 1 and (same or _runs_evenly(values)):
            skipped = 1
            continue
        # Numbers from 1 without the time, since they often stand for the phases.
        name = plain if count == 1 else f"{plain}:{k + 1 - skipped}"
        yield (names[k] or name) if names else name, units[k], values


def _beside(content: _Content, array: _Array, pattern: re.Pattern[str], count: int) -> list[str]:
    """Return the texts beside an array, one for each of its columns; empty if there are none."""
    for key, texts in content.texts[array.scope].items():
        if not pattern.match(key):
            continue
        if len(texts) == 1 and count > 1:
            texts = re.split(r"[,;\t\n|]\s*", texts[0])
        if len(texts) == count and (count > 1 or not array.label):
            return texts
        if len(texts) == count - 1:
            # The names leave out the time in the first column.
            return ["", *texts]
    return []


def _rate(arrays: Sequence[_Array]) -> float | None:
    """Return the sampling rate that a variable states; None if none does."""
    rate = _scalar(arrays, RATE_NAME, 1, 1e9)
    if rate is not None:
        return rate
    step = _scalar(arrays, STEP_NAME, 1e-9, 1.0)
    return None if step is None else round(1 / step, 6)


def _scalar(arrays: Sequence[_Array], pattern: re.Pattern[str], low: float, high: float) -> float | None:
    """Return the value of the only number of that name within the limits; None if there is none, or several."""
    found = {
        float(array.values[0, 0])
        for array in arrays
        if array.values.size == 1 and pattern.match(array.key) and low <= float(array.values[0, 0]) <= high
    }
    return found.pop() if len(found) == 1 else None


def _report_left(content: _Content, length: int, findings: list[Finding]) -> None:
    """Add a finding about waveforms of another length and about objects, which are not read."""
    other = [
        array.name
        for array in content.arrays
        if max(array.values.shape) >= FEWEST_SAMPLES and length not in array.values.shape
    ]
    for names, reason in (
        (other, f"do not have {length:,} samples"),
        (content.objects, "are objects of MATLAB: save their arrays"),
    ):
        if names:
            shown = ", ".join(names[:8]) + (" …" if len(names) > 8 else "")
            findings.append(Finding("note", "variables-skipped", f"these variables are not read: {shown} {reason}"))
