"""Judge the time column of a file: unwrap its counter, find its unit, and decide if it can locate gaps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from domains.powerline.waveforms.stretches import GAP_STEPS

Counts = NDArray[np.int64]
Steps = NDArray[np.float64]
RATE_TOLERANCE = 0.02
"""Tolerated difference between the rates of time column and header: times in whole units are rarely more exact."""
MEDIAN_STEPS = 9
"""Length of the median filter, in steps: it removes jitter and single wrong times, and preserves a lasting change."""
MOST_GAPS = 20
"""Number of jumps up to which a time column that otherwise agrees with the header's rate is believed."""
FEWEST_BETWEEN = 5
"""Fewest samples between two gaps; the median filter passes over fewer ones as wrong times."""
LONGEST_GAP_S = 86_400.0
MODULI = tuple(sorted({2**15, 2**16, 2**24, 2**31, 2**32, *(10**n for n in range(3, 13)), *(
    size * 10**n for size in (60, 3_600, 86_400) for n in (0, 3, 6, 9)
)}))  # fmt: skip
"""Numbers at which counters begin again: powers of 2 and 10, and a minute, an hour and a day in s, ms, µs and ns."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Judgement about a time column whose rate the header gives.

    Attributes:
        stamps: times without new beginnings of a counter, in units of the file; None if they cannot be used.
        factor: ratio of their steps to those of the header's rate; 1 if they agree.
        repair: what was repaired, for a message; empty if nothing.
        fault: reason why the times cannot be used; empty if they can be.
    """

    stamps: Counts | None
    factor: float = 1.0
    repair: str = ""
    fault: str = ""


def judge(stamps: Counts, least: Steps, most: Steps, unit_s: float) -> Verdict:
    """Compare times with the steps that the header's rates give.

    Times are believed if all but a few steps agree with the rates, and the others are plausible gaps. Before that,
    counters that begin again are unwrapped, a wrong unit is divided out, and single wrong times are passed over.

    Args:
        stamps: times (rows,) in units of the file.
        least: expected steps (rows − 1,) in units; the smaller one where the rate changes.
        most: the same with the larger one.
        unit_s: seconds of one unit.

    Example:
        >>> steps = np.full(299, 1000.0)
        >>> judge(np.arange(300) * 1000 % 65536, steps, steps, 1e-6).repair
        'the counter of the time column begins again at 65,536: it is continued'
    """
    steps = np.diff(stamps)
    if not steps.any():
        return Verdict(None, fault="all times are equal")
    wrong = _wrong(steps, least, most)
    if not wrong.any() and _agrees(steps, least):
        return Verdict(stamps)
    factor = _factor(steps, least)
    best: tuple[int, Verdict] | None = None
    for ratio in dict.fromkeys((1.0, factor)):
        for modulus in (None, *_moduli(stamps)):
            found = _with_modulus(steps, least * ratio, most * ratio, modulus, unit_s / ratio)
            if found is not None and (best is None or found[0] < best[0]):
                best = found[0], _verdict(found[1], int(stamps[0]), modulus, ratio)
    if best is not None:
        return best[1]
    repaired = _smoothed(stamps, least, most, unit_s) or _coarse(stamps, least, unit_s)
    return repaired or Verdict(None, fault=_fault(steps, wrong))


def _wrong(steps: NDArray[np.number], least: Steps, most: Steps) -> NDArray[np.bool_]:
    return np.asarray((steps > GAP_STEPS * most + 2) | (steps < least / 2 - 2) | (steps < 0))


def _agrees(steps: NDArray[np.number], expected: Steps) -> bool:
    """Return True if the mean rates of regular times and of the header agree."""
    total, wanted = float(steps.sum()), float(expected.sum())
    return abs(total - wanted) <= max(RATE_TOLERANCE * wanted, 4.0)


def _factor(steps: Counts, expected: Steps) -> float:
    """Return the ratio of the usual step to the expected one; exactly 1 or a power of ten if it is close to it."""
    forward = steps > 0
    if not forward.any():
        return 1.0
    ratio = steps[forward] / expected[forward]
    usual = float(np.median(ratio))
    regular = forward & (steps < GAP_STEPS * usual * expected + 2) & (steps > usual * expected / 2 - 2)
    factor = float(steps[regular].sum() / expected[regular].sum()) if regular.any() else usual
    # A rate beyond all measure has steps of zero.
    if abs(factor - 1) <= RATE_TOLERANCE or not 0 < factor < np.inf:
        return 1.0
    power = 10.0 ** round(np.log10(factor))
    return power if abs(factor / power - 1) <= RATE_TOLERANCE else factor


