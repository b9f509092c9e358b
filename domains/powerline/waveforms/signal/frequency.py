"""Measure the mains frequency of a record on steady cycles, and fall back to the header's or a nominal one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from domains.powerline.waveforms.record import MAX_HZ, MIN_HZ, Finding, Segment

NOMINAL_HZ = (50.0, 60.0, 16.7, 25.0)
"""Nominal frequencies of grids and railways, the usual ones first."""
DEFAULT_HZ = NOMINAL_HZ[0]
NEAR = 0.06
"""Relative deviation from a nominal frequency up to which a few cycles prove the measured one."""
CONTRADICTION_HZ = 2.0
"""Deviation from the header that is reported: that of a grid in service is smaller."""
BANDS = ((40.0, MAX_HZ, 0.07), (20.0, 40.0, 0.16), (MIN_HZ, 20.0, 0.32))
"""Lowest and highest frequency of each search, and the length of its windows in seconds: three cycles or more."""
ABOVE, ENOUGH_ABOVE = (MAX_HZ, 440.0, 0.04), 3
"""Search above the mains frequencies, and the number of sets that are searched."""
MARGIN = 0.05
"""Relative distance by which a search extends beyond its band, so that a slope of the spectrum is no peak."""
HOPS = 8
"""Number of windows that begin within the length of one."""
CHUNK_S = 4.0
"""Length of the parts of a record that are searched in turn until one has steady mains."""
MOST_CHUNKS = 8
ENOUGH_HZ = 1000.0
"""Rate to which samples are reduced by averaging."""
SMOOTHING_S = 0.008
"""Length of the low-pass filter, which removes harmonics."""
DOUBTFUL, PURE, CLEAN, VERY_CLEAN = 0.5, 0.9, 0.95, 0.97
"""Share of a window's energy in one sine from which the window may hold mains, holds it, and holds clean mains."""
LEAST_SHARE = 0.2
"""Ratio of the sine's energy to all energy, the mean included; magnitudes and direct current have less."""
LEAST_ENERGY = 1e-4
"""Ratio of a window's energy to the highest one below which it holds only coupled voltage or noise."""
SAME_HZ, SAME_ENERGY = 0.005, 0.1
"""Relative change of frequency and energy from window to window within steady cycles."""
FEW_CYCLES, MANY_CYCLES = 6.0, 10.0
"""Number of steady cycles from which no longer run is sought, and from which a frequency far from nominal is proved."""
LONGEST_S = 1.0
"""Length of steady cycles that the result is fitted to."""
PROOF = 1.5
"""Ratio of the residuals at the nominal and at the measured frequency from which the deviation is proved."""
SHORTEST_CYCLES = 1.3
"""Length of a record from which 50 and 60 Hz are distinguished."""
FITS, FITS_BETTER = 0.8, 0.15
"""Share of the energy in a sine of the nominal frequency that confirms it, and difference that contradicts it."""
ENOUGH_CANDIDATES = 12

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PhaseWaves:
    """Waveforms of one quantity, (t, k) with k ≤ 3 phases in any unit, and the segments of the record."""

    samples: NDArray[np.floating]
    segments: Sequence[Segment]
    name: str = ""


@dataclass(frozen=True, slots=True)
class SteadySine:
    """Mains measured on steady cycles: frequency, and number of cycles."""

    hz: float
    cycles: float


@dataclass(frozen=True, slots=True)
class FrequencyEstimate:
    """Mains frequency of a record.

    Attributes:
        hz: frequency.
        source: origin of the frequency.
        why: reason for the choice, in words.
        findings: contradictions and assumptions.
    """

    hz: float
    source: Literal["given", "signal", "header", "assumed"]
    why: str
    findings: list[Finding] = field(default_factory=list)


