"""Derive the times of samples, as segments of one rate each, from header rates, sample numbers and the time column."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from domains.powerline.waveforms.formats.signal_rate import Signal
from domains.powerline.waveforms.formats.stamps import (
    MEDIAN_STEPS,
    RATE_TOLERANCE,
    Counts,
    judge,
    unwrapped,
)
from domains.powerline.waveforms.record import MIN_HZ, Finding, Segment
from domains.powerline.waveforms.stretches import GAP_STEPS, follows

CHANGED = 1.08
"""Ratio of neighbouring median steps from which the sampling rate counts as changed."""
MAX_SEGMENTS = 10_000
"""Number of segments above which the time column counts as unusable."""
SHORTEST_STRETCH = 20
"""Number of samples from which a stretch of another rate in the time column is a change of rate."""
MOST_CHANGES = 12
SLOW_RATE_HZ = 400.0
"""Rate below which a header is doubted: eight samples per cycle at 50 Hz."""
FAST_RATE_HZ = 100_000.0
"""Rate above which times are doubted that alone give the rate."""
UNIT_FACTORS = (1.0, 1e-3, 1e3, 1e-6, 1e6)
EVEN_SHARE = 0.9
"""Share of equal steps from which times without a rate in the header are expected to be even."""
PER_CYCLE_TOLERANCE = 0.02


@dataclass(frozen=True, slots=True)
class SampleClock:
    """Information in a file about the times of its samples.

    Attributes:
        rows: number of samples.
        rates: sampling rate and number of the last sample of every segment; rate 0 if unknown.
        numbers: sample numbers (rows,) as written, or None.
        stamps: times (rows,) in units as written, or None if they are unusable.
        unit_s: seconds of one unit of the stamps.
    """

    rows: int
    rates: Sequence[tuple[float, int]]
    numbers: Counts | None
    stamps: Counts | None
    unit_s: float


def find_segments(clock: SampleClock, signal: Signal | None = None) -> tuple[tuple[Segment, ...], list[Finding]]:
    """Return the segments in the order of the file, and findings about them.

    Samples without a known rate and without times belong to no segment.

    Args:
        clock: what the file says about its times.
        signal: the record's signal, which decides where header and times contradict each other.
    """
    findings: list[Finding] = []
    positions = _positions(clock, findings)
    spans = _spans(clock, positions)
    given = [span for span in spans if span[0] > 0]
    stamps = clock.stamps
    if stamps is not None and spans:
        if all(rate > 0 for rate, _, _ in spans):
            clock, spans = _judged(clock, stamps, spans, findings, signal)
        else:
            clock = replace(clock, stamps=_repaired_alone(unwrapped(stamps), clock.unit_s, findings))
            clock = _with_plausible_unit(clock, findings, signal)
    if signal is not None and len(spans) == 1 and 0 < spans[0][0] < SLOW_RATE_HZ:
        spans = [(_plausible_rate(spans[0][0], signal, findings), *spans[0][1:])]
    segments: list[Segment] = []
    for rate, first, stop in spans:
        pieces = _by_rate(clock, positions, first, stop, rate, findings) if rate > 0 else ()
        if not pieces:
            pieces = _by_time(clock, first, stop)
            if not all(stated > 0 for stated, _ in clock.rates):
                _report_rates(pieces, first, stop, findings)
        segments += _placed(pieces, segments[-1] if segments else None)
    gaps = [after.first for before, after in itertools.pairwise(segments) if not follows(before, after)]
    believed = clock.stamps is not None and len(spans) == 1 and spans == given and positions[-1] == clock.rows
    if gaps and believed and signal is not None and signal.continues(gaps):
        more = f" and {len(gaps) - 1} more" if len(gaps) > 1 else ""
        message = (
            f"the times jump at sample {gaps[0] + 1:,}{more}, but the waveforms run on: the header's rate is used "
            "instead of the time column"
        )
        found = find_segments(replace(clock, stamps=None), signal)
        return found[0], [Finding("warning", "times-unusable", message), *found[1]]
    _report_gaps(segments, findings)
    return tuple(segments), findings


def _spans(clock: SampleClock, positions: Counts) -> list[tuple[float, int, int]]:
    """Return the rate, first and last sample (exclusive) of every segment of the header."""
    spans = []
    first = 0
    for index, (rate, last) in enumerate(clock.rates):
        stop = clock.rows if index == len(clock.rates) - 1 else int(np.searchsorted(positions, last, "right"))
        stop = max(first, min(stop, clock.rows))
        if stop > first:
            spans.append((rate, first, stop))
        first = stop
    return spans


def _judged(
    clock: SampleClock,
    stamps: Counts,
    spans: list[tuple[float, int, int]],
    findings: list[Finding],
    signal: Signal | None,
) -> tuple[SampleClock, list[tuple[float, int, int]]]:
    """Return the clock with times that agree with the rates, or without times; and the spans with their true rates."""
    if clock.rows < 2:
        return replace(clock, stamps=None), spans
    periods = np.concatenate([np.full(stop - first, 1 / rate) for rate, first, stop in spans]) / clock.unit_s
    least, most = np.minimum(periods[:-1], periods[1:]), np.maximum(periods[:-1], periods[1:])
    verdict = judge(stamps, least, most, clock.unit_s)
    if verdict.stamps is None:
        changed = _changes_of_rate(replace(clock, stamps=unwrapped(stamps)), spans)
        if changed:
            message = (
                f"the header states one rate of {spans[0][0]:g} Hz, but the times change their step "
                f"{len(changed) - 1} times: the rates of the time column are used (--rate sets one)"
            )
            findings.append(Finding("warning", "rate-contradicts-times", message))
            return replace(clock, stamps=unwrapped(stamps)), [(0.0, 0, clock.rows)]
        level = "note" if verdict.fault == "all times are equal" else "warning"
        message = f"{verdict.fault}: the header's rate is used instead of the time column"
        findings.append(Finding(level, "times-unusable", message))  # type: ignore[arg-type]
    elif verdict.factor != 1.0:
        if _header_is_right(spans, verdict.factor, findings, signal):
            clock = replace(clock, unit_s=clock.unit_s / verdict.factor)
        else:
            spans = [(rate / verdict.factor, first, stop) for rate, first, stop in spans]
    elif verdict.repair:
        findings.append(Finding("note", "times-repaired", verdict.repair))
    return replace(clock, stamps=verdict.stamps), spans


def _repaired_alone(stamps: Counts, unit_s: float, findings: list[Finding]) -> Counts:
    """Return times that alone give the rate, without single wrong ones if most of their steps are equal."""
    steps = np.diff(stamps)
    usual = np.full(len(steps), float(np.median(steps)) if len(steps) else 1.0)
    even = np.abs(steps - usual) <= usual / 2 + 2
    if usual.min(initial=1.0) <= 0 or even.all() or even.mean() < EVEN_SHARE:
        return stamps
    verdict = judge(stamps, usual, usual, unit_s)
    if verdict.stamps is None or not verdict.repair:
        return stamps
    findings.append(Finding("note", "times-repaired", verdict.repair))
    return verdict.stamps


def _with_plausible_unit(clock: SampleClock, findings: list[Finding], signal: Signal | None) -> SampleClock:
    """Return a clock whose times alone give the rate, with their unit corrected if the signal then has the mains."""
    steps = np.diff(clock.stamps) if clock.stamps is not None else np.zeros(0)
    usual = float(np.median(steps[steps > 0])) * clock.unit_s if (steps > 0).any() else 0.0
    if signal is None or usual == 0.0 or SLOW_RATE_HZ <= 1 / usual <= FAST_RATE_HZ:
        return clock
    best = signal.best_rate([factor / usual for factor in UNIT_FACTORS])
    if best is None or best == 1 / usual:
        return clock
    factor = UNIT_FACTORS[[one / usual for one in UNIT_FACTORS].index(best)]
    message = f"the unit of the times is wrong by a factor of {factor:g}: the signal then has the mains frequency"
    findings.append(Finding("note", "time-unit", message))
    return replace(clock, unit_s=clock.unit_s / factor)


def _plausible_rate(rate: float, signal: Signal, findings: list[Finding]) -> float:
    """Return a low rate, or the true one if the header states samples per cycle; report one that cannot be right."""
    cycles = signal.cycles_per_sample
    if cycles is None or cycles * rate >= MIN_HZ:
        return rate
    mains = signal.mains_hz or 50.0
    message = f"the header states {rate:g} Hz, at which the signal has {cycles * rate:.3g} Hz"
    if abs(cycles * rate - 1) <= PER_CYCLE_TOLERANCE and signal.mains_hz is not None:
        message = f"{message}: it is taken as samples per cycle, which gives {rate * mains:g} Hz (--rate sets another)"
        findings.append(Finding("warning", "rate-implausible", message))
        return rate * mains
    message = f"{message}; if the mains has {mains:g} Hz, the rate is {mains / cycles:.0f} Hz: set it with --rate"
    findings.append(Finding("warning", "rate-implausible", message))
    return rate


def _header_is_right(
    spans: Sequence[tuple[float, int, int]], factor: float, findings: list[Finding], signal: Signal | None
) -> bool:
    """Decide between the header's rate and that of regular times, by the signal if it has a mains frequency."""
    stated, stamped = spans[0][0], spans[0][0] / factor
    best = None if signal is None else signal.best_rate((stated, stamped))
    contradiction = f"the header states {stated:g} Hz, the time column gives {stamped:.6g} Hz"
    if best == stamped:
        message = f"{contradiction}; the time column's rate is used, at which the signal has the mains frequency"
        findings.append(Finding("warning", "rate-contradicts-times", f"{message} (--rate sets another)"))
        return False
    if best == stated:
        message = f"{contradiction}; the header's rate is used, at which the signal has the mains frequency"
        findings.append(Finding("note", "time-unit", message))
    elif factor == 10.0 ** round(np.log10(factor)):
        message = (
            f"{contradiction}: the unit of the times is wrong by a factor of {factor:g}, the header's rate is used"
        )
        findings.append(Finding("note", "time-unit", message))
    else:
        message = f"{contradiction}; the header's rate is used (--rate sets another)"
        findings.append(Finding("warning", "rate-contradicts-times", message))
    return True


