"""Resample a line to the spec's samples per cycle of the true mains frequency, and cut windows and messages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from domains.powerline.spec import power_line_spec
from domains.powerline.waveforms.record import CHANNELS, RecordLine, Segment
from domains.powerline.waveforms.stretches import stretches
from model.spec import SignalSpec
from stream.contract import NS_PER_S
from stream.windowing import OutgoingWindows, cut_windows, window_messages

HALF_WIDTH = 6
"""Half width of the filter in samples of the lower rate.

It attenuates by about 50 dB above 1.3 times the new band, and is flat up to 0.7 of it.
"""
KAISER_BETA = 5.0
FEWEST_PER_CYCLE = 3.9
"""Smallest number of samples per cycle of a waveform; a slower segment may hold magnitudes and is skipped.

Relays store event reports with 4 samples per cycle. The fundamental is then at half the band, where the filter is flat.
"""
FEW_PER_CYCLE = 7.9
"""Number of samples per cycle below which harmonics and fast transients are lost."""
BLOCK_VALUES = 1 << 20
"""Number of values processed at a time: 4 MiB of float32, which fit into caches."""
KERNEL_STEPS = 512
"""Number of positions between two samples for which the filter is tabulated; the position's error is below 0.1 %."""
MOST_RATIO = 96.0
"""Number of input samples per output sample above which samples are averaged first; at most 1 % aliases into the band.
"""
OVERHANG = 2
"""Number of steps by which a part may extend beyond its ends, towards a neighbour of another rate."""
WINDOWS_PER_MESSAGE = 100

Samples = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class WindowRun:
    """Windows of a stretch without a gap.

    Attributes:
        sequence: sequence number of the first window on its line.
        start_ns: Unix time of the first sample.
        rate_hz: sampling rate, ``samples_per_cycle`` times the line's true mains frequency.
        samples: float32 (t, channels), per unit, resampled.
        windows: float32 (n, samples, channels): a view of ``samples``.
    """

    sequence: int
    start_ns: int
    rate_hz: float
    samples: Samples
    windows: Samples


@dataclass(frozen=True, slots=True)
class SkippedPart:
    """Part of a line from which no window is cut.

    Attributes:
        start_s: time of its first sample, seconds after the record's first sample.
        stop_s: time of its last sample.
        samples_per_cycle: number of samples per mains cycle.
        too_slow: True if it has too few samples per cycle; False if it is shorter than a window.
    """

    start_s: float
    stop_s: float
    samples_per_cycle: float
    too_slow: bool


def skipped_parts(line: RecordLine, spec: SignalSpec) -> tuple[SkippedPart, ...]:
    """Return the parts of a line from which ``windows_of`` cuts no window, in the order of the record."""
    rate_hz = whole_hop_rate(spec, line.frequency_hz)
    skipped = [
        SkippedPart(segment.start_s, _end_s(segment), segment.rate_hz / line.frequency_hz, too_slow=True)
        for segment in line.segments
        if _is_slow(segment, line)
    ]
    skipped += [
        SkippedPart(part[0].start_s, _end_s(part[-1]), part[0].rate_hz / line.frequency_hz, too_slow=False)
        for part in _fast_parts(line)
        if _length(part, rate_hz) < spec.samples
    ]
    return tuple(sorted(skipped, key=lambda part: part.start_s))


def _is_slow(segment: Segment, line: RecordLine) -> bool:
    return segment.rate_hz < FEWEST_PER_CYCLE * line.frequency_hz


def _fast_parts(line: RecordLine) -> Iterator[list[Segment]]:
    """Yield the segments that are waveforms, those without a gap between them together."""
    for stretch in stretches(line.segments):
        yield from stretches([segment for segment in stretch if not _is_slow(segment, line)])


def _length(part: Sequence[Segment], rate_hz: float) -> int:
    """Return the number of samples of a part at another rate."""
    return int(np.floor((_end_s(part[-1]) - part[0].start_s) * rate_hz + 1e-6)) + 1


def _end_s(segment: Segment) -> float:
    return segment.start_s + (len(segment) - 1) / segment.rate_hz