def mains_frequency(
    candidates: Iterable[PhaseWaves], header_hz: float | None = None, given_hz: float | None = None
) -> FrequencyEstimate:
    """Return the mains frequency of a record, which all its lines share.

    The signal's frequency is taken if steady cycles prove it. Otherwise the header's is taken, or 50 or 60 Hz.

    Args:
        candidates: sets of phases in the order of preference; voltages should precede currents, which have DC offsets.
        header_hz: frequency that the file states.
        given_hz: frequency that the user states.

    Example:
        >>> t = np.arange(2000) / 4000
        >>> waves = np.stack([np.cos(2 * np.pi * (59.9 * t - k / 3)) for k in range(3)], axis=1)
        >>> estimate = mains_frequency([PhaseWaves(waves, [Segment(0, 2000, 4000.0, 0.0)])], header_hz=60.0)
        >>> estimate.hz, estimate.source
        (59.9, 'signal')
    """
    if given_hz is not None:
        return FrequencyEstimate(given_hz, "given", "as given with --frequency")
    findings: list[Finding] = []
    stated = header_hz if header_hz is not None and MIN_HZ <= header_hz <= MAX_HZ else None
    if header_hz and stated is None:
        message = f"the header's frequency of {header_hz:g} Hz is no mains frequency: it is not used"
        findings.append(Finding("note", "header-frequency", message))
    tried: list[PhaseWaves] = []
    best: tuple[tuple[bool, float], SteadySine, str] | None = None
    for waves in candidates:
        tried.append(waves)
        sine = steady_sine(waves.samples, waves.segments, stated)
        if sine is not None:
            rank = (_is_near(sine.hz, stated), min(sine.cycles, MANY_CYCLES))
            if best is None or rank > best[0]:
                best = rank, sine, waves.name
            if rank == (True, MANY_CYCLES):
                break
        if len(tried) == ENOUGH_CANDIDATES:
            break
    if best is None:
        return _nominal(tried, stated, findings)
    sine = best[1]
    where = f" of {best[2]}" if best[2] else ""
    why = f"measured on {sine.cycles:.0f} steady cycles{where}"
    if stated is not None and abs(sine.hz - stated) > CONTRADICTION_HZ:
        findings.append(_contradiction(stated, sine.hz))
    if not _is_near(sine.hz, stated):
        message = (
            f"the signal's frequency of {sine.hz:.3f} Hz is not near a nominal one: check the sampling rate in the "
            "file (--rate sets another)"
        )
        findings.append(Finding("warning", "frequency-unusual", message))
    return FrequencyEstimate(sine.hz, "signal", why, findings)


def line_frequency(waves: Iterable[PhaseWaves], record: FrequencyEstimate) -> float:
    """Return the frequency of one line: the record's, unless many steady cycles of the line prove another one.

    Args:
        waves: the line's voltages and currents, in the order of preference.
        record: frequency of the record.
    """
    if record.source == "given":
        return record.hz
    for one in waves:
        if _fits(one, (record.hz,)).get(record.hz, 0.0) >= PURE:
            return record.hz
        sine = steady_sine(one.samples, one.segments, record.hz)
        if sine is not None and sine.cycles >= MANY_CYCLES:
            return sine.hz if abs(sine.hz - record.hz) > SAME_HZ * record.hz else record.hz
    return record.hz


def _contradiction(stated: float, hz: float) -> Finding:
    message = f"the header states {stated:g} Hz, the signal has {hz:.3f} Hz: the signal's frequency is used"
    return Finding("warning", "frequency-contradicts-header", message)


def _is_near(hz: float, stated: float | None) -> bool:
    return any(abs(hz - nominal) <= NEAR * nominal for nominal in _nominals(stated))


def _nominals(stated: float | None) -> tuple[float, ...]:
    return NOMINAL_HZ if stated is None else (stated, *NOMINAL_HZ)


def _nominal(tried: Sequence[PhaseWaves], stated: float | None, findings: list[Finding]) -> FrequencyEstimate:
    """Return the header's frequency or a nominal one, whichever fits a signal without enough steady cycles."""
    choices = (DEFAULT_HZ, 60.0) if stated is None else tuple(dict.fromkeys((stated, DEFAULT_HZ, 60.0)))
    for waves in tried:
        fits = _fits(waves, choices)
        best = max(fits, key=lambda hz: fits[hz], default=choices[0])
        if not fits or fits[best] < FITS:
            continue
        if stated is None:
            sure = fits[best] - min(fits.values()) > FITS_BETTER
            hz = best if sure else DEFAULT_HZ
            message = f"the record has too few steady cycles to measure the mains frequency: {hz:g} Hz fits"
            message += " best" if sure else " as well as 60 Hz (--frequency sets another)"
            findings.append(Finding("note" if sure else "warning", "frequency-assumed", message))
            return FrequencyEstimate(hz, "assumed", f"too few steady cycles to measure it; {hz:g} Hz fits", findings)
        if fits[best] >= VERY_CLEAN and fits[best] - fits[stated] > FITS_BETTER:
            findings.append(_contradiction(stated, best))
            return FrequencyEstimate(best, "assumed", f"{best:g} Hz fits better than the header's", findings)
        return FrequencyEstimate(stated, "header", "the header's; too few steady cycles to measure it", findings)
    reason = _reason(tried)
    if stated is not None:
        message = f"{reason}: the header's {stated:g} Hz is used"
        findings.append(Finding("warning", "frequency-unknown", message))
        return FrequencyEstimate(stated, "header", f"the header's; {reason}", findings)
    message = f"{reason} and none in the header: {DEFAULT_HZ:g} Hz is assumed (--frequency sets another)"
    findings.append(Finding("warning", "frequency-unknown", message))
    return FrequencyEstimate(DEFAULT_HZ, "assumed", f"assumed; {reason}", findings)


