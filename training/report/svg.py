"""Reduce the size of a figure's SVG: a page holds a dozen figures, and the repository holds those of the shipped model.

Everything invisible is removed: metadata, names and nesting of groups, lists of fonts, and digits of coordinates beyond
a tenth of a point (a figure is some 330 points wide). Lines are written as steps from point to point.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.etree import ElementTree as ET
from xml.etree.ElementTree import Element

__all__ = ["compact"]

_SVG, _XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_GROUP, _TEXT, _METADATA = (f"{{{_SVG}}}{name}" for name in ("g", "text", "metadata"))
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[-+]?\d+)?")
_REFERENCE = re.compile(r'(?:url\(#|href="#)([^)"]+)')
_POLYLINE = re.compile(r"(?:[MLz]|-?[\d.]+(?:e[-+]?\d+)?|\s)+")
_FONTS = re.compile(r"font-family:[^;]*")
"""Matplotlib writes a list of a dozen fonts, the last of them sans-serif, into every text."""
_SUBPATH = re.compile(r"M([^Mz]*)(z?)")
_TENTHS, _HUNDREDTHS = 1, 2
"""Decimals of positions, and of the small shapes that are repeated as markers."""


def compact(svg: str) -> str:
    """Return a smaller SVG document with the same drawing, as one element without an XML declaration.

    The same input gives the same bytes.
    """
    ET.register_namespace("", _SVG)
    ET.register_namespace("xlink", _XLINK)
    root = ET.fromstring(svg)  # noqa: S314 (drawn by ``figures``)
    for metadata in root.findall(_METADATA):
        root.remove(metadata)
    referenced = set(_REFERENCE.findall(svg))
    for element in root.iter():
        if element.get("id") not in referenced:
            element.attrib.pop("id", None)
        _shorten(element)
    _unwrap(root)
    return ET.tostring(root, encoding="unicode").replace(" />", "/>")


def _shorten(element: Element) -> None:
    """Shorten numbers and styles of one element, and drop white space between elements."""
    if element.tag != _TEXT and not (element.text or "").strip():
        element.text = None
    element.tail = None
    for name in ("x", "y", "width", "height", "transform"):
        if name in element.attrib:
            element.set(name, _rounded(element.attrib[name], _TENTHS))
    if "d" in element.attrib:
        path = element.attrib["d"]
        element.set("d", _steps(path) if _POLYLINE.fullmatch(path) else _rounded(path, _HUNDREDTHS))
    if element.get("transform", "").startswith("rotate(0 "):
        del element.attrib["transform"]
    if "style" in element.attrib:
        style = element.attrib["style"].replace(": ", ":").replace("; ", ";")
        element.set("style", _FONTS.sub("font-family:sans-serif", style))


def _unwrap(element: Element) -> None:
    """Put the children of groups without attributes into their parent."""
    children = list(element)
    for child in children:
        _unwrap(child)
        element.remove(child)
    for child in children:
        element.extend(list(child) if child.tag == _GROUP and not child.attrib else [child])


def _rounded(text: str, digits: int) -> str:
    return _NUMBER.sub(lambda found: _short(float(found[0]), digits), " ".join(text.split()))


def _short(value: float, digits: int) -> str:
    text = f"{value:.{digits}f}".rstrip("0").rstrip(".")
    return "0" if text in ("", "-0") else text.replace("0.", ".", 1) if text.lstrip("-").startswith("0.") else text


def _steps(path: str) -> str:
    """Return a path of straight lines as its first point and the steps from each point to the next, in tenths."""
    return "".join(_subpath(points, end) for points, end in _SUBPATH.findall(path))


def _subpath(points: str, end: str) -> str:
    tenths = [round(10 * float(number)) for number in _NUMBER.findall(points)]
    x, y = tenths[0], tenths[1]
    text = f"M{_pair(x, y)}"
    steps = list(_differences(tenths))
    return text + ("l" + _joined(steps) if steps else "") + end


def _differences(tenths: list[int]) -> Iterator[str]:
    for k in range(2, len(tenths), 2):
        step = tenths[k] - tenths[k - 2], tenths[k + 1] - tenths[k - 1]
        if step != (0, 0) or len(tenths) == 4:
            yield _pair(*step)


def _pair(x: int, y: int) -> str:
    return _joined([_short(x / 10, _TENTHS), _short(y / 10, _TENTHS)])


def _joined(numbers: list[str]) -> str:
    """Join numbers; a minus sign separates them as well as a space does."""
    return " ".join(numbers).replace(" -", "-")
