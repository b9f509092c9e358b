"""Draw the answer for a line: its waveforms, episodes and probabilities."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from domains.powerline.waveforms import Record
from faultline.plots.figures import new_figure, save
from faultline.plots.waveforms import draw_waveforms, title_of, wrapped

if TYPE_CHECKING:
    # Detection loads TensorFlow, which a picture of a record does not need.
    from matplotlib.axes import Axes

    from faultline.answers import FaultEpisode, LineAnswer
    from model.spec import SignalSpec

EPISODE_COLOUR = "#7d3c98"
MOST_CLASSES = 5
"""Maximum number of classes whose probabilities are drawn."""
TITLE_WIDTH = 115
"""Characters of a row of the title."""


def plot_answer(record: Record, answer: LineAnswer, spec: SignalSpec, path: Path) -> None:
    """Draw the waveforms of one line with its episodes or its verdict, and the probabilities over time.

    Raises:
        RecordError: if the picture cannot be written.
    """
    figure = new_figure(11, 8.2)
    first, second, third = axes = figure.subplots(3, 1, sharex=True)
    draw_waveforms(first, second, record, answer.line)
    draw_probabilities(third, answer, spec)
    third.set_xlabel("seconds after the first sample")
    for axis in axes:
        for episode in answer.episodes:
            _mark(axis, episode, float(answer.window_end_s[-1]))
    what = ", ".join(_in_words(episode) for episode in answer.episodes) or answer.verdict
    why = f": {answer.reason}" if answer.reason else ""
    figure.suptitle(wrapped(f"{title_of(answer.line)}: {what}{why}", TITLE_WIDTH), fontsize=11)
    save(figure, path)


def draw_probabilities(axis: Axes, answer: LineAnswer, spec: SignalSpec) -> None:
    """Draw the probabilities of the most probable classes, at the time of every window's last sample.

    Windows without an answer, such as those out of distribution, have no curve and a grey background.
    """
    rejected = ~answer.is_judged
    values = np.where(rejected[:, None], np.nan, answer.probabilities)
    highest = np.where(rejected[:, None], 0, answer.probabilities).max(axis=0, initial=0)
    for k in sorted([k for k in np.argsort(-highest) if highest[k] > 0.05][:MOST_CLASSES]):
        colour = "0.45" if k == spec.none_index else None
        axis.plot(
            answer.window_end_s, values[:, k], ".-", label=spec.class_names[k], linewidth=1, markersize=3, color=colour
        )
    _shade(axis, answer.window_end_s, rejected)
    if rejected.all():
        what = "no window was judged" if len(rejected) else "there is no window to judge"
        axis.text(0.5, 0.5, what, transform=axis.transAxes, ha="center", va="center", color="0.3")
    axis.set_ylabel("probability")
    axis.set_ylim(-0.03, 1.03)
    axis.grid(alpha=0.25)
    if axis.get_legend_handles_labels()[0]:
        axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8, frameon=False)


def _shade(axis: Axes, ends_s: NDArray[np.float64], rejected: NDArray[np.bool_]) -> None:
    """Draw a grey background at the windows without an answer."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], rejected, [False]]).astype(np.int8)))
    step_s = float(np.median(np.diff(ends_s))) if len(ends_s) > 1 else 1e-3
    for number, (first, stop) in enumerate(zip(edges[::2], edges[1::2], strict=True)):
        label = "not judged" if number == 0 else None
        axis.axvspan(ends_s[first] - step_s, ends_s[stop - 1], color="0.85", linewidth=0, label=label)


def _mark(axis: Axes, episode: FaultEpisode, end_s: float) -> None:
    stop = end_s if episode.duration_s is None else episode.inception_s + episode.duration_s
    axis.axvspan(episode.inception_s, stop, color=EPISODE_COLOUR, alpha=0.1)
    axis.axvline(episode.inception_s, color=EPISODE_COLOUR, linewidth=1)
    axis.axvline(episode.detection_s, color=EPISODE_COLOUR, linewidth=1, linestyle="--")


def _in_words(episode: FaultEpisode) -> str:
    lasting = "to the end" if episode.duration_s is None else f"for {1000 * episode.duration_s:.0f} ms"
    return f"{episode.fault_class} from {episode.inception_s:.4f} s {lasting} ({100 * episode.confidence:.0f} %)"
