"""Read the unit of a channel as people write it: kind of quantity and factor to A or V."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache
from typing import Literal, NamedTuple

from domains.powerline.waveforms.record import RawChannel

Kind = Literal["current", "voltage", ""]

_CYRILLIC = str.maketrans("авкмАВКМ", "abkmABKM")
"""Cyrillic letters of the units А, В, кА, кВ, мА, мВ, as the Latin letters that they are mistaken for."""


def words_of(text: str) -> frozenset[str]:
    """Return the words of a text."""
    return frozenset(text.split())


def _table(kind: Kind, units: Mapping[float, str]) -> dict[str, tuple[Kind, float]]:
    return {word: (kind, factor) for factor, words in units.items() for word in words.split()}


_UNITS = {
    **_table(
        "current",
        {
            1.0: "a amp amps ampere amperes amper ampère ampères amperio amperios ампер амперы 安 安培 アンペア 암페어",
            1e3: "ka kamp kamps kiloamp kiloamps 千安",
            1e-3: "ma milliamp milliamps 毫安",
            1e-6: "ua μa",
        },
    ),
    **_table(
        "voltage",
        {
            1.0: "v b volt volts voltio voltios вольт вольты 伏 伏特 ボルト 볼트",
            1e3: "kv kb kvolt kvolts kilovolt kilovolts 千伏",
            1e-3: "mv mb millivolt millivolts 毫伏",
            1e-6: "uv μv",
        },
    ),
}
"""Kind and factor by the unit in lower case; megavolts (MV) are told from millivolts (mV) before."""
_OTHERS = words_of(
    "hz khz mhz гц кгц 赫兹 赫 degc degf deg degs degree degrees grad grd град rad w kw mw gw вт квт мbт мвт var kvar "
    "mvar vars вар квар мвар va kva mva bа ba kba квa wh kwh mwh varh kvarh s sec secs ms us ns min h hr с мс мкс ohm "
    "ohms ом kohm ω rpm bar psi pa kpa mpa k c f m mm cm km nm hp bool bit bits logic db pulse pulses count pf cos "
    "cosphi j kj t tap об vdc adc 度 秒 毫秒 瓦 千瓦 兆瓦 乏 千乏 欧 欧姆"
)
"""Units, in lower case, of quantities that are neither currents nor voltages, or that are direct quantities."""
_RELATIVE = words_of("pu none null unit units raw counts percent na nan unknown")
"""Words, in lower case, that state no unit of current or voltage, so that the name decides."""
_SIDES = words_of(
    "prim primary pri prm sec secondary rms eff peak pk inst in x true перв первичн первичные втор вторичн вторичные"
)
"""Words, in lower case, that may precede the unit."""
_ENDINGS = re.compile(r"(?:rms|eff|peak|pk|pp|p|prim|pri|sec|ac|ln|ll|s)$")
"""Words that some write onto the unit: Arms, kVpeak, Vac."""
_IN_NAME = re.compile(r"(?<=[^\s(\[])\s*[(\[]([^()\[\]]{1,12})[)\]]\s*$")
MOST_LETTERS = 128
"""Letters at the end of a name in which a unit is looked for."""
_SCALE = re.compile(r"10\s*(?:\^|\*\*)\s*([+-]?\d)(?!\d)")
_LOW_VOLTAGE_RATIO, _HIGHEST_KILOVOLTS = 15.0, 1500.0
_LOW_CURRENT_RATIO, _HIGHEST_KILOAMPERES = 10.0, 10.0
_LOWEST_SECONDARY = 0.05
"""Lowest secondary rating of a current transformer, in A."""


class Unit(NamedTuple):
    """Unit of a channel.

    Attributes:
        kind: quantity; ``""`` if the unit does not give it.
        factor: factor of the values to A or V.
        second: factor of the second unit of a pair such as V/kV; equal to ``factor`` if there is no pair.
        state: ``known``; ``other`` for quantities that are neither current nor voltage; ``none``; or ``unknown``.
    """

    kind: Kind
    factor: float
    second: float
    state: Literal["known", "other", "none", "unknown"]


@lru_cache(maxsize=4096)
def read_unit(text: str) -> Unit:
    """Read the text of a unit; the first token of letters decides.

    Example:
        >>> read_unit("kV prim"), read_unit("В/кВ").second, read_unit("furlong").state
        (Unit(kind='voltage', factor=1000.0, second=1000.0, state='known'), 1000.0, 'unknown')
    """
    plain = unicodedata.normalize("NFKC", text).strip().strip("\"'`´[](){}<>«»“”„ ")
    if "°" in plain or "∠" in plain or "º" in plain:
        return Unit("", 1.0, 1.0, "other")
    tokens = re.findall(r"[^\W\d_]+", plain)
    if (
        plain.lower() in ("n/a", "н/д")
        or not tokens
        or all(token.lower() in _RELATIVE for token in tokens)
        or re.match(r"[\s%]*p\.?\s?u\b", plain.lower())
    ):
        return Unit("", 1.0, 1.0, "none")
    scale = _SCALE.search(plain)
    power = 10.0 ** int(scale[1]) if scale is not None else 1.0
    for place, token in enumerate(tokens):
        found = _one(token)
        if found is None:
            if token.lower().translate(_CYRILLIC) in _SIDES or token.lower() in _SIDES:
                continue
            break
        if not found[0]:
            return Unit("", 1.0, 1.0, "other")
        second = _one(tokens[place + 1]) if "/" in plain and place + 1 < len(tokens) else None
        if tokens[place + 1 : place + 2] and tokens[place + 1].lower() in ("hz", "гц"):
            return Unit("", 1.0, 1.0, "other")
        other = second[1] if second is not None and second[0] == found[0] else found[1]
        return Unit(found[0], found[1] * power, other * power, "known")
    return Unit("", 1.0, 1.0, "unknown")


def _one(token: str) -> tuple[Kind, float] | None:
    """Return kind and factor of one token; kind ``""`` for another quantity, None if the token is no known unit."""
    latin = token.translate(_CYRILLIC)
    if latin in ("MV", "MB"):
        return "voltage", 1e6
    lower, folded = latin.lower(), token.lower()
    for word in (folded, lower):
        if word in _UNITS:
            return _UNITS[word]
    if folded in _OTHERS or lower in _OTHERS:
        return "", 1.0
    bare = _ENDINGS.sub("", lower)
    return _UNITS.get(bare) if bare and bare != lower else None


def channel_unit(channel: RawChannel) -> Unit:
    """Read the unit of a channel, or else the one in brackets at the end of its name, as in "Ia [kA]"."""
    unit = read_unit(channel.unit)
    if unit.state != "none":
        return unit
    found = _in_name(channel.name)
    return unit if found is None else read_unit(found[1])


def without_unit(name: str) -> str:
    """Return a name without a unit in brackets at its end."""
    found = _in_name(name)
    return name if found is None else name[: found.start()]


def _in_name(name: str) -> re.Match[str] | None:
    """Return the unit in brackets at the end of a name; A and B alone may be phases or places."""
    found = _IN_NAME.search(name, max(0, len(name) - MOST_LETTERS))
    if found is None or found[1].strip() in ("A", "B", "a", "b", "А", "В"):
        return None
    return found if read_unit(found[1]).state == "known" else None


def unit_of(channel: RawChannel) -> tuple[Kind, float]:
    """Return the kind of quantity and the factor to A or V by the unit; kind ``""`` if the unit does not give it."""
    unit = channel_unit(channel)
    return unit.kind, unit.factor


def primary_factor(channel: RawChannel) -> float:
    """Return the factor that converts the values of a channel to A or V of the primary side.

    Where the unit is a pair of secondary and primary, such as V/kV, the ratio of the header is often given in the same
    pair, for example 110 (kV) to 100 (V).

    Example:
        >>> primary_factor(RawChannel(1, "Ua", "В/кВ", primary=110, secondary=100, side="S"))
        1100.0
    """
    unit = channel_unit(channel)
    if channel.side != "S" or not channel.secondary:
        return unit.factor
    ratio = channel.primary / channel.secondary
    if unit.second > unit.factor and _ratio_of_pair(unit, channel.primary, ratio):
        return unit.second * ratio
    return unit.factor * ratio


def rated_amperes(channel: RawChannel) -> tuple[float, float]:
    """Return the primary and the secondary rating of a channel of currents in A.

    Ratings are given in A whatever the unit of the values, except where a secondary of 1 or 5 A is written in kA, or
    where only kA make the ratio plausible.

    Example:
        >>> rated_amperes(RawChannel(1, "Ia", "kA", primary=1.2, secondary=0.001))
        (1200.0, 1.0)
    """
    unit = channel_unit(channel)
    primary, secondary = channel.primary, channel.secondary
    if max(unit.factor, unit.second) == 1e3 and secondary > 0:
        if unit.factor == 1e3 and secondary < _LOWEST_SECONDARY:
            return primary * 1e3, secondary * 1e3
        if _ratio_of_pair(unit, primary, primary / secondary):
            return primary * 1e3, secondary
    return primary, secondary


def _ratio_of_pair(unit: Unit, primary: float, ratio: float) -> bool:
    """Return True if the primary rating is given in thousands of the secondary's unit.

    A ratio in one unit is larger: voltage transformers for less than 1.5 kV are not used on lines.
    """
    if ratio == 1.0:
        return False
    if unit.kind == "voltage":
        return primary <= _HIGHEST_KILOVOLTS and ratio <= _LOW_VOLTAGE_RATIO
    return primary <= _HIGHEST_KILOAMPERES and ratio <= _LOW_CURRENT_RATIO