def _changes_of_rate(clock: SampleClock, spans: Sequence[tuple[float, int, int]]) -> tuple[_Piece, ...]:
    """Return the stretches of a time column that changes its rate, where the header states only one of the rates."""
    if len(spans) != 1:
        return ()
    pieces = _by_time(clock, 0, clock.rows)
    rates = [piece.rate_hz for piece in pieces]
    long = all(piece.stop - piece.first >= SHORTEST_STRETCH for piece in pieces)
    stated = any(abs(rate / spans[0][0] - 1) <= RATE_TOLERANCE for rate in rates)
    forward = all(piece.after_s is None or piece.after_s > 0 for piece in pieces)
    changes = max(rates, default=1.0) > CHANGED * min(rates, default=1.0)
    return pieces if 2 <= len(pieces) <= MOST_CHANGES and long and stated and forward and changes else ()


def _positions(clock: SampleClock, findings: list[Finding]) -> Counts:
    """Return the number of every sample, from 1; its row number if the numbers in the file do not increase."""
    rows = np.arange(1, clock.rows + 1, dtype=np.int64)
    if clock.numbers is None or clock.rows < 2:
        return rows
    numbers = unwrapped(clock.numbers)
    steps = np.diff(numbers)
    if (steps == 1).all():
        return rows
    jumps = int((steps != 1).sum())
    if (steps < 1).any() or jumps > min(MAX_SEGMENTS, 0.1 * clock.rows):
        message = "the sample numbers do not count up: the order of the samples is used instead"
        findings.append(Finding("note", "sample-numbers", message))
        return rows
    return np.asarray(numbers - numbers[0] + 1)


