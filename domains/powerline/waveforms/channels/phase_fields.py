"""Read what the phase fields of the channels state, in the alphabet that the record uses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from domains.powerline.waveforms.channels.channel_name import (
    BY_SYMBOL,
    DIGITS,
    LETTERS,
    NEUTRAL,
    PAIRS,
    PHASES,
    USUAL,
    Place,
    is_phase_word,
    read_name,
)
from domains.powerline.waveforms.record import RawChannel

NO_PHASE = -1
"""Phase of a channel whose phase field names the neutral."""


@dataclass(frozen=True, slots=True)
class PhaseField:
    """Phase that the phase field of a channel states."""

    alphabet: str
    phase: int

    def agrees(self, place: Place) -> bool:
        """Return True if a place of the name means the same phase; A may stand for AB."""
        return place.phase == self.phase and (self.alphabet not in PAIRS or place.alphabet in PAIRS)


def phase_fields(channels: Sequence[RawChannel]) -> list[PhaseField | None]:
    """Return what the phase fields state; None where a field is empty, or where all channels have the same."""
    symbols = [_symbol(channel.phase) for channel in channels]
    present = set(filter(None, symbols))
    # B is the second phase of A B C and the third of R Y B: the alphabet with most symbols in the record counts.
    used = {name: len(present & set(members)) for name, members in {**PHASES, **PAIRS}.items()}
    used["L12 L23 L31"] = max(used["L12 L23 L31"], len(present & {"L1L2", "L2L3", "L3L1"}))
    known = [_stated(symbol, used) for symbol in symbols]
    # A field that is the same for all channels, or that only numbers them, says nothing.
    if len({found.phase for found in known if found is not None}) < 2:
        return [None] * len(channels)
    neutral = PhaseField(LETTERS, NO_PHASE)
    return [found or (neutral if symbol in NEUTRAL else None) for found, symbol in zip(known, symbols, strict=True)]


def _stated(symbol: str, used: dict[str, int]) -> PhaseField | None:
    """Return the phase that a symbol states, in the alphabet of which the record has most symbols."""
    known = [(alphabet, phase) for alphabet, phase in BY_SYMBOL.get(symbol, ()) if _is_stated(alphabet, used)]
    return PhaseField(*max(known, key=lambda item: used[item[0]])) if known else None


def _is_stated(alphabet: str, used: dict[str, int]) -> bool:
    """Return True if a record states phases in an alphabet: numbers and U, V, W may mean something else."""
    return used[alphabet] == 3 or alphabet in USUAL[:4] or (alphabet not in (*DIGITS, "U V W") and used[alphabet] > 1)


def _symbol(text: str) -> str:
    """Return the symbol in a phase field: AB for A-B, A for A-N or "phase A"."""
    tokens = [token for token in read_name(text).tokens if not is_phase_word(token)]
    joined = "".join(tokens)
    if joined in BY_SYMBOL:
        return joined
    bare = joined[:-1] if joined[-1:] in ("N", "G", "E") else joined
    return bare if bare in BY_SYMBOL else joined.removeprefix("3").removeprefix("I").removeprefix("U") or joined
