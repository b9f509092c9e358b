"""Simulate the clean records and lives of the robustness evaluation, and those of conditions that need other ones.

A record has one event within its first six cycles. A life is longer: several events follow quiet times of any length,
so that a network with a memory cannot know when something happens.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from domains.powerline.simulator.episodes import ScenarioMix, simulate, simulate_lives
from domains.powerline.simulator.events import cycles
from domains.powerline.simulator.measurement import Faulty, Instruments
from domains.powerline.simulator.sweep import ParameterSweep
from training.data.episodes import Episodes

LENGTH_CYCLES = 24.0  # most faults are cleared, and most lines reclosed, before the record ends
LIFE_CYCLES = 160.0
FIRST_EVENT_CYCLES = (2.0, 100.0)  # bounds of the quiet time before a life's first event
# Healthy instruments with a known rating, so that the condition's imperfection is the only one in a record.
GOOD = Instruments(
    noise_db=(50.0, 60.0), saturable=0.0, gain_error=(0.002, 0.002), current_base=(1.0, 1.0), faulty=Faulty()
)
USUAL_MIX = ScenarioMix(fault_share=0.65, disturbed_share=0.0)


@dataclass(frozen=True)
class RecordKind:
    """Kind of simulated records: their length in cycles, and whether several events happen."""

    length_cycles: float
    several: bool


RECORDS = RecordKind(LENGTH_CYCLES, several=False)
LIVES = RecordKind(LIFE_CYCLES, several=True)

_kind: ContextVar[RecordKind] = ContextVar("record_kind", default=RECORDS)


@contextmanager
def simulating(kind: RecordKind) -> Iterator[None]:
    """Let ``resimulated`` and ``length_samples`` return this kind of records within the context."""
    token = _kind.set(kind)
    try:
        yield
    finally:
        _kind.reset(token)


def kind_of(clean: Episodes) -> RecordKind:
    """Return the kind of clean records, by their length."""
    return LIVES if clean.samples.shape[1] > cycles(LENGTH_CYCLES) else RECORDS


def simulating_lives() -> bool:
    """Return True within a context that simulates lives."""
    return _kind.get().several


def resimulated(
    n: int,
    seed: int,
    *,
    mix: ScenarioMix = USUAL_MIX,
    sweep: ParameterSweep | None = None,
    nominal_hz: float | None = None,
    instruments: Instruments = GOOD,
    length_cycles: float = LENGTH_CYCLES,
) -> Episodes:
    """Simulate ``n`` records, or lives within ``simulating(LIVES)``; equal seeds draw equal lines in all conditions.

    Args:
        n: number of records.
        seed: seed of the records.
        mix: mix of events.
        sweep: bounds of the lines' parameters; those of ``ParameterSweep`` by default.
        nominal_hz: 50 or 60; both by default.
        instruments: distribution of the instruments, by default good ones.
        length_cycles: length of a record in nominal cycles; a life has the same length in all conditions.
    """
    if not simulating_lives():
        return simulate(
            n,
            seed,
            length_cycles=length_cycles,
            mix=mix,
            sweep=sweep,
            nominal_hz=nominal_hz,
            instruments=instruments,
        )
    return simulate_lives(
        n,
        seed,
        length_samples(),
        mix=mix,
        instruments=instruments,
        sweep=sweep or ParameterSweep(),
        first=FIRST_EVENT_CYCLES,
        nominal_hz=nominal_hz,
    )


def moments(episodes: Episodes) -> NDArray[np.intp]:
    """Return the sample (n,) at which the first event of each record starts, or the middle of a record without any."""
    return every_moment(episodes)[:, 0]


def every_moment(episodes: Episodes) -> NDArray[np.intp]:
    """Return the samples (n, k) at which the events of each record start, k of them in the record with the most events.

    A record with fewer events has its length in the other columns, and a record without any its middle in the first.
    """
    total = episodes.samples.shape[1]
    starts = [sorted(event.start for event in events) or [total // 2] for events in episodes.events]
    most = max((len(own) for own in starts), default=1)
    return np.array([own + [total] * (most - len(own)) for own in starts], np.intp).reshape(-1, most)


def length_samples() -> int:
    """Return the number of samples of a record, or of a life within ``simulating(LIVES)``."""
    return cycles(_kind.get().length_cycles)