@dataclass(frozen=True, slots=True)
class _Piece:
    first: int
    stop: int
    rate_hz: float
    after_s: float | None
    """Seconds from the sample before it to its first sample; None for one sampling period."""


def _by_rate(
    clock: SampleClock, positions: Counts, first: int, stop: int, rate: float, findings: list[Finding]
) -> tuple[_Piece, ...]:
    """Cut a segment of known rate where the times jump, or the sample numbers if no times agree with the rate."""
    steps_s: NDArray[np.float64] = np.diff(positions[max(first - 1, 0) : stop]) / rate
    if clock.stamps is not None:
        stamped = np.diff(clock.stamps[max(first - 1, 0) : stop]) * clock.unit_s
        own = stamped[-(stop - first - 1) :] if stop - first > 1 else stamped
        usual = float(np.median(own)) if len(own) else 1 / rate
        if abs(usual - 1 / rate) <= max(RATE_TOLERANCE / rate, 1.01 * clock.unit_s):
            steps_s = stamped
        elif usual != 0:
            findings.append(
                Finding(
                    "warning",
                    "rate-contradicts-times",
                    f"samples {first + 1} to {stop}: the header states {rate:g} Hz, the time column gives "
                    f"{1 / usual if usual > 0 else 0:g} Hz; the header's rate is used (--rate sets another)",
                )
            )
    cuts = np.flatnonzero((steps_s > GAP_STEPS / rate + 2 * clock.unit_s) | (steps_s < 0))
    cuts = cuts if first == 0 else cuts - 1
    lead = None if first == 0 else float(steps_s[0])
    inner = [int(cut) for cut in cuts if cut >= 0]
    if len(inner) > MAX_SEGMENTS:
        message = f"the times jump more than {MAX_SEGMENTS:,} times: only the sampling rate is used"
        findings.append(Finding("warning", "times-unusable", message))
        inner, lead = [], None
    edges = [first, *(first + cut + 1 for cut in inner), stop]
    offset = 0 if first == 0 else 1
    leads = [lead, *(float(steps_s[cut + offset]) for cut in inner)]
    return tuple(_Piece(a, b, rate, after) for a, b, after in zip(edges, edges[1:], leads, strict=False))


