"""Decide which voltages belong to which currents: by names first, then by the angle of the load and by sags."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from domains.powerline.waveforms.channels.liveness import SetState
from domains.powerline.waveforms.channels.naming import PhaseSet

ALIKE = 0.03
"""Relative difference of the phasors of two sets of voltages up to which they are the same busbar."""
PLAUSIBLE_POWER = 0.5
"""Ratio of active to apparent power from which voltages fit to the load of a line; a load has 0.8 to 1."""
IMPLAUSIBLE_POWER = 0.3
"""Ratio of active to apparent power up to which voltages do not fit, if others do."""
SAG = 0.05
"""Relative change of voltage from which a set shows the event."""
CLEAR_RATIO = 3.0
"""Ratio of the changes of two sets of voltages from which only the higher one shows the event of the line."""
LEAST_LOAD = 0.005
"""Ratio of load to highest current below which the angle of the load says nothing."""
MAX_ALTERNATIVES = 7
"""Number of other voltages with which a line is judged."""
BUSBAR = re.compile(r"bus|\bbb|sammel|\bss\b|\bss\d|barra|barre|jeu|szyn|шин|сш|母", re.IGNORECASE)
"""Words for a busbar."""
REMOTE = re.compile(
    r"(?<![^\W_])(?:rmt|rem|remot[a-z]*|far ?end)\d*(?![^\W_])|对侧|對側|相手|противопол|удал[её]н", re.IGNORECASE
)
"""Words for the other end of a line."""
WORD = re.compile(r"[a-z0-9]+|[^\W_a-z0-9]+")
"""Words of names: letters of another alphabet begin a new one, as in 220kV母线."""

MIXED_WORD = re.compile(r"(?<![^\W_])\d+[^\W\d_]+(?![^\W_])|(?<![^\W_])[^\W\d_]+\d+(?![^\W_])")
"""Words of digits and letters of any alphabet, as in 2СШ: the second busbar."""

Phasors = NDArray[np.complex128]


@dataclass(frozen=True, slots=True)
class Pair:
    """Currents and voltages of one line; ``alternatives`` are other voltages that may belong to it."""

    current: PhaseSet | None
    voltage: PhaseSet | None
    why: str
    alternatives: tuple[PhaseSet, ...] = ()


def paired(states: Sequence[SetState]) -> list[Pair]:
    """Return the lines that sets of channels form.

    Args:
        states: the sets that are live.

    Returns:
        A pair for every set of currents, in the order of the file; voltages of a busbar may serve several. Without
        currents, every set of voltages is a line.
    """
    currents = [state for state in states if state.found.kind == "current"]
    voltages = [state for state in states if state.found.kind == "voltage"]
    if not currents:
        grounded = [state for state in voltages if not state.found.pairs]
        return [Pair(None, state.found, "the record has no live currents") for state in grounded or voltages]
    sets = _Sets(currents, voltages)
    return [_pair(current, sets) for current in currents]


class _Sets:
    """Live sets of a record, and what is found about them once for all currents."""

    def __init__(self, currents: Sequence[SetState], voltages: Sequence[SetState]) -> None:
        self.currents, self.voltages = currents, voltages
        self.common = _common_words([*currents, *voltages])
        self._distinct: dict[tuple[int, ...], list[SetState]] = {}

    @cached_property
    def claimed(self) -> set[int]:
        """Identities of the voltages whose names fit those of some currents."""
        return {
            id(state)
            for state in self.voltages
            if any(_name_score(current.found, state.found, self.common) for current in self.currents)
        }

    def distinct(self, candidates: list[SetState]) -> list[SetState]:
        """Return voltages without those that equal others up to their level: they give the same answer."""
        key = tuple(map(id, candidates))
        if key not in self._distinct:
            kept: list[SetState] = []
            for state in candidates:
                same = (other for other in kept if other.found.pairs == state.found.pairs)
                if not any(_alike(state.phasors, other.phasors) for other in same):
                    kept.append(state)
            self._distinct[key] = kept
        return list(self._distinct[key])


def _pair(current: SetState, sets: _Sets) -> Pair:
    voltages, currents = sets.voltages, sets.currents
    if not voltages:
        return Pair(current.found, None, "the record has no live voltages")
    ours = _is_remote(current.found)
    voltages = [state for state in voltages if _is_remote(state.found) == ours]
    if not voltages:
        return Pair(current.found, None, f"the record has no live voltages of the {'other' if ours else 'same'} end")
    candidates, why = _by_name(current, voltages, sets)
    if any(not state.found.pairs for state in candidates):
        # Phase-to-phase voltages lack the zero sequence.
        candidates = [state for state in candidates if not state.found.pairs]
    if len(candidates) > 1:
        why = f"all {len(candidates)} sets of voltages that may belong to the line are alike"
        candidates = sets.distinct(candidates)
    if len(candidates) > 1:
        candidates, why = _by_power(current, candidates)
    if len(candidates) > 1:
        candidates, why = _by_sag(current, candidates)
    if len(candidates) > 1 and len(voltages) == len(currents):
        own = voltages[[state is current for state in currents].index(True)]
        candidates = sorted(candidates, key=lambda state: state is not own)
    first, *others = candidates
    return Pair(current.found, first.found, why, tuple(state.found for state in others[:MAX_ALTERNATIVES]))


def _is_remote(found: PhaseSet) -> bool:
    return REMOTE.search(f"{found.label} {found.circuit}") is not None


@lru_cache(maxsize=4096)
def words_of(found: PhaseSet) -> frozenset[str]:
    """Return the words of a set's label and circuit, in lower case; those of digits and letters also as a whole."""
    text = f"{found.label} {found.circuit}".casefold()
    return frozenset((*WORD.findall(text), *MIXED_WORD.findall(text)))


