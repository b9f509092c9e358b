"""Labelled records, simulated or recorded: short ones with one event each, and long ones with many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["Episodes", "Event", "Scenario"]


@dataclass(frozen=True)
class Event:
    """A fault or another event in a record, from sample ``start`` to before sample ``stop``.

    ``stages`` holds the first sample and the class name of every stage of a fault and is empty for a non-fault.
    ``parameters`` holds the parameters drawn for the event. ``line`` is the number of its record in a scenario with
    several.
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
        """Samples at which the signal changes: start, stop and the beginning of every stage."""
        return self.start, self.stop, *(sample for sample, _ in self.stages)


@dataclass(frozen=True)
class Episodes:
    """Labelled records of equal length.

    Attributes:
        samples: float32 (n, t, channels), per unit.
        labels: int8 (n, t), class indices.
        settled: bool (n, t), false where no class is correct, for example while a fault is half interrupted.
        events: the events in each record.
        lines: the parameters drawn for each record's line and instruments.
    """

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
    """Long labelled records of several lines, with many events.

    Attributes:
        samples: float32 (lines, t, channels), per unit.
        labels: int8 (lines, t), class indices.
        settled: bool (lines, t), false where no class is correct, for example while a fault is half interrupted.
        events: all events; ``Event.line`` is the number of an event's line.
        rate_hz: samples per second.
    """

    samples: NDArray[np.float32]
    labels: NDArray[np.int8]
    settled: NDArray[np.bool_]
    events: tuple[Event, ...]
    rate_hz: float
