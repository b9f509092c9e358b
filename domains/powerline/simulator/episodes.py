"""Simulate episodes: many lines with one event or several, as instruments measure them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from domains.powerline.simulator.disturbances import NON_FAULTS
from domains.powerline.simulator.events import BRISK, Builder, LineContext, PlannedEvent, Timing, cycles
from domains.powerline.simulator.fault_plans import FAULT_CLASSES, RESISTANCE_OHM, SPREADS, TRIP_CYCLES, fault
from domains.powerline.simulator.harder_faults import arcing, fault_in_swing, incipient
from domains.powerline.simulator.measurement import USUAL, Instruments, draw_chains, measure, renamed
from domains.powerline.simulator.network import SAMPLES_PER_CYCLE, Network
from domains.powerline.simulator.solver import Plan, solve
from domains.powerline.simulator.sweep import ParameterSweep, draw_networks
from domains.powerline.simulator.swings import HARDER_NON_FAULTS
from training.data.episodes import Episodes

CHUNK = 1024  # number of lines solved together: enough to amortise a step's overhead, few enough to stay in the cache
_BUILDERS = NON_FAULTS | HARDER_NON_FAULTS
EVOLVING_SHARE = 0.15
QUIET_CYCLES, MEAN_QUIET_CYCLES = (2.0, 40.0), 10.0  # between two events of a line; the mean is above the minimum
LONG_CYCLES = (6.0, 100.0)  # time to the clearing of a long fault, distributed log-uniformly
SWITCHED_OUT_SHARE = 0.02  # share of de-energised lines among the episodes without a fault


FaultPlan = Callable[[LineContext, np.random.Generator, int, str], tuple[PlannedEvent, ...]]


@dataclass(frozen=True)
class ScenarioMix:
    """Mix of events in episodes: the share of faults, their classes and resistance, and the kinds of non-faults.

    ``plan_fault`` is called with a line, a generator, the output sample of the start and the name of the class.
    """

    fault_share: float = 0.5
    classes: tuple[str, ...] = FAULT_CLASSES
    non_faults: tuple[str, ...] = tuple(NON_FAULTS)
    disturbed_share: float = 0.15  # share of faults during another disturbance
    resistance_ohm: tuple[float, float] = RESISTANCE_OHM
    swinging_share: float = 0.0  # share of faults during a wide swing or a pole slip
    incipient_share: float = 0.0  # share of faults that extinguish by themselves after some milliseconds
    arcing_share: float = 0.0  # share of faults whose arc strikes again in every half cycle
    evolving_share: float = EVOLVING_SHARE  # share of faults that spread to another phase, if their class can
    long_share: float = 0.0  # share of faults, other than these, that are cleared late, as by time-graded protection
    plan_fault: FaultPlan | None = None  # plans every fault, in place of the usual plan and these shares
    builders: Mapping[str, Builder] = field(default_factory=dict, hash=False)  # kinds of non-faults beside the usual


# Faults and disturbances of which many are harder to distinguish than those of ``ScenarioMix()``.
HARDER_MIX = ScenarioMix(
    non_faults=(*NON_FAULTS, *HARDER_NON_FAULTS, "wide_swing", "pole_slip"),
    swinging_share=0.12,
    incipient_share=0.12,
    arcing_share=0.1,
)


def draw_events(
    line: LineContext, rng: np.random.Generator, mix: ScenarioMix, start: int, earliest: int = 0
) -> tuple[PlannedEvent, ...]:
    """Draw the events of one line from output sample ``start`` on.

    A disturbance that accompanies a fault begins earlier than ``start``, but not before ``earliest``.
    """
    if rng.random() >= mix.fault_share:
        kind = str(rng.choice(mix.non_faults))
        return ((mix.builders.get(kind) or _BUILDERS[kind])(line, rng, start),)
    name = str(rng.choice(mix.classes))
    if mix.plan_fault:
        return mix.plan_fault(line, rng, start, name)
    harder = _harder_fault(line, rng, mix, start, name)
    if harder:
        return harder
    evolving = name in SPREADS and bool(rng.random() < mix.evolving_share)
    trip_cycles = TRIP_CYCLES
    if mix.long_share and rng.random() < mix.long_share:
        late = float(np.exp(rng.uniform(*np.log(LONG_CYCLES))))
        trip_cycles = (late, late)
    planned = partial(fault, resistance_ohm=mix.resistance_ohm, trip_cycles=trip_cycles)
    if rng.random() >= mix.disturbed_share:
        return (planned(line, rng, start, name, evolving=evolving),)
    earlier = max(earliest, start - int(rng.integers(0, 4 * SAMPLES_PER_CYCLE)))
    kind = str(rng.choice(["load_step", "swing", "motor_start"]))
    # A simulated load draws its current under all conditions, so a trip must not disconnect it.
    clearing = None if kind == "swing" else "arc"
    return (
        NON_FAULTS[kind](line, rng, earlier),
        planned(line, rng, start, name, evolving=evolving, clearing=clearing),
    )


def _harder_fault(
    line: LineContext, rng: np.random.Generator, mix: ScenarioMix, start: int, name: str
) -> tuple[PlannedEvent, ...]:
    """Draw one of the harder faults by the shares of ``mix``, or no event."""
    shares = (mix.swinging_share, mix.incipient_share, mix.arcing_share)
    if not any(shares):
        return ()
    kind = int(np.searchsorted(np.cumsum(shares), rng.random(), side="right"))
    if kind == 0:
        return fault_in_swing(line, rng, start, name, resistance_ohm=mix.resistance_ohm)
    if kind == 1:
        return (incipient(line, rng, start, name, resistance_ohm=mix.resistance_ohm),)
    if kind == 2:
        return (arcing(line, rng, start, name, resistance_ohm=mix.resistance_ohm),)
    return ()


def draw_life(
    line: LineContext, rng: np.random.Generator, mix: ScenarioMix, first_start: int, length: int
) -> tuple[PlannedEvent, ...]:
    """Draw events of one line, one after another, that start before output sample ``length``.

    The quiet time between two events is 2 to 40 cycles, exponentially distributed.
    """
    events: list[PlannedEvent] = []
    start = earliest = first_start
    while start < length:
        drawn = draw_events(line, rng, mix, start, earliest)
        events += [event for event in drawn if event.start < length]
        for event in drawn:
            if "load_angle" in event.parameters:  # the load remains changed
                line = replace(line, load_angle=float(event.parameters["load_angle"]))
        earliest = max(event.stop for event in drawn)
        start = earliest + cycles(min(QUIET_CYCLES[0] + rng.exponential(MEAN_QUIET_CYCLES), QUIET_CYCLES[1]))
    return tuple(events)


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
    mix = mix or ScenarioMix()
    length = cycles(length_cycles)
    latest = max(int(0.5 * length), SAMPLES_PER_CYCLE + 1)

    def one(line: LineContext, rng: np.random.Generator, start: int) -> tuple[PlannedEvent, ...]:
        return draw_events(line, rng, mix, start)

    first = (SAMPLES_PER_CYCLE, min(latest, 6 * SAMPLES_PER_CYCLE))
    drawing = _Drawing(length, first, SWITCHED_OUT_SHARE * (1 - mix.fault_share), one)
    return Episodes.joined(list(_chunks(n, seed, drawing, nominal_hz, timing, instruments, sweep)))


def simulate_lives(
    n: int,
    seed: int,
    length_samples: int,
    *,
    mix: ScenarioMix,
    instruments: Instruments | None = None,
    sweep: ParameterSweep,
    first: tuple[float, float],
    nominal_hz: float | None = None,
    timing: Timing = BRISK,
) -> Episodes:
    """Simulate ``n`` records of different lines, with several events each, one after another.

    Args:
        n: number of records.
        seed: seed of the records; the same seed gives the same arrays.
        length_samples: length of each record in samples.
        mix: mix of events.
        instruments: distribution from which each line's instruments are drawn; ``None`` measures without error.
        sweep: bounds of the lines' parameters.
        first: bounds in cycles of the start of the first event.
        nominal_hz: 50 or 60; both by default.
        timing: bounds of dead times and of durations of disturbances.
    """

    def several(line: LineContext, rng: np.random.Generator, start: int) -> tuple[PlannedEvent, ...]:
        return draw_life(line, rng, mix, start, length_samples)

    low = cycles(first[0])
    bounds = (low, max(low + 1, cycles(first[1])))
    drawing = _Drawing(length_samples, bounds, SWITCHED_OUT_SHARE * (1 - mix.fault_share), several)
    return Episodes.joined(list(_chunks(n, seed, drawing, nominal_hz, timing, instruments, sweep)))


@dataclass(frozen=True)
class _Drawing:
    """Length of the records in samples, bounds of the first event's start, share of dead lines, and their events."""

    length: int
    first: tuple[int, int]
    dead_share: float
    events: Callable[[LineContext, np.random.Generator, int], tuple[PlannedEvent, ...]]


