"""Draw the waveforms of records, with the episodes that were found in them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from domains.powerline.waveforms import CHANNELS, Record, RecordLine
from domains.powerline.waveforms.errors import RecordError
from faultline.file_detection import FaultEpisode, LineAnswer
from model.spec import SignalSpec

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PHASE_COLOURS = ("#c0392b", "#b7950b", "#2471a3")
"""Colours of phases A, B and C; readers who confuse red and green can distinguish them as well."""
EPISODE_COLOUR = "#7d3c98"
MOST_POINTS = 6000
"""Maximum number of points of a curve; more points cannot be seen and make files larger."""
MOST_LINES = 8
"""Maximum number of power lines in one picture."""
MOST_CLASSES = 5
"""Maximum number of classes whose probabilities are drawn."""


def plot_record(record: Record, path: Path) -> None:
    """Draw currents and voltages of every line of a record.

    Raises:
        RecordError: if there is no line to draw, or the picture cannot be written.
    """
    if not record.lines:
        raise RecordError(f"{record.path}: no line to draw: assign the channels with --channels")
    lines = record.lines[:MOST_LINES]
    figure, axes = _figure(2 * len(lines), 2.3)
    for number, line in enumerate(lines):
        draw_waveforms(axes[2 * number], axes[2 * number + 1], record, line)
    shown = f", the first {MOST_LINES} of {len(record.lines)} lines" if len(record.lines) > MOST_LINES else ""
    figure.suptitle(f"{record.path.name}: {record.format}, {record.frequency_hz:.3f} Hz{shown}", fontsize=11)
    _save(figure, path)


def plot_answer(record: Record, answer: LineAnswer, spec: SignalSpec, path: Path) -> None:
    """Draw the waveforms of one line with its episodes, and the probabilities over time."""
    figure, axes = _figure(3, 2.5)
    draw_waveforms(axes[0], axes[1], record, answer.line)
    draw_probabilities(axes[2], answer, spec)
    for axis in axes:
        for episode in answer.episodes:
            _mark(axis, episode, float(answer.window_end_s[-1]))
    what = ", ".join(_in_words(episode) for episode in answer.episodes) or "no fault"
    figure.suptitle(f"{answer.line.name}: {what}", fontsize=11)
    _save(figure, path)


def _figure(rows: int, height: float) -> tuple[Figure, Sequence[Axes]]:
    # pyplot is not used, because its global state is not safe with threads.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, height * rows + 0.7), layout="constrained")
    FigureCanvasAgg(figure)
    axes: Any = figure.subplots(rows, 1, sharex=True, squeeze=False)
    axes[-1][0].set_xlabel("seconds after the first sample")
    return figure, [row[0] for row in axes]


def _save(figure: Figure, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=110)
    except (OSError, ValueError) as error:
        raise RecordError(f"{path}: the picture cannot be written: {error}") from error


def draw_waveforms(currents: Axes, voltages: Axes, record: Record, line: RecordLine) -> None:
    """Draw a line's currents and voltages over time, without a curve where samples are missing."""
    stride = max(1, len(line.samples) // MOST_POINTS)
    for axis, group, unit in ((currents, slice(0, 3), "current"), (voltages, slice(3, 6), "voltage")):
        for k, name in enumerate(CHANNELS[group]):
            label = f"{name} (missing)" if name in line.missing else name
            for number, segment in enumerate(line.segments):
                rows = slice(segment.first, segment.stop, stride)
                times = segment.start_s + np.arange(0, len(segment), stride) / segment.rate_hz
                axis.plot(
                    times,
                    line.samples[rows, group][:, k],
                    color=PHASE_COLOURS[k],
                    linewidth=0.9,
                    label=label if number == 0 else None,
                )
        axis.set_ylabel(f"{unit}, p.u.")
        axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)
        axis.grid(alpha=0.25)
        if record.trigger_ns is not None and 0 < (at := (record.trigger_ns - line.start_ns) / 1e9) < times[-1]:
            axis.axvline(at, color="0.5", linestyle=":", linewidth=1)
    currents.set_title(f"{line.name} ({line.base_source})", fontsize=8, loc="left")


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
