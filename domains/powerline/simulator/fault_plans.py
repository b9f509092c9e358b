"""Plan faults: inception, spread to other phases, and clearing."""

from __future__ import annotations

import numpy as np

from domains.powerline.simulator.events import ALL, LineContext, PlannedEvent, cycles, scattered_close
from domains.powerline.simulator.faults import CLASSES, phases_of, star
from domains.powerline.simulator.network import SAMPLES_PER_CYCLE
from domains.powerline.simulator.solver import Command

FAULT_CLASSES = CLASSES[1:]
RESISTANCE_OHM = (0.01, 10.0)
RESISTIVE_SHARE = 0.4
TRIP_CYCLES = (2.2, 6.0)
"""Bounds of the time from a fault's inception to its clearing, in cycles: protection without an intended delay."""
# Highest resistance of an arc by the number of phases, per unit of the line's nominal impedance. An arc between phases
# is short whatever the earth resistance; on a line of low voltage, ten ohms in each phase would be a load, not a fault.
# By Warrington's formula (28,700 V/m · length / current^1.4), arcs of a few metres at some kiloamperes have about 0.01.
ARC_PER_UNIT = {1: np.inf, 2: 0.2, 3: 0.05}

# Classes to which a fault of each class may spread; a fault may spread to ground, and ground then stays involved.
SPREADS = {
    "AG": ("ABG", "CAG", "ABCG"),
    "BG": ("ABG", "BCG", "ABCG"),
    "CG": ("BCG", "CAG", "ABCG"),
    "AB": ("ABC", "ABG"),
    "BC": ("ABC", "BCG"),
    "CA": ("ABC", "CAG"),
    "ABG": ("ABCG",),
    "BCG": ("ABCG",),
    "CAG": ("ABCG",),
}


def draw_star(
    line: LineContext, rng: np.random.Generator, name: str, resistance_ohm: tuple[float, float] = RESISTANCE_OHM
) -> tuple[np.ndarray, float]:
    """Draw the fault star (4,) of a class in ohm, and return it with its characteristic resistance."""
    count = int(phases_of(name).sum())
    longest = ARC_PER_UNIT[count] * line.base_ohm
    low, high = resistance_ohm
    if count == 1 or name.endswith("G"):
        # Draw metallic and resistive faults: on a logarithmic scale alone, ten ohms would be as rare as ten milliohms.
        resistive = rng.random() < RESISTIVE_SHARE
        ohm = float(rng.uniform(low, high) if resistive else np.exp(rng.uniform(np.log(low), np.log(high))))
        if count == 1:
            return star(name, np.full(3, ohm), 0.0), ohm
        # Short arcs between the phases, and the drawn resistance to ground.
        shortest = min(low, RESISTANCE_OHM[0])
        arcs = np.exp(rng.uniform(np.log(shortest), np.log(max(min(longest, 2.0), 2 * shortest)), 3))
        return star(name, arcs, ohm), ohm
    arc = float(np.exp(rng.uniform(np.log(min(low, longest)), np.log(min(high, longest)))))
    return star(name, np.full(3, arc / 2 if count == 2 else arc) * rng.uniform(0.9, 1.1, 3), 0.0), arc


def fault(
    line: LineContext,
    rng: np.random.Generator,
    start: int,
    name: str,
    *,
    evolving: bool = False,
    clearing: str | None = None,
    resistance_ohm: tuple[float, float] = RESISTANCE_OHM,
    trip_cycles: tuple[float, float] = TRIP_CYCLES,
) -> PlannedEvent:
    """Plan a fault of class ``name`` at ``start``.

    Args:
        line: line of the fault.
        rng: source of randomness.
        start: output sample of the inception.
        name: class of the fault.
        evolving: True if the fault spreads to another phase before it is cleared.
        clearing: "arc" (the arc extinguishes by itself), or a trip with reclosing: "single_pole" (only for a fault of
            one phase to ground) or "three_pole"; drawn if None.
        resistance_ohm: bounds of the resistance; arcs between phases have less on a line of low voltage.
        trip_cycles: bounds of the time from the inception, or from the spread, to the clearing.
    """
    ohms, resistance = draw_star(line, rng, name, resistance_ohm)
    commands = [Command(start, "fault", tuple(ohms))]
    classes = [(start, name)]
    if evolving and name in SPREADS:
        name = str(rng.choice(SPREADS[name]))
        spread = start + cycles(rng.uniform(1.5, 4))
        wider, _ = draw_star(line, rng, name, resistance_ohm)
        commands.append(Command(spread, "fault", tuple(np.minimum(wider, ohms))))
        classes.append((spread, name))
    clearing, cleared, stop = cleared_from(line, rng, classes[-1][0], name, clearing, trip_cycles)
    parameters: dict[str, float | str] = {"resistance_ohm": resistance, "clearing": clearing}
    return PlannedEvent(
        "fault", start, stop, commands=(*commands, *cleared), stages=tuple(classes), parameters=parameters
    )


def cleared_from(
    line: LineContext,
    rng: np.random.Generator,
    sample: int,
    name: str,
    clearing: str | None,
    trip_cycles: tuple[float, float] = TRIP_CYCLES,
) -> tuple[str, list[Command], int]:
    """Clear a fault of class ``name`` some cycles after ``sample``; return the manner, the commands and the end."""
    if clearing is None:
        clearing = str(rng.choice(["arc", "single_pole", "three_pole"], p=[0.25, 0.45, 0.3]))
    if clearing == "single_pole" and phases_of(name).sum() > 1:
        clearing = "three_pole"
    trip = sample + cycles(rng.uniform(*trip_cycles))
    if clearing == "arc":
        return clearing, [Command(trip, "extinguish")], trip + cycles(1)
    poles = tuple(phases_of(name).astype(float)) if clearing == "single_pole" else ALL
    return clearing, *_trip_and_reclose(line, rng, trip, poles)


def _trip_and_reclose(
    line: LineContext, rng: np.random.Generator, trip: int, poles: tuple[float, ...]
) -> tuple[list[Command], int]:
    """Open ``poles`` at both ends, extinguish the arc in the dead time and close again; return commands and end."""
    remote = trip + int(rng.integers(-SAMPLES_PER_CYCLE, 2 * SAMPLES_PER_CYCLE))
    dead_from = max(trip, remote) + SAMPLES_PER_CYCLE
    quench = dead_from + cycles(rng.uniform(0.5, 3))
    close = dead_from + max(line.dead_samples(rng), quench - dead_from + SAMPLES_PER_CYCLE)
    ends = [("local", close), ("remote", close + cycles(rng.uniform(0.2, 6)))]
    if rng.random() < 0.4:  # the remote end closes first
        ends = [("remote", close), ("local", ends[1][1])]
    commands = [
        Command(trip, "open_local", poles),
        Command(remote, "open_remote", poles),
        Command(quench, "extinguish"),
    ]
    for end, sample in ends:
        commands += scattered_close(rng, end, sample, poles)
    return commands, ends[1][1] + SAMPLES_PER_CYCLE
