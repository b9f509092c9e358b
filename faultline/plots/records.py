"""Draw a record: the waveforms, phasors and sequence components of its lines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from domains.powerline.waveforms import Record, RecordLine
from domains.powerline.waveforms.errors import RecordError
from domains.powerline.waveforms.event_phasors import event_phasors
from faultline.plots.figures import new_figure, save
from faultline.plots.phasors import BEFORE_COLOUR, DURING_COLOUR, draw_phasors, draw_sequences
from faultline.plots.waveforms import draw_waveforms

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_LINES = 8
"""Maximum number of power lines in one picture."""
WIDTH = 16.0
HEIGHT, LOW_HEIGHT = 5.0, 4.0
"""Height of one line in inches, and the height if there are four or more."""


def plot_record(record: Record, path: Path) -> None:
    """Draw every line of a record: waveforms, and phasors and sequence components before and during the event.

    Raises:
        RecordError: if there is no line to draw, or the picture cannot be written.
    """
    if not record.lines:
        why = record.no_line or "name the channels with --channels"
        raise RecordError(f"{record.path}: no picture, because there is no line to draw: {why}")
    lines = record.lines[:MOST_LINES]
    figure = new_figure(WIDTH, (HEIGHT if len(lines) < 4 else LOW_HEIGHT) * len(lines) + 0.7)
    grid = figure.add_gridspec(2 * len(lines), 3, width_ratios=(2.6, 1, 1))
    shared: Axes | None = None
    for number, line in enumerate(lines):
        cells = [[figure.add_subplot(grid[2 * number + row, column]) for column in (1, 2)] for row in (0, 1)]
        shared = figure.add_subplot(grid[2 * number, 0], sharex=shared)
        voltages = figure.add_subplot(grid[2 * number + 1, 0], sharex=shared)
        draw_waveforms(shared, voltages, record, line)
        _draw_phasors(cells, (shared, voltages), line)
        voltages.set_xlabel("seconds after the first sample")
    shown = f", the first {MOST_LINES} of {len(record.lines)} lines" if len(record.lines) > MOST_LINES else ""
    figure.suptitle(f"{record.path.name}: {record.format}, {record.frequency_hz:.3f} Hz{shown}", fontsize=11)
    save(figure, path)


def _draw_phasors(cells: list[list[Axes]], waveforms: tuple[Axes, Axes], line: RecordLine) -> None:
    """Draw phasors into the upper two cells and sequence components into the lower two, and mark their cycles."""
    found = event_phasors(line.samples, line.segments, line.frequency_hz)
    if found is None:
        for axis in (cell for row in cells for cell in row):
            axis.set_axis_off()
        cells[0][0].set_title("no phasors: no segment holds a whole cycle", fontsize=7.5)
        return
    (before, during), sequences = cells
    title = "before the event" if found.during is not None else "no event: nothing changes"
    draw_phasors(before, found.before, title)
    if found.during is None:
        during.set_axis_off()
    else:
        draw_phasors(during, found.during, f"during the event, from {found.during.start_s:.4f} s")
    for axis, quantity in zip(sequences, ("current", "voltage"), strict=True):
        draw_sequences(axis, found, quantity)
    for state, colour in ((found.before, BEFORE_COLOUR), (found.during, DURING_COLOUR)):
        if state is not None:
            for axis in waveforms:
                axis.axvspan(state.start_s, state.stop_s, color=colour, alpha=0.12, linewidth=0)
