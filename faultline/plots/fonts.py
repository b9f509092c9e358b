"""Choose fonts that can draw the texts of a figure in any script, and replace what no installed font can draw."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure
    from matplotlib.font_manager import FontEntry

USUAL = "DejaVu Sans"
"""Font of matplotlib itself: Latin, Cyrillic, Greek and many more, but neither Chinese, Japanese nor Korean."""
FAMILIES = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Noto Sans CJK TC",
    "Noto Sans CJK KR",
    "Noto Sans SC",
    "Noto Sans JP",
    "Source Han Sans SC",
    "Source Han Sans CN",
    "Source Han Sans",
    "WenQuanYi Zen Hei",
    "WenQuanYi Micro Hei",
    "Microsoft YaHei",
    "SimHei",
    "PingFang SC",
    "PingFang HK",
    "Hiragino Sans GB",
    "Hiragino Sans",
    "Yu Gothic",
    "Malgun Gothic",
    "Apple SD Gothic Neo",
    "Droid Sans Fallback",
    "Arial Unicode MS",
)
"""Usual families of fonts for Chinese, Japanese and Korean, in order of preference."""
NORMAL_WEIGHT = 400
SUBSTITUTE = "…"
REMEDY = "… stands for characters that no installed font can draw; install one that can, such as Noto Sans CJK"


def make_drawable(figure: Figure) -> None:
    """Give every text of a figure fonts that can draw it, and replace characters for which there is no font.

    A replacement is explained once at the foot of the figure. Texts are drawn as they are, not as formulas.
    """
    from matplotlib.text import Text

    replaced = False
    for text in figure.findobj(match=Text):
        assert isinstance(text, Text)
        # Control characters and halves of characters are in no font.
        wanted = "".join(char if char.isprintable() or char == "\n" else " " for char in text.get_text())
        if not wanted:
            # Numbers at the axes are only written later, and may be formulas.
            continue
        text.set_parse_math(False)
        text.set_text(wanted)
        if wanted.isascii():
            continue
        families = families_for(wanted)
        drawable = with_substitutes(wanted, families)
        replaced |= drawable != wanted
        text.set_fontfamily(list(families))
        text.set_text(drawable)
    if replaced:
        figure.supxlabel(REMEDY, fontsize=8, color="0.4", fontfamily=[USUAL])


def families_for(text: str) -> tuple[str, ...]:
    """Return the font families that draw a text between them, the usual one first."""
    families = [USUAL]
    missing = _undrawable(text, families)
    for family in _installed() if missing else ():
        left = _undrawable(missing, [family])
        if len(left) < len(missing):
            families.append(family)
            missing = left
    return tuple(families)


def with_substitutes(text: str, families: Sequence[str]) -> str:
    """Return a text in which every run of characters that the families cannot draw is ``…``."""
    missing = _undrawable(text, families)
    if not missing:
        return text
    return re.sub(f"[{re.escape(missing)}]+", SUBSTITUTE, text)


def is_drawable(text: str) -> bool:
    """Return True if the installed fonts can draw a text."""
    return not _undrawable(text, families_for(text))


def _undrawable(text: str, families: Sequence[str]) -> str:
    """Return the different characters of a text that the families cannot draw."""
    left = {char for char in text if char != "\n"}
    for family in families:
        left = {char for char in left if ord(char) not in _characters(family)}
    return "".join(sorted(left))


@lru_cache(maxsize=64)
def _characters(family: str) -> frozenset[int]:
    """Return the code points that a font family can draw; empty if it is not installed."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    try:
        path = findfont(FontProperties(family=family), fallback_to_default=False)
        return frozenset(get_font(path).get_charmap())
    except (ValueError, OSError, RuntimeError):
        return frozenset()


@lru_cache(maxsize=1)
def _installed() -> tuple[str, ...]:
    """Return the installed families of ``FAMILIES``, by the names under which matplotlib finds them."""
    from matplotlib.font_manager import fontManager

    found = _known()
    if not found:
        # matplotlib keeps a list of fonts on disk, which lacks those that were installed after it was made.
        for path in _new_fonts():
            try:
                fontManager.addfont(path)
            except (OSError, RuntimeError):
                continue
        found = _known()
    return found


def _known() -> tuple[str, ...]:
    from matplotlib.font_manager import fontManager

    upright: dict[str, list[FontEntry]] = {}
    for entry in fontManager.ttflist:
        # The list of fonts on disk may name fonts that were removed since.
        if entry.name in FAMILIES and entry.style == "normal" and Path(entry.fname).is_file():
            upright.setdefault(entry.name, []).append(entry)
    found = []
    for family in filter(upright.get, FAMILIES):
        nearest = min(upright[family], key=_weight_error)
        if _weight_error(nearest):
            # matplotlib logs a warning when it takes a font of another weight than the text has.
            nearest = replace(nearest, name=f"{family} as normal weight", weight=NORMAL_WEIGHT)
            fontManager.ttflist.append(nearest)
        found.append(nearest.name)
    return tuple(found)


def _weight_error(entry: FontEntry) -> int:
    from matplotlib.font_manager import weight_dict

    weight = weight_dict.get(entry.weight, entry.weight) if isinstance(entry.weight, str) else entry.weight
    return abs(int(weight) - NORMAL_WEIGHT)


def _new_fonts() -> list[str]:
    from matplotlib.font_manager import findSystemFonts, fontManager

    listed = {Path(entry.fname) for entry in fontManager.ttflist}
    return [path for path in findSystemFonts() if Path(path) not in listed]
