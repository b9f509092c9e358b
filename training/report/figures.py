"""Draw plots as SVG text that follows the page's colours: axes and text use ``currentColor``."""

from __future__ import annotations

import io
import re

import matplotlib

matplotlib.use("Agg")

from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from training.evaluation.documents import Failure
from training.report.data import Calibration, History, Latency
from training.report.svg import compact

# A placeholder that is replaced in the SVG by currentColor; no plot uses this colour for anything else.
_INK = "#010203"
# Okabe and Ito's palette, which readers with any colour vision can distinguish on light and on dark backgrounds.
BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
_CURVES = (RED, GREEN, BLUE, ORANGE)
# Narrow enough that text is still legible when a phone shows a plot at the width of its screen.
_WIDTH_IN = 4.6
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "faultline",
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": _INK,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": "#808080",
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    # Points that lie within a third of a point of the line between others: a line is four times as wide.
    "path.simplify_threshold": 0.33,
}


def _svg(figure: Figure, label: str) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    body = text.getvalue()[text.getvalue().index("<svg") :].replace(_INK, "currentColor")
    body = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", body, count=1)
    body = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", body, count=1)
    body = body.replace("font: 9px 'sans-serif'", "font: 9px sans-serif")
    return compact(body.replace("<svg", f'<svg role="img" aria-label="{label}"', 1))


def learning_curves(history: History) -> str:
    """Draw the losses of training and validation, and the validation scores, by epoch."""
    epochs = range(1, len(history.loss) + 1)
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH_IN, 4.6), layout="constrained")
        losses, scores = figure.subplots(2, 1, sharex=True)
        losses.plot(epochs, history.loss, color=BLUE, marker=".", label="training")
        losses.plot(epochs, history.val_loss, color=ORANGE, marker=".", label="validation")
        losses.set_yscale("log")
        low, high = min(*history.loss, *history.val_loss), max(*history.loss, *history.val_loss)
        losses.yaxis.set_major_locator(FixedLocator(_log_ticks(low, high)))
        losses.yaxis.set_minor_locator(NullLocator())
        losses.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        losses.set_ylabel("loss")
        scores.plot(epochs, history.val_accuracy, color=ORANGE, marker=".", label="accuracy")
        scores.plot(epochs, history.val_merged_macro_f1, color=GREEN, marker=".", label="merged macro-F1")
        scores.set_ylabel("validation")
        scores.set_xlabel("epoch")
        scores.xaxis.set_major_locator(MaxNLocator(integer=True))
        for axis in (losses, scores):
            axis.axvline(history.best_epoch, color="#808080", linestyle=":", linewidth=1)
            axis.grid(True)
            axis.legend(loc="best", fontsize=8)
        return _svg(figure, "Learning curves")


def _log_ticks(low: float, high: float) -> list[float]:
    """Return at least three round numbers as ticks of a logarithmic axis, the more per decade the narrower it is."""
    for digits in ((1,), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7)):
        ticks = [d * 10.0**e for e in range(-6, 4) for d in digits if low * 0.95 < d * 10.0**e < high * 1.05]
        if len(ticks) >= 3:
            return ticks
    return [float(tick) for tick in MaxNLocator(4).tick_values(low, high)]


def reliability(calibration: Calibration) -> str:
    """Draw accuracy by confidence; the area of a point grows with its number of windows."""
    most = max(part.windows for part in calibration.bins)
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH_IN, 3.6), layout="constrained")
        axis = figure.subplots()
        axis.plot([0, 1], [0, 1], color="#808080", linestyle=":", linewidth=1)
        axis.plot(
            [part.confidence for part in calibration.bins],
            [part.accuracy for part in calibration.bins],
            color=BLUE,
            alpha=0.3,
            linewidth=1,
        )
        axis.scatter(
            [part.confidence for part in calibration.bins],
            [part.accuracy for part in calibration.bins],
            s=[6 + 190 * part.windows / most for part in calibration.bins],
            color=BLUE,
            zorder=3,
        )
        axis.set(xlabel="mean confidence", ylabel="accuracy", xlim=(0, 1.05), ylim=(0, 1.05))
        axis.grid(True)
        return _svg(figure, "Reliability diagram")


def latency(rows: tuple[Latency, ...]) -> str:
    """Draw the duration of one call by batch size, both on logarithmic axes."""
    batches = [row.batch for row in rows]
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH_IN, 3.0), layout="constrained")
        axis = figure.subplots()
        axis.plot(batches, [row.median_ms for row in rows], color=BLUE, marker="o", label="median")
        axis.plot(batches, [row.p95_ms for row in rows], color=ORANGE, marker=".", linestyle="--", label="p95")
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.xaxis.set_major_locator(FixedLocator(batches))
        axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axis.xaxis.set_minor_locator(NullLocator())
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.yaxis.set_minor_locator(NullLocator())
        axis.set(xlabel="windows per call", ylabel="ms")
        axis.tick_params(axis="x", labelsize=8)
        axis.grid(True)
        axis.legend(fontsize=8)
        return _svg(figure, "Latency by batch size")


def waveform(failure: Failure) -> str:
    """Draw the channels, one quantity below the other, over cycles or seconds around the marked sample."""
    quantities = failure.quantities or {"signal": tuple(range(len(failure.channels)))}
    per_unit = failure.samples_per_cycle or failure.rate_hz or 1.0
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH_IN, 3.4), layout="constrained")
        axes = figure.subplots(len(quantities), 1, sharex=True, squeeze=False)[:, 0]
        for axis, (quantity, which) in zip(axes, quantities.items(), strict=True):
            for place, k in enumerate(which):
                time = [(n - failure.mark) / per_unit for n in range(len(failure.samples[k]))]
                colour = _CURVES[place % len(_CURVES)]
                axis.plot(time, failure.samples[k], color=colour, linewidth=1, label=failure.channels[k])
            axis.axvline(0, color="#808080", linestyle=":", linewidth=1)
            axis.set_ylabel(quantity)
            axis.yaxis.set_major_locator(MaxNLocator(4))
            axis.grid(True)
            axis.margins(x=0.01)
            axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8, handlelength=1)
        axes[-1].set_xlabel(f"{'cycles' if failure.samples_per_cycle else 'seconds'} from the marked sample")
        return _svg(figure, f"Waveform: {failure.title}")
