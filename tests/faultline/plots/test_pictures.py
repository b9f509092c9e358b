"""Pictures of records: waveforms, phasor diagrams and sequence components."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import imread

from domains.powerline.waveforms import RecordError, RecordLine, Segment
from domains.powerline.waveforms.channel_values import StoredValues
from domains.powerline.waveforms.record import ChannelSummary
from domains.powerline.waveforms.signal.event_phasors import event_phasors
from faultline.plots import draw_waveforms, plot_record
from faultline.plots.phasors import draw_phasors, draw_sequences
from faultline.plots.waveforms import MOST_POINTS, curve
from tests.faultline.plots.hand_made import EVENT_S, line, record, waves


def axes(count: int = 1) -> list[Axes]:
    return [Figure().subplots() for _ in range(count)]


def texts(axis: Axes) -> list[str]:
    return [text.get_text() for text in axis.texts if text.get_text()]


def drawn(path: Path, *lines: RecordLine) -> tuple[int, int]:
    """Draw a record without a warning, and return the width and height of the picture."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plot_record(record(*lines), path)
    height, width = imread(path).shape[:2]
    return width, height


def test_a_phasor_diagram_has_an_arrow_and_the_value_of_every_phase() -> None:
    one = line()
    found = event_phasors(one.samples, one.segments, one.frequency_hz)
    assert found is not None
    assert found.during is not None
    (axis,) = axes()
    draw_phasors(axis, found.before, "before the event")
    assert sorted(texts(axis)) == ["ia", "ib", "ic", "va", "vb", "vc"]
    assert axis.get_title() == "before the event"
    assert axis.get_xlabel().splitlines() == [
        "va 1.00∠0°   vb 1.00∠\N{MINUS SIGN}120°   vc 1.00∠120°",
        "ia 0.50∠\N{MINUS SIGN}17°   ib 0.50∠\N{MINUS SIGN}137°   ic 0.50∠103°",
        "p.u., angles from va",
    ]
    # The other currents are too small for an arrow beside that of the fault.
    (axis,) = axes()
    draw_phasors(axis, found.during, "")
    assert "ib" in texts(axis)


def test_sequence_components_are_bars_before_and_during_the_event() -> None:
    one = line()
    found = event_phasors(one.samples, one.segments, one.frequency_hz)
    assert found is not None
    assert found.during is not None
    (axis,) = axes()
    draw_sequences(axis, found, "current")
    heights = [bar.get_height() for bar in axis.patches]
    before, during = heights[:3], heights[3:]
    assert before == pytest.approx([0, 0.5, 0], abs=0.005)
    assert during == pytest.approx(np.abs(found.during.currents))
    assert min(during) > 2
    assert "0.50\n100 %" in texts(axis)


def test_a_line_without_voltages_or_currents_has_diagrams_too(tmp_path: Path) -> None:
    for names, columns in ((("va", "vb", "vc"), slice(3, 6)), (("ia", "ib", "ic"), slice(0, 3))):
        samples = waves(fault=True)
        samples[:, columns] = 0
        drawn(tmp_path / "out.png", line(samples=samples, missing=names))
    drawn(tmp_path / "out.png", line(samples=0 * samples))


def test_missing_and_dead_channels_are_named_so() -> None:
    samples = waves()
    samples[:, 0] = 0
    samples[:, 5] = 0
    one = line(samples=samples, missing=("vc",))
    currents, voltages = axes(2)
    draw_waveforms(currents, voltages, record(one), one)
    assert currents.get_legend_handles_labels()[1] == ["ia (dead)", "ib", "ic"]
    assert voltages.get_legend_handles_labels()[1] == ["va", "vb", "vc (missing)"]


def test_a_picture_shows_at_most_eight_lines(tmp_path: Path) -> None:
    many = [line(f"record/bay {number}", waves()[:480], first_channel=6 * number + 1) for number in range(11)]
    _, height = drawn(tmp_path / "many.png", *many)
    assert 2500 < height < 4000


def test_records_that_have_no_phasors_are_drawn(tmp_path: Path) -> None:
    short = line(samples=waves()[:50])
    empty = line(samples=waves()[:0])
    assert empty.segments == (Segment(0, 0, 4800.0, 0.0),)
    drawn(tmp_path / "short.png", short)
    drawn(tmp_path / "empty.png", empty)


def test_a_record_without_anything_to_draw_says_why(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="nothing to draw: no set of three phases"):
        plot_record(record(no_line="no set of three phases was identified"), tmp_path / "out.png")


def test_the_cycles_that_were_measured_are_marked(tmp_path: Path) -> None:
    one = line()
    found = event_phasors(one.samples, one.segments, 50.0)
    assert found is not None
    assert found.during is not None
    assert found.before.stop_s <= EVENT_S <= found.during.start_s + 0.005
    drawn(tmp_path / "out.png", one)


def test_a_record_without_lines_is_drawn_channel_by_channel(tmp_path: Path) -> None:
    values = np.concatenate([waves().T, np.full((1, 2400), np.nan, np.float32), np.zeros((30, 2400), np.float32)])
    values[2, 100:200] = np.nan
    values[10:, ::2] = 1
    channels = tuple(
        ChannelSummary(
            k + 1, f"P{k} $", "A", "", "(no waveform)", float(np.nan_to_num(row).min()), float(row.max()), 0, 0
        )
        for k, row in enumerate(values)
    )
    unread = replace(
        record(channels=channels, no_line="no set of three phases was identified: name them " * 20),
        segments=line().segments,
        source=StoredValues(values),
    )
    plot_record(unread, tmp_path / "out.png")
    height, width = imread(tmp_path / "out.png").shape[:2]
    assert 1000 < height < 2500
    assert width == 1760


@pytest.mark.parametrize(("before", "length"), [(0, 5000), (10, 20_000), (700, 100_001)])
def test_a_long_curve_keeps_its_extremes_and_times(before: int, length: int) -> None:
    values = np.random.default_rng(0).standard_normal(before + length).astype(np.float32)
    values[before + 5 : before + 9] = np.nan
    times, drawn_values = curve(values, Segment(before, before + length, 1000.0, 2.0))
    assert len(times) == len(drawn_values) <= MOST_POINTS + 2
    assert np.nanmax(drawn_values) == np.nanmax(values[before:])
    assert np.nanmin(drawn_values) == np.nanmin(values[before:])
    assert times[0] == 2.0
    assert 2.0 + (length - 1) / 1000.0 - 0.1 <= times[-1] <= 2.0 + (length - 1) / 1000.0
    peak = int(np.nanargmax(values[before:]))
    assert times[np.nanargmax(drawn_values)] == pytest.approx(2.0 + peak / 1000.0, abs=0.05)
