"""Episodes: many lines, one occurrence each, as measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from domains.powerline.simulator.disturbances import NON_FAULTS
from domains.powerline.simulator.fault_plans import FAULT_CLASSES, RESISTANCE_OHM, SPREADS, fault
from domains.powerline.simulator.measurement import USUAL, Instruments, draw_chains, measure, renamed
from domains.powerline.simulator.network import SAMPLES_PER_CYCLE, Network, Sweep, draw_networks
from domains.powerline.simulator.occurrence import BRISK, Occurrence, Site, Tempo, cycles
from domains.powerline.simulator.solver import Plan, solve

CHUNK = 1024  # lines solved together: enough to amortise a step's overhead, few enough to stay in the cache
EVOLVING_SHARE = 0.15
SWITCHED_OUT_SHARE = 0.02  # of the episodes without a fault: a dead line


@dataclass(frozen=True)
class Episodes:
    """``samples`` float32 (n, t, 6), ia ib ic va vb vc per unit; ``labels`` int8 (n, t) by `line` class; ``settled``
    bool (n, t), False where a fault is half interrupted; ``occurrences[n]`` what was planned for line n, and
    ``lines[n]`` what was drawn for it and for its instruments."""

    samples: NDArray[np.float32]
    labels: NDArray[np.int8]
    settled: NDArray[np.bool_]
    occurrences: tuple[tuple[Occurrence, ...], ...]
    lines: tuple[dict[str, float | str], ...]

    def __len__(self) -> int:
        return len(self.samples)


@dataclass(frozen=True)
class Mix:
    """What episodes hold: the share of faults, which classes, and which non-faults with which weights."""

    fault_share: float = 0.5
    classes: tuple[str, ...] = FAULT_CLASSES
    non_faults: tuple[str, ...] = tuple(NON_FAULTS)
    disturbed_share: float = 0.15  # of the faults: something else goes on at the same time
    resistance_ohm: tuple[float, float] = RESISTANCE_OHM


def draw_occurrences(site: Site, rng: np.random.Generator, mix: Mix, start: int) -> tuple[Occurrence, ...]:
    """Draw what happens on one line from output sample ``start`` on."""
    if rng.random() >= mix.fault_share:
        return (NON_FAULTS[str(rng.choice(mix.non_faults))](site, rng, start),)
    name = str(rng.choice(mix.classes))
    evolving = name in SPREADS and bool(rng.random() < EVOLVING_SHARE)
    if rng.random() >= mix.disturbed_share:
        return (fault(site, rng, start, name, evolving=evolving, resistance_ohm=mix.resistance_ohm),)
    earlier = max(0, start - int(rng.integers(0, 4 * SAMPLES_PER_CYCLE)))
    kind = str(rng.choice(["load_step", "swing", "motor_start"]))
    # A load is a current that is drawn whatever happens: it must not be cut off by a trip.
    clearing = None if kind == "swing" else "arc"
    return (
        NON_FAULTS[kind](site, rng, earlier),
        fault(site, rng, start, name, evolving=evolving, clearing=clearing, resistance_ohm=mix.resistance_ohm),
    )


def plan_of(occurrences: Sequence[Occurrence], *, energised: bool = True) -> Plan:
    """Put the commands and modulations of all ``occurrences`` of one line together."""
    return Plan(
        tuple(command for o in occurrences for command in o.commands),
        tuple(modulation for o in occurrences for modulation in o.modulations),
        energised,
    )


def simulate(
    n: int,
    seed: int,
    *,
    length_cycles: float = 5,
    mix: Mix | None = None,
    nominal_hz: float | None = None,
    tempo: Tempo = BRISK,
    instruments: Instruments | None = USUAL,
    sweep: Sweep | None = None,
) -> Episodes:
    """Simulate ``n`` episodes, each of another line, with one occurrence each.

    Args:
        n: how many.
        seed: the same seed gives the same arrays.
        length_cycles: length of each in nominal cycles.
        mix: what happens; half faults by default.
        nominal_hz: 50 or 60; both by default.
        tempo: how long poles stay open and disturbances last.
        instruments: from which every line's are drawn; ``None`` measures truly.
        sweep: bounds of the lines other than DESIGN's.

    Example:
        >>> simulate(4, seed=1).samples.shape
        (4, 160, 6)
    """
    parts = list(_chunks(n, seed, cycles(length_cycles), mix or Mix(), nominal_hz, tempo, instruments, sweep))
    return Episodes(
        np.concatenate([p.samples for p in parts]),
        np.concatenate([p.labels for p in parts]),
        np.concatenate([p.settled for p in parts]),
        tuple(o for p in parts for o in p.occurrences),
        tuple(line for p in parts for line in p.lines),
    )


def _chunks(
    n: int,
    seed: int,
    length: int,
    mix: Mix,
    nominal_hz: float | None,
    tempo: Tempo,
    instruments: Instruments | None,
    sweep: Sweep | None,
) -> Iterator[Episodes]:
    for chunk, rng in enumerate(np.random.default_rng(seed).spawn(-(-n // CHUNK))):
        count = min(CHUNK, n - chunk * CHUNK)
        network = draw_networks(count, rng, nominal_hz, sweep)
        occurrences = []
        plans = []
        latest = max(int(0.5 * length), SAMPLES_PER_CYCLE + 1)
        for line in range(count):
            start = int(rng.integers(SAMPLES_PER_CYCLE, min(latest, 6 * SAMPLES_PER_CYCLE)))
            dead = rng.random() < SWITCHED_OUT_SHARE * (1 - mix.fault_share)
            happening = () if dead else draw_occurrences(Site.of(network, line, tempo), rng, mix, start)
            occurrences.append(happening)
            plans.append(plan_of(happening, energised=not dead))
        waves = solve(network, plans, length)
        samples, labels = waves.samples, waves.labels
        drawn = [describe(network, line) for line in range(count)]
        if instruments is not None:
            chain = draw_chains(count, rng, instruments)
            samples = measure(samples, chain, rng, network.frequency_hz / network.nominal_hz)
            labels = renamed(labels, chain)
            drawn = [line | chain.describe(n) for n, line in enumerate(drawn)]
        yield Episodes(samples, labels, waves.settled, tuple(occurrences), tuple(drawn))


def describe(network: Network, line: int) -> dict[str, float | str]:
    """Return what characterises a line, for the record of an event."""
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
