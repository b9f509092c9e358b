"""Convert channels to per unit of nominal peak values, and check polarity by the phasors before the event."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from domains.powerline.waveforms.record import Finding, RawChannel, ReadOptions, Segment
from domains.powerline.waveforms.signal.cycles import CyclePhasors, cycle_phasors
from domains.powerline.waveforms.signal.healthy_levels import HealthyLevels, healthy_levels
from domains.powerline.waveforms.signal.sequences import sequence_components
from domains.powerline.waveforms.units import rated_amperes

NEAR_RATED = (0.75, 1.3)
"""Range of measured over rated voltage within which the rated voltage is accepted as the base."""
RATED_SECONDARY_VOLT = (100.0, 110.0, 115.0, 120.0)
LOAD_PER_UNIT = 0.5
"""Per-unit value that is assumed for the load before the event if no CT rating is known: usual loads are 0.2 to 1."""
LEAST_LOAD = 0.01
"""Ratio of load to highest current below which the line was open or idle, so that its load gives no base."""
HIGHEST_PER_UNIT = 20.0
"""Highest current in per unit if no CT rating is known: CTs are built for 20 times their rating."""
IMPLAUSIBLE_PER_UNIT = 80.0
"""Multiple of the CT rating that no measured fault current reaches, since CTs saturate far below it."""
MOST_RATED_AMPERE = 50_000.0
"""Highest CT rating; a higher one in a file is no rating."""
FAINT_PER_UNIT, CLEAR_EVENT, CLEAR_RATIO = 0.02, 3.0, 5.0
"""Multiple of the CT rating below which the currents of an event are no primary values, if they are this multiple of
the load and the CT ratio is at least the last one."""
HIGHEST_LOAD, IMPOSSIBLE_LOAD = 2.0, 6.0
"""Multiples of the CT rating up to which a load is plausible, and from which it is not."""
REVERSED_SHARE = 0.5
"""Ratio of active to apparent power above which the direction of power flow is certain."""

Array = NDArray[np.float64]


@dataclass(slots=True)
class Scaled:
    """Samples of a line in per unit, float32 (t, 6), with the bases and the reason for their choice."""

    samples: NDArray[np.float32]
    current_base: float
    voltage_base: float
    source: str
    findings: list[Finding] = field(default_factory=list)
    reversed_currents: tuple[int, ...] = ()


def scaled(
    samples: NDArray[np.float32],
    channels: tuple[RawChannel | None, ...],
    segments: tuple[Segment, ...],
    frequency_hz: float,
    options: ReadOptions,
    name: str,
) -> Scaled:
    """Convert one line to per unit.

    Args:
        samples: float32 (t, 6) in A and V of the primary side, phase to ground; changed in place.
        channels: channel of the file behind each column; None if it is missing or was derived.
        segments: segments of the record.
        frequency_hz: mains frequency.
        options: bases given by the user.
        name: name of the line, for findings.

    Returns:
        The samples in per unit, the bases and their explanation, and findings about ratings and polarity.
    """
    phasors = cycle_phasors(samples, segments, frequency_hz)
    findings: list[Finding] = []
    levels = healthy_levels(phasors)
    voltage, voltage_source, secondary = _voltage_base(samples[:, 3:], channels[3:], levels, options, name, findings)
    current, current_source = _current_base(samples[:, :3], channels[:3], levels, options, name, secondary, findings)
    samples[:, :3] /= np.float32(current)
    samples[:, 3:] /= np.float32(voltage)
    _check_ratios(samples, name, findings)
    result = Scaled(samples, current, voltage, f"{voltage_source}; {current_source}", findings)
    if phasors is not None:
        _check_directions(phasors, result, name)
    return result


def _level(values: Array) -> float:
    """Return the typical amplitude of three phases: the median, which one faulty channel does not shift."""
    alive = values[values > 0]
    return float(np.median(alive)) if len(alive) else 0.0


def _voltage_base(
    samples: NDArray[np.float32],
    channels: tuple[RawChannel | None, ...],
    levels: HealthyLevels,
    options: ReadOptions,
    name: str,
    findings: list[Finding],
) -> tuple[float, str, bool]:
    """Return the peak volts of one per unit, their source, and True if the values prove to be secondary."""
    if options.voltage_base is not None:
        return options.voltage_base, f"voltage base {options.voltage_base:g} V peak (as given)", False
    measured = levels.voltage or float(np.abs(samples).max(initial=0.0))
    if measured <= 0.0:
        return 1.0, "no voltages", False
    where = "measured before the event" if levels.voltage_before else "the highest steady voltage of the record"
    known = next((channel for channel in channels if channel is not None), None)
    if known is not None:
        for rated in (known.primary, 1e3 * known.primary):
            # VT ratings are phase to phase by custom, but phase to ground in some files.
            for peak, what in ((rated * np.sqrt(2 / 3), "VT rating"), (rated * np.sqrt(2), "VT rating to ground")):
                if known.primary > 1 and NEAR_RATED[0] <= measured / peak <= NEAR_RATED[1]:
                    return float(peak), f"voltage base {peak:.6g} V peak ({what})", False
        if known.side != "S" and known.primary > 2 * known.secondary and _looks_secondary(measured):
            findings.append(_side_finding(known, "voltages", name))
            return measured, f"voltage base {measured:.6g} V peak ({where})", True
    return measured, f"voltage base {measured:.6g} V peak ({where})", False


def _side_finding(known: RawChannel, what: str, name: str) -> Finding:
    """Return a finding about values that prove to be of another side than the header states."""
    if not known.side:
        message = f"the header does not state the side of the {what}: they are read as secondary values by their level"
        return Finding("note", "side-not-stated", message, name)
    stated, other = ("secondary", "primary") if known.side == "S" else ("primary", "secondary")
    message = f"the header states {stated} values, but the {what} are {other} values and are read as such"
    return Finding("warning", "side-contradicts-header", message, name)


def _looks_secondary(peak: float) -> bool:
    return any(0.85 <= peak / (volt * np.sqrt(2 / 3)) <= 1.15 for volt in RATED_SECONDARY_VOLT)


def _current_base(
    samples: NDArray[np.float32],
    channels: tuple[RawChannel | None, ...],
    levels: HealthyLevels,
    options: ReadOptions,
    name: str,
    secondary: bool,
    findings: list[Finding],
) -> tuple[float, str]:
    """Return the peak amperes of one per unit, and their source."""
    if options.current_base is not None:
        return options.current_base, f"current base {options.current_base:g} A peak (as given)"
    highest = float(np.abs(samples).max(initial=0.0))
    if highest <= 0.0:
        return 1.0, "no currents"
    known = next((channel for channel in channels if channel is not None), None)
    if known is not None:
        primary, secondary_rating = rated_amperes(known)
        known = replace(known, primary=primary, secondary=secondary_rating)
    if known is not None and known.primary > max(1.0, known.secondary) and known.primary <= MOST_RATED_AMPERE:
        rated = _rated_current(known, levels, highest / float(np.sqrt(2)), secondary, name, findings)
        what = "CT rating" if rated == known.primary else "CT rating on the side of the values"
        return rated * float(np.sqrt(2)), f"current base {rated:g} A ({what}) times √2"
    if levels.load > LEAST_LOAD * highest:
        base = max(levels.load / LOAD_PER_UNIT, highest / HIGHEST_PER_UNIT)
        where = "the load before the event" if levels.load_before else "the load after the event"
        return base, f"current base {base:.6g} A peak (no CT rating: from {where})"
    base = highest / 10.0
    return base, f"current base {base:.6g} A peak (no CT rating, no load: a tenth of the record's highest current)"


def _rated_current(
    known: RawChannel, levels: HealthyLevels, highest: float, secondary: bool, name: str, findings: list[Finding]
) -> float:
    """Return the CT rating on the side on which the values prove to be; ``highest`` is an effective value."""
    ratio = known.primary / known.secondary
    rated = known.secondary
    if known.side == "S":
        # The values were multiplied by the ratio, so the rating is, too.
        rated = known.primary * ratio
    load = levels.load / float(np.sqrt(2))
    if known.side == "S":
        opposed = highest > IMPLAUSIBLE_PER_UNIT * known.primary or load > IMPOSSIBLE_LOAD * known.primary
    else:
        has_event = highest > CLEAR_EVENT * load
        opposed = secondary or (has_event and ratio >= CLEAR_RATIO and highest < FAINT_PER_UNIT * known.primary)
    if opposed and load <= HIGHEST_LOAD * rated and FAINT_PER_UNIT * rated < highest < IMPLAUSIBLE_PER_UNIT * rated:
        findings.append(_side_finding(known, "currents", name))
        return rated
    return known.primary


def _check_ratios(samples: NDArray[np.float32], name: str, findings: list[Finding]) -> None:
    """Report currents in per unit that contradict the CT rating."""
    highest = float(np.abs(samples[:, :3]).max(initial=0.0))
    if highest > IMPLAUSIBLE_PER_UNIT:
        message = (
            f"currents reach {highest:.0f} times the CT rating: the CT ratio or the side (primary or secondary) in "
            "the header may be wrong; set the base with --current-base"
        )
        findings.append(Finding("warning", "implausible-currents", message, name))


def _check_directions(phasors: CyclePhasors, result: Scaled, name: str) -> None:
    """Find currents of reversed polarity, relative to the voltages or to each other, before the event."""
    before = phasors.before
    currents, voltages = before[:3], before[3:]
    apparent = float((np.abs(currents) * np.abs(voltages)).sum())
    if phasors.steady < 1 or apparent <= 0.0 or _level(np.abs(currents)) < 0.02 * result.current_base:
        return
    power = (voltages * currents.conj()).real
    positive = [sign for sign in (power > 0) if sign]
    shares = power / np.maximum(np.abs(currents) * np.abs(voltages), 1e-30)
    if power.sum() < -REVERSED_SHARE * apparent and (shares < 0).all():
        message = (
            "active power flows from the line to the busbar in all three phases before the event: a source feeds in "
            "through the line, or the polarity of the CTs is reversed (--flip inverts the currents)"
        )
        # A healthy line that imports has it, and the network's answer does not depend on it.
        result.findings.append(Finding("note", "reverse-power", message, name))
        result.reversed_currents = (0, 1, 2)
    elif len(positive) == 2 and power.sum() > 0 and float(shares.min()) < -REVERSED_SHARE:
        _report_one_reversed(int(np.argmin(shares)), currents, result, name)
    elif len(positive) == 1 and power.sum() < 0 and float(shares.max()) > REVERSED_SHARE:
        _report_one_reversed(int(np.argmax(shares)), currents, result, name)


def _report_one_reversed(phase: int, currents: NDArray[np.complex128], result: Scaled, name: str) -> None:
    turned = currents.copy()
    turned[phase] *= -1

    def unbalance(values: NDArray[np.complex128]) -> float:
        low, high = sorted(np.abs(sequence_components(values)[1:]).tolist())
        return float(low / max(high, 1e-30))

    if unbalance(turned) < 0.5 * unbalance(currents):
        letter = "ABC"[phase]
        message = (
            f"the polarity of phase {letter}'s current is opposite to that of the other phases before the event "
            "(--flip inverts it)"
        )
        result.findings.append(Finding("warning", "reversed-phase", message, name))
        result.reversed_currents = (phase,)
