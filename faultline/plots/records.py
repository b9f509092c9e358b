"""Draw a record: the waveforms, phasors and sequence components of its lines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from domains.powerline.waveforms import Record, RecordLine
from domains.powerline.waveforms.errors import RecordError
from domains.powerline.waveforms.signal.event_phasors import event_phasors
from faultline.plots.figures import new_figure, save
from faultline.plots.phasors import BEFORE_COLOUR, DURING_COLOUR, draw_phasors, draw_sequences
from faultline.plots.waveforms import curve, draw_waveforms, shortened, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_LINES = 8
"""Maximum number of power lines in one picture."""
WIDTH = 16.0
MOST_CHANNELS = 24
"""Maximum number of channels that are drawn if there is no line."""
CHANNEL_HEIGHT = 0.8
LABEL_WIDTH = 36
TITLE_WIDTH = 170
HEIGHT, LOW_HEIGHT = 5.0, 4.0
"""Height of one line in inches, and the height if there are four or more."""


def plot_record(record: Record, path: Path) -> None:
    """Draw every line of a record: waveforms, and phasors and sequence components before and during the event.

    If no line was identified, the channels of the file are drawn, so that a person can assign them.

    Raises:
        RecordError: if there is nothing to draw, or the picture cannot be written.
    """
    if not record.lines:
        _plot_channels(record, path)
        return
    lines = record.lines[:MOST_LINES]
    figure = new_figure(WIDTH, (HEIGHT if len(lines) < 4 else LOW_HEIGHT) * len(lines) + 0.7)
    grid = figure.add_gridspec(2 * len(lines), 3, width_ratios=(2.6, 1, 1))
    for number, line in enumerate(lines):
        cells = [[figure.add_subplot(grid[2 * number + row, column]) for column in (1, 2)] for row in (0, 1)]
        currents = figure.add_subplot(grid[2 * number, 0])
        voltages = figure.add_subplot(grid[2 * number + 1, 0], sharex=currents)
        draw_waveforms(currents, voltages, record, line)
        _draw_phasors(cells, (currents, voltages), line)
        voltages.set_xlabel("seconds after the first sample")
    shown = f", the first {MOST_LINES} of {len(record.lines)} lines" if len(record.lines) > MOST_LINES else ""
    figure.suptitle(f"{record.path.name}: {record.format}, {record.frequency_hz:.3f} Hz{shown}", fontsize=11)
    save(figure, path)


def is_plotted(record: Record) -> bool:
    """Return True if ``plot_record`` finds something to draw."""
    return bool(record.lines) or (record.source is not None and bool(_changing(record)))


def _changing(record: Record) -> list[int]:
    return [k for k, channel in enumerate(record.channels) if channel.lowest < channel.highest]


def _draw_phasors(cells: list[list[Axes]], waveforms: tuple[Axes, Axes], line: RecordLine) -> None:
    """Draw phasors into the upper two cells and sequence components into the lower two, and mark their cycles."""
    found = event_phasors(line.samples, line.segments, line.frequency_hz)
    if found is None:
        for axis in (cell for row in cells for cell in row):
            axis.set_axis_off()
        cells[0][0].set_title("no phasors: no segment holds a whole cycle", fontsize=7.5)
        return
    (before, during), sequences = cells
    title = "before the event" if found.during is not None else "steady: nothing changes"
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


def _plot_channels(record: Record, path: Path) -> None:
    """Draw the first channels of a file that change, currents and voltages before others."""
    wanted = sorted(_changing(record), key=lambda k: record.channels[k].role not in ("(current)", "(voltage)"))
    chosen = sorted(wanted[:MOST_CHANNELS])
    if record.source is None or not chosen:
        raise RecordError(f"{record.path}: there is nothing to draw: {record.no_line or 'no channel changes'}")
    figure = new_figure(WIDTH, CHANNEL_HEIGHT * len(chosen) + 1.2)
    axes = figure.subplots(len(chosen), 1, sharex=True, squeeze=False)[:, 0]
    for axis, index, values in zip(axes, chosen, record.source.read(chosen), strict=True):
        channel = record.channels[index]
        for segment in record.segments:
            axis.plot(*curve(values, segment), color="0.25", linewidth=0.8)
        unit = f" [{channel.unit}]" if channel.unit else ""
        label = shortened(f"{channel.number} {channel.name}{unit}", LABEL_WIDTH)
        axis.set_ylabel(label, rotation=0, ha="right", va="center", fontsize=8)
        axis.tick_params(labelsize=7)
        axis.grid(alpha=0.25)
    axes[-1].set_xlabel("seconds after the first sample")
    more = f" ({len(chosen)} of {len(record.channels)} channels)" if len(chosen) < len(record.channels) else ""
    title = f"{record.path.name}{more}: {record.no_line}"
    figure.suptitle(wrapped(title, TITLE_WIDTH), fontsize=10)
    save(figure, path)