def _reason(tried: Sequence[PhaseWaves]) -> str:
    """Return the reason why no frequency was found."""
    longest = max((len(s) / s.rate_hz for waves in tried for s in waves.segments), default=0.0)
    if not longest:
        return "the record has no phases on which the mains frequency can be measured"
    if longest < SHORTEST_CYCLES / DEFAULT_HZ:
        return f"the record is too short ({longest * 1e3:.0f} ms) for a mains frequency to be measured"
    for waves in tried[:ENOUGH_ABOVE]:
        hz = _frequency_above(waves)
        if hz is not None:
            return f"the signal has a steady sine of {hz:g} Hz, so the sampling rate may be wrong (--rate sets another)"
    return "no mains frequency was found in the signal (no steady sine)"


def _frequency_above(waves: PhaseWaves) -> float | None:
    """Return the frequency of a steady sine above all mains frequencies, as a wrong sampling rate causes it."""
    longest = max(waves.segments, key=lambda segment: len(segment) / segment.rate_hz)
    samples = waves.samples[longest.first : longest.first + min(len(longest), int(CHUNK_S * longest.rate_hz))]
    values, rate = _averaged(samples, longest.rate_hz, ABOVE[1] * 4)
    sine = _sine_of_band(values, rate, ABOVE, None)
    return None if sine is None else sine.hz


