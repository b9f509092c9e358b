"""Draw the currents and voltages of a line over time."""

from __future__ import annotations

from textwrap import wrap
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from domains.powerline.waveforms import CHANNELS, Record, RecordLine, Segment
from faultline.plots.figures import PHASE_COLOURS
from faultline.plots.fonts import is_drawable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_POINTS = 6000
"""Maximum number of points of a curve; more points cannot be seen and make files larger."""
TITLE_WIDTH = 150
"""Characters of a line's title above which it is cut."""
MOST_TITLE_ROWS = 5


def draw_waveforms(currents: Axes, voltages: Axes, record: Record, line: RecordLine) -> None:
    """Draw a line's currents and voltages over time, without a curve where samples are missing."""
    end_s = max((segment.next_s for segment in line.segments), default=0.0)
    for axis, group, unit in ((currents, slice(0, 3), "current"), (voltages, slice(3, 6), "voltage")):
        for k, name in enumerate(CHANNELS[group], group.start):
            label = _label(name, line, k)
            for number, segment in enumerate(line.segments):
                axis.plot(
                    *curve(line.samples[:, k], segment),
                    color=PHASE_COLOURS[k % 3],
                    linewidth=0.9,
                    label=label if number == 0 else None,
                )
        axis.set_ylabel(f"{unit}, p.u.")
        axis.grid(alpha=0.25)
        if axis.lines:
            axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8, frameon=False)
        if record.trigger_ns is not None and 0 < (at := (record.trigger_ns - line.start_ns) / 1e9) < end_s:
            axis.axvline(at, color="0.5", linestyle=":", linewidth=1)
    currents.set_title(f"{shortened(title_of(line))}\n{shortened(line.base_source)}", fontsize=8, loc="left")


def curve(values: NDArray[np.float32], segment: Segment) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Return times and values of the curve of a segment, from the values (t,) of the whole record.

    Of a long record, the curve has the extremes of short intervals, so that a brief event is still visible.
    """
    own = values[segment.first : segment.stop]
    stride = -(-2 * len(values) // MOST_POINTS)
    if len(values) <= MOST_POINTS or not len(own):
        return segment.start_s + np.arange(len(own)) / segment.rate_hz, own
    firsts = np.arange(0, len(own), stride)
    extremes = np.stack([np.fmin.reduceat(own, firsts), np.fmax.reduceat(own, firsts)], axis=1)
    return np.repeat(segment.start_s + firsts / segment.rate_hz, 2), extremes.reshape(-1)


def title_of(line: RecordLine) -> str:
    """Return the name of a line, with the numbers of its channels if no installed font can draw the name."""
    if is_drawable(line.name):
        return line.name
    numbers = " ".join(source.split(" ")[0] for source in line.sources.values())
    return f"{line.name} (channels {numbers})"


def shortened(text: str, width: int = TITLE_WIDTH) -> str:
    """Return a text cut to a number of characters."""
    return text if len(text) <= width else f"{text[: width - 1]}…"


def wrapped(text: str, width: int) -> str:
    """Return a title in rows of a number of characters; a very long one is cut."""
    return "\n".join(wrap(text, width, max_lines=MOST_TITLE_ROWS, placeholder=" …"))


def _label(name: str, line: RecordLine, column: int) -> str:
    if name in line.missing:
        return f"{name} (missing)"
    values = line.samples[:, column]
    return f"{name} (dead)" if len(values) and values.min() == values.max() else name