def windows_of(line: RecordLine, spec: SignalSpec) -> tuple[WindowRun, ...]:
    """Cut a record's line into windows, as a gateway would have sent them.

    Segments that follow each other form one run, even at different rates. After a gap a new run begins. Its sequence
    number skips as many windows as the gap would have held (at least one), as the contract requires.

    Args:
        line: line of a record.
        spec: spec of the windows, for the samples per window and cycle, the hop and the channels.

    Returns:
        Runs in the order of the record; empty if every stretch is shorter than a window.

    Example:
        >>> record = open_waveforms("fault.cfg")  # doctest: +SKIP
        >>> [run.windows.shape for run in windows_of(record.lines[0], load_spec("line"))]  # doctest: +SKIP
        [(92, 32, 6)]
    """
    rate_hz = whole_hop_rate(spec, line.frequency_hz)
    units = _units(line, spec)
    columns = [CHANNELS.index(name) for name in spec.channels]
    runs: list[WindowRun] = []
    origin: float | None = None
    following = 0
    for part in _fast_parts(line):
        if _length(part, rate_hz) < spec.samples:
            continue
        samples, start_s = resampled(line.samples, part, rate_hz)
        samples *= units
        windows = cut_windows(samples[:, columns] if columns != list(range(6)) else samples, spec)
        origin = start_s if origin is None else origin
        sequence = following
        if runs:
            # Missing windows keep their sequence numbers, so that a worker detects the gap.
            sequence = max(following + 1, round((start_s - origin) * rate_hz / spec.hop))
        start_ns = line.start_ns + round(start_s * NS_PER_S)
        runs.append(WindowRun(sequence, start_ns, rate_hz, samples, windows))
        following = sequence + len(windows)
    return tuple(runs)


def whole_hop_rate(spec: SignalSpec, frequency_hz: float) -> float:
    """Return the sampling rate nearest to the spec's samples per cycle at which a hop is a whole number of nanoseconds.

    The times of windows, and so the ids of events, then do not depend on how windows are grouped into messages.

    Example:
        >>> from model.spec import load_spec
        >>> whole_hop_rate(load_spec("line"), 50.0), round(whole_hop_rate(load_spec("line"), 60.0), 3)
        (1600.0, 1920.0)
    """
    hop_ns = max(1, round(spec.hop * NS_PER_S / (power_line_spec(spec).samples_per_cycle * frequency_hz)))
    return spec.hop * NS_PER_S / hop_ns


def messages_of(
    line: RecordLine, spec: SignalSpec, *, windows_per_message: int = WINDOWS_PER_MESSAGE
) -> Iterator[OutgoingWindows]:
    """Yield the messages of ``sensor-windows`` for a record's line, which a replay sends and ``classify`` decodes."""
    columns = [CHANNELS.index(name) for name in spec.channels]
    for run in windows_of(line, spec):
        yield from window_messages(
            line.name,
            run.samples[:, columns],
            spec,
            rate_hz=run.rate_hz,
            start_ns=run.start_ns,
            windows_per_message=windows_per_message,
            first_sequence=run.sequence,
        )


def _units(line: RecordLine, spec: SignalSpec) -> Samples:
    """Return the factors of the six channels; models of single instants are trained on A and V as in the file."""
    if spec.sequence != "channels":
        return np.ones(6, np.float32)
    return np.repeat(np.array([line.current_base, line.voltage_base], np.float32), 3)


def resampled(samples: Samples, segments: Sequence[Segment], rate_hz: float) -> tuple[Samples, float]:
    """Resample one stretch to one rate.

    Args:
        samples: float32 (t, channels) of the whole record.
        segments: segments of the stretch, in order and without a gap.
        rate_hz: requested sampling rate in samples per second.

    Returns:
        Samples float32 (n, channels), and the time of the first one in seconds after the record's first sample.
    """
    parts = [_averaged(samples[segment.first : segment.stop], segment, rate_hz) for segment in segments]
    start_s = segments[0].start_s
    count = _length(segments, rate_hz)
    out = np.empty((count, samples.shape[1]), np.float32)
    first = 0
    for number, part in enumerate(parts):
        before = parts[number - 1] if number else None
        after = parts[number + 1] if number + 1 < len(parts) else None
        stop = count if after is None else int(np.ceil((_border_s(part, after) - start_s) * rate_hz - 1e-6))
        if stop <= first:
            continue
        positions = (np.arange(first, stop) / rate_hz + start_s - part.start_s) * part.rate_hz
        out[first:stop] = _interpolated(part, before, after, positions, part.rate_hz / rate_hz)
        first = stop
    return out, start_s


@dataclass(frozen=True, slots=True)
class _Part:
    """Samples (t, channels) of one segment and their times."""

    samples: Samples
    rate_hz: float
    start_s: float


