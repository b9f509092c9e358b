"""Simulate scenarios for replay: several lines with more events in seconds than a real line has in hours.

A line's record consists of stretches of equal length that begin and end in the same steady state, so that they can be
solved in parallel and joined. Each stretch holds one event, after at least a second of quiet.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from domains.powerline.simulator.disturbances import NON_FAULTS
from domains.powerline.simulator.episodes import describe, plan_of
from domains.powerline.simulator.events import LIFELIKE, LineContext, PlannedEvent
from domains.powerline.simulator.fault_plans import FAULT_CLASSES, SPREADS, fault
from domains.powerline.simulator.faults import CLASSES
from domains.powerline.simulator.measurement import Instruments, draw_chains, measure
from domains.powerline.simulator.network import SAMPLES_PER_CYCLE, Network
from domains.powerline.simulator.solver import solve
from domains.powerline.simulator.sweep import draw_networks
from stream.detection.truth import injected_faults
from training.data.episodes import Event, Scenario
from training.errors import TrainingError

STRETCH_S = 3.2
QUIET_S = 1.05  # seconds before every event; the first second of a record is quiet, too
TAIL_S = 0.1
FAULT_SHARE = 0.55
GOOD_INSTRUMENTS = Instruments(noise_db=(40.0, 60.0), knee=(8.0, 60.0))


def scenario(lines: int, seconds: float, seed: int, hz: float = 50, *, fault_share: float = FAULT_SHARE) -> Scenario:
    """Simulate ``lines`` lines for ``seconds`` each.

    If the record is long enough, every combination of phases and every kind of non-fault occurs. Samples are float32
    (lines, t, 6), ia ib ic va vb vc per unit; labels are classes of `line`.

    Args:
        lines: number of lines.
        seconds: length of the record.
        seed: seed of the record; the same seed gives the same record.
        hz: nominal frequency, 50 or 60.
        fault_share: share of faults among the events.

    Raises:
        TrainingError: lines, seconds or frequency are out of range.

    Example:
        >>> record = scenario(2, 6, seed=1)
        >>> record.samples.shape, record.rate_hz
        ((2, 9600, 6), 1600.0)
    """
    if lines < 1 or seconds <= 0 or hz not in (50, 60):
        raise TrainingError("a scenario needs at least one line, more than 0 seconds, and a frequency of 50 or 60 Hz")
    rng = np.random.default_rng(seed)
    rate = hz * SAMPLES_PER_CYCLE
    total, stretch = round(seconds * rate), round(STRETCH_S * rate)
    per_line = -(-total // stretch)
    network = draw_networks(lines, rng, hz)
    planned, solved = _stretches(network, per_line, stretch, fault_share, rng)
    samples, labels, settled = _joined(network, solved, planned, per_line, stretch)
    samples = measure(samples[:, :total], draw_chains(lines, rng, GOOD_INSTRUMENTS), rng)
    labels, settled = labels[:, :total], settled[:, :total]
    events = _events(solved, planned, labels, per_line, stretch)
    return Scenario(samples, labels, settled, tuple(events), rate)


def _stretches(
    network: Network, per_line: int, stretch: int, fault_share: float, rng: np.random.Generator
) -> tuple[list[PlannedEvent | None], Network]:
    """Draw one event per stretch, ordered by line, and return them with the network at each stretch's beginning."""
    lines = len(network)
    count = lines * per_line
    faults = round(fault_share * count)
    kinds = _draw_evenly(FAULT_CLASSES, faults, rng) + _draw_evenly(tuple(NON_FAULTS), count - faults, rng)
    kinds = [kinds[k] for k in rng.permutation(count)]
    which = np.repeat(np.arange(lines), per_line)
    begins = np.tile(np.arange(per_line) * stretch, lines) / (network.nominal_hz[which] * SAMPLES_PER_CYCLE)
    every = network.take(which)
    angle = every.angle + 2 * np.pi * every.frequency_hz * begins
    every = every.moved(position=rng.uniform(0.05, 0.95, count), angle=angle)
    rate = float(network.nominal_hz[0]) * SAMPLES_PER_CYCLE
    planned = [
        _draw_event(LineContext.of(every, n, LIFELIKE), kind, rng, stretch, rate) for n, kind in enumerate(kinds)
    ]
    return planned, every


