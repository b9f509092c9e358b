"""Draw waveforms, phasors and the episodes that were found in them."""

from faultline.plots.answers import draw_probabilities, plot_answer
from faultline.plots.records import is_plotted, plot_record
from faultline.plots.waveforms import draw_waveforms

__all__ = ["draw_probabilities", "draw_waveforms", "is_plotted", "plot_answer", "plot_record"]