def _border_s(part: _Part, after: _Part) -> float:
    """Return the time from which the next part's samples are used; the slower part covers the step between both."""
    last_s = part.start_s + (len(part.samples) - 1) / part.rate_hz
    return after.start_s if part.rate_hz <= after.rate_hz else min(last_s, after.start_s)


def _averaged(samples: Samples, segment: Segment, rate_hz: float) -> _Part:
    """Return a segment's samples, averaged in groups at a very high rate: the filter's length grows with the ratio."""
    group = int(segment.rate_hz / rate_hz / MOST_RATIO) + 1
    if group == 1 or len(samples) < group:
        return _Part(samples, segment.rate_hz, segment.start_s)
    whole = len(samples) // group * group
    means = samples[:whole].reshape(whole // group, group, -1).mean(axis=1, dtype=np.float64).astype(np.float32)
    return _Part(means, segment.rate_hz / group, segment.start_s + (group - 1) / 2 / segment.rate_hz)


def _interpolated(
    part: _Part, before: _Part | None, after: _Part | None, positions: NDArray[np.float64], ratio: float
) -> Samples:
    """Return band-limited values at ``positions`` (in samples of the part), by a windowed sinc.

    The filter cuts off at the lower of the two Nyquist frequencies, so that it is anti-aliasing filter and
    interpolation in one.
    """
    samples = part.samples
    # The ratio is rounded so that rates which differ only by rounding share a filter. It exceeds the limit only if all
    # samples of the part lie within one step of the other rate, and a longer filter would hold nothing more.
    stretch = round(min(max(1.0, ratio), MOST_RATIO), 3)
    half = int(np.ceil(HALF_WIDTH * stretch)) + 1
    padded = np.concatenate(
        [
            _extended(part, before, -half - OVERHANG, 0),
            samples,
            _extended(part, after, len(samples), len(samples) + half + OVERHANG),
        ]
    )
    kernel = _kernel(stretch, half)
    positions = np.clip(positions + OVERHANG, 0, len(samples) - 1 + 2 * OVERHANG)
    base = np.floor(positions).astype(np.int64)
    step = np.minimum(((positions - base) * KERNEL_STEPS + 0.5).astype(np.int64), KERNEL_STEPS)
    view = np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1, axis=0)
    out = np.empty((len(positions), samples.shape[1]), np.float32)
    block = max(1, BLOCK_VALUES // ((2 * half + 1) * samples.shape[1]))
    for first in range(0, len(positions), block):
        rows = slice(first, first + block)
        out[rows] = np.einsum("nck,nk->nc", view[base[rows]], kernel[step[rows]])
    return out


@lru_cache(maxsize=8)
def _kernel(stretch: float, half: int) -> Samples:
    """Return the filter taps for every tabulated position between samples, float32 (KERNEL_STEPS + 1, 2·half + 1)."""
    fraction = np.arange(KERNEL_STEPS + 1)[:, None] / KERNEL_STEPS
    distance = (np.arange(-half, half + 1)[None, :] - fraction) / stretch
    inside = np.clip(1 - np.square(distance / HALF_WIDTH), 0, None)
    taps = np.sinc(distance) * np.i0(KAISER_BETA * np.sqrt(inside)) * (np.abs(distance) <= HALF_WIDTH)
    return np.asarray(taps / taps.sum(axis=1, keepdims=True), np.float32)


def _extended(part: _Part, other: _Part | None, first: int, stop: int) -> Samples:
    """Return values before or after a part at its own rate: those of the neighbour if it has any, else a reflection.

    The samples are reflected through the end point, as in zero-phase filters, so that value and slope continue without
    a step.
    """
    own = part.samples
    indices = np.arange(first, stop)
    edge, mirrored = (0, -indices) if first < 0 else (len(own) - 1, 2 * (len(own) - 1) - indices)
    values = 2 * own[edge] - own[np.clip(mirrored, 0, len(own) - 1)]
    if other is not None:
        length = len(other.samples)
        where = (part.start_s + indices / part.rate_hz - other.start_s) * other.rate_hz
        there = (where >= 0) & (where <= length - 1)
        low = np.clip(where[there].astype(np.int64), 0, max(length - 2, 0))
        share = (where[there] - low).astype(np.float32)[:, None]
        high = other.samples[np.minimum(low + 1, length - 1)]
        values[there] = other.samples[low] * (1 - share) + high * share
    return np.asarray(values, np.float32)