def _common_words(states: Sequence[SetState]) -> set[str]:
    """Return the words that all sets share: they distinguish nothing."""
    counts = Counter(word for state in states for word in words_of(state.found))
    return {word for word, count in counts.items() if count == len(states)} if len(states) > 2 else set()


def _name_score(current: PhaseSet, voltage: PhaseSet, common: set[str]) -> int:
    """Return a score of how much the names and circuits of two sets have in common."""
    ours, theirs = words_of(current) - common, words_of(voltage) - common
    shared = ours & theirs
    numbers = {word for word in shared if word.isdigit()}
    plain_ours, plain_theirs = ({word for word in words if not word.isdigit()} for words in (ours, theirs))
    if not shared - numbers and plain_ours and plain_theirs:
        # "Line 1" and "Busbar 1" share a number by chance.
        numbers = set()
    circuit = bool(current.circuit) and current.circuit.casefold() == voltage.circuit.casefold()
    circuit = circuit and not words_of(current) <= common
    if not circuit and _other_number(current.label, voltage.label):
        return 0
    return 10 * circuit + 2 * len(shared - numbers) + len(shared & numbers)


def _other_number(one: str, two: str) -> bool:
    """Return True if two labels have the same words and different numbers: Line 1 and Line 2."""
    ours, theirs = (set(re.findall(r"\d+|[^\W\d_]+", label.casefold())) for label in (one, two))
    return bool(ours - theirs and theirs - ours) and all(word.isdigit() for word in ours ^ theirs)


def _by_name(current: SetState, voltages: Sequence[SetState], sets: _Sets) -> tuple[list[SetState], str]:
    """Return the voltages whose names fit best, or those that belong to no other line if none fit."""
    if len(voltages) == 1:
        return list(voltages), "they are the only live voltages of the record"
    scores = [_name_score(current.found, state.found, sets.common) for state in voltages]
    best = max(scores)
    if best > 0:
        chosen = [state for state, score in zip(voltages, scores, strict=True) if score == best]
        return chosen, "their names have most in common with those of the currents"
    free = [state for state in voltages if id(state) not in sets.claimed]
    buses = [state for state in voltages if BUSBAR.search(f"{state.found.label} {state.found.circuit}")]
    if buses:
        return buses, "the line has no voltages of its own: those of the busbar are used"
    if free:
        return free, "they belong to no other line"
    return list(voltages), "the line has no voltages of its own"


def _alike(one: Phasors, two: Phasors) -> bool:
    if not len(one) or one.shape != two.shape:
        return False
    levels = [float(np.median(np.abs(values).max(axis=1))) for values in (one, two)]
    if min(levels) <= 0:
        return False
    return float(np.abs(one / levels[0] - two / levels[1]).max()) <= ALIKE


def _by_power(current: SetState, candidates: list[SetState]) -> tuple[list[SetState], str]:
    """Drop voltages that do not fit to the line's load before the event, if others fit."""
    shares = [_power_share(current, state) for state in candidates]
    known = [share for share in shares if share is not None]
    if len(known) < len(shares) or max(known) < PLAUSIBLE_POWER:
        return candidates, ""
    kept = [state for state, share in zip(candidates, known, strict=True) if share > IMPLAUSIBLE_POWER]
    return kept, "only they fit the angle of the load before the event"


def _power_share(current: SetState, voltage: SetState) -> float | None:
    """Return the ratio of active to apparent power in the first cycle, or None if there is no load."""
    if not len(current.phasors) or len(current.phasors) != len(voltage.phasors):
        return None
    amps, volts = current.phasors[0], _to_ground(voltage)
    sizes = np.abs(amps) * np.abs(volts)
    if np.abs(amps).max() < LEAST_LOAD * np.abs(current.phasors).max() or not sizes.any():
        return None
    return float(abs((volts * amps.conj()).real.sum()) / sizes.sum())


def _to_ground(voltage: SetState) -> Phasors:
    """Return the phase-to-ground phasors of the first cycle, without zero sequence if the set is phase-to-phase."""
    volts: Phasors = voltage.phasors[0].copy()
    if not voltage.found.pairs:
        return volts
    absent = [k for k, index in enumerate(voltage.found.channels) if index is None]
    if len(absent) == 1:
        volts[absent[0]] = -volts.sum()
    if voltage.found.reversed:
        volts = -volts
    grounded: Phasors = (volts - np.roll(volts, 1)) / 3
    return grounded


def _by_sag(current: SetState, candidates: list[SetState]) -> tuple[list[SetState], str]:
    """Keep the voltages that change when the currents change, if only one set of them does."""
    if not len(current.phasors) or any(len(state.phasors) != len(current.phasors) for state in candidates):
        return candidates, ""
    moved = np.abs(current.phasors - current.phasors[0]).max(axis=1)
    if moved.max() < SAG * np.abs(current.phasors).max():
        return candidates, ""
    event = int(np.argmax(moved))
    changes = []
    for state in candidates:
        level = float(np.abs(state.phasors[0]).max())
        changes.append(float(np.abs(state.phasors[event] - state.phasors[0]).max()) / max(level, 1e-30))
    first, second = sorted(changes, reverse=True)[:2]
    if first < SAG or first < CLEAR_RATIO * second:
        return candidates, ""
    return [candidates[changes.index(first)]], "only they change when the currents change"