def _moduli(stamps: Counts) -> list[int]:
    """Return the numbers at which a counter of these values may begin again."""
    low, high = int(stamps.min()), int(stamps.max())
    return [size for size in MODULI if (low >= 0 and high < size) or (-size // 2 <= low < 0 and high < size // 2)]


def _with_modulus(
    steps: Counts, least: Steps, most: Steps, modulus: int | None, unit_s: float
) -> tuple[int, Counts] | None:
    """Return the number of gaps and the steps of a counter with a modulus; None if they contradict the rate."""
    wraps = steps < 0
    if modulus is not None and not wraps.any():
        return None
    going_on = steps if modulus is None else steps + modulus * wraps
    wrong = _wrong(going_on, least, most)
    hidden = wraps & wrong
    if (
        hidden.any()
        and hidden.sum() >= (wraps & ~wrong).sum()
        and (modulus != 2**32 or (steps[hidden] > -(2**31)).any())
    ):
        # Most new beginnings do not fit: the times go back. Only a gap hides the new beginning of a 32-bit counter.
        return None
    gaps = going_on[wrong]
    edges = np.concatenate([[-1], np.flatnonzero(wrong), [len(steps)]])
    if len(gaps) and np.diff(edges).min() < FEWEST_BETWEEN:
        return None
    if len(gaps) > MOST_GAPS or (gaps <= most[wrong]).any() or (gaps * unit_s > LONGEST_GAP_S).any():
        return None
    return (len(gaps), going_on) if _agrees(going_on[~wrong], least[~wrong]) else None


def _verdict(steps: Counts, first: int, modulus: int | None, factor: float) -> Verdict:
    repair = ""
    if modulus is not None and modulus != 2**32:
        repair = f"the counter of the time column begins again at {modulus:,}: it is continued"
    return Verdict(np.concatenate([[first], first + np.cumsum(steps)]), factor, repair)


def _smoothed(stamps: Counts, least: Steps, most: Steps, unit_s: float) -> Verdict | None:
    """Return times without single wrong ones; None if they are not regular without them."""
    expected = np.concatenate([[0.0], np.cumsum(least)])
    late = stamps - expected
    if len(late) < MEDIAN_STEPS:
        return None
    usual = median_filter(late, size=MEDIAN_STEPS, mode="mirror")
    wrong = np.abs(late - usual) > least.min() / 2 + 2
    if wrong.mean() > 0.1:
        return None
    times = np.round(expected + np.where(wrong, usual, late)).astype(np.int64)
    found = _with_modulus(np.diff(times), least, most, None, unit_s)
    if found is None:
        return None
    count = int(wrong.sum())
    times_are, they = ("times do", "they are") if count > 1 else ("time does", "it is")
    return Verdict(times, repair=f"{count:,} {times_are} not fit the others: {they} passed over")


def _coarse(stamps: Counts, expected: Steps, unit_s: float) -> Verdict | None:
    """Return times rebuilt from a column that stands still for several samples; None if it is not such a column."""
    rises = np.flatnonzero(np.diff(stamps)) + 1
    if len(rises) < 4 or len(rises) > 0.7 * len(stamps):
        return None
    sums = np.concatenate([[0.0], np.cumsum(expected)])
    ticks = np.diff(stamps[rises])
    quantum = float(np.median(ticks))
    extra = ticks - np.diff(sums[rises])
    if quantum <= 0 or (extra < -GAP_STEPS * quantum - 2).any():
        return None
    gaps = extra > GAP_STEPS * quantum + 2
    drift = abs(float(extra[~gaps].sum()))
    if drift > 2 * quantum + RATE_TOLERANCE * sums[-1] or gaps.sum() > MOST_GAPS:
        return None
    if (extra[gaps] * unit_s > LONGEST_GAP_S).any():
        return None
    added = np.zeros(len(stamps))
    added[rises[1:][gaps]] = extra[gaps]
    times = np.round(sums + np.cumsum(added)).astype(np.int64)
    return Verdict(times, repair=f"the time column counts in steps of {quantum * unit_s:g} s: the rate refines it")


def _fault(steps: Counts, wrong: NDArray[np.bool_]) -> str:
    """Describe the first step that makes times unusable."""
    back = np.flatnonzero(steps < 0)
    places = back if len(back) else np.flatnonzero(wrong)
    if not len(places):
        return "the times do not advance evenly"
    what = "go back" if len(back) else "jump"
    more = f" and {len(places) - 1:,} more" if len(places) > 1 else ""
    return f"the times {what} at sample {int(places[0]) + 2:,}{more}"


def unwrapped(stamps: Counts) -> Counts:
    """Return the values of a counter without its new beginnings; the values themselves if they are no such counter.

    Example:
        >>> unwrapped(np.array([65000, 65300, 64, 364])).tolist()
        [65000, 65300, 65600, 65900]
    """
    steps = np.diff(stamps)
    back = steps < 0
    if not back.any() or back.all():
        return stamps
    forward = np.where(back, np.median(steps[~back]), steps)
    usual = median_filter(forward, size=min(MEDIAN_STEPS, len(steps)), mode="nearest")[back]
    wanted = usual - steps[back]
    for modulus in _moduli(stamps):
        if (np.abs(modulus - wanted) <= usual / 2 + 2).all():
            return np.concatenate([stamps[:1], stamps[0] + np.cumsum(steps + modulus * back)])
    if 2**32 in _moduli(stamps):
        # A gap may hide the new beginning of a counter of 32 bits.
        steps[steps < -(2**31)] += 2**32
    return np.concatenate([stamps[:1], stamps[0] + np.cumsum(steps)])
