"""Define conditions of the network: newly simulated lines, faults and disturbances that differ from training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from domains.powerline.conditions.alterations import resampled
from domains.powerline.conditions.records import (
    FIRST_EVENT_CYCLES,
    GOOD,
    USUAL_MIX,
    kind_of,
    length_samples,
    resimulated,
    simulating,
    simulating_lives,
)
from domains.powerline.conditions.registry import CONDITIONS
from domains.powerline.simulator.episodes import ScenarioMix, describe, plan_of
from domains.powerline.simulator.events import BRISK, LineContext, PlannedEvent, cycles
from domains.powerline.simulator.fault_plans import SPREADS, draw_star
from domains.powerline.simulator.faults import NONE
from domains.powerline.simulator.measurement import draw_chains, measure
from domains.powerline.simulator.network import SAMPLES_PER_CYCLE
from domains.powerline.simulator.solver import Command, solve
from domains.powerline.simulator.sweep import ParameterSweep, draw_networks
from training.data.episodes import Episodes
from training.evaluation.conditions.condition import Condition, Trial, Value

TRANSMISSION_KV, DISTRIBUTION_KV = (66.0, 400.0), (10.0, 20.0)

Simulation = Callable[[int, int, Value], Episodes]


class Resimulated(Condition):
    """Condition with as many records or lives as the clean reference, but with other lines or other events."""

    def __init__(self, name: str, unit: str, values: Sequence[Value], description: str, simulation: Simulation) -> None:
        """Create the condition; ``simulation`` is called with the number of records, the seed and the severity."""
        super().__init__(name, unit, values, description)
        self._simulation = simulation

    def trial(self, clean: Episodes, level: int, seed: int) -> Trial:
        """Simulate as many records as ``clean`` has."""
        with simulating(kind_of(clean)):
            return Trial(self._simulation(len(clean), seed, self.value(level)))


class WindowPosition(Condition):
    """Condition that scores clean records at windows partly covered by the fault, and just before inception."""

    def trial(self, clean: Episodes, level: int, seed: int) -> Trial:
        """Return the clean records and two windows of each: one that ends at the inception, and one with the fault."""
        faulty = clean.labels != NONE
        part = float(self.value(level)) / 100
        inside = max(1, round(part * SAMPLES_PER_CYCLE))
        inception = np.where(faulty.any(axis=1), faulty.argmax(axis=1), clean.labels.shape[1] // 2)
        return Trial(clean, np.stack([inception - 1, inception + inside - 1], axis=1))


def _condition(name: str, unit: str, values: Sequence[Value], description: str) -> Callable[[Simulation], Simulation]:
    def registered(simulation: Simulation) -> Simulation:
        CONDITIONS.register(Resimulated(name, unit, values, description, simulation))
        return simulation

    return registered


CONDITIONS.register(
    WindowPosition(
        "window_position",
        "%",
        (100, 75, 50, 25, 10),
        "Share of the window that the fault covers, right after inception.",
    )
)


@_condition(
    "fault_resistance", "ohm", (15, 20, 35, 50, 100), "Fault resistance above the 10 ohm of training, from 66 kV."
)
def _fault_resistance(n: int, seed: int, value: Value) -> Episodes:
    return resimulated(n, seed, mix=_resistive(value), sweep=ParameterSweep(kilovolt=TRANSMISSION_KV))


@_condition(
    "high_impedance", "ohm", (15, 20, 35, 50, 100), "The same on feeders of 10 and 20 kV, where it equals a load."
)
def _high_impedance(n: int, seed: int, value: Value) -> Episodes:
    """Simulate faults whose resistance is comparable to the lines' rated impedance of 20 to 50 ohm.

    Detecting these is a separate task, so the condition has a name of its own.
    """
    return resimulated(n, seed, mix=_resistive(value), sweep=ParameterSweep(kilovolt=DISTRIBUTION_KV))


def _resistive(value: Value) -> ScenarioMix:
    return replace(USUAL_MIX, resistance_ohm=(float(value), float(value) * 1.001))


@_condition("fault_position", "%", (4, 3, 2, 1, 0.5), "Distance of the fault from either end.")
def _fault_position(n: int, seed: int, value: Value) -> Episodes:
    near = float(value) / 100
    parts = zip(_halves(n), (seed, seed + 1), ((near, near), (1 - near, 1 - near)), strict=True)
    return Episodes.joined(
        [resimulated(count, s, sweep=ParameterSweep(position=where)) for count, s, where in parts if count]
    )


@_condition(
    "source_strength", "x rated", (3.5, 3, 2.5, 2, 1.5), "Fault level of both sources, below the 4 of training."
)
def _source_strength(n: int, seed: int, value: Value) -> Episodes:
    return resimulated(n, seed, sweep=ParameterSweep(strength=(float(value), float(value))))


@_condition("load_angle", "degrees", (35, 40, 45, 50, 60), "Largest load angle, at 1 to 2.5 times rated load.")
def _load_angle(n: int, seed: int, value: Value) -> Episodes:
    return resimulated(n, seed, sweep=ParameterSweep(load=(1.0, 2.5), load_angle_deg=float(value)))


@_condition("untransposed", "%", (6, 8, 12, 16, 20), "Largest deviation of the line's impedances; 4 in training.")
def _untransposed(n: int, seed: int, value: Value) -> Episodes:
    return resimulated(n, seed, sweep=ParameterSweep(untransposed=float(value) / 100))


@_condition(
    "unbalanced_load", "p.u.", (0.1, 0.2, 0.3, 0.4, 0.5), "Permanent single-phase loads draw up to this current."
)
def _unbalanced_load(n: int, seed: int, value: Value) -> Episodes:
    most = float(value)
    return resimulated(n, seed, sweep=ParameterSweep(unbalanced_share=1.0, unbalance=(most, most)))


@_condition("frequency", "Hz", (1.5, 2, 3, 4, 5), "Deviation from nominal frequency, up or down; up to 1 in training.")
def _frequency(n: int, seed: int, value: Value) -> Episodes:
    off = float(value)
    parts = zip(_halves(n), (seed, seed + 1), (off, -off), strict=True)
    return Episodes.joined(
        [resimulated(count, s, sweep=ParameterSweep(frequency_hz=(hz, hz))) for count, s, hz in parts if count]
    )


@_condition("sixty_hz", "Hz", (60, 57.5, 55, 52.5, 50), "A 60 Hz line, sampled as if it had this frequency.")
def _sixty_hz(n: int, seed: int, value: Value) -> Episodes:
    """Simulate 60 Hz lines: severity 60 samples them correctly, severity 50 with an instrument made for 50 Hz."""
    episodes = resimulated(n, seed, nominal_hz=60)
    ratio = 60 / float(value)
    if ratio == 1:
        return episodes
    positions = np.arange(0, episodes.samples.shape[1] - 1, ratio)
    nearest = np.floor(positions).astype(np.intp)
    return replace(
        episodes,
        samples=resampled(episodes.samples, positions),
        labels=episodes.labels[:, nearest],
        settled=episodes.settled[:, nearest],
    )


@_condition("evolving", "cycles", (3, 2, 1.5, 1, 0.5), "Every fault spreads to another phase after this time.")
def _evolving(n: int, seed: int, value: Value) -> Episodes:
    rng = np.random.default_rng(seed)
    network = draw_networks(n, rng)
    length = length_samples()
    planned = [
        _all_spreading(LineContext.of(network, line, BRISK), rng, cycles(float(value)), length) for line in range(n)
    ]
    waves = solve(network, [plan_of(what) for what in planned], length)
    chain = draw_chains(n, rng, GOOD)
    samples = measure(waves.samples, chain, rng, network.frequency_hz / network.nominal_hz)
    lines = tuple(describe(network, line) | chain.describe(line) for line in range(n))
    return Episodes(samples, waves.labels, waves.settled, tuple(planned), lines)


def _all_spreading(line: LineContext, rng: np.random.Generator, after: int, length: int) -> tuple[PlannedEvent, ...]:
    """Plan the fault of a record, or the faults of a life of ``length`` samples."""
    if not simulating_lives():
        return (_spreading(line, rng, after, (SAMPLES_PER_CYCLE, 6 * SAMPLES_PER_CYCLE)),)
    events = [_spreading(line, rng, after, (cycles(FIRST_EVENT_CYCLES[0]), cycles(FIRST_EVENT_CYCLES[1])))]
    while (quiet := events[-1].stop + cycles(2)) < length - cycles(12):
        events.append(_spreading(line, rng, after, (quiet, quiet + cycles(38))))
    return tuple(event for event in events if event.start < length)


def _spreading(line: LineContext, rng: np.random.Generator, after: int, begin: tuple[int, int]) -> PlannedEvent:
    """Plan a fault that spreads after ``after`` samples and extinguishes by itself; ``begin`` bounds its inception."""
    first = str(rng.choice(list(SPREADS)))
    second = str(rng.choice(SPREADS[first]))
    start = int(rng.integers(*begin))
    ohms, resistance = draw_star(line, rng, first)
    wider, _ = draw_star(line, rng, second)
    out = start + after + cycles(rng.uniform(2.2, 6.0))
    commands = (
        Command(start, "fault", tuple(ohms)),
        Command(start + after, "fault", tuple(np.minimum(wider, ohms))),
        Command(out, "extinguish"),
    )
    stages = ((start, first), (start + after, second))
    parameters: dict[str, float | str] = {"resistance_ohm": resistance}
    return PlannedEvent("fault", start, out + cycles(1), commands=commands, stages=stages, parameters=parameters)


@_condition(
    "non_faults",
    "",
    ("load_step motor_start", "capacitor", "inrush", "pole_open energising", "sag swing"),
    "Disturbances without any fault, which must raise no event. The score is that of class `none`.",
)
def _non_faults(n: int, seed: int, value: Value) -> Episodes:
    return resimulated(n, seed, mix=ScenarioMix(fault_share=0.0, non_faults=tuple(str(value).split())))


def _halves(n: int) -> tuple[int, int]:
    return n - n // 2, n // 2
