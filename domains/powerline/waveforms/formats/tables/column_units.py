"""Separate the unit from the name of a column, as programs and people write it: ``Ia [A]``, ``Ia_kA``, ``Ia in kA``."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence

from domains.powerline.waveforms.units import read_unit

UNIT_LETTERS = frozenset("AVWsavwАВавс安伏秒%°")
"""Single letters that can be units: of the others, B, C, R … are phases."""
NAMES_OF_PHASES = frozenset(("ua", "ub", "uc", "uv", "va", "vb", "vc", "ba", "kb", "mb"))
"""Words in lower case that name voltages of phases, though some of them can be units."""
NO_UNIT = frozenset(("-", "1", "--", "none", "n/a"))
"""Texts that a row of units has for a quantity without a unit."""
MOST_LETTERS = 256
"""Letters of the longest name from which a unit is separated."""
TIME_STEM = re.compile(r"\W*(t|time|times|timestamp|zeit|temps|tiempo|tempo|время|时间)\W*", re.IGNORECASE)
_RELATIVE = re.compile(r"p\.?\s?u\.?|о\.?\s?е\.?|%", re.IGNORECASE)
_QUALIFIED = re.compile(r"rms|peak|pk|prim?(?:ary)?|sec(?:ondary)?|eff|inst|real|эфф|перв|втор", re.IGNORECASE)
_PLAIN = re.compile(r"^[A-Za-zА-Яа-я%°µμ.]{1,6}$")
_BRACKETS = re.compile(r"^(?P<name>.*?)\s*[\[({<]\s*(?P<unit>[^\[\](){}<>]{1,16}?)\s*[\])}>]\s*$")
_IN = re.compile(r"^(?P<name>.+?)\s+in\s+(?P<unit>\S{1,8})\s*$")
_SIGN = re.compile(r"^(?P<name>.+?)\s*[,/_;]\s*(?P<unit>[^\s,/_;|]{1,6})\s*$")
_LETTER = re.compile(r"^(?P<name>.+?)\s+(?P<unit>\S)\s*$")
_BLANK = re.compile(r"^(?P<name>.+?)\s+(?P<unit>[kKкК]?[AVАВ]|ms|us|µs|s|sec)\s*$")


def is_unit(text: str) -> bool:
    """Return True for a unit as people write it.

    Example:
        >>> [is_unit(text) for text in ("kA", "A rms", "kV prim.", "-", "IA", "B")]
        [True, True, True, True, False, False]
    """
    plain = unicodedata.normalize("NFKC", text).strip().strip("[](){}\"' ")
    if plain.lower() in NO_UNIT:
        return True
    if _RELATIVE.fullmatch(plain):
        return True
    first, *rest = re.findall(r"[^\s.()]+", plain) or [""]
    if (len(first) == 1 and first not in UNIT_LETTERS) or (first.lower() in NAMES_OF_PHASES and first != "VA"):
        return False
    # Words such as rms and prim follow the unit; other words make it a name.
    return read_unit(first).state in ("known", "other") and all(map(_QUALIFIED.fullmatch, rest))


def split_units(names: Sequence[str]) -> list[tuple[str, str]]:
    """Return name and unit of every column; the unit is empty if the name has none.

    The letters A and V are phases too: ``I_A I_B I_C`` are names of three phases, ``Ia_A`` has the unit A.

    Example:
        >>> split_units(["Ia [A]", "Ub_kV", "I_A", "I_B", "Phase Current A/Terminal i in kA"])
        [('Ia', 'A'), ('Ub', 'kV'), ('I_A', ''), ('I_B', ''), ('Phase Current A/Terminal i', 'kA')]
    """
    found = [_candidate(name) if len(name) <= MOST_LETTERS else ("", "", False) for name in names]
    siblings: dict[str, set[str]] = defaultdict(set)
    for name, (stem, mark, _) in zip(names, found, strict=True):
        if stem:
            siblings[stem].add(mark)
        # A name such as I_B has no unit, and shows that the A of I_A is none.
        for pattern in (_BRACKETS, _SIGN, _LETTER) if len(name) <= MOST_LETTERS else ():
            other = pattern.match(name)
            if other is not None:
                siblings[other["name"]].add(other["unit"])
    result = []
    for name, (stem, mark, sure) in zip(names, found, strict=True):
        marks = siblings[stem]
        alone = len({mark for mark in marks if len(mark) == 1}) < 2 and all(map(is_unit, marks))
        result.append((stem, mark) if stem and (sure or alone) else (name, ""))
    return result


def _candidate(name: str) -> tuple[str, str, bool]:
    """Return name, unit, and True if the unit cannot be a phase; an empty name if there is no unit."""
    for pattern in (_BRACKETS, _IN, _SIGN, _BLANK):
        match = pattern.match(name)
        if match is not None and match["name"].strip() and is_unit(match["unit"]):
            unit = match["unit"].strip()
            if unit.lower() in NO_UNIT or (pattern is _SIGN and not _PLAIN.match(unit)):
                continue
            # Va_s and Va_sec are secondary values.
            if pattern in (_SIGN, _BLANK) and unit in ("s", "sec") and not TIME_STEM.fullmatch(match["name"]):
                continue
            sure = pattern is _IN or len(unit) > 1 or unit in "%°"
            return match["name"].strip(), unit, sure
    return "", "", False