def _fits(waves: PhaseWaves, choices: Sequence[float]) -> dict[float, float]:
    """Return the share of the energy that a sine of each frequency holds; empty if the signal is no mains."""
    longest = max(waves.segments, key=lambda segment: len(segment) / segment.rate_hz, default=None)
    if longest is None or len(longest) / longest.rate_hz < SHORTEST_CYCLES / DEFAULT_HZ:
        return {}
    samples = waves.samples[longest.first : longest.first + min(len(longest), int(CHUNK_S * longest.rate_hz))]
    values, rate = _reduced(samples, longest.rate_hz)
    length = min(len(values), round(BANDS[0][2] * rate))
    if length < 7 or 2.2 * max(choices) > rate:
        return {}
    windows = _windows(values, length, max(1, length // HOPS))
    held, energy, raw = _energies(windows, *_grid_sines(length, rate, tuple(choices)))
    use = held.max(axis=1) >= LEAST_SHARE * raw
    use &= energy > LEAST_ENERGY * energy.max(initial=0.0)
    if not use.any():
        return {}
    shares = held[use] / energy[use, None]
    # The event disturbs some windows; the best quarter is less affected.
    best = np.argsort(-shares.max(axis=1))[: max(1, len(shares) // 4)]
    return dict(zip(choices, shares[best].mean(axis=0).tolist(), strict=True))


def steady_sine(
    samples: NDArray[np.floating], segments: Sequence[Segment], header_hz: float | None = None
) -> SteadySine | None:
    """Return the mains that up to three phases carry in their first steady cycles; None if none is proved.

    A window of several cycles holds mains if one sine has most of its energy. Windows in a row whose frequency and
    amplitude stay the same are steady cycles. Near a nominal frequency few of them are a proof, elsewhere many are
    needed. Noise, ramps, magnitudes and direct current have no such sine.

    Args:
        samples: (t, k) with k ≤ 3 channels of one quantity, in any unit.
        segments: segments of the record.
        header_hz: frequency that the file states; it counts as nominal.
    """
    found: SteadySine | None = None
    for values, rate in _chunks(samples, segments):
        for band in BANDS:
            sine = _sine_of_band(values, rate, band, header_hz)
            if sine is None or not MIN_HZ <= sine.hz <= MAX_HZ:
                continue
            if _is_near(sine.hz, header_hz):
                return sine
            found = found or sine
    return found


def _chunks(samples: NDArray[np.floating], segments: Sequence[Segment]) -> Iterator[tuple[Values, float]]:
    """Yield parts of the record at a reduced rate, the first ones of every segment in the order of the record."""
    count = 0
    for segment in segments:
        length = int(CHUNK_S * segment.rate_hz)
        for first in range(segment.first, segment.stop, max(1, length)):
            values = samples[first : min(first + length, segment.stop)]
            if len(values) / segment.rate_hz >= BANDS[0][2] and values.any():
                yield _reduced(values, segment.rate_hz)
                count += 1
                if count == MOST_CHUNKS:
                    return


def _reduced(samples: NDArray[np.floating], rate_hz: float) -> tuple[Values, float]:
    """Return samples at a lower rate and without harmonics, if the record is long enough for the filter."""
    values, rate = _averaged(samples, rate_hz, ENOUGH_HZ)
    count = len(values)
    taps = int(SMOOTHING_S * rate)
    if taps >= 4 and count - taps >= BANDS[0][2] * rate:
        weights = np.hanning(taps + 2)[1:-1]
        columns = [np.convolve(column, weights / weights.sum(), "valid") for column in values.T]
        values = np.stack(columns, axis=1)
    return values, rate


def _averaged(samples: NDArray[np.floating], rate_hz: float, enough_hz: float) -> tuple[Values, float]:
    stride = max(1, int(rate_hz // enough_hz))
    count = len(samples) // stride
    values = samples[: count * stride].astype(np.float64).reshape(count, stride, samples.shape[1]).mean(axis=1)
    return values, rate_hz / stride


def _windows(values: Values, length: int, hop: int) -> Values:
    """Return windows (n, length, k) of values (t, k)."""
    view = np.lib.stride_tricks.sliding_window_view(values, length, axis=0)[::hop]
    return np.ascontiguousarray(view.transpose(0, 2, 1))


def _sines(length: int, rate: float, frequencies: tuple[float, ...]) -> tuple[Values, Values]:
    """Return orthonormal sines of each frequency, (length, 2 F), and the straight line that they are free of."""
    t = (np.arange(length) - (length - 1) / 2) / rate
    trend = np.stack([np.ones(length), t], axis=1) / np.array([np.sqrt(length), np.sqrt(np.square(t).sum())])
    turns = 2 * np.pi * np.asarray(frequencies)[:, None] * t
    pairs = np.stack([np.cos(turns), np.sin(turns)], axis=2)
    pairs -= trend @ (trend.T @ pairs)
    sines, _ = np.linalg.qr(pairs)
    return np.asarray(sines.transpose(1, 0, 2).reshape(length, -1)), trend


_grid_sines = lru_cache(maxsize=8)(_sines)
"""Sines of a search; those of a refinement differ every time and are not kept."""


def _energies(windows: Values, sines: Values, trend: Values) -> tuple[Values, Values, Values]:
    """Return each window's energy in a sine per frequency (n, F), without its straight line (n,), and in all (n,)."""
    parts = np.einsum("nlk,lf->nkf", windows, sines, optimize=True)
    held = np.square(parts).sum(axis=1).reshape(len(windows), -1, 2).sum(axis=2)
    raw = np.square(windows).sum(axis=(1, 2))
    straight = np.square(np.einsum("nlk,lf->nkf", windows, trend, optimize=True)).sum(axis=(1, 2))
    return held, np.maximum(raw - straight, 1e-12 * raw), raw


def _sine_of_band(
    values: Values, rate: float, band: tuple[float, float, float], header_hz: float | None
) -> SteadySine | None:
    low, high, seconds = band
    length = round(seconds * rate)
    top = min(high * (1 + MARGIN), 0.45 * rate)
    bottom = low * (1 - MARGIN)
    if len(values) < length or top <= bottom:
        return None
    grid = np.linspace(bottom, top, 2 + int((top - bottom) * seconds * 14))
    hop = max(1, length // HOPS)
    sines = _grid_sines(length, rate, tuple(grid.tolist()))
    # Noise needs no search in every window.
    held, energy, _ = _energies(_windows(values, length, length), *sines)
    if not (held.max(axis=1) >= DOUBTFUL * energy).any():
        return None
    held, energy, raw = _energies(_windows(values, length, hop), *sines)
    peak = held.argmax(axis=1)
    inner = (peak > 0) & (peak < len(grid) - 1)
    rows, middle = np.arange(len(peak)), peak.clip(1, len(grid) - 2)
    left, here, right = held[rows, middle - 1], held[rows, middle], held[rows, middle + 1]
    curvature = left - 2 * here + right
    shift = np.divide(left - right, 2 * curvature, out=np.zeros(len(peak)), where=inner & (curvature < 0))
    hz = grid[middle] + shift * (grid[1] - grid[0])
    purity = here / np.maximum(energy, 1e-300)
    good = inner & (purity >= PURE) & (here >= LEAST_SHARE * raw) & (energy >= LEAST_ENERGY * energy.max(initial=0.0))
    good &= (hz >= low * (1 - MARGIN / 2)) & (hz <= high * (1 + MARGIN / 2))
    best: tuple[float, slice] | None = None
    for first, stop in _runs(good, hz, energy):
        span = length + (stop - first - 1) * hop
        cycles = span / rate * float(np.median(hz[first:stop]))
        if not _is_proof(hz[first:stop], purity[first:stop], cycles, header_hz):
            continue
        if best is None or cycles > best[0]:
            best = cycles, slice(first * hop, first * hop + span)
        if best[0] >= FEW_CYCLES:
            break
    if best is None:
        return None
    start = float(np.median(hz[best[1].start // hop : (best[1].stop - length) // hop + 1]))
    return _refined(values[best[1]], rate, start, length, header_hz)


def _runs(good: NDArray[np.bool_], hz: Values, energy: Values) -> Iterator[tuple[int, int]]:
    """Yield the first and last window (exclusive) of each run of good windows of like frequency and energy.

    A window beside a change may hold a little of it, so it is left out.
    """
    same = np.abs(np.diff(hz)) <= SAME_HZ * hz[1:]
    same &= np.abs(np.diff(energy)) <= SAME_ENERGY * np.maximum(energy[1:], energy[:-1])
    joined = np.concatenate([[False], same & good[1:] & good[:-1], [False]])
    # A run is an unbroken row of joints between windows.
    for begin, end in zip(np.flatnonzero(~joined[:-1]), np.flatnonzero(~joined[1:]) + 1, strict=True):
        first = int(begin) + int(begin > 0)
        stop = int(end) - int(end < len(good))
        if stop > first and good[first]:
            yield first, stop


def _is_proof(hz: Values, purity: Values, cycles: float, header_hz: float | None) -> bool:
    """Return True if steady cycles prove the frequency: few of them near a nominal frequency, many elsewhere."""
    if _is_near(float(np.median(hz)), header_hz):
        return len(hz) >= 3 or float(purity.max()) >= VERY_CLEAN
    return cycles >= MANY_CYCLES and float(np.median(purity)) >= CLEAN


def _refined(values: Values, rate: float, hz: float, length: int, header_hz: float | None) -> SteadySine:
    """Return the frequency of the sine that fits steady cycles best, or the nominal one if it fits about as well."""

    def residual(frequency: float, part: Values) -> float:
        held, energy, _ = _energies(part[None], *_sines(len(part), rate, (frequency,)))
        return float(1 - held[0, 0] / energy[0])

    longest = min(len(values), max(length, round(LONGEST_S * rate)))
    spans = [span for span in (length, 3 * length) if span < longest] + [longest]
    part, rest = values[:length], 1.0
    for span in spans:
        wider = values[:span]
        reach = 0.35 * rate / span
        fit = minimize_scalar(residual, bounds=(hz - reach, hz + reach), args=(wider,), options={"xatol": 1e-5})
        if span > length and fit.fun > rest + 0.02:
            break
        hz, rest, part = float(fit.x), float(fit.fun), wider
    nominal = min(_nominals(header_hz), key=lambda value: abs(value - hz))
    if abs(nominal - hz) <= NEAR * nominal and residual(nominal, part) <= PROOF * rest:
        hz = nominal
    return SteadySine(round(hz, 3), len(values) / rate * hz)
