"""Draw phasor diagrams and sequence components."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from domains.powerline.waveforms.signal.event_phasors import LEAST_CHANGE, EventPhasors, SteadyState
from faultline.plots.figures import PHASE_COLOURS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.axes import Axes

BEFORE_COLOUR, DURING_COLOUR = "#95a5a6", "#7d3c98"
"""Colours of the states before and during the event."""
CURRENT_RADIUS = 0.72
"""Radius of the circle of the currents; that of the voltages is 1."""
LEAST_ARROW = 0.1
"""Length below which an arrow is a point and is not drawn."""


def draw_phasors(axis: Axes, state: SteadyState, title: str) -> None:
    """Draw the phasors of a state: voltages as solid arrows, currents as dashed ones, and their values below.

    Currents and voltages have a circle each, which the longest phasor touches.
    """
    reference, angle = state.reference
    phasors = state.phasors * np.exp(-1j * angle)
    axis.set_aspect("equal")
    axis.set_xlim(-1.3, 1.3)
    axis.set_ylim(-1.3, 1.3)
    axis.set_xticks([])
    axis.set_yticks([])
    for spine in axis.spines.values():
        spine.set_visible(False)
    turns = np.linspace(0, 2 * np.pi, 181)
    texts = []
    for first, radius, letter in ((3, 1.0, "v"), (0, CURRENT_RADIUS, "i")):
        values = phasors[first : first + 3]
        highest = float(np.abs(values).max())
        names = [f"{letter}{phase}" for phase in "abc"]
        texts.append("   ".join(f"{name} {_polar(value)}" for name, value in zip(names, values, strict=True)))
        if highest < LEAST_CHANGE:
            continue
        style = "--" if letter == "i" else "-"
        axis.plot(radius * np.cos(turns), radius * np.sin(turns), color="0.8", linewidth=0.7, linestyle=style)
        for name, colour, value in zip(names, PHASE_COLOURS, radius * values / highest, strict=True):
            if abs(value) < LEAST_ARROW:
                continue
            _arrow(axis, value, colour, dashed=letter == "i")
            # Currents are named below their tips, so that the names stay apart when current and voltage are in phase.
            where = value * (1 + 0.16 / abs(value)) if letter == "v" else value * np.exp(-0.22j / max(abs(value), 0.5))
            axis.text(where.real, where.imag, name, color=colour, fontsize=7, ha="center", va="center")
    axis.set_title(title, fontsize=8)
    axis.set_xlabel("\n".join([*texts, f"p.u., angles from {reference}"]), fontsize=6.5)


def _polar(value: complex) -> str:
    size = abs(value)
    degrees = str(round(np.degrees(np.angle(value)))).replace("-", "\N{MINUS SIGN}")
    return f"{size:.2f}∠{degrees}°" if size >= LEAST_CHANGE else f"{size:.2f}"


def _arrow(axis: Axes, value: complex, colour: str, *, dashed: bool) -> None:
    axis.plot(
        [0, value.real],
        [0, value.imag],
        color=colour,
        linestyle=(0, (4, 2)) if dashed else "-",
        linewidth=1.1 if dashed else 1.8,
    )
    # The head is drawn by itself, because an arrow's dashes would also apply to its head.
    axis.annotate(
        "",
        xy=(value.real, value.imag),
        xytext=(0.97 * value.real, 0.97 * value.imag),
        arrowprops={"arrowstyle": "-|>", "color": colour, "linewidth": 0.8, "mutation_scale": 8 if dashed else 11},
    )


def draw_sequences(axis: Axes, found: EventPhasors, quantity: str) -> None:
    """Draw zero, positive and negative sequence of ``"current"`` or ``"voltage"`` before and during the event.

    Every bar has its value in per unit, and its share of the positive sequence.
    """
    letter = "I" if quantity == "current" else "V"
    states = list(_states(found))
    width = 0.4
    top = 0.0
    for number, (name, state, colour) in enumerate(states):
        sizes = np.abs(state.currents if quantity == "current" else state.voltages)
        places = np.arange(3) + width * (number - (len(states) - 1) / 2)
        axis.bar(places, sizes, width, color=colour, label=name)
        for place, size in zip(places, sizes, strict=True):
            share = f"\n{100 * size / sizes[1]:.0f} %" if sizes[1] > 1e-3 else ""
            axis.text(place, size, f"{size:.2f}{share}", fontsize=6.5, ha="center", va="bottom")
        top = max(top, float(sizes.max()))
    axis.set_xticks(range(3), [f"{letter}0 zero", f"{letter}1 positive", f"{letter}2 negative"], fontsize=7)
    axis.tick_params(axis="y", labelsize=7)
    axis.set_ylim(0, max(top, 1e-3) * 1.5)
    axis.set_title(f"sequence components of the {quantity}s, p.u. and % of {letter}1", fontsize=7.5)
    if len(states) > 1:
        axis.legend(loc="upper center", ncols=2, fontsize=6.5, frameon=False)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)


def _states(found: EventPhasors) -> Iterator[tuple[str, SteadyState, str]]:
    yield "before", found.before, BEFORE_COLOUR
    if found.during is not None:
        yield "during", found.during, DURING_COLOUR
