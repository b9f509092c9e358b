"""Determine the order in which the phases of currents and voltages follow each other before the event."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from domains.powerline.waveforms.record import CHANNELS, Finding, Segment
from domains.powerline.waveforms.signal.assembly import Assembled
from domains.powerline.waveforms.signal.cycles import CyclePhasors, cycle_phasors
from domains.powerline.waveforms.signal.sequences import sequence_components

CLEAR_RATIO = 4.0
"""Ratio of the two rotating components from which the order of the phases is certain; no fault of one or two phases
reaches it in its currents."""
LEAST_CYCLES = 2
"""Number of steady cycles before the event that must agree."""
LEAST_SHARE = 0.005
"""Ratio of a level before the event to the highest one below which it shows no order."""
LEAST_POWER = 0.5
"""Ratio of active to apparent power from which voltages fit to the currents of the same phases."""

Order = Literal["ABC", "ACB", ""]
Phasors = NDArray[np.complex128]


@dataclass(frozen=True, slots=True)
class Rotation:
    """Order of the phases before the event; empty if it is not certain."""

    currents: Order = ""
    voltages: Order = ""

    @property
    def contradicts(self) -> bool:
        """Return True if voltages rotate against the currents, so that one of both has two phases exchanged."""
        return bool(self.currents and self.voltages) and self.currents != self.voltages

    @property
    def is_reversed(self) -> bool:
        """Return True if the phases follow each other as A, C, B and nothing contradicts it."""
        return "ACB" in (self.currents, self.voltages) and not self.contradicts


def rotation(phasors: CyclePhasors | None) -> Rotation:
    """Return the order of a line's phases.

    Args:
        phasors: phasors of every cycle, (cycles, 6), ia ib ic va vb vc.

    Example:
        >>> turn = np.exp(-2j * np.pi * np.arange(3) / 3)
        >>> rotation(CyclePhasors(np.tile(np.concatenate([turn, turn.conj()]), (5, 1)), 5))
        Rotation(currents='ABC', voltages='ACB')
    """
    if phasors is None or phasors.steady < LEAST_CYCLES:
        return Rotation()
    return Rotation(_order(phasors, slice(0, 3)), _order(phasors, slice(3, 6)))


def _order(phasors: CyclePhasors, columns: slice) -> Order:
    values = phasors.values[:, columns]
    before = values[: phasors.steady]
    if (np.abs(before).max(axis=1) < LEAST_SHARE * np.abs(values).max()).any() or not before.any():
        return ""
    _, forward, backward = np.abs(sequence_components(before)).T
    if (forward >= CLEAR_RATIO * backward).all():
        return "ABC"
    return "ACB" if (backward >= CLEAR_RATIO * forward).all() else ""


def without_opposed_voltages(line: Assembled, segments: Sequence[Segment], frequency_hz: float, name: str) -> Assembled:
    """Return a line without its voltages if they rotate against its currents, and with the finding that says so.

    Args:
        line: the six waveforms of a line; its samples are changed in place.
        segments: segments of the record.
        frequency_hz: mains frequency.
        name: name of the line, for findings.
    """
    phasors = cycle_phasors(line.samples, segments, frequency_hz)
    finding = rotation_finding(phasors, name)
    if finding is None:
        return line
    missing = line.missing
    if rotation(phasors).contradicts:
        line.samples[:, 3:] = 0
        missing = tuple(channel for channel in CHANNELS if channel in missing or channel in CHANNELS[3:])
    return Assembled(line.samples, missing, [*line.findings, finding])


def rotation_finding(phasors: CyclePhasors | None, name: str) -> Finding | None:
    """Return the finding about the order of a line's phases; None if it is the usual one or not certain."""
    found = rotation(phasors)
    if found.contradicts and phasors is not None:
        orders = f"the voltages have the phase rotation {found.voltages} and the currents {found.currents}"
        message = f"{orders} before the event: the currents alone are judged"
        if exchanged := _exchanged(phasors.before):
            message += f" (if power flows into the line, exchange {exchanged} with --channels to use the voltages)"
        return Finding("warning", "rotation", message, name)
    if found.is_reversed:
        message = "the phase rotation is ACB before the event"
        return Finding("note", "reversed-rotation", message, name)
    return None


def _exchanged(before: Phasors) -> str:
    """Return the two voltages whose exchange makes power flow into the line; empty if none does."""
    currents, voltages = before[:3], before[3:]
    shares = {}
    for one, two in ((1, 2), (0, 1), (0, 2)):
        order = [0, 1, 2]
        order[one], order[two] = two, one
        power = voltages[order] * currents.conj()
        shares[f"v{'abc'[one]} and v{'abc'[two]}"] = float(power.real.sum() / np.abs(power).sum())
    best = max(shares, key=lambda which: shares[which])
    return best if shares[best] >= LEAST_POWER else ""
