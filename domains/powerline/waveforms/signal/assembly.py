"""Assemble the six waveforms of a line from its channels, and compute those that follow from others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from domains.powerline.waveforms.record import CHANNELS, Finding, Segment
from domains.powerline.waveforms.signal.cycles import STEADY_CURRENT, STEADY_VOLTAGE, CyclePhasors, cycle_phasors
from domains.powerline.waveforms.signal.zero_sequence import with_estimated_zero_sequence

OPPOSITE = {"vba": "vab", "vcb": "vbc", "vac": "vca"}
"""Phase-to-phase voltages of the opposite sign, such as U21, and those that they replace."""
ROLES = ("ia", "ib", "ic", "in", "i0", "va", "vb", "vc", "vab", "vbc", "vca", *OPPOSITE, "vn", "v0")
"""Uses of a line's channels: ``in`` is ia + ib + ic, ``vn`` is va + vb + vc; ``i0`` and ``v0`` are a third of these.
"""
CURRENTS: Mapping[str, tuple[float, float, float]] = {
    "ia": (1, 0, 0),
    "ib": (0, 1, 0),
    "ic": (0, 0, 1),
    "in": (1, 1, 1),
    "i0": (1 / 3, 1 / 3, 1 / 3),
}
VOLTAGES: Mapping[str, tuple[float, float, float]] = {
    "va": (1, 0, 0),
    "vb": (0, 1, 0),
    "vc": (0, 0, 1),
    "vab": (1, -1, 0),
    "vbc": (0, 1, -1),
    "vca": (-1, 0, 1),
    "vn": (1, 1, 1),
    "v0": (1 / 3, 1 / 3, 1 / 3),
}
SUMS = ("in", "i0", "vn", "v0")
FACTORS = tuple(sign * size for size in (1.0, 3.0, 1 / 3, np.sqrt(3), 1 / np.sqrt(3)) for sign in (1, -1))
"""Factors by which a recorded sum may differ from that of the phases: its sign, I0 instead of 3 I0, and the ratios of
open-delta windings."""
PROVED = 0.2
"""Ratio of the changes of the healthy phases with another factor and with 1 below which that factor is proved."""
LEAST_CHANGE = 0.1
"""Relative change of the healthy phases from which they say something about the factor."""
EVENT_CYCLES = 10
"""Number of cycles after the beginning of the event that are compared."""
ALIKE_CURRENTS, ALIKE_VOLTAGES = 3.0, 1.5
"""Ratio of a computed phase to a recorded one before the event up to which it is plausible."""
ARON_SIZE, ARON_ANGLE = 1.4, np.deg2rad(20)
"""Deviation of two currents from equal size and 120° before the event up to which they are those of a balanced load."""

Values = NDArray[np.float32]
Matrix = NDArray[np.float64]


@dataclass(slots=True)
class Assembled:
    """The six waveforms of a line.

    Attributes:
        samples: float32 (t, 6), ia ib ic va vb vc in A and V, phase to ground; zeros for a missing channel.
        missing: names of the channels that are neither in the record nor follow from others.
        findings: computations that were made.
    """

    samples: Values
    missing: tuple[str, ...]
    findings: list[Finding] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Solution:
    """Roles from which three phases follow, and the matrix (3, roles) that computes them."""

    roles: tuple[str, ...]
    matrix: Matrix


def assembled(
    waves: Mapping[str, Values], rows: int, name: str, segments: Sequence[Segment] = (), frequency_hz: float = 50.0
) -> Assembled:
    """Assemble the six waveforms of a line.

    Args:
        waves: waveform float32 (t,) of every role that the record has, in A and V of the primary side.
        rows: number of samples t.
        name: name of the line, for findings.
        segments: segments of the record.
        frequency_hz: mains frequency.
    """
    waves = {OPPOSITE.get(role, role): -wave if role in OPPOSITE else wave for role, wave in waves.items()}
    samples = np.zeros((rows, len(CHANNELS)), np.float32)
    missing: list[str] = []
    findings: list[Finding] = []
    has_currents = any(channel in waves for channel in CHANNELS[:3])
    for first, equations in ((0, CURRENTS), (3, VOLTAGES)):
        names = CHANNELS[first : first + 3]
        given = {role: wave for role, wave in waves.items() if role in equations}
        group = _Group(given, names, segments, frequency_hz, name, has_currents, findings)
        computed = group.solve(equations)
        for column, channel in enumerate(names, first):
            if channel in given:
                samples[:, column] = given[channel]
            elif computed is not None:
                samples[:, column] = computed[:, column - first]
            else:
                missing.append(channel)
    return Assembled(samples, tuple(missing), findings)


@dataclass(slots=True)
class _Group:
    """Recorded waveforms of one quantity of a line."""

    given: Mapping[str, Values]
    names: Sequence[str]
    segments: Sequence[Segment]
    frequency_hz: float
    line: str
    has_currents: bool
    findings: list[Finding]

    def solve(self, equations: Mapping[str, tuple[float, float, float]]) -> Values | None:
        """Return the three phases (t, 3); None if they do not follow, or if all are recorded."""
        if all(name in self.given for name in self.names):
            return None
        solution = _solution(self.given, equations)
        if solution is not None and (total := next((role for role in solution.roles if role in SUMS), None)):
            factor = self._factor(solution, total)
            if factor is None:
                fewer = {role: wave for role, wave in self.given.items() if role not in SUMS}
                return replace(self, given=fewer).solve(equations)
            solution.matrix[:, solution.roles.index(total)] *= factor
        if solution is not None:
            self._report(solution)
            stacked = np.stack([self.given[role] for role in solution.roles], axis=1)
            return np.asarray(stacked @ solution.matrix.T, np.float32)
        if self.names[0] == "va":
            return self._from_pairs()
        return self._third_of_two()

    def _report(self, solution: _Solution) -> None:
        computed = [k for k, name in enumerate(self.names) if name not in self.given]
        terms = [f"{self.names[k]} as {_expression(solution.matrix[k], solution.roles)}" for k in computed]
        message = f"computed from other channels: {', '.join(terms)}"
        self.findings.append(Finding("note", "computed", message, self.line))

    def _phasors(self, roles: Sequence[str]) -> CyclePhasors | None:
        """Return the phasors of recorded roles; None if the cycles before the event are unknown."""
        if not self.segments:
            return None
        stacked = np.stack([self.given[role] for role in roles], axis=1)
        steady = STEADY_CURRENT if self.names[0] == "ia" else STEADY_VOLTAGE
        phasors = cycle_phasors(stacked, self.segments, self.frequency_hz, [(slice(None), steady)])
        return None if phasors is None or phasors.steady < 1 or not phasors.before.any() else phasors

    def _factor(self, solution: _Solution, total: str) -> float | None:
        """Return the factor of a recorded sum; None if the phases computed with it are not plausible."""
        phasors = self._phasors(solution.roles)
        if phasors is None:
            return 1.0
        column = solution.roles.index(total)
        factor = self._proved_factor(solution, column, phasors)
        matrix = solution.matrix.copy()
        matrix[:, column] *= factor
        before = np.abs(phasors.before @ matrix.T)
        limit = ALIKE_CURRENTS if self.names[0] == "ia" else ALIKE_VOLTAGES
        if before.max() > limit * before.min():
            message = f"{total} does not fit the other channels before the event: it is not used"
            self.findings.append(Finding("warning", "sum-not-used", message, self.line))
            return None
        if factor != 1.0:
            message = f"{total} is used times {_number(factor)}: otherwise the healthy phases would change in the event"
            self.findings.append(Finding("note", "sum-scaled", message, self.line))
        return factor

    @staticmethod
    def _proved_factor(solution: _Solution, column: int, phasors: CyclePhasors) -> float:
        """Return the factor with which the two phases that change least stay as before the event, if only one does."""
        change = phasors.values[phasors.steady :][:EVENT_CYCLES] - phasors.before
        sizes = np.abs(change).max(axis=1, initial=0.0)
        event = change[sizes > sizes.max(initial=0.0) / 2]
        if not len(event):
            return 1.0
        costs = []
        for factor in FACTORS:
            matrix = solution.matrix.copy()
            matrix[:, column] *= factor
            changes = np.sort(np.abs(event @ matrix.T), axis=1)
            costs.append(float(changes[:, :2].sum(axis=1).mean()))
        level = float(np.abs(phasors.before @ solution.matrix.T).max())
        best = int(np.argmin(costs))
        return FACTORS[best] if costs[0] > LEAST_CHANGE * level and costs[best] < PROVED * costs[0] else 1.0

    def _third_of_two(self) -> Values | None:
        """Return the currents of a balanced load without ground current, if two are recorded that look like it."""
        there = [name for name in self.names if name in self.given]
        phasors = self._phasors(there) if len(there) == 2 else None
        if phasors is None:
            return None
        one, two = phasors.before
        angle = abs(np.angle(two / one)) if one and two else 0.0
        if max(abs(one), abs(two)) > ARON_SIZE * min(abs(one), abs(two)) or abs(angle - 2 * np.pi / 3) > ARON_ANGLE:
            return None
        third = next(name for name in self.names if name not in self.given)
        message = (
            f"{third} is computed as −{there[0]} − {there[1]}: ground current is not recorded, so a fault to ground "
            "may be missed or taken for another type"
        )
        self.findings.append(Finding("warning", "ground-current-unknown", message, self.line))
        waves = np.zeros((len(self.given[there[0]]), 3), np.float32)
        for k, name in enumerate(self.names):
            waves[:, k] = self.given[name] if name in self.given else -self.given[there[0]] - self.given[there[1]]
        return waves

    def _from_pairs(self) -> Values | None:
        """Return phase-to-ground voltages from phase-to-phase ones without a recorded zero sequence."""
        pairs = [pair for pair in ("vab", "vbc", "vca") if pair in self.given]
        if len(pairs) < 2 or any(name in self.given for name in self.names):
            return None
        balanced = _balanced(self.given, pairs)
        waves, estimated = with_estimated_zero_sequence(balanced, self.segments, self.frequency_hz)
        message = "the record has only phase-to-phase voltages: "
        if estimated:
            message += "the zero-sequence voltage is estimated from their change in the event"
        elif self.has_currents:
            message += "they are not balanced before the event, so the currents alone are judged"
        else:
            message += "the zero-sequence voltage is unknown and assumed to be zero"
        self.findings.append(Finding("warning", "no-ground-voltages", message, self.line))
        return waves if estimated or not self.has_currents else None


def _solution(given: Mapping[str, Values], equations: Mapping[str, tuple[float, float, float]]) -> _Solution | None:
    """Return the first roles from which all three phases follow; None if they do not."""
    chosen: list[str] = []
    rows: list[tuple[float, float, float]] = []
    for role, row in equations.items():
        if role in given and np.linalg.matrix_rank(np.array([*rows, row])) > len(rows):
            chosen.append(role)
            rows.append(row)
    return _Solution(tuple(chosen), np.linalg.inv(np.array(rows))) if len(rows) == 3 else None


def _balanced(given: Mapping[str, Values], pairs: Sequence[str]) -> Matrix:
    """Return va, vb, vc without zero sequence, float64 (t, 3), from two or three phase-to-phase voltages."""
    rows = np.array([VOLTAGES[pair] for pair in pairs])
    return np.asarray(np.stack([given[pair] for pair in pairs], axis=1) @ np.linalg.pinv(rows).T)


def _expression(coefficients: Sequence[float] | Matrix, roles: Sequence[str]) -> str:
    """Return a sum of roles as text.

    Example:
        >>> _expression([-1, -1, 1], ["ia", "ib", "in"]), _expression([2 / 3, 1 / 3, 1 / 3], ["vab", "vbc", "vn"])
        ('in − ia − ib', '(2·vab + vbc + vn) / 3')
    """
    thirds = any(
        abs(value - round(value)) > 1e-6 and abs(3 * value - round(3 * value)) < 1e-6 for value in coefficients
    )
    terms = [(value * (3 if thirds else 1), role) for value, role in zip(coefficients, roles, strict=True)]
    terms = sorted((term for term in terms if abs(term[0]) > 1e-6), key=lambda term: term[0] < 0)
    text = ""
    for value, role in terms:
        size = "" if abs(abs(value) - 1) < 1e-6 else f"{_number(abs(value))}·"
        sign = ("−" if value < 0 else "") if not text else (" − " if value < 0 else " + ")
        text += f"{sign}{size}{role}"
    return f"({text}) / 3" if thirds else text


def _number(value: float) -> str:
    """Return a number as text, thirds as fractions and a minus sign as −.

    Example:
        >>> _number(-1 / 3), _number(3.0), _number(3**0.5)
        ('−1/3', '3', '1.732')
    """
    exact = Fraction(value).limit_denominator(3)
    text = str(abs(exact)) if abs(float(exact) - value) < 1e-6 else f"{abs(value):.4g}"
    return f"−{text}" if value < 0 else text
