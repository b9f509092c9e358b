"""Derive quantity, phase and set of three from a channel's name, unit and phase field.

The structure of names is used instead of a dictionary, so that any language works: three channels whose names differ
only in one symbol of a known alphabet of phases (A B C, L1 L2 L3, R S T, …) are a set, whatever their names mean.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from domains.powerline.waveforms.record import RawChannel

Kind = Literal["current", "voltage", ""]

UNITS: dict[str, tuple[Kind, float]] = {
    **dict.fromkeys(("a", "amp", "amps", "ampere", "amperes", "а", "安", "安培"), ("current", 1.0)),
    **dict.fromkeys(("ka", "ка", "千安"), ("current", 1e3)),
    **dict.fromkeys(("v", "volt", "volts", "в", "伏", "伏特"), ("voltage", 1.0)),
    **dict.fromkeys(("kv", "кв", "千伏"), ("voltage", 1e3)),
    "ma": ("current", 1e-3),
    "ма": ("current", 1e-3),
    "mv": ("voltage", 1e-3),
    "мв": ("voltage", 1e-3),
}
"""Kind and factor by the unit in lower case; ``unit_of`` distinguishes megavolts (MV) from millivolts (mV) first."""
NO_WAVEFORM = re.compile(
    r"\b(rms|mag|magnitude|ang|angle|freq|frequency|thd|diff|idiff|rest|restr|bias|pos|neg|zero|seq|setting)\b"
    r"|действ|有效值|角度|频率|差动|差流|эфф",
    re.IGNORECASE,
)
"""Names of values derived from waveforms."""
_AFTER = r"_?(?:[ABCNRSTYUVWEG]{0,2}|L?\d|L\dL\d|\d\d)(?:$|[^A-Z0-9])"
"""Text that may follow the letter of a quantity, as in IA, U_L1 or V12."""
_CURRENT = re.compile(rf"(?:^|[^A-Z0-9])3?I{_AFTER}|CURRENT|CORRIENTE|CORRENTE|COURANT|STROM|ТОК|电流")
_VOLTAGE = re.compile(rf"(?:^|[^A-Z0-9])3?[UVE]{_AFTER}|VOLT|TENS[IÃ]|SPANNUNG|НAПР|电压")
_LOOKALIKES = str.maketrans("АВСЕІавсеі", "ABCEIabcei")
"""Cyrillic letters that look like Latin ones: either may have been typed for a phase."""
_QUANTITIES = re.compile(
    r"相|电流|电压|\b(3?[IUVE]|phase|phases|fase|phas|ph|current|currents|voltage|voltages|corriente|corrente|courant|"
    r"strom|spannung|tension|tensão|ток|тока|токи|напряжение|напряжения|фаза|фазы|node|branch|[IUV]L)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Alphabet:
    """Symbols of the three phases, or of the three phase-to-phase voltages if ``pairs`` is set."""

    symbols: tuple[str, str, str]
    pairs: bool = False


ALPHABETS = (
    Alphabet(("AB", "BC", "CA"), pairs=True),
    Alphabet(("L12", "L23", "L31"), pairs=True),
    Alphabet(("L1L2", "L2L3", "L3L1"), pairs=True),
    Alphabet(("12", "23", "31"), pairs=True),
    Alphabet(("RS", "ST", "TR"), pairs=True),
    Alphabet(("RY", "YB", "BR"), pairs=True),
    Alphabet(("A", "B", "C")),
    Alphabet(("L1", "L2", "L3")),
    Alphabet(("R", "S", "T")),
    Alphabet(("R", "Y", "B")),
    Alphabet(("Ж", "З", "К")),
    Alphabet(("1", "2", "3")),
    Alphabet(("U", "V", "W")),
)
"""Alphabets in the order in which they are tried; each is applied to the channels that no earlier one assigned."""
PAIR_SIGN = r"[\s\-/_.]?"
PAIR_SIGNS = re.compile(r"[\s\-/_.]+")


@dataclass(frozen=True, slots=True)
class PhaseSet:
    """Channels of the same quantity in different phases.

    Attributes:
        kind: the quantity.
        label: common part of the names, without the words for the quantity.
        circuit: circuit of the channels in the header.
        channels: indices of phases A, B, C (AB, BC, CA if ``pairs`` is set); None if the file has none.
        pairs: True for phase-to-phase voltages.
        residual: index of the channel that holds the sum of the three phases (IN, 3I0; VN, 3U0); None if there is none.
        why: reason for which the channels were taken for a set, for people.
    """

    kind: Kind
    label: str
    circuit: str
    channels: tuple[int | None, int | None, int | None]
    pairs: bool
    residual: int | None = None
    why: str = ""

    @property
    def first(self) -> int:
        """Index of the first channel that there is."""
        return next(index for index in self.channels if index is not None)


def unit_of(channel: RawChannel) -> tuple[Kind, float]:
    """Return the kind of quantity and the factor to A or V by the unit; kind ``""`` if the unit does not give it."""
    text = unicodedata.normalize("NFKC", channel.unit).strip().strip("[]()")
    if text in ("MV", "МВ"):
        return "voltage", 1e6
    return UNITS.get(text.lower(), ("", 1.0))


def kind_of(channel: RawChannel) -> Kind:
    """Return current or voltage, by the unit or else by the name; ``""`` if the channel is neither."""
    kind, _ = unit_of(channel)
    # A channel with any other unit (Hz, MW, °) is neither, unless the unit only means "per unit".
    if kind or channel.unit.strip().lower() not in ("", "pu", "p.u.", "p.u", "%", "1", "-", "none"):
        return kind
    name = _plain(channel.name).upper()
    voltage, current = _VOLTAGE.search(name), _CURRENT.search(name)
    # The quantity precedes the phase: I_V is the current of phase V.
    if voltage is not None and (current is None or voltage.start() < current.start()):
        return "voltage"
    return "current" if current is not None else ""


def phase_sets(channels: Sequence[RawChannel]) -> tuple[list[PhaseSet], dict[int, str]]:
    """Return the sets of channels in the order of the file, and for every channel in no set the reason.

    Complete sets are formed before sets of two.

    Example:
        >>> names = ("IL1", "IL2", "IL3", "IN")
        >>> sets, left = phase_sets([RawChannel(n, name, "A") for n, name in enumerate(names, 1)])
        >>> sets[0].kind, sets[0].channels, left
        ('current', (0, 1, 2), {3: 'no phases of the same name'})
    """
    kinds = {index: kind_of(channel) for index, channel in enumerate(channels)}
    free = {index for index, kind in kinds.items() if kind and not NO_WAVEFORM.search(channels[index].name)}
    sets: list[PhaseSet] = []
    # Some files give every channel of a bay its own circuit: circuits are ignored for channels that remain unassigned.
    for fewest, by_circuit in ((3, True), (3, False), (2, True)):
        for alphabet in ALPHABETS:
            sets += _sets_of(channels, kinds, free, alphabet, fewest=fewest, by_circuit=by_circuit)
    used = {index for found in sets for index in found.channels if index is not None}
    unused = {index: "no phases of the same name" for index in kinds if index not in used}
    return sorted(sets, key=lambda found: min(index for index in found.channels if index is not None)), unused


def _sets_of(
    channels: Sequence[RawChannel],
    kinds: dict[int, Kind],
    free: set[int],
    alphabet: Alphabet,
    *,
    fewest: int,
    by_circuit: bool,
) -> list[PhaseSet]:
    """Form sets under one alphabet and remove their channels from ``free``."""
    buckets: dict[tuple[Kind, str, str], dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    weights: dict[tuple[Kind, str, str], int] = {}
    for index in sorted(free):
        if alphabet.pairs and kinds[index] != "voltage":
            continue
        circuit = _plain(channels[index].circuit).upper() if by_circuit else ""
        for phase, pattern, weight in _readings(channels[index], alphabet):
            if weight < 2 and fewest < 3:
                continue
            key = (kinds[index], circuit, pattern)
            buckets[key][phase].append(index)
            weights[key] = max(weights.get(key, 0), weight)
    sets = []
    order = sorted(buckets, key=lambda key: (-len(buckets[key]), -weights[key], key))
    for key in order:
        while True:
            left = {phase: [k for k in found if k in free] for phase, found in buckets[key].items()}
            chosen = [left.get(phase, [])[:1] for phase in range(3)]
            if sum(map(len, chosen)) < fewest:
                break
            indices = tuple(found[0] if found else None for found in chosen)
            free -= {index for index in indices if index is not None}
            first = next(index for index in indices if index is not None)
            sets.append(
                PhaseSet(
                    kind=kinds[first],
                    label=_label([channels[index].name for index in indices if index is not None]),
                    circuit=channels[first].circuit.strip() if by_circuit else "",
                    channels=(indices[0], indices[1], indices[2]),
                    pairs=alphabet.pairs,
                )
            )
    return sets


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).translate(_LOOKALIKES).split())


def _readings(channel: RawChannel, alphabet: Alphabet) -> Iterator[tuple[int, str, int]]:
    """Yield phase, name pattern without the phase, and weight for every way to read a channel under an alphabet."""
    name = _plain(channel.name)
    stated = _phase_field(channel, alphabet)
    for phase, symbol in enumerate(alphabet.symbols):
        if stated is not None and stated != phase:
            continue
        for pattern, weight in _patterns(name, symbol):
            yield phase, pattern, weight + (2 if stated is not None else 0)
    if stated is not None:
        yield stated, name.upper(), 2


def _phase_field(channel: RawChannel, alphabet: Alphabet) -> int | None:
    """Return the phase that the phase field names in an alphabet.

    The result is None if the field names no phase, and −1 if it names ground or a phase of another alphabet.
    """
    text = PAIR_SIGNS.sub("", _plain(channel.phase)).upper()
    if not text:
        return None
    bare = text[:-1] if len(text) > 1 and text[-1] in "NG" else text
    bare = bare.removeprefix("PH").removeprefix("PHASE") or bare
    if bare in alphabet.symbols:
        return alphabet.symbols.index(bare)
    known = any(bare in other.symbols for other in ALPHABETS)
    return -1 if known or bare in ("N", "G", "E", "0", "S") else None


def _patterns(name: str, symbol: str) -> Iterator[tuple[str, int]]:
    """Yield the name with the symbol replaced by ``*``, and a weight: first whole words, then each single place."""
    upper = name.upper()
    parts = re.findall(r"L\d|\d|[^\W\d]", symbol)
    sign = PAIR_SIGN.join(re.escape(part) for part in parts) if len(parts) > 1 else re.escape(symbol)
    word = re.compile(rf"(?<![A-Z0-9\u0400-\u04ff]){sign}(?![A-Z0-9\u0400-\u04ff])")
    if word.search(upper):
        yield word.sub("*", upper), 3
    for found in re.finditer(rf"(?=({sign}))", upper):
        start, stop = found.span(1)
        before, after = upper[:start], upper[stop:]
        if (symbol[-1].isdigit() and after[:1].isdigit()) or (symbol[0].isdigit() and before[-1:].isdigit()):
            continue
        after_kind = re.search(r"(?:^|[^A-Z])(?:3?[IUVE])_?$", before) is not None
        ends = not re.match(r"[A-Z\u0400-\u04ff]", after)
        yield f"{before}*{after}", 2 if after_kind and ends else 1


def _label(names: Sequence[str]) -> str:
    """Return the common part of the names of a set, without the words for the quantity."""
    cleaned = [" ".join(unicodedata.normalize("NFKC", name).split()) for name in names]
    start = _same_start(cleaned)
    end = _same_start([name[len(start) :][::-1] for name in cleaned])[::-1]
    words = re.sub(r"[\s_\-.,:;/()\[\]*]+", " ", _QUANTITIES.sub(" ", f"{start} {end}"))
    return re.sub(r"(?:^| )[IUV]$", "", words.strip()).strip()


def _same_start(names: Sequence[str]) -> str:
    """Return the longest common prefix of the names."""
    letters = itertools.takewhile(lambda column: len(set(column)) == 1, zip(*names, strict=False))
    return "".join(column[0] for column in letters)
