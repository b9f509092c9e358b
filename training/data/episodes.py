"""Labelled records, simulated or recorded: short ones of one event each, and long ones of many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["Episodes", "Event", "Scenario"]


@dataclass(frozen=True)
class Event:
    """Something that happens, a fault or not, from sample ``start`` to before sample ``stop``.

    ``stages`` holds the first sample and the class name of every stage of a fault, and nothing for a non-fault;
    ``parameters`` what was drawn for it; ``line`` the number of its record where a scenario has several.
    """

    kind: str
    start: int
    stop: int
    stages: tuple[tuple[int, str], ...] = ()
    parameters: dict[str, float | str] = field(default_factory=dict)
    line: int = 0

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names of the stages."""
        return tuple(name for _, name in self.stages)

    @property
    def moments(self) -> tuple[int, ...]:
        """Samples at which something changes."""
        return self.start, self.stop, *(sample for sample, _ in self.stages)


@dataclass(frozen=True)
class Episodes:
    """``samples`` float32 (n, t, channels); ``labels`` int8 (n, t), class indices; ``settled`` bool (n, t), False where
    no class is right, as while a fault is half interrupted; ``events[n]`` what happens in record n, and ``lines[n]``
    what was drawn for its line and instruments."""

    samples: NDArray[np.float32]
    labels: NDArray[np.int8]
    settled: NDArray[np.bool_]
    events: tuple[tuple[Event, ...], ...]
    lines: tuple[dict[str, float | str], ...]

    def __len__(self) -> int:
        return len(self.samples)

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Return all records of ``parts`` in their order."""
        return cls(
            np.concatenate([part.samples for part in parts]),
            np.concatenate([part.labels for part in parts]),
            np.concatenate([part.settled for part in parts]),
            tuple(events for part in parts for events in part.events),
            tuple(line for part in parts for line in part.lines),
        )


@dataclass(frozen=True)
class Scenario:
    """``samples`` float32 (lines, t, channels); ``labels`` int8 (lines, t), class indices; ``settled`` bool (lines, t),
    False where no class is right, as while a fault is half interrupted."""

    samples: NDArray[np.float32]
    labels: NDArray[np.int8]
    settled: NDArray[np.bool_]
    events: tuple[Event, ...]
    rate_hz: float
