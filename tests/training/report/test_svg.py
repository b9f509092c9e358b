"""A compacted drawing is smaller and draws the same."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.report.svg import compact

TOP = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 331.2 244.8">'
COORDINATE = st.floats(-1000, 1000, allow_nan=False).map(lambda value: round(value, 6))
NUMBER = re.compile(r"-?(?:\d+\.?\d*|\.\d+)")


def drawn(body: str) -> ET.Element:
    """Return the compacted form of a drawing with this body."""
    return ET.fromstring(compact(f"{TOP}{body}</svg>"))


def points(path: str) -> np.ndarray:
    """Return the points (n, 2) of a path that begins with M and goes on by steps."""
    start, _, steps = path.removeprefix("M").partition("l")
    numbers = [float(number) for number in NUMBER.findall(start) + NUMBER.findall(steps)]
    return np.cumsum(np.reshape(numbers, (-1, 2)), axis=0)


@given(st.lists(st.tuples(COORDINATE, COORDINATE), min_size=2, max_size=60))
def test_a_line_goes_through_the_same_points_to_a_twentieth_of_a_point(line: list[tuple[float, float]]) -> None:
    path = "M " + " \nL ".join(f"{x} {y}" for x, y in line)
    (found,) = drawn(f'<path d="{path}"/>')
    kept = points(found.attrib["d"])
    expected = np.array(line)
    # A point that rounds to the one before is left out.
    rounded = np.round(expected * 10)
    differs = np.concatenate([[True], (np.diff(rounded, axis=0) != 0).any(axis=1)])
    if len(line) == 2:
        differs[1] = True  # a line of two points stays one, however short
    np.testing.assert_allclose(kept, expected[differs], atol=0.0501)


def test_a_closed_path_and_several_lines_in_one_stay_apart() -> None:
    (found,) = drawn('<path d="M 0 0 \nL 10 0 \nL 10 5.25 \nz \nM 20 20 \nL 30.5 20 \n"/>')
    assert found.attrib["d"] == "M0 0l10 0 0 5.2zM20 20l10.5 0"


def test_a_curve_keeps_its_commands_and_hundredths() -> None:
    (found,) = drawn('<path d="M 0 1.5 \nC 0.397805 1.5 0.77937 1.341951 1.06066 1.06066 \nz \n"/>')
    assert found.attrib["d"] == "M 0 1.5 C .4 1.5 .78 1.34 1.06 1.06 z"


def test_what_nobody_sees_goes_and_what_is_referred_to_stays() -> None:
    body = """
      <metadata>Matplotlib</metadata>
      <g id="figure_1"><g id="axes_1"><text x="1.26" y="2" style="font-size: 9px; font-family: 'A', 'B'">a b</text>
      <g clip-path="url(#p1)" id="line2d_1"><use xlink:href="#m1" x="3.14159" y="0"/></g></g></g>
      <defs><clipPath id="p1"><rect width="10.04" height="5"/></clipPath><path id="m1" d="M 0 0 L 1 1"/></defs>
    """
    text = compact(f"{TOP}{body}</svg>")
    root = ET.fromstring(text)
    assert [child.tag.partition("}")[2] for child in root] == ["text", "g", "defs"]
    assert root[0].attrib == {"x": "1.3", "y": "2", "style": "font-size:9px;font-family:sans-serif"}
    assert root[0].text == "a b"
    assert root[1].attrib == {"clip-path": "url(#p1)"}
    assert 'id="p1"' in text
    assert 'id="m1"' in text
    assert compact(text) == text


def test_a_drawing_that_is_none_is_an_error() -> None:
    with pytest.raises(ET.ParseError):
        compact("<svg><g></svg>")
