"""When samples were taken: segments of one rate each, from the header's rates, sample numbers and the time column."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from domains.powerline.waveforms.record import Finding, Segment

Counts = NDArray[np.int64]
GAP_STEPS = 1.5
"""A step so many times the usual one means that samples are missing."""
RATE_TOLERANCE = 0.02
"""Of the time column against the header: rounded to whole units it is rarely better."""
MEDIAN_STEPS = 9
"""Steps over which the usual one is found where only times are known: jitter goes, a change of rate stays."""
CHANGED = 1.08
MAX_SEGMENTS = 10_000
"""More breaks than this are no segments but a time column that means nothing."""


@dataclass(frozen=True, slots=True)
class SampleClock:
    """What a file says about the times of its samples.

    Attributes:
        rows: number of samples.
        rates: samples per second and number of the last sample of every segment; rate 0 for unknown.
        numbers: (rows,) as written, or None.
        stamps: (rows,) times in units as written, or None where they mean nothing.
        unit_s: one unit of the stamps in seconds.
    """

    rows: int
    rates: Sequence[tuple[float, int]]
    numbers: Counts | None
    stamps: Counts | None
    unit_s: float


def find_segments(clock: SampleClock) -> tuple[tuple[Segment, ...], list[Finding]]:
    """Segments in the order of the file, and what was odd. No segment where a rate is unknown and times are, too."""
    findings: list[Finding] = []
    positions = _positions(clock, findings)
    segments: list[Segment] = []
    first = 0
    for index, (rate, last) in enumerate(clock.rates):
        stop = clock.rows if index == len(clock.rates) - 1 else int(np.searchsorted(positions, last, "right"))
        stop = max(first, min(stop, clock.rows))
        if stop > first:
            pieces = _by_rate(clock, positions, first, stop, rate, findings) if rate > 0 else ()
            pieces = pieces or _by_time(clock, first, stop, findings)
            segments += _placed(pieces, segments[-1] if segments else None)
        first = stop
    _say_gaps(segments, findings)
    return tuple(segments), findings


def _positions(clock: SampleClock, findings: list[Finding]) -> Counts:
    """Number of every sample, from 1; by row where the written ones are no count."""
    rows = np.arange(1, clock.rows + 1, dtype=np.int64)
    if clock.numbers is None or clock.rows < 2:
        return rows
    steps = np.diff(clock.numbers)
    if (steps == 1).all():
        return rows
    jumps = int((steps != 1).sum())
    if (steps < 1).any() or jumps > min(MAX_SEGMENTS, 0.1 * clock.rows):
        findings.append(Finding("note", "sample-numbers", "the sample numbers are no count: samples go by their order"))
        return rows
    return np.asarray(clock.numbers - clock.numbers[0] + 1)


@dataclass(frozen=True, slots=True)
class _Piece:
    first: int
    stop: int
    rate_hz: float
    after_s: float | None
    """From the sample before to its first one; None for one period."""


def _by_rate(
    clock: SampleClock, positions: Counts, first: int, stop: int, rate: float, findings: list[Finding]
) -> tuple[_Piece, ...]:
    """Pieces of a segment whose rate is known: cut where the time column, or else the count, jumps."""
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
                    f"samples {first + 1} to {stop}: the header says {rate:g} Hz, the time column "
                    f"{1 / usual if usual > 0 else 0:g} Hz; went by the header (--rate says otherwise)",
                )
            )
    cuts = np.flatnonzero((steps_s > GAP_STEPS / rate + 2 * clock.unit_s) | (steps_s < 0))
    cuts = cuts if first == 0 else cuts - 1
    lead = None if first == 0 else float(steps_s[0])
    inner = [int(cut) for cut in cuts if cut >= 0]
    if len(inner) > MAX_SEGMENTS:
        findings.append(Finding("warning", "times-unusable", "the times jump all over: went by the rate alone"))
        inner, lead = [], None
    edges = [first, *(first + cut + 1 for cut in inner), stop]
    offset = 0 if first == 0 else 1
    leads = [lead, *(float(steps_s[cut + offset]) for cut in inner)]
    return tuple(_Piece(a, b, rate, after) for a, b, after in zip(edges, edges[1:], leads, strict=False))


def _by_time(clock: SampleClock, first: int, stop: int, findings: list[Finding]) -> tuple[_Piece, ...]:
    """Pieces of a segment whose rate only its times tell: cut where steps jump or change for good."""
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
        # A lone sample has no rate, and is left out.
        if b - a >= 2 and span_s > 0:
            after_s = None if before < 0 else float(stamps[a] - clock.stamps[before]) * clock.unit_s
            pieces.append(_Piece(first + a, first + b, (b - a - 1) / span_s, after_s))
            before = first + b - 1
    rates = sorted({round(piece.rate_hz, 1) for piece in pieces})
    shown = ", ".join(f"{rate:g}" for rate in rates[:4]) + (" …" if len(rates) > 4 else "")
    message = f"samples {first + 1} to {stop} have no rate in the header: {shown} Hz by the time column"
    findings.append(Finding("note", "rate-from-times", message))
    return tuple(pieces)


def _steady_edges(stamps: Counts) -> list[int]:
    """Where stretches of even steps begin, and the end; nothing where the stamps are no times."""
    steps = np.diff(stamps).astype(np.float64)
    usual = _usual(steps)
    if (usual <= 0).mean() > 0.01:
        return []
    jumps = np.flatnonzero((steps > GAP_STEPS * np.maximum(usual, 1.0) + 2) | (steps < 0))
    if len(jumps) > MAX_SEGMENTS:
        return []
    edges = [0]
    for a, b in itertools.pairwise([0, *(int(jump) + 1 for jump in jumps), len(stamps)]):
        # Asked again within the jumps, beyond which other rates lie.
        level = np.maximum(_usual(steps[a : b - 1]), 1.0)
        ratio = level[1:] / level[:-1]
        # Steps of few units are rounded to whole ones: 208, 209, 208 is no change.
        changed = ((ratio > CHANGED) | (ratio < 1 / CHANGED)) & (np.abs(np.diff(level)) > 1.5)
        edges += [a + int(cut) + 2 for cut in np.flatnonzero(changed)] + [b]
    return edges if len(edges) <= MAX_SEGMENTS else []


def _usual(steps: NDArray[np.float64]) -> NDArray[np.float64]:
    """The usual step around every one."""
    if len(steps) < 2:
        return steps
    return np.asarray(median_filter(steps, size=min(MEDIAN_STEPS, len(steps)), mode="nearest"))


def _placed(pieces: Sequence[_Piece], before: Segment | None) -> list[Segment]:
    """Segments at their times after the one before."""
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


def follows(before: Segment, after: Segment) -> bool:
    """Whether a segment goes on where the other ended, at whatever rate."""
    step = after.start_s - (before.next_s - 1 / before.rate_hz)
    return 0 < step <= GAP_STEPS * max(1 / before.rate_hz, 1 / after.rate_hz) + 3e-6


def stretches(segments: Sequence[Segment]) -> list[list[Segment]]:
    """Segments grouped to stretches without a gap."""
    groups: list[list[Segment]] = []
    for segment in segments:
        if groups and follows(groups[-1][-1], segment):
            groups[-1].append(segment)
        else:
            groups.append([segment])
    return groups


def _say_gaps(segments: Sequence[Segment], findings: list[Finding]) -> None:
    rates = list(dict.fromkeys(f"{segment.rate_hz:.6g}" for segment in segments))
    if len(rates) > 1:
        shown = ", ".join(rates[:6])
        findings.append(Finding("note", "several-rates", f"segments of different rates ({shown} Hz): all resampled"))
    for before, after in [(a, b) for a, b in itertools.pairwise(segments) if not follows(a, b)][:8]:
        missing_s = after.start_s - before.next_s
        if missing_s < 0:
            message = f"sample {after.first + 1} is {-missing_s:.6g} s before its predecessor's end: a new stretch"
            findings.append(Finding("warning", "time-goes-back", message))
        else:
            message = f"{missing_s:.6g} s are missing before sample {after.first + 1}: windows begin anew after it"
            findings.append(Finding("warning", "gap", message))
