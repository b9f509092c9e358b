"""Create figures and save them as pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from domains.powerline.waveforms.errors import RecordError
from faultline.plots.fonts import make_drawable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PHASE_COLOURS = ("#c0392b", "#b7950b", "#2471a3")
"""Colours of phases A, B and C; readers who confuse red and green can distinguish them as well."""


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of a size in inches."""
    # pyplot is not used, because its global state is not safe with threads.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a figure to a file whose name gives the format.

    Raises:
        RecordError: if the picture cannot be written.
    """
    make_drawable(figure)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=110)
    except (OSError, ValueError) as error:
        raise RecordError(f"{path}: the picture cannot be written: {error}") from error
