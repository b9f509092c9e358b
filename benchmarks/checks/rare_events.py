"""Count what a model makes of thousands of records that resemble faults, and of faults that are hard to recognise.

``python -m benchmarks.checks.rare_events`` simulates swings, starts of large motors, energisings and load steps without
a fault, and counts the events. It also simulates faults during swings, faults that are cleared late, and three-phase
faults on lines without voltages, and counts those that are found and those that are one episode of the true length.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from domains.powerline.simulator.disturbances import energising, load_step
from domains.powerline.simulator.episodes import FaultPlan, ScenarioMix, simulate
from domains.powerline.simulator.events import Builder, LineContext, PlannedEvent
from domains.powerline.simulator.fault_plans import fault
from domains.powerline.simulator.harder_faults import fault_in_swing
from domains.powerline.simulator.network import SAMPLES_PER_CYCLE
from domains.powerline.simulator.swings import large_motor, pole_slip, wide_swing
from domains.powerline.waveforms.record import Segment
from domains.powerline.waveforms.signal.assumed_voltages import assume_voltages
from model.spec import SignalSpec, load_spec
from stream.detection.classify import with_rejection
from stream.detection.scoring import Episode, detect_episodes, episode_steps, score_events
from stream.detection.truth import injected_faults
from stream.windowing import cut_windows
from training.data.classifier import Classifier
from training.data.episodes import Episodes

HZ = 50.0
AT_ONCE = 200
LENGTH_CYCLES = 60.0
TOLERANCE_CYCLES = 1.5
"""Largest deviation of an episode's length from that of its fault: a window, and half a cycle to the current's zero."""
QUIET: Mapping[str, Builder] = {
    "stable swings": wide_swing,
    "pole slips": pole_slip,
    "starts of large motors": partial(large_motor, multiple=(6.0, 6.0)),
    "energisings": energising,
    "load steps": load_step,
}
THREE_PHASES = ("ABC", "ABCG")
ALL_CLASSES = ScenarioMix().classes


@dataclass(frozen=True)
class Hard:
    """Plan and classes of faults that are hard to recognise, and length and completeness of their records."""

    plan: FaultPlan
    classes: tuple[str, ...] = ALL_CLASSES
    length_cycles: float = LENGTH_CYCLES
    without_voltages: bool = False


def _tripped(after: float) -> FaultPlan:
    def plan(line: LineContext, rng: np.random.Generator, start: int, name: str) -> tuple[PlannedEvent, ...]:
        return (fault(line, rng, start, name, trip_cycles=(after, after)),)

    return plan


HARD: Mapping[str, Hard] = {
    "faults during swings": Hard(fault_in_swing),
    **{f"faults of {n} cycles": Hard(_tripped(n), length_cycles=n + LENGTH_CYCLES) for n in (5, 20, 50, 150)},
    **{f"three-phase faults of {n} cycles": Hard(_tripped(n), THREE_PHASES, n + LENGTH_CYCLES) for n in (20, 150)},
    "three-phase faults without voltages": Hard(_tripped(5), THREE_PHASES, without_voltages=True),
    "three-phase faults of 30 cycles without voltages": Hard(_tripped(30), THREE_PHASES, 90, without_voltages=True),
}


@dataclass(frozen=True)
class Found:
    """Number of faults, of those found, and of those that are one episode of the true length."""

    faults: int
    found: int
    whole: int


def records(mix: ScenarioMix, count: int, length_cycles: float, seed: int) -> Iterator[Episodes]:
    """Yield ``count`` records with one event each and usual instruments, some at a time."""
    for number, first in enumerate(range(0, count, AT_ONCE)):
        size = min(AT_ONCE, count - first)
        yield simulate(size, seed + number, length_cycles=length_cycles, mix=mix, nominal_hz=HZ)


def count_events(classify: Classifier, builder: Builder, count: int, spec: SignalSpec, seed: int) -> int:
    """Return the number of events in ``count`` records of one kind of disturbance without a fault."""
    mix = ScenarioMix(0.0, non_faults=("kind",), builders={"kind": builder})
    return sum(
        len(_episodes(classify, episodes.samples, spec)) for episodes in records(mix, count, LENGTH_CYCLES, seed)
    )


def count_faults(classify: Classifier, hard: Hard, count: int, spec: SignalSpec, seed: int) -> Found:
    """Count the faults in ``count`` records of one kind that are found, and found in their true length."""
    mix = ScenarioMix(1.0, classes=hard.classes, plan_fault=hard.plan)
    faults = found = whole = 0
    for episodes in records(mix, count, hard.length_cycles, seed):
        samples = _without_voltages(episodes.samples) if hard.without_voltages else episodes.samples
        truth = injected_faults(episodes.labels, spec.none_index)
        score = score_events(truth, _episodes(classify, samples, spec), spec)
        faults, found = faults + score.injected, found + score.found
        whole += _whole(classify, samples, episodes.labels, spec)
    return Found(faults, found, whole)


def _episodes(classify: Classifier, samples: NDArray[np.float32], spec: SignalSpec) -> list[Episode]:
    return detect_episodes(classify(cut_windows(samples, spec)), samples, spec)


def _whole(classify: Classifier, samples: NDArray[np.float32], labels: NDArray[np.int8], spec: SignalSpec) -> int:
    """Return the number of records that have one episode, as long as the fault."""
    right = 0
    steps_of = episode_steps(classify(cut_windows(samples, spec)), samples, spec)
    for row, steps in zip(labels, steps_of, strict=True):
        cleared = [(step.cleared_ns - step.inception_ns) / 1000 for step in steps if step.cleared_ns is not None]
        lasting = (row != spec.none_index).sum()
        if len({step.episode_id for step in steps}) == len(cleared) == 1:
            right += abs(cleared[0] - lasting) <= TOLERANCE_CYCLES * SAMPLES_PER_CYCLE
    return int(right)


def _without_voltages(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return records (n, t, 6) as they are read from files that have no voltages."""
    samples = samples.copy()
    samples[:, :, 3:] = 0
    for record in samples:
        segment = Segment(first=0, stop=len(record), start_s=0.0, rate_hz=HZ * SAMPLES_PER_CYCLE)
        assume_voltages(record, [segment], HZ, "line")
    return samples


