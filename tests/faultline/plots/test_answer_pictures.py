"""Pictures of answers: faults, and lines or windows that were not judged."""

from __future__ import annotations

import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from faultline.answers import LineAnswer
from faultline.plots import draw_probabilities, plot_answer
from model.spec import SignalSpec, load_spec
from tests.faultline.plots.hand_made import line, record, waves


@pytest.fixture(scope="module")
def spec() -> SignalSpec:
    return load_spec("line")


def answer(spec: SignalSpec, rejected: list[bool], *, verdict: str = "not judged", reason: str = "") -> LineAnswer:
    """Return an answer with a window for each entry; the windows that were not rejected have no fault."""
    probabilities = np.full((len(rejected), len(spec.classes)), 0.01, np.float32)
    probabilities[:, spec.none_index] = 0.9
    probabilities[rejected] = 0
    probabilities[rejected, spec.none_index] = 1
    ends_s = 0.02 + 0.005 * np.arange(len(rejected))
    return LineAnswer(
        line=line(samples=waves()),
        events=(),
        episodes=(),
        window_end_s=ends_s,
        probabilities=probabilities,
        outcomes=Counter(judged=len(rejected)),
        verdict=verdict,  # type: ignore[arg-type]
        reason=reason,
    )


def probability_axis(one: LineAnswer, spec: SignalSpec) -> Axes:
    axis = Figure().subplots()
    draw_probabilities(axis, one, spec)
    return axis


def spans(axis: Axes) -> list[float]:
    """Return begin and end of every grey background."""
    return [edge for patch in axis.patches for edge in (patch.get_x(), patch.get_x() + patch.get_width())]


def curve(axis: Axes) -> NDArray[np.float64]:
    (found,) = axis.get_lines()
    return np.asarray(found.get_ydata(), np.float64)


def test_windows_out_of_distribution_are_grey_and_have_no_curve(spec: SignalSpec) -> None:
    axis = probability_axis(answer(spec, [False, True, True, False, False, True], verdict="no fault"), spec)
    assert spans(axis) == pytest.approx([0.02, 0.03, 0.04, 0.045])
    assert np.isnan(curve(axis)).tolist() == [False, True, True, False, False, True]
    assert axis.get_legend_handles_labels()[1] == [spec.class_names[spec.none_index], "not judged"]
    assert not axis.texts


def test_a_line_without_a_judged_window_has_no_curve_and_says_so(spec: SignalSpec) -> None:
    for rejected, text in (([], "there is no window to judge"), ([True] * 5, "no window was judged")):
        axis = probability_axis(answer(spec, rejected), spec)
        assert not axis.get_lines()
        assert [shown.get_text() for shown in axis.texts] == [text]


@pytest.mark.parametrize("count", [0, 1, 40])
def test_the_picture_of_a_line_that_was_not_judged_is_drawn(count: int, spec: SignalSpec, tmp_path: Path) -> None:
    reason = "all windows are out of distribution: the channels hold no waveform; 请检查通道 " * 8
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one = answer(spec, [True] * count, reason=reason)
        plot_answer(record(one.line), one, spec, tmp_path / "out.png")
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")
