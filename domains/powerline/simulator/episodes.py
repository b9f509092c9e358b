"""Simulate episodes: many lines with one event each, as instruments measure them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from domains.powerline.simulator.disturbances import NON_FAULTS
from domains.powerline.simulator.events import BRISK, LineContext, PlannedEvent, Timing, cycles
from domains.powerline.simulator.fault_plans import FAULT_CLASSES, RESISTANCE_OHM, SPREADS, fault
from domains.powerline.simulator.measurement import USUAL, Instruments, draw_chains, measure, renamed
from domains.powerline.simulator.network import SAMPLES_PER_CYCLE, Network, ParameterSweep, draw_networks
from domains.powerline.simulator.solver import Plan, solve
from training.data.episodes import Episodes

CHUNK = 1024  # number of lines solved together: enough to amortise a step's overhead, few enough to stay in the cache
EVOLVING_SHARE = 0.15
SWITCHED_OUT_SHARE = 0.02  # share of de-energised lines among the episodes without a fault


@dataclass(frozen=True)
class ScenarioMix:
    """Mix of events in episodes: the share of faults, their classes and resistance, and the kinds of non-faults."""

    fault_share: float = 0.5
    classes: tuple[str, ...] = FAULT_CLASSES
    non_faults: tuple[str, ...] = tuple(NON_FAULTS)
    disturbed_share: float = 0.15  # share of faults during another disturbance
    resistance_ohm: tuple[float, float] = RESISTANCE_OHM


def draw_events(line: LineContext, rng: np.random.Generator, mix: ScenarioMix, start: int) -> tuple[PlannedEvent, ...]:
    """Draw the events of one line from output sample ``start`` on."""
    if rng.random() >= mix.fault_share:
        return (NON_FAULTS[str(rng.choice(mix.non_faults))](line, rng, start),)
    name = str(rng.choice(mix.classes))
    evolving = name in SPREADS and bool(rng.random() < EVOLVING_SHARE)
    if rng.random() >= mix.disturbed_share:
        return (fault(line, rng, start, name, evolving=evolving, resistance_ohm=mix.resistance_ohm),)
    earlier = max(0, start - int(rng.integers(0, 4 * SAMPLES_PER_CYCLE)))
    kind = str(rng.choice(["load_step", "swing", "motor_start"]))
    # A simulated load draws its current under all conditions, so a trip must not disconnect it.
    clearing = None if kind == "swing" else "arc"
    return (
        NON_FAULTS[kind](line, rng, earlier),
        fault(line, rng, start, name, evolving=evolving, clearing=clearing, resistance_ohm=mix.resistance_ohm),
    )


def plan_of(events: Sequence[PlannedEvent], *, energised: bool = True) -> Plan:
    """Combine the commands and modulations of all ``events`` of one line."""
    return Plan(
        tuple(command for event in events for command in event.commands),
        tuple(modulation for event in events for modulation in event.modulations),
        energised,
    )


def simulate(
    n: int,
    seed: int,
    *,
    length_cycles: float = 5,
    mix: ScenarioMix | None = None,
    nominal_hz: float | None = None,
    timing: Timing = BRISK,
    instruments: Instruments | None = USUAL,
    sweep: ParameterSweep | None = None,
) -> Episodes:
    """Simulate ``n`` episodes of different lines, with one event each.

    Samples are float32 (n, t, 6), ia ib ic va vb vc per unit; labels are classes of `line`.

    Args:
        n: number of episodes.
        seed: seed of the episodes; the same seed gives the same arrays.
        length_cycles: length of each episode in nominal cycles.
        mix: mix of events; half of them are faults by default.
        nominal_hz: 50 or 60; both by default.
        timing: bounds of dead times and of durations of disturbances.
        instruments: distribution from which each line's instruments are drawn; ``None`` measures without error.
        sweep: bounds of the lines' parameters; those of ``ParameterSweep`` by default.

    Example:
        >>> simulate(4, seed=1).samples.shape
        (4, 160, 6)
    """
    parts = _chunks(n, seed, cycles(length_cycles), mix or ScenarioMix(), nominal_hz, timing, instruments, sweep)
    return Episodes.joined(list(parts))


def _chunks(
    n: int,
    seed: int,
    length: int,
    mix: ScenarioMix,
    nominal_hz: float | None,
    timing: Timing,
    instruments: Instruments | None,
    sweep: ParameterSweep | None,
) -> Iterator[Episodes]:
    for chunk, rng in enumerate(np.random.default_rng(seed).spawn(-(-n // CHUNK))):
        count = min(CHUNK, n - chunk * CHUNK)
        network = draw_networks(count, rng, nominal_hz, sweep)
        events = []
        plans = []
        latest = max(int(0.5 * length), SAMPLES_PER_CYCLE + 1)
        for line in range(count):
            start = int(rng.integers(SAMPLES_PER_CYCLE, min(latest, 6 * SAMPLES_PER_CYCLE)))
            dead = rng.random() < SWITCHED_OUT_SHARE * (1 - mix.fault_share)
            drawn_events = () if dead else draw_events(LineContext.of(network, line, timing), rng, mix, start)
            events.append(drawn_events)
            plans.append(plan_of(drawn_events, energised=not dead))
        waves = solve(network, plans, length)
        samples, labels = waves.samples, waves.labels
        drawn = [describe(network, line) for line in range(count)]
        if instruments is not None:
            chain = draw_chains(count, rng, instruments)
            samples = measure(samples, chain, rng, network.frequency_hz / network.nominal_hz)
            labels = renamed(labels, chain)
            drawn = [line | chain.describe(n) for n, line in enumerate(drawn)]
        yield Episodes(samples, labels, waves.settled, tuple(events), tuple(drawn))


def describe(network: Network, line: int) -> dict[str, float | str]:
    """Return the characteristic parameters of a line, for the record of an event."""
    return {
        "nominal_hz": float(network.nominal_hz[line]),
        "frequency_hz": float(network.frequency_hz[line]),
        "kilovolt": float(network.base_kv[line]),
        "base_ohm": float(network.base_ohm[line]),
        "position": float(network.position[line]),
        "load_angle_deg": float(np.degrees(network.load_angle[line])),
        "strength_local": float(network.strength("local")[line]),
        "strength_remote": float(network.strength("remote")[line]),
    }
