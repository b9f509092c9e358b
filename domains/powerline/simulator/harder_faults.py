"""Plan faults that are harder to recognise: self-clearing and arcing faults, and faults during a power swing."""

from __future__ import annotations

import numpy as np

from domains.powerline.simulator.drive import PHASE_LAG
from domains.powerline.simulator.events import LineContext, PlannedEvent, cycles
from domains.powerline.simulator.fault_plans import RESISTANCE_OHM, cleared_from, draw_star, fault
from domains.powerline.simulator.faults import phases_of
from domains.powerline.simulator.network import SAMPLES_PER_CYCLE
from domains.powerline.simulator.solver import Command
from domains.powerline.simulator.swings import pole_slip, wide_swing

INCIPIENT_S = (0.002, 0.08)
ARCING_CYCLES = (1.0, 6.0)
# Duration of the pause around a current zero in samples, and factor on the resistance in it: the arc cools, and strikes
# again when the voltage suffices.
PAUSE_SAMPLES, PAUSE_FACTOR = (1, 5), (5.0, 40.0)
COOLED = 2.0  # highest resistance of a cooled arc, relative to the magnitude of the whole impedance
SWING_RATE_HZ, SWING_SLIP_HZ = (0.8, 3.0), (0.8, 7.0)  # swings of faults, fast enough to change within a short record
SWING_PEAK_RAD = (np.radians(60), np.radians(175))
SLIPPING_SHARE = 0.5
INTO_SWING_CYCLES = 20.0  # a fault begins at most this long after the swing


def incipient(
    line: LineContext,
    rng: np.random.Generator,
    start: int,
    name: str,
    *,
    duration_s: tuple[float, float] = INCIPIENT_S,
    resistance_ohm: tuple[float, float] = RESISTANCE_OHM,
) -> PlannedEvent:
    """Plan a fault of class ``name`` that extinguishes by itself at the first current zero after its duration.

    A fault shorter than half a cycle strikes shortly before a zero of its phase's voltage, so that the current has an
    early zero as well. The inception is then up to half a cycle after ``start``.
    """
    ohms, resistance = draw_star(line, rng, name, resistance_ohm)
    low, high = duration_s
    seconds = float(np.exp(rng.uniform(np.log(low), np.log(high))))
    burning = seconds * line.nominal_hz * SAMPLES_PER_CYCLE
    if burning <= SAMPLES_PER_CYCLE / 2:
        # The voltage is zero after the whole duration if the circuit is resistive, and after half of it if inductive.
        per_unit = resistance / line.base_ohm
        part = 0.5 + 0.5 * per_unit / np.hypot(per_unit, line.x_node)
        start += round(line.samples_to_zero(start + part * burning, _driving_angle(rng, name)))
    # The next zero of the current is on average a quarter of a cycle after the command.
    out = start + max(1, round(max(0.7 * burning, burning - SAMPLES_PER_CYCLE / 4)))
    commands = (Command(start, "fault", tuple(ohms)), Command(out, "extinguish"))
    parameters: dict[str, float | str] = {
        "resistance_ohm": resistance,
        "clearing": "arc",
        "duration_s": seconds,
    }
    return PlannedEvent(
        "fault", start, out + cycles(1), commands=commands, stages=((start, name),), parameters=parameters
    )


def _driving_angle(rng: np.random.Generator, name: str) -> float:
    """Return the angle in rad of the voltage that drives a fault, of one of its phases if there are several."""
    phases = np.flatnonzero(phases_of(name))
    if len(phases) == 2 and not name.endswith("G"):
        first, second = np.exp(1j * PHASE_LAG[phases])
        return float(np.angle(first - second))
    return float(PHASE_LAG[rng.choice(phases)])


def arcing(
    line: LineContext,
    rng: np.random.Generator,
    start: int,
    name: str,
    *,
    clearing: str | None = None,
    resistance_ohm: tuple[float, float] = RESISTANCE_OHM,
    spread: float = 0.4,
) -> PlannedEvent:
    """Plan a fault whose arc cools at each zero of its current and strikes again with another resistance.

    Args:
        line: line of the fault.
        rng: source of randomness.
        start: output sample of the inception.
        name: class of the fault.
        clearing: manner of clearing, as for ``fault``.
        resistance_ohm: bounds of the resistance of the burning arc.
        spread: standard deviation of the logarithm of the resistance from one half cycle to the next.
    """
    ohms, resistance = draw_star(line, rng, name, resistance_ohm)
    angle = _driving_angle(rng, name)
    per_unit = resistance / line.base_ohm
    lag = np.arctan2(line.x_node, per_unit) / (2 * np.pi) * SAMPLES_PER_CYCLE  # of the current behind the voltage
    # The voltage across the cooled arc remains below nominal, since the current is then near its zero.
    most = COOLED * np.hypot(per_unit, line.x_node) / per_unit
    commands = [Command(start, "fault", tuple(ohms))]
    until = start + cycles(rng.uniform(*ARCING_CYCLES))
    sample = start + 1.0
    while True:
        zero = sample + line.samples_to_zero(sample - lag, angle)
        pause = int(rng.integers(*PAUSE_SAMPLES, endpoint=True))
        cool, again = round(zero) - pause // 2, round(zero) - pause // 2 + pause
        if again >= until:
            break
        if cool > commands[-1].sample:
            commands.append(
                Command(cool, "fault", tuple(ohms * min(rng.uniform(*PAUSE_FACTOR), most * rng.uniform(0.5, 1.0))))
            )
            commands.append(Command(again, "fault", tuple(ohms * np.exp(spread * rng.standard_normal()))))
        sample = zero + SAMPLES_PER_CYCLE / 8
    clearing, cleared, stop = cleared_from(line, rng, until, name, clearing)
    parameters: dict[str, float | str] = {"resistance_ohm": resistance, "clearing": clearing, "arc": "restriking"}
    return PlannedEvent(
        "fault", start, stop, commands=(*commands, *cleared), stages=((start, name),), parameters=parameters
    )


def fault_in_swing(
    line: LineContext,
    rng: np.random.Generator,
    start: int,
    name: str,
    *,
    slipping: float = SLIPPING_SHARE,
    peak: tuple[float, float] = SWING_PEAK_RAD,
    slip_hz: tuple[float, float] = SWING_SLIP_HZ,
    resistance_ohm: tuple[float, float] = RESISTANCE_OHM,
) -> tuple[PlannedEvent, PlannedEvent]:
    """Plan a power swing from ``start`` on, a pole slip in the share ``slipping``, and a fault while it lasts.

    A stable swing reaches a load angle between the bounds ``peak`` in rad; a pole slip has a slip between ``slip_hz``.
    The poles do not open during a pole slip: they would close on any angle, which synchronism check prevents.
    """
    slips = bool(rng.random() < slipping)
    swing = (
        pole_slip(line, rng, start, slip_hz=slip_hz)
        if slips
        else wide_swing(line, rng, start, peak=peak, rate_hz=SWING_RATE_HZ)
    )
    latest = min(0.8 * (swing.stop - start), cycles(INTO_SWING_CYCLES))
    inception = start + int(rng.uniform(0.1, 1.0) * latest)
    clearing = "arc" if slips else None
    return swing, fault(line, rng, inception, name, clearing=clearing, resistance_ohm=resistance_ohm)