def _chunks(
    n: int,
    seed: int,
    drawing: _Drawing,
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
        for line in range(count):
            start = int(rng.integers(*drawing.first))
            dead = rng.random() < drawing.dead_share
            drawn_events = () if dead else drawing.events(LineContext.of(network, line, timing), rng, start)
            events.append(drawn_events)
            plans.append(plan_of(drawn_events, energised=not dead))
        waves = solve(network, plans, drawing.length)
        samples, labels = waves.samples, waves.labels
        drawn = descriptions(network)
        if instruments is not None:
            chain = draw_chains(count, rng, instruments)
            samples = measure(samples, chain, rng, network.frequency_hz / network.nominal_hz)
            labels = renamed(labels, chain)
            drawn = [line | chain.describe(n) for n, line in enumerate(drawn)]
        yield Episodes(samples, labels, waves.settled, tuple(events), tuple(drawn))


def descriptions(network: Network) -> list[dict[str, float | str]]:
    """Return the characteristic parameters of every line, for the record of an event."""
    values = {
        "nominal_hz": network.nominal_hz,
        "frequency_hz": network.frequency_hz,
        "kilovolt": network.base_kv,
        "base_ohm": network.base_ohm,
        "position": network.position,
        "load_angle_deg": np.degrees(network.load_angle),
        "strength_local": network.strength("local"),
        "strength_remote": network.strength("remote"),
    }
    return [{name: float(value[line]) for name, value in values.items()} for line in range(len(network))]


def describe(network: Network, line: int) -> dict[str, float | str]:
    """Return the characteristic parameters of one line, for the record of an event."""
    return descriptions(network.take(np.array([line])))[0]
