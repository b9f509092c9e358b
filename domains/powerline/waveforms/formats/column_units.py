"""Separate the unit from the name of a column, as programs and people write it: ``Ia [A]``, ``Ia_kA``, ``Ia in kA``."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence

UNITS = frozenset(
    (
        *("a", "ma", "ka", "amp", "amps", "ampere", "amperes", "а", "ма", "ка", "安", "安培", "千安"),
        *("v", "mv", "kv", "volt", "volts", "в", "мв", "кв", "伏", "伏特", "千伏"),
        *("s", "sec", "secs", "second", "seconds", "с", "сек", "秒", "ms", "msec", "мс", "毫秒"),
        *("us", "usec", "µs", "μs", "мкс", "微秒", "ns", "hz", "khz", "гц", "赫兹", "rpm"),
        *("w", "kw", "mw", "вт", "квт", "мвт", "kva", "mva", "ва", "ква", "мва"),
        *("var", "kvar", "mvar", "вар", "квар", "мвар", "deg", "rad", "°", "°c", "度"),
        *("pu", "p.u.", "p.u", "о.е.", "ое", "%", "ohm", "ohms", "ω", "ом", "nm", "logic", "bool"),
    )
)
"""Units in lower case, of everything that recordings of power systems contain."""
NO_UNIT = frozenset(("-", "1", "--", "none", "n/a"))
"""Texts that a row of units has for a quantity without a unit."""
TIME_STEM = re.compile(r"\W*(t|time|times|timestamp|zeit|temps|tiempo|tempo|время|时间)\W*", re.IGNORECASE)
_QUALIFIED = re.compile(r"(?:rms|peak|pk|prim(?:ary)?|sec(?:ondary)?|eff|inst|real|эфф|перв|втор)\.?", re.IGNORECASE)
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
    first, _, rest = plain.partition(" ")
    # VA is a unit, and Va the voltage of a phase.
    if first.lower() not in UNITS and first != "VA":
        return False
    return not rest.strip() or _QUALIFIED.fullmatch(rest.strip().strip("()")) is not None


def split_units(names: Sequence[str]) -> list[tuple[str, str]]:
    """Return name and unit of every column; the unit is empty if the name has none.

    The letters A and V are phases too: ``I_A I_B I_C`` are names of three phases, ``Ia_A`` has the unit A.

    Example:
        >>> split_units(["Ia [A]", "Ub_kV", "I_A", "I_B", "Phase Current A/Terminal i in kA"])
        [('Ia', 'A'), ('Ub', 'kV'), ('I_A', ''), ('I_B', ''), ('Phase Current A/Terminal i', 'kA')]
    """
    found = [_candidate(name) for name in names]
    siblings: dict[str, set[str]] = defaultdict(set)
    for name, (stem, mark, _) in zip(names, found, strict=True):
        if stem:
            siblings[stem].add(mark)
        # A name such as I_B has no unit, and shows that the A of I_A is none.
        for pattern in (_BRACKETS, _SIGN, _LETTER):
            other = pattern.match(name)
            if other is not None:
                siblings[other["name"]].add(other["unit"])
    result = []
    for name, (stem, mark, sure) in zip(names, found, strict=True):
        alone = all(is_unit(other) for other in siblings[stem]) if stem else False
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
