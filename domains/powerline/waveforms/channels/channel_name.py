"""Read the name of a channel: its words, the places at which it may name a phase, its quantity and its neutral.

The structure of names is used where possible instead of a dictionary, so that any language works: the few words listed
here only announce a phase or state the quantity.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from domains.powerline.waveforms.channels.calculated import calculated
from domains.powerline.waveforms.units import Kind, without_unit, words_of

LETTERS, LINES = "A B C", "L1 L2 L3"
PHASES: dict[str, tuple[str, str, str]] = {
    LETTERS: ("A", "B", "C"),
    LINES: ("L1", "L2", "L3"),
    "R S T": ("R", "S", "T"),
    "R Y B": ("R", "Y", "B"),
    "U V W": ("U", "V", "W"),
    "Ж З К": ("Ж", "З", "К"),
    "RED YELLOW BLUE": ("RED", "YELLOW", "BLUE"),
    "RED WHITE BLUE": ("RED", "WHITE", "BLUE"),
    "A B V": ("A", "B", "V"),
    "1 2 3": ("1", "2", "3"),
}
"""Alphabets of phases, the more usual ones first."""
PAIRS: dict[str, tuple[str, str, str]] = {
    "AB BC CA": ("AB", "BC", "CA"),
    "L12 L23 L31": ("L12", "L23", "L31"),
    "RS ST TR": ("RS", "ST", "TR"),
    "RY YB BR": ("RY", "YB", "BR"),
    "UV VW WU": ("UV", "VW", "WU"),
    "12 23 31": ("12", "23", "31"),
    "BA CB AC": ("BA", "CB", "AC"),
    "L21 L32 L13": ("L21", "L32", "L13"),
    "21 32 13": ("21", "32", "13"),
}
"""Alphabets of phase-to-phase voltages."""
REVERSED = ("BA CB AC", "L21 L32 L13", "21 32 13")
"""Alphabets of phase-to-phase voltages with the opposite sign."""
USUAL = (LETTERS, LINES, "AB BC CA", "L12 L23 L31", "12 23 31", *REVERSED)
"""Alphabets of which two symbols suffice, whatever the other names of a record."""
DIGITS = ("1 2 3", "12 23 31", "21 32 13")
"""Alphabets whose symbols may as well be running numbers."""
BY_SYMBOL: dict[str, list[tuple[str, int]]] = {}
for _name, _symbols in {**PHASES, **PAIRS}.items():
    for _phase, _symbol in enumerate(_symbols):
        BY_SYMBOL.setdefault(_symbol, []).append((_name, _phase))
for _phase, (_one, _two) in enumerate((("L1", "L2"), ("L2", "L3"), ("L3", "L1"))):
    BY_SYMBOL[_one + _two] = [("L12 L23 L31", _phase)]
    BY_SYMBOL[_two + _one] = [("L21 L32 L13", _phase)]
NEUTRAL = frozenset(("N", "G", "E", "0", "O", "Г"))
"""Symbols that stand where a phase would, for the sum of the phases or a third of it."""

SHORT_NEUTRAL = ("N", "RES")
"""Words for the neutral that may as well precede the quantity, as in N CURR."""

HEAD, FIELD, JOINT, WORD, INNER, ANYWHERE, DIGIT = range(7, 0, -1)
"""Certainty of a phase: beside the quantity (IA) or a word for phase; only in the phase field; at several places of the
name; a word of its own; start or end of a word; any letter; a digit, which may as well be a running number."""

MOST_LETTERS, MOST_WORDS, MOST_PLACES = 128, 24, 8
"""Letters and words of a name, and places in it, that are read."""
_LOOKALIKES = str.maketrans("АВСЕІОавсеіо", "ABCEIOabceio")
"""Cyrillic letters that look like Latin ones: either may have been typed for a phase."""
_CJK = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_ROMAN = "".join(map(chr, range(0x2160, 0x2180)))
NO_SPACES = _CJK + _ROMAN
"""Characters, for a class in a regular expression, of scripts that write words without spaces."""
_TOKEN = re.compile(rf"[{_ROMAN}]|[{_CJK}]+|[^\W_{_CJK}{_ROMAN}]+")
_CAMEL = re.compile(r"(?<=[^\W\d_][^\W\d_A-ZА-Я])(?=[A-ZА-Я])|(?<=[A-ZА-Яa-zа-я]\d)(?=[A-ZА-Я][a-zа-я]{2})")
_BUS_AND_PHASE = re.compile(r"(?<![^\W_])((?=\d*[^\W\d_]{2})\w*\d)([IUViuv](?:[ABCNRSTabcnrst]|[Ll][123]))(?!\w)")
"""Name of a place that ends in a digit, with the quantity and the phase behind it, as in BUS1UA."""
_PHASE_AND_WORD = re.compile(r"(?<=(?i:phase))([ABCRSTYN])(?=[A-Z][a-z])")
"""Phase between the word for it and another word, as in PhaseALine."""
_PHASE_AND_PLACE = re.compile(
    r"(?<![^\W_])([IUViuv](?:[ABCNRSTabcnrst]|[Ll][123]))(?=(?:BUS|LINE|SYNC|REF|XFMR|GEN|MAIN|FDR|BKR|BRK|HV|LV|MV)\d*(?![^\W_]))",
    re.IGNORECASE,
)
"""Quantity and phase before the usual word for a place, as in VABUS1."""
_PHASE_SIGN = re.compile(r"[φΦ]|Ø(?=[\s_\-.]?(?:[ABCRST]|L?[123])(?!\w))|(?<=[IUViuvІі])ф")
_ATP = re.compile(r"^\s*([cv])\s*:\s*(?=\S)", re.IGNORECASE)
_THREE = re.compile(r"(?<![A-Za-z])([IUVE])(?:[ _\-.]*ABC[ _\-.:\[(#]*|[\[(])([0-3])(?!\d)", re.IGNORECASE)
"""Element of an array of three phases, as in Iabc[1] and V(2)."""
_LEADING = re.compile(
    r"^\W*(?P<word>(?!(?:[IUVEL]|IL|UL|VL|PH|PHASE|FASE|ФАЗА)\W*\d(?!\d?-[IUV][ABCNG]$))[^\W\d_]{0,8})[ .#№:]*"
    r"(?!3\s*[IUV]\s*[0-2OОоo])(?P<number>\d{1,4})"
    r"(?:\s*[-:._)\]\s,;|#/]\s*|(?=[IUVE](?:[ABCRST]|L\d|[0O]|[123])(?![A-Z])))(?=\S)",
    re.IGNORECASE,
)
_INSIDE = re.compile(r"(?<=[^\W_])[\s_:.#\-\[(/]+(\d{1,4})(?=[\s_:.\-\])/])")
_TRAILING = re.compile(r"(?<=[^\W_])[\s_:.#\-\[(]+(\d{1,4})[)\]]?\s*$")


_COUNTED = words_of(
    "CHANNEL CHAN CHNL CH ANALOG ANLG ANA AIN AI AN A KANAL CANAL VOIE КАНАЛ КАН К NR NO N S 通道 通道号"
)
"""Words before a running number that mean nothing else."""
_PHASE_WORDS = words_of(
    "PHASE PHASES PHASA PHAS PHS PH FASE FASES FAZA FAZE FAZI FAZY FAZIS FAS FAAS VAIHE LEITER AUSSENLEITER CONDUCTOR "
    "ФАЗА ФАЗЫ ФАЗЕ ФАЗ Ф"
)
_CURRENT_WORDS = words_of(
    "I CURRENT CURRENTS CUR CURR AMP AMPS CORRIENTE CORRIENTES CORRENTE CORRENTES COURANT COURANTS INTENSITE "
    "INTENSIDAD ARUS PRAD PRADY PROUD AKIM STROOM VIRTA ARAM CURENT STRUJA ТОК ТОКА ТОКИ ТОКОВ СТРУМ"
)
_VOLTAGE_WORDS = words_of(
    "U V E VOLTAGE VOLTAGES VOL VOLT VOLTS TENSION TENSIONS TENSIONES TENSAO TENSOES TENSIONE VOLTAJE NAPIECIE "
    "NAPETI GERILIM SPANNING SPANNINGEN SPENDING TEGANGAN JANNITE FESZULTSEG TENSIUNE NAPON НАПРЯЖЕНИЕ НАПРЯЖЕНИЯ "
    "НАПРЯЖ НАПР НАПРУГА"
)
_CURRENT_PARTS = re.compile(r"电流|電流|전류|STROME?$")
_VOLTAGE_PARTS = re.compile(r"电压|電圧|電壓|전압|SPANNUNG(?:EN)?$")
_JOINED_QUANTITIES = re.compile("电流|電流|전류|电压|電圧|電壓|전압")
PLAIN_WORDS = words_of("NODE NODES BRANCH BRANCHES OF DE DER DES IN UL IL VL 的")
"""Words that do not tell one set from another."""

_SYMBOLS = "|".join(sorted(BY_SYMBOL, key=lambda symbol: -len(symbol)))
_HEADED = re.compile(
    r"(?P<lead>\d{0,3})(?P<head>[IUV](?:\d{1,2}(?=[A-Z])|L(?=[ABCRST](?![A-Z])))?|E)"
    rf"(?P<symbol>{_SYMBOLS})"
    r"(?P<tail>[A-Z]?\d*)"
)
_BARE = re.compile(rf"(?P<symbol>(?!(?:UV|VW|WU|BA|CB|AC|\d\d)[NGE]?$)(?:{_SYMBOLS}))(?P<tail>[NGE]?)")
"""Symbols that are words of their own; some pairs are usual words or numbers."""
_LOGICAL_NODE = re.compile(r"(\w*T[CV]TR)([123])")
"""Logical node of IEC 61850 for the instrument transformer of one phase."""
_OF_EQUIPMENT = ("套", "段", "母", "柜", "屏", "网")
"""Chinese words behind the letter of one of several sets of equipment, sections or buses."""
_SINGLE = re.compile(r"[IUV][A-ZА-Я]{1,4}\d*")
_MUTUAL = re.compile(r"(?:3?I0|IN)[MП]")
"""Zero-sequence current of a parallel line."""
_OPEN = re.compile(r"(?:L[123]|[ABCRSTYUVW])$")
"""End of a token that may be the first half of a phase-to-phase symbol written as two words, as in UA-B."""
_SECOND = re.compile(r"([UVE]?)(L[123]|[ABCRSTYUVW])(?P<tail>\d*)")
_PART = re.compile(r"L[123]|[ABCRSTY]")
_RESIDUAL = re.compile(
    r"(?P<three>3?)(?P<symbol>[IUVE](?:NE|N|G|E|0|O(?![A-Z])|Г|RES|SUM|Σ|НП|НЕЙТР))(?:РАСЧ|(?P<tail>[A-Z]?\d*))"
)
_SUM = re.compile(r"3[IUV][0O]")
"""Sum of the phases, whatever else the name says, as in Uac_3U0."""
RESIDUAL_WORDS = re.compile(
    r"NEUTR|NOTR|RESID|GROUND|EARTH|ERDE|ERDSTROM|NULLSTROM|NULLSPAN|OMOPOL|\bNOLL|\bNUL|TERRE|TIERRA|НУЛ|НЕЙТР|ЗЕМЛ|零|中性|接地"
)
_KIND_INSIDE = re.compile(
    r"(?<![A-Z])\d{0,2}([IUV])(?![AEIOUN])[A-Z]{1,4}\d*$|([IUV])(?:[ABC]|L[123])\d*$|^([IUV])\d{1,3}$"
)


class Place(NamedTuple):
    """A place at which a name names a phase.

    Attributes:
        token: index of the word; ``last`` is the index of the last word that belongs to the symbol.
        alphabet: key of ``PHASES`` or ``PAIRS``.
        phase: 0, 1 or 2.
        masked: the words ``token`` to ``last`` with ``*`` in place of the symbol.
        certainty: ``HEAD``, ``WORD``, …
        quantity: letter of the quantity beside the symbol; empty if there is none.
    """

    token: int
    last: int
    alphabet: str
    phase: int
    masked: str
    certainty: int
    quantity: str = ""


@dataclass(frozen=True, slots=True)
class ChannelName:
    """A name as words.

    Attributes:
        tokens: words in capitals, Latin letters instead of their Cyrillic lookalikes, without diacritics.
        shown: the same words as they were written.
        kind: quantity that the name states.
        sure: True if the quantity is stated beside the phase, as in IA.
        places: places at which the name may name a phase.
        residual: the name with ``*`` in place of the symbol of the neutral; empty if it names no neutral.
        third: True if the name stands for the zero sequence, a third of the sum of the phases.
        other: True if the name is that of another single voltage or current, as Ux for the synchronism check.
        calculated: reason for which the channel is no waveform of a phase; empty if it seems to be one.
    """

    tokens: tuple[str, ...]
    shown: tuple[str, ...]
    kind: Kind
    sure: bool
    places: tuple[Place, ...]
    residual: str
    third: bool
    other: bool
    calculated: str


class RunningNumber(NamedTuple):
    """Number before or after a name: the word before it, the number, and the name without both."""

    word: str
    number: int
    rest: str


def running_number(name: str, *, trailing: bool = False) -> RunningNumber | None:
    """Return the number before (or after) a name that may be the channel's position; None if there is none.

    Example:
        >>> running_number("07:UA").rest, running_number("Ia_4", trailing=True).number, running_number("3I0")
        ('UA', 4, None)
    """
    if trailing:
        found = _TRAILING.search(name, max(0, len(name) - MOST_LETTERS))
        return None if found is None else RunningNumber("", int(found[1]), name[: found.start()])
    found = _LEADING.match(name, 0, MOST_LETTERS)
    if found is None:
        return None
    return RunningNumber(found["word"].upper(), int(found["number"]), name[found.end() :])


def counted(numbers: Sequence[RunningNumber]) -> set[str]:
    """Return the words whose numbers are positions of channels, and not names of lines: they are all different.

    Example:
        >>> counted([running_number(name) for name in ("F1-IA", "F2-IB", "F3-IC", "Q1 UA", "Q1 UB")])
        {'F'}
    """
    by_word: dict[str, list[int]] = defaultdict(list)
    for found in numbers:
        by_word[found.word].append(found.number)
    letters = sum(word in ("A", "B", "C", "R", "S", "T") for word in by_word)
    return {
        word
        for word, given in by_word.items()
        if len(set(given)) == len(given) > 1
        and (len(word) != 1 or letters < 2)
        and (not word or word in _COUNTED or (len(given) > 2 and given == [*range(given[0], given[0] + len(given))]))
    }


def counts_from_zero(names: Iterable[str]) -> bool:
    """Return True if arrays of three phases begin with the element 0, as in Iabc[0]."""
    return any(found[2] == "0" for name in names if (found := _THREE.search(name)) is not None)


def counted_inside(names: Sequence[str]) -> list[RunningNumber | None]:
    """Return the number inside each name that only counts channels: it rises among the names with the same beginning.

    Example:
        >>> [found.rest for found in counted_inside(["U1#2_Ia", "U1#4_Ib", "U1#6_Ic"]) if found is not None]
        ['U1 Ia', 'U1 Ib', 'U1 Ic']
    """
    inside = [
        [RunningNumber(name[: place.start()], int(place[1]), name) for place in _INSIDE.finditer(name)]
        for name in (name[:MOST_LETTERS] for name in names)
    ]
    by_word: dict[str, list[int]] = defaultdict(list)
    for found in inside:
        for one in found:
            by_word[one.word].append(one.number)
    rising = {w for w, given in by_word.items() if len(given) > 2 and all(a < b for a, b in itertools.pairwise(given))}
    chosen = [next((one for one in found if one.word in rising), None) for found in inside]
    return [None if one is None else one._replace(rest=_without_number(one)) for one in chosen]


def _without_number(found: RunningNumber) -> str:
    rest = re.sub(r"^[\W_]+\d+[\W_]+", "", found.rest[len(found.word) :])
    return f"{found.word} {rest}"


@lru_cache(maxsize=16384)
def read_name(name: str, zero_based: bool = False) -> ChannelName:
    """Read a name; ``zero_based`` if the record counts the phases of names such as Iabc[0] from zero."""
    text = _compatible(name)
    shown = tuple(_words(text, zero_based))
    tokens = tuple(_capitals(word) for word in shown)
    places = tuple(_places(tokens))
    kind, sure = _kind(tokens, places)
    headed = any(place.certainty == HEAD for place in places)
    summed = any(_SUM.fullmatch(token) for token in tokens)
    residual, third = ("", False) if headed and not summed else _residual(tokens)
    return ChannelName(
        tokens,
        shown,
        kind,
        sure,
        places,
        residual,
        third,
        other=not residual and any(_SINGLE.fullmatch(token) or _MUTUAL.fullmatch(token) for token in tokens),
        calculated=calculated(text, phase=any(place.certainty >= WORD for place in places)),
    )


def _compatible(name: str) -> str:
    """Return the name in compatible characters (NFKC) except Roman numerals, which are no letters of a quantity."""
    if len(name) > MOST_LETTERS:
        name = f"{name[: MOST_LETTERS // 2]} {name[-MOST_LETTERS // 2 :]}"
    text = "".join(char if char in _ROMAN else unicodedata.normalize("NFKC", char) for char in name)
    text = without_unit(text.replace("'", "").replace('"', ""))
    return _PHASE_SIGN.sub(" ph ", text)


def _words(text: str, zero_based: bool) -> list[str]:
    """Split a name at separators, at changes between Chinese and other letters, and before capitals (IaLine)."""
    quantity = _ATP.match(text)
    if quantity is not None:
        text = f"{'I' if quantity[1] in 'cC' else 'V'} {text[quantity.end() :]}"
    text = _THREE.sub(lambda found: f"{found[1]}{('abcd' if zero_based else ' abc')[int(found[2])]}", text)
    words = []
    for token in _TOKEN.findall(text):
        token = _CAMEL.sub(" ", _PHASE_AND_WORD.sub(r"\1 ", token))
        words += _PHASE_AND_PLACE.sub(r"\1 ", _BUS_AND_PHASE.sub(r"\1 \2", token)).split()
    return words if len(words) <= MOST_WORDS else words[: MOST_WORDS // 2] + words[-MOST_WORDS // 2 :]


def _capitals(word: str) -> str:
    """Return a word in capitals, with Latin letters for Cyrillic lookalikes if it has no other Cyrillic letters."""
    folded = word.translate(_LOOKALIKES)
    if not any("\u0400" <= char <= "\u04ff" for char in folded):
        word = folded
    if not word.isascii():
        decomposed = unicodedata.normalize("NFD", word)
        if all(char < "\u0370" for char in decomposed):
            word = "".join(char for char in decomposed if not unicodedata.combining(char))
    return word.upper()


def _kind(tokens: tuple[str, ...], places: Sequence[Place]) -> tuple[Kind, bool]:
    """Return the quantity that a name states, and True if a letter beside the phase states it, as in IA."""
    headed = [place for place in places if place.quantity]
    lettered = [place for place in headed if place.alphabet not in DIGITS]
    for place in lettered:
        if place.certainty == HEAD:
            return _of_letter(place.quantity), place.alphabet in (LETTERS, LINES) and place.quantity in place.masked
    words = [kind for token in tokens if len(token) > 1 and (kind := quantity_of(token))]
    if words:
        return words[0], len(set(words)) == 1 and any(place.certainty == HEAD for place in places)
    if headed:
        return _of_letter(headed[0].quantity), False
    for token in tokens:
        found = _RESIDUAL.fullmatch(token)
        if found is not None or token in ("I", "U", "V"):
            return _of_letter(token if found is None else found["symbol"][0]), False
    for token in tokens:
        inside = _KIND_INSIDE.search(token)
        if inside is not None:
            return _of_letter(next(filter(None, inside.groups()))), False
    return "", False


def _of_letter(letter: str) -> Kind:
    return "current" if letter == "I" else "voltage"


@lru_cache(maxsize=4096)
def quantity_of(token: str) -> Kind:
    """Return the quantity that a word means; ``""`` if it means none."""
    if token in _CURRENT_WORDS or _CURRENT_PARTS.search(token):
        return "current"
    return "voltage" if token in _VOLTAGE_WORDS or _VOLTAGE_PARTS.search(token) else ""


def without_quantity(token: str) -> str:
    """Return a word without the quantity, in scripts that put no space between it and the name of the bay.

    Example:
        >>> without_quantity("城东线电流"), without_quantity("CURRENT")
        ('城东线', 'CURRENT')
    """
    return _JOINED_QUANTITIES.sub("", token)


def is_phase_word(token: str) -> bool:
    """Return True if a word only announces a phase."""
    return token in _PHASE_WORDS or token.startswith(("相", "상"))


def _places(tokens: tuple[str, ...]) -> list[Place]:
    """Return the places at which a name may name a phase, the most certain first."""
    places: list[Place] = []
    for k, token in enumerate(tokens):
        places += _pairs_of_two(tokens, k)
        headed = _HEADED.fullmatch(token)
        if headed is not None:
            masked = f"{headed['lead']}{headed['head']}*{headed['tail']}"
            places += _named(k, headed["symbol"], masked, HEAD, headed["head"][0], headed["tail"])
        bare, node = _BARE.fullmatch(token), _LOGICAL_NODE.fullmatch(token)
        if node is not None:
            quantity = "I" if node[1].endswith("TCTR") else "V"
            places.append(Place(k, k, "1 2 3", int(node[2]) - 1, f"{node[1]}*", JOINT, quantity))
        elif bare is not None:
            places += _bare(tokens, k, bare["symbol"], f"*{bare['tail']}")
        elif token.isascii() and not is_phase_word(token) and not quantity_of(token):
            places += _inner(k, token)
    if any(place.certainty >= WORD and place.alphabet in PHASES and not place.quantity for place in places):
        # Beside a phase, AC in the name means an alternating quantity, as in Uac_L1.
        places = [place for place in places if tokens[place.token] not in ("IAC", "UAC", "VAC")]
    return sorted(places, key=lambda place: -place.certainty)[:MOST_PLACES]


def _named(k: int, symbol: str, masked: str, certainty: int, quantity: str = "", tail: str = "") -> list[Place]:
    """Return the place of a symbol in every alphabet that has it."""
    found = []
    for alphabet, phase in BY_SYMBOL[symbol]:
        if alphabet not in DIGITS:
            found.append(Place(k, k, alphabet, phase, masked, certainty, quantity))
        elif tail in ("", "N", "E", "G"):
            found.append(Place(k, k, alphabet, phase, masked, JOINT if alphabet in PAIRS else DIGIT, quantity))
    return found


def _bare(tokens: tuple[str, ...], k: int, symbol: str, masked: str) -> list[Place]:
    """Return the places of a symbol that is a word of its own."""
    before, after = tokens[k - 1] if k else "", tokens[k + 1] if k + 1 < len(tokens) else ""
    quantity = before[:1] if before in ("I", "U", "V", "E", "IL", "UL", "VL") else ""
    beside = bool(quantity) or is_phase_word(before) or is_phase_word(after)
    if (symbol.isdigit() and not beside and not quantity_of(before)) or after.startswith(_OF_EQUIPMENT):
        return []
    others = tokens[:k] + tokens[k + 1 :]
    if beside or (others and all(quantity_of(token) or is_phase_word(token) for token in others)):
        return _named(k, symbol, masked, HEAD, quantity)
    return _named(k, symbol, masked, WORD)


def _pairs_of_two(tokens: tuple[str, ...], k: int) -> list[Place]:
    """Return the places of phase-to-phase symbols written as two words, as in UA-B or V A B."""
    first = _OPEN.search(tokens[k])
    second = _SECOND.fullmatch(tokens[k + 1]) if first is not None and k + 1 < len(tokens) else None
    if first is None or second is None:
        return []
    head, symbol = tokens[k][: first.start()], first[0] + second[2]
    if head not in ("", "U", "V", "E") or (second[1] and second[1] != head) or symbol not in BY_SYMBOL:
        return []
    beside = bool(head) or (k > 0 and tokens[k - 1] in ("U", "V", "E"))
    return [
        Place(k, k + 1, alphabet, phase, f"{head}*{second['tail']}", JOINT if beside else WORD, head)
        for alphabet, phase in BY_SYMBOL[symbol]
        if alphabet in PAIRS
    ]


def _inner(k: int, token: str) -> list[Place]:
    """Return the places inside a word of letters and digits: any letter or L1 … L3."""
    found = []
    for symbol in _PART.finditer(token):
        start, stop = symbol.span()
        if symbol[0][-1].isdigit() and token[stop : stop + 1].isdigit():
            continue
        ends = token[stop:] == "" or token[stop:].isdigit()
        certainty = INNER if ends else ANYWHERE
        found += _named(k, symbol[0], f"{token[:start]}*{token[stop:]}", certainty)
    return found


def _residual(tokens: tuple[str, ...]) -> tuple[str, bool]:
    """Return the name with ``*`` for the neutral, and True if it stands for a third of the sum of the phases."""
    for k, token in enumerate(tokens):
        found = None if _MUTUAL.fullmatch(token) else _RESIDUAL.fullmatch(token)
        before = tokens[k - 1] if k else ""
        if found is not None:
            three = bool(found["three"]) or before == "3"
            masked = (*tokens[: k - (before == "3")], f"{found['symbol'][0]}*{found['tail'] or ''}", *tokens[k + 1 :])
            return " ".join(masked), found["symbol"][1:] in ("0", "O") and not three
        after = tokens[k + 1] if k + 1 < len(tokens) else ""
        beside = len(tokens) == 1 or quantity_of(before) or is_phase_word(before)
        announced = quantity_of(after) or is_phase_word(after)
        if (token in NEUTRAL and beside) or (token in SHORT_NEUTRAL and (beside or announced)):
            three = k > 1 and tokens[k - 2] == "3"
            masked = (*tokens[: max(k - 1 - three, 0)], *tokens[max(k - 1, 0) : k], "*", *tokens[k + 1 :])
            return " ".join(masked), token in ("0", "O") and not three
    joined = " ".join(tokens)
    return (joined, False) if RESIDUAL_WORDS.search(joined) else ("", False)