def main() -> None:
    """Run the check and print its figures."""
    from model.artefact import Artefact, shipped
    from model.engine import Engine

    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--model", help="path of an artefact [default: the shipped one]")
    options.add_argument("--quiet-records", type=int, default=2000, help="records of each kind without a fault")
    options.add_argument("--faults", type=int, default=800, help="faults of each kind")
    options.add_argument("--seed", type=int, default=11, help="seed of the records")
    asked = options.parse_args()
    spec = load_spec("line")
    artefact = shipped("line") if asked.model is None else Artefact.load(asked.model)
    with Engine(artefact) as engine:
        classify = with_rejection(engine.follow_records, artefact.manifest.rejection, spec)
        tasks: list[tuple[str, Callable[[], str]]] = []
        for name, builder in QUIET.items():
            tasks.append((name, partial(_quiet_line, classify, builder, asked.quiet_records, spec, asked.seed)))
        for name, hard in HARD.items():
            tasks.append((name, partial(_hard_line, classify, hard, asked.faults, spec, asked.seed)))
        for name, count in tasks:
            begun = time.perf_counter()
            print(f"{name}: {count()} ({time.perf_counter() - begun:.0f} s)", flush=True)


def _quiet_line(classify: Classifier, builder: Builder, count: int, spec: SignalSpec, seed: int) -> str:
    return f"{count_events(classify, builder, count, spec, seed)} events in {count:,} records"


def _hard_line(classify: Classifier, hard: Hard, count: int, spec: SignalSpec, seed: int) -> str:
    result = count_faults(classify, hard, count, spec, seed)
    return f"{result.found} of {result.faults} found, {result.whole} one episode of the true length"


if __name__ == "__main__":
    main()
