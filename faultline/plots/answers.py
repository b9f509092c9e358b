"""Draw the answer for a line: its waveforms, episodes and probabilities."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from domains.powerline.waveforms import Record
from faultline.plots.figures import new_figure, save
from faultline.plots.waveforms import draw_waveforms, title_of

if TYPE_CHECKING:
    # Detection loads TensorFlow, which a picture of a record does not need.
    from matplotlib.axes import Axes

    from faultline.file_detection import FaultEpisode, LineAnswer
    from model.spec import SignalSpec

EPISODE_COLOUR = "#7d3c98"
MOST_CLASSES = 5
"""Maximum number of classes whose probabilities are drawn."""


def plot_answer(record: Record, answer: LineAnswer, spec: SignalSpec, path: Path) -> None:
    """Draw the waveforms of one line with its episodes, and the probabilities over time."""
    figure = new_figure(11, 8.2)
    first, second, third = axes = figure.subplots(3, 1, sharex=True)
    draw_waveforms(first, second, record, answer.line)
    draw_probabilities(third, answer, spec)
    third.set_xlabel("seconds after the first sample")
    for axis in axes:
        for episode in answer.episodes:
            _mark(axis, episode, float(answer.window_end_s[-1]))
    what = ", ".join(_in_words(episode) for episode in answer.episodes) or "no fault"
    figure.suptitle(f"{title_of(answer.line)}: {what}", fontsize=11)
    save(figure, path)


def draw_probabilities(axis: Axes, answer: LineAnswer, spec: SignalSpec) -> None:
    """Draw the probabilities of the most probable classes, at the time of every window's last sample."""
    highest = answer.probabilities.max(axis=0)
    chosen = [k for k in np.argsort(-highest) if highest[k] > 0.05][:MOST_CLASSES]
    for k in sorted(chosen):
        colour = "0.45" if k == spec.none_index else None
        values = answer.probabilities[:, k]
        axis.plot(answer.window_end_s, values, ".-", label=spec.class_names[k], linewidth=1, color=colour)
    axis.set_ylabel("probability")
    axis.set_ylim(-0.03, 1.03)
    axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)
    axis.grid(alpha=0.25)


def _mark(axis: Axes, episode: FaultEpisode, end_s: float) -> None:
    stop = end_s if episode.duration_s is None else episode.inception_s + episode.duration_s
    axis.axvspan(episode.inception_s, stop, color=EPISODE_COLOUR, alpha=0.1)
    axis.axvline(episode.inception_s, color=EPISODE_COLOUR, linewidth=1)
    axis.axvline(episode.detection_s, color=EPISODE_COLOUR, linewidth=1, linestyle="--")


def _in_words(episode: FaultEpisode) -> str:
    lasting = "to the end" if episode.duration_s is None else f"for {1000 * episode.duration_s:.0f} ms"
    return f"{episode.fault_class} from {episode.inception_s:.4f} s {lasting} ({100 * episode.confidence:.0f} %)"
