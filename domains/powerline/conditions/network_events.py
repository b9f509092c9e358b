"""Define conditions of events that are harder to recognise: swings, large equipment, arcing, short and long faults."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from domains.powerline.conditions.network import Resimulated
from domains.powerline.conditions.records import LENGTH_CYCLES, USUAL_MIX, resimulated
from domains.powerline.conditions.registry import CONDITIONS
from domains.powerline.simulator.episodes import FaultPlan, ScenarioMix
from domains.powerline.simulator.events import Builder, LineContext, PlannedEvent
from domains.powerline.simulator.fault_plans import fault
from domains.powerline.simulator.harder_faults import arcing, fault_in_swing, incipient
from domains.powerline.simulator.swings import large_capacitor, large_motor, pole_slip, reactor, wide_swing
from training.data.episodes import Episodes
from training.evaluation.conditions.condition import Value

STARTING = (6.0, 6.0)  # current of a starting motor, in multiples of its rated current
SWING_HZ = (1.0, 2.5)  # of stable swings, so that the peak lies within a short record


def _of_non_faults(
    name: str, unit: str, values: tuple[Value, ...], description: str, builder: Callable[[Value], Builder]
) -> None:
    """Register a condition whose records contain no fault but the events of one builder."""

    def simulated(n: int, seed: int, value: Value) -> Episodes:
        return resimulated(n, seed, mix=ScenarioMix(0.0, non_faults=(name,), builders={name: builder(value)}))

    CONDITIONS.register(Resimulated(name, unit, values, description, simulated))


def _of_faults(
    name: str, unit: str, values: tuple[Value, ...], description: str, plan: Callable[[Value], FaultPlan]
) -> None:
    """Register a condition whose faults all follow one plan."""

    def simulated(n: int, seed: int, value: Value) -> Episodes:
        return resimulated(n, seed, mix=replace(USUAL_MIX, plan_fault=plan(value)))

    CONDITIONS.register(Resimulated(name, unit, values, description, simulated))


def _exactly(value: Value, factor: float = 1.0) -> tuple[float, float]:
    """Return bounds that contain a single value."""
    return float(value) * factor, float(value) * factor


def _single(plan: Callable[[LineContext, np.random.Generator, int, str], PlannedEvent]) -> FaultPlan:
    """Return the plan as a tuple of one event."""
    return lambda line, rng, start, name: (plan(line, rng, start, name),)


def _in_swing(value: Value) -> FaultPlan:
    kind, amount = str(value).split()
    if kind == "slip":
        return partial(fault_in_swing, slipping=1.0, slip_hz=_exactly(amount))
    return partial(fault_in_swing, slipping=0.0, peak=_exactly(amount, np.pi / 180))


_of_faults(
    "arcing",
    "",
    (0.2, 0.4, 0.6, 0.8, 1.0),
    "Arcs that strike again in every half cycle; deviation of the logarithm of their resistance.",
    lambda value: _single(partial(arcing, spread=float(value))),
)
_of_faults(
    "incipient",
    "ms",
    (80, 40, 20, 10, 2),
    "Faults that extinguish by themselves after about this time.",
    lambda value: _single(partial(incipient, duration_s=_exactly(value, 1e-3))),
)


def _long_faults(n: int, seed: int, value: Value) -> Episodes:
    plan = _single(partial(fault, trip_cycles=_exactly(value)))
    # The record contains the quiet time before the fault, the fault and its clearing.
    return resimulated(n, seed, mix=replace(USUAL_MIX, plan_fault=plan), length_cycles=LENGTH_CYCLES + float(value))


CONDITIONS.register(
    Resimulated(
        "long_fault",
        "cycles",
        (10, 20, 40, 80, 160),
        "Faults that are cleared only after this time; usually within 6 cycles.",
        _long_faults,
    )
)
_of_faults(
    "fault_in_swing",
    "",
    ("peak 75", "peak 125", "peak 175", "slip 1", "slip 4"),
    "Faults during a stable swing to a peak in degrees, or during a pole slip in Hz.",
    _in_swing,
)
_of_non_faults(
    "stable_swing",
    "degrees",
    (115, 130, 145, 160, 175),
    "Power swings without any fault that reach this load angle and return.",
    lambda value: partial(wide_swing, peak=_exactly(value, np.pi / 180), rate_hz=SWING_HZ),
)
_of_non_faults(
    "pole_slip",
    "Hz",
    (0.2, 1, 2, 4, 7),
    "Losses of synchronism without any fault; slip between both sources.",
    lambda value: partial(pole_slip, slip_hz=_exactly(value)),
)
_of_non_faults(
    "large_motor",
    "x rated",
    (0.1, 0.2, 0.3, 0.45, 0.6),
    "Starts at six times rated current of a motor of this size relative to the line.",
    lambda value: partial(large_motor, rated=_exactly(value), multiple=STARTING),
)
_of_non_faults(
    "reactor",
    "p.u.",
    (0.1, 0.2, 0.4, 0.6, 0.8),
    "Shunt reactors of up to this current that are switched in and out.",
    lambda value: partial(reactor, current=_exactly(value)),
)
_of_non_faults(
    "large_capacitor",
    "p.u.",
    (0.4, 0.6, 0.9, 1.2, 1.5),
    "Capacitor banks of up to this power that are switched in and out.",
    lambda value: partial(large_capacitor, power=_exactly(value)),
)