def _draw_evenly(names: tuple[str, ...], count: int, rng: np.random.Generator) -> list[str]:
    """Draw ``count`` names, each equally often."""
    rounds = -(-count // len(names))
    return [str(name) for _ in range(rounds) for name in rng.permutation(names)][:count]


def _draw_event(
    line: LineContext, kind: str, rng: np.random.Generator, stretch: int, rate: float
) -> PlannedEvent | None:
    """Return a drawn event that ends early enough for the next stretch to begin in steady state; None if none fits."""
    for _ in range(20):
        start = round((QUIET_S + rng.uniform(0, 0.4)) * rate)
        if kind in NON_FAULTS:
            drawn = NON_FAULTS[kind](line, rng, start)
        else:
            drawn = fault(line, rng, start, kind, evolving=kind in SPREADS and bool(rng.random() < 0.15))
        if drawn.stop < stretch - TAIL_S * rate:
            return drawn
    return None


def _joined(
    network: Network, solved: Network, planned: list[PlannedEvent | None], per_line: int, stretch: int
) -> tuple[NDArray[np.float32], NDArray[np.int8], NDArray[np.bool_]]:
    """Solve all stretches one cycle longer than needed, and cross-fade each into the next over that cycle."""
    plans = [plan_of([event] if event else []) for event in planned]
    waves = solve(solved, plans, stretch + SAMPLES_PER_CYCLE)
    shape = (len(network), per_line, stretch + SAMPLES_PER_CYCLE)
    samples = waves.samples.reshape(*shape, 6)
    fade = np.linspace(0, 1, SAMPLES_PER_CYCLE, dtype=np.float32)[:, None]
    body = samples[:, :, :stretch].copy()
    body[:, 1:, :SAMPLES_PER_CYCLE] *= fade
    body[:, 1:, :SAMPLES_PER_CYCLE] += (1 - fade) * samples[:, :-1, stretch:]
    labels = waves.labels.reshape(shape)[:, :, :stretch]
    settled = waves.settled.reshape(shape)[:, :, :stretch]
    lines = len(network)
    return body.reshape(lines, -1, 6), labels.reshape(lines, -1), settled.reshape(lines, -1)


def _events(
    solved: Network,
    planned: list[PlannedEvent | None],
    labels: NDArray[np.int8],
    per_line: int,
    stretch: int,
) -> list[Event]:
    """Return the events of the record; the labels give the times of faults."""
    runs = {(f.line, f.begin // stretch): f for f in injected_faults(labels)}
    events = []
    for n, what in enumerate(planned):
        if what is None:
            continue
        line, place = divmod(n, per_line)
        if (place * stretch + what.start) >= labels.shape[1]:
            continue
        event = Event(
            line=line,
            kind=what.kind,
            start=place * stretch + what.start,
            stop=min(place * stretch + what.stop, labels.shape[1]),
            parameters={**describe(solved, n), **what.parameters},
        )
        if what.stages and (line, place) in runs:
            run = runs[line, place]
            parameters = {**event.parameters, "inception_deg": _inception_deg(solved, n, run.begin % stretch)}
            stages = tuple((stage.begin, CLASSES[stage.fault_class]) for stage in run.stages)
            event = replace(event, start=run.begin, stop=run.end, stages=stages, parameters=parameters)
        events.append(event)
    return events


def _inception_deg(solved: Network, n: int, sample: int) -> float:
    """Return the angle of the local source's phase A voltage from its positive peak, at a sample of stretch ``n``."""
    turned = 2 * np.pi * solved.frequency_hz[n] * sample / (solved.nominal_hz[n] * SAMPLES_PER_CYCLE)
    return float(np.degrees(solved.angle[n] + turned) % 360)