def _by_time(clock: SampleClock, first: int, stop: int) -> tuple[_Piece, ...]:
    """Cut a segment whose rate follows only from its times, where the step jumps or changes permanently."""
    if clock.stamps is None or stop - first < 2:
        return ()
    stamps = clock.stamps[first:stop]
    edges = _steady_edges(stamps)
    if not edges:
        return ()
    pieces: list[_Piece] = []
    before = first - 1
    for a, b in itertools.pairwise(edges):
        span_s = float(stamps[b - 1] - stamps[a]) * clock.unit_s
        # A single sample has no rate and is skipped.
        if b - a >= 2 and span_s > 0:
            after_s = None if before < 0 else float(stamps[a] - clock.stamps[before]) * clock.unit_s
            pieces.append(_Piece(first + a, first + b, (b - a - 1) / span_s, after_s))
            before = first + b - 1
    return tuple(pieces)


def _report_rates(pieces: Sequence[_Piece], first: int, stop: int, findings: list[Finding]) -> None:
    if not pieces:
        return
    rates = sorted({round(piece.rate_hz, 1) for piece in pieces})
    shown = ", ".join(f"{rate:g}" for rate in rates[:4]) + (" …" if len(rates) > 4 else "")
    message = f"the header gives no rate for samples {first + 1} to {stop}: {shown} Hz follow from the time column"
    findings.append(Finding("note", "rate-from-times", message))


def _steady_edges(stamps: Counts) -> list[int]:
    """Return the starts of stretches of even steps, and the end; empty if the stamps are unusable as times."""
    steps = np.diff(stamps).astype(np.float64)
    usual = _usual(steps)
    if (usual <= 0).mean() > 0.01:
        return []
    jumps = np.flatnonzero((steps > GAP_STEPS * np.maximum(usual, 1.0) + 2) | (steps < 0))
    if len(jumps) > MAX_SEGMENTS:
        return []
    edges = [0]
    for a, b in itertools.pairwise([0, *(int(jump) + 1 for jump in jumps), len(stamps)]):
        # The level is computed again between the jumps, so that rates beyond a jump have no influence.
        level = np.maximum(_usual(steps[a : b - 1]), 1.0)
        ratio = level[1:] / level[:-1]
        # Steps of a few units are rounded to whole units: 208, 209, 208 is not a change.
        changed = ((ratio > CHANGED) | (ratio < 1 / CHANGED)) & (np.abs(np.diff(level)) > 1.5)
        edges += [a + int(cut) + 2 for cut in np.flatnonzero(changed)] + [b]
    return edges if len(edges) <= MAX_SEGMENTS else []


def _usual(steps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the median step around every step."""
    if len(steps) < 2:
        return steps
    return np.asarray(median_filter(steps, size=min(MEDIAN_STEPS, len(steps)), mode="nearest"))


def _placed(pieces: Sequence[_Piece], before: Segment | None) -> list[Segment]:
    """Return segments with their start times, each after the one before it."""
    placed: list[Segment] = []
    for piece in pieces:
        previous = placed[-1] if placed else before
        if previous is None:
            start_s = 0.0
        else:
            last_s = previous.start_s + (len(previous) - 1) / previous.rate_hz
            start_s = last_s + (1 / piece.rate_hz if piece.after_s is None else piece.after_s)
        placed.append(Segment(piece.first, piece.stop, piece.rate_hz, start_s))
    return placed


def _report_gaps(segments: Sequence[Segment], findings: list[Finding]) -> None:
    rates = list(dict.fromkeys(f"{segment.rate_hz:.6g}" for segment in segments))
    if len(rates) > 1:
        shown = ", ".join(rates[:6])
        message = f"the record has several sampling rates ({shown} Hz): all segments are resampled to one rate"
        findings.append(Finding("note", "several-rates", message))
    for before, after in [(a, b) for a, b in itertools.pairwise(segments) if not follows(a, b)][:8]:
        missing_s = after.start_s - before.next_s
        if missing_s < 0:
            message = (
                f"the time goes back by {-missing_s:.6g} s at sample {after.first + 1}: "
                "a new run of windows begins there"
            )
            findings.append(Finding("warning", "time-goes-back", message))
        else:
            message = (
                f"{missing_s:.6g} s are missing before sample {after.first + 1}: a new run of windows begins there"
            )
            findings.append(Finding("warning", "gap", message))
