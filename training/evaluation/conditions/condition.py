"""What a condition is, and the registry. A new one is a subclass of ``Condition``, or one call of ``register``."""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from domains.powerline.simulator.episodes import Episodes, Mix, simulate
from domains.powerline.simulator.measurement import Faulty, Instruments
from domains.powerline.simulator.network import Sweep
from domains.powerline.simulator.occurrence import cycles
from training.errors import TrainingError

LEVELS = 5
LENGTH_CYCLES = 24.0  # most faults are cleared, and most lines reclosed, before a record ends
# Instruments in good order and of a known rating: what is wrong with a record is the condition's alone.
GOOD = Instruments(
    noise_db=(50.0, 60.0), saturable=0.0, gain_error=(0.002, 0.002), current_base=(1.0, 1.0), faulty=Faulty()
)
USUAL_MIX = Mix(fault_share=0.65, disturbed_share=0.0)

Value = float | str


@dataclass(frozen=True)
class Trial:
    """Records under one condition. ``ends``, where given, int (n, k): the last samples of the windows to be scored;
    otherwise those at the spec's hop that one state fills."""

    episodes: Episodes
    ends: NDArray[np.intp] | None = None


class Condition(ABC):
    """One way the world differs from training, in five steps.

    Args:
        name: as on the command line.
        unit: of ``values``; empty where these are names.
        values: what the severities 1…5 are, the mildest first.
        says: one line on what it does.
    """

    def __init__(self, name: str, unit: str, values: Sequence[Value], says: str) -> None:
        if len(values) != LEVELS:
            raise TrainingError(f"condition {name!r} needs {LEVELS} severities, not {len(values)}")
        self.name, self.unit, self.values, self.says = name, unit, tuple(values), says

    def value(self, level: int) -> Value:
        """Return the severity at ``level`` 1…5."""
        return self.values[level - 1]

    def random(self, seed: int) -> np.random.Generator:
        """Return the condition's own randomness: all severities draw alike, so that they differ by severity only."""
        return np.random.default_rng([seed, zlib.crc32(self.name.encode())])

    @abstractmethod
    def trial(self, clean: Episodes, level: int, seed: int) -> Trial:
        """Return records at severity ``level``.

        Args:
            clean: episodes of the reference. They are shared and must not be changed.
            level: 1…5.
            seed: of the run.
        """


Change = Callable[[Episodes, Value, np.random.Generator], Episodes]


class Altered(Condition):
    """The clean records as a worse instrument would have them."""

    def __init__(self, name: str, unit: str, values: Sequence[Value], says: str, change: Change) -> None:
        super().__init__(name, unit, values, says)
        self._change = change

    def trial(self, clean: Episodes, level: int, seed: int) -> Trial:
        """Alter the clean records."""
        return Trial(self._change(clean, self.value(level), self.random(seed)))


CONDITIONS: dict[str, Condition] = {}


def register(condition: Condition) -> Condition:
    """Add a condition to the registry. Raises TrainingError where its name is taken."""
    if condition.name in CONDITIONS:
        raise TrainingError(f"there is a condition {condition.name!r} already; choose another name")
    CONDITIONS[condition.name] = condition
    return condition


def chosen(names: Sequence[str] | None = None) -> tuple[Condition, ...]:
    """Return the conditions of these names, or all. Raises TrainingError naming those there are."""
    for name in names or ():
        if name not in CONDITIONS:
            raise TrainingError(f"there is no condition {name!r}; choose from {', '.join(CONDITIONS)}")
    return tuple(CONDITIONS[name] for name in names or CONDITIONS)


def resimulated(
    n: int,
    seed: int,
    *,
    mix: Mix = USUAL_MIX,
    sweep: Sweep | None = None,
    nominal_hz: float | None = None,
) -> Episodes:
    """Simulate ``n`` records as good instruments have them; the same seed draws the same lines in all conditions."""
    return simulate(n, seed, length_cycles=LENGTH_CYCLES, mix=mix, sweep=sweep, nominal_hz=nominal_hz, instruments=GOOD)


def joined(parts: Sequence[Episodes]) -> Episodes:
    """Return all records of ``parts``."""
    return Episodes(
        np.concatenate([p.samples for p in parts]),
        np.concatenate([p.labels for p in parts]),
        np.concatenate([p.settled for p in parts]),
        tuple(o for p in parts for o in p.occurrences),
        tuple(line for p in parts for line in p.lines),
    )


def with_samples(episodes: Episodes, samples: NDArray[np.float32]) -> Episodes:
    """Return the same episodes as other samples."""
    return replace(episodes, samples=samples)


def moments(episodes: Episodes) -> NDArray[np.intp]:
    """Return the sample (n,) at which something first happens, or the middle of a record in which nothing does."""
    middle = episodes.samples.shape[1] // 2
    return np.array([min((o.start for o in what), default=middle) for what in episodes.occurrences], np.intp)


def length_samples() -> int:
    """Return how many samples a record has."""
    return cycles(LENGTH_CYCLES)
