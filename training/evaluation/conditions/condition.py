"""Define conditions and their registry; a new condition is a ``Condition`` added by ``Conditions.register``."""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from training.data.episodes import Episodes
from training.errors import TrainingError

LEVELS = 5

Value = float | str


@dataclass(frozen=True)
class Trial:
    """Records under one condition.

    Attributes:
        episodes: the n records.
        ends: int (n, k), last samples of the windows to score; None scores the windows at the spec's hop that lie fully
            in one state.
    """

    episodes: Episodes
    ends: NDArray[np.intp] | None = None


class Condition(ABC):
    """One way in which operation may differ from training, in five severities.

    Args:
        name: name of the condition on the command line.
        unit: unit of ``values``; empty if the values are names.
        values: values of the severities 1…5, the mildest first.
        description: description in one line, for display.

    Attributes:
        seen: True if the domain's training contains such records, at least at a mild severity.
    """

    seen: bool = False

    def __init__(self, name: str, unit: str, values: Sequence[Value], description: str) -> None:
        if len(values) != LEVELS:
            raise TrainingError(f"condition {name!r} needs {LEVELS} severities, not {len(values)}")
        self.name, self.unit, self.values, self.description = name, unit, tuple(values), description

    def value(self, level: int) -> Value:
        """Return the severity at ``level`` 1…5."""
        return self.values[level - 1]

    def random(self, seed: int) -> np.random.Generator:
        """Return the condition's random generator, the same for all severities, so that only the severity differs."""
        return np.random.default_rng([seed, zlib.crc32(self.name.encode())])

    @abstractmethod
    def trial(self, clean: Episodes, level: int, seed: int) -> Trial:
        """Return records at severity ``level``.

        Args:
            clean: episodes of the clean reference. They are shared and must not be modified.
            level: severity, 1…5.
            seed: seed of the run.
        """


Change = Callable[[Episodes, Value, np.random.Generator], Episodes]


class Altered(Condition):
    """A condition that alters the clean records, for example as an inferior instrument would."""

    def __init__(self, name: str, unit: str, values: Sequence[Value], description: str, change: Change) -> None:
        super().__init__(name, unit, values, description)
        self._change = change

    def trial(self, clean: Episodes, level: int, seed: int) -> Trial:
        """Alter the clean records."""
        return Trial(self._change(clean, self.value(level), self.random(seed)))


class Conditions(Mapping[str, Condition]):
    """The conditions of a domain by name, in the order in which they were registered.

    Args:
        groups: names of conditions by the name of their group, under which all of them can be chosen.
        seen: names of the conditions that training contains.

    Example:
        >>> sorted(Conditions())
        []
    """

    def __init__(self, groups: Mapping[str, Sequence[str]] | None = None, seen: Collection[str] = ()) -> None:
        self._known: dict[str, Condition] = {}
        self._groups = {name: tuple(members) for name, members in (groups or {}).items()}
        self._seen = frozenset(seen)

    def __getitem__(self, name: str) -> Condition:
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)

    @property
    def groups(self) -> Mapping[str, tuple[str, ...]]:
        """Names of the conditions by group."""
        return self._groups

    def register(self, condition: Condition) -> Condition:
        """Add a condition; raise TrainingError if its name is taken."""
        if condition.name in self._known or condition.name in self._groups:
            raise TrainingError(f"there is a condition {condition.name!r} already; choose another name")
        self._known[condition.name] = condition
        condition.seen = condition.seen or condition.name in self._seen
        return condition

    def chosen(self, names: str | Sequence[str] | None = None) -> tuple[Condition, ...]:
        """Return conditions.

        Args:
            names: names of conditions or groups, or one of them; None or no names for all conditions.

        Raises:
            TrainingError: a name is unknown; the message lists the known ones.
        """
        chosen: dict[str, Condition] = {}
        for name in (names,) if isinstance(names, str) else names or self._known:
            for member in self._groups.get(name, (name,)):
                if member not in self._known:
                    raise TrainingError(
                        f"there is no condition {member!r}; choose from {', '.join((*self._known, *self._groups))}"
                    )
                chosen[member] = self._known[member]
        return tuple(chosen.values())


def with_samples(episodes: Episodes, samples: NDArray[np.float32]) -> Episodes:
    """Return the same episodes with other samples."""
    return replace(episodes, samples=samples)
