"""Episodes of two models side by side, and why they differ. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from model.spec import SignalSpec
from stream.contract import FaultEvent, QualityFlag
from stream.detection.decode import LineWindows

NS = 1_000_000_000
MS = 1_000_000
THREE_PHASE = ("lll", "lllg")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Tolerance(_Frozen):
    """What is no difference."""

    inception_ms: float = Field(5.0, ge=0, description="A quarter of a 50 Hz cycle: the hop of the windows.")
    duration_ms: float = Field(20.0, ge=0, description="A cycle of 50 Hz: a window more or less at the end.")


class ModelEpisode(_Frozen):
    """One fault on one line as one model sees it."""

    line: str
    fault_class: str = Field(description="At the end: what the last update said.")
    fault_type: str
    classes: tuple[str, ...] = Field(description="Every class that it had, in order.")
    confidence: float
    inception_ns: int
    detection_ns: int = Field(description="Of the onset.")
    duration_s: float | None = Field(None, description="Nothing where the recording ends before the fault.")
    quality: tuple[QualityFlag, ...] = ()

    @classmethod
    def of(cls, events: Sequence[FaultEvent]) -> Self:
        """Episode of its events, in their order."""
        steps = [event for event in events if event.state != "clear"]
        last = steps[-1]
        return cls(
            line=last.line,
            fault_class=last.fault_class,
            fault_type=last.fault_type,
            classes=tuple(event.fault_class for event in steps),
            confidence=last.confidence,
            inception_ns=events[0].inception_ns,
            detection_ns=events[0].detection_ns,
            duration_s=events[-1].duration_s,
            quality=tuple(events[-1].quality),
        )

    @property
    def end_ns(self) -> int | None:
        """When it was cleared; None where that was never seen."""
        return None if self.duration_s is None else self.inception_ns + round(self.duration_s * NS)


class EpisodePair(_Frozen):
    """An episode of both models, or of one."""

    line: str
    first: ModelEpisode | None
    second: ModelEpisode | None
    differences: tuple[str, ...] = Field((), description="In words; none where they agree.")

    @property
    def at_ns(self) -> int:
        """Inception, by the model that saw it first."""
        return min(episode.inception_ns for episode in (self.first, self.second) if episode is not None)

    @property
    def verdict(self) -> Literal["same", "different", "only first", "only second"]:
        """In one word or two."""
        if self.first is None:
            return "only second"
        if self.second is None:
            return "only first"
        return "different" if self.differences else "same"


class LineWindowsDiffer(_Frozen):
    """A line of which the models class single windows differently (three-phase faults counted as one)."""

    line: str
    windows: int
    differ: int
    first_ns: int


class Comparison(_Frozen):
    """What two models make of one recording."""

    models: tuple[str, str]
    begin_ns: int
    windows: int
    not_judged: dict[str, int] = Field(description="Records that no worker could judge, by reason.")
    lines: tuple[LineWindowsDiffer, ...]
    pairs: tuple[EpisodePair, ...]

    @property
    def agree(self) -> bool:
        """Whether both found the same episodes; single windows may differ."""
        return all(pair.verdict == "same" for pair in self.pairs)

    @property
    def windows_differ(self) -> int:
        """Windows that are classed differently."""
        return sum(line.differ for line in self.lines)


@dataclass(slots=True)
class WindowLog:
    """What a model made of every window of a line: 17 bytes a window."""

    _starts: list[NDArray[np.int64]] = field(default_factory=list)
    _classes: list[NDArray[np.uint8]] = field(default_factory=list)
    _faults: list[NDArray[np.float32]] = field(default_factory=list)
    _unlike: list[NDArray[np.bool_]] = field(default_factory=list)
    count: int = 0
    window_ns: int = 0
    """Length of a window."""

    def add(
        self,
        entry: LineWindows,
        spec: SignalSpec,
        classes: NDArray[np.intp],
        fault: NDArray[np.float32],
        unlike: NDArray[np.bool_],
    ) -> None:
        """Take the windows of a record.

        Args:
            entry: where they stand.
            spec: of them.
            classes: (n,), most probable class.
            fault: float32 (n,), probability of any fault.
            unlike: (n,), whether they are unlike the model's training.
        """
        steps = np.round(np.arange(entry.count) * (spec.hop * NS / entry.rate_hz)).astype(np.int64)
        self._starts.append(entry.start_ns + steps)
        self._classes.append(classes.astype(np.uint8))
        self._faults.append(fault)
        self._unlike.append(unlike)
        self.count += entry.count
        self.window_ns = round(spec.samples * NS / entry.rate_hz)

    @property
    def first_ns(self) -> int:
        """Earliest start of a window."""
        return min(int(part[0]) for part in self._starts)

    def starts_ns(self) -> NDArray[np.int64]:
        """(n,) start of every window."""
        return np.concatenate(self._starts)

    def class_names(self, spec: SignalSpec) -> NDArray[np.str_]:
        """(n,) class of every window by name, three-phase faults with and without ground as one."""
        merged = spec.merged_three_phase()
        names = np.array([spec.class_names[index] for index in merged])
        return names[np.concatenate(self._classes)]

    def told(self, spec: SignalSpec, first_ns: int, end_ns: int) -> str:
        """In words, what the model made of the windows that touch a stretch of time."""
        starts = self.starts_ns()
        inside = (starts < end_ns) & (starts + self.window_ns > first_ns)
        if not inside.any():
            return "no windows then"
        names = np.array(spec.class_names)[np.concatenate(self._classes)[inside]]
        counts = ", ".join(f"{count} {name}" for name, count in Counter(names.tolist()).most_common(3))
        sure = float(np.concatenate(self._faults)[inside].max())
        text = f"of {int(inside.sum())} windows then {counts}; at most {sure:.0%} sure of a fault"
        unlike = int(np.concatenate(self._unlike)[inside].sum())
        return text + (f"; {unlike} unlike its training" if unlike else "")


def paired(
    episodes: tuple[Sequence[ModelEpisode], Sequence[ModelEpisode]],
    logs: tuple[Mapping[str, WindowLog], Mapping[str, WindowLog]],
    specs: tuple[SignalSpec, SignalSpec],
    tolerance: Tolerance,
) -> tuple[EpisodePair, ...]:
    """Pair the episodes of two models that overlap in time on the same line, the longest overlaps first.

    Args:
        episodes: of the first and of the second model.
        logs: their windows, per line.
        specs: their classes.
        tolerance: what is no difference.

    Returns:
        Every episode once, in the order of time.
    """
    of_line: dict[str, list[int]] = defaultdict(list)
    for number, episode in enumerate(episodes[1]):
        of_line[episode.line].append(number)
    overlaps = [
        (_overlap_ns(a, episodes[1][number_b]), number_a, number_b)
        for number_a, a in enumerate(episodes[0])
        for number_b in of_line[a.line]
    ]
    partner: dict[int, int] = {}
    taken: set[int] = set()
    for overlap_ns, number_a, number_b in sorted(overlaps, key=lambda overlap: (-overlap[0], *overlap[1:])):
        if overlap_ns > 0 and number_a not in partner and number_b not in taken:
            partner[number_a] = number_b
            taken.add(number_b)
    pairs = []
    for number, a in enumerate(episodes[0]):
        b = episodes[1][partner[number]] if number in partner else None
        pairs.append(_pair(a, b, logs, specs, tolerance))
    alone = (episode for number, episode in enumerate(episodes[1]) if number not in taken)
    pairs += [_pair(None, episode, logs, specs, tolerance) for episode in alone]
    return tuple(sorted(pairs, key=lambda pair: (pair.at_ns, pair.line)))


def _overlap_ns(a: ModelEpisode, b: ModelEpisode) -> int:
    ends = [end for end in (a.end_ns, b.end_ns) if end is not None]
    begin = max(a.inception_ns, b.inception_ns)
    # Two that are both not cleared overlap to the recording's end.
    return (min(ends) if ends else begin + NS) - begin


def _pair(
    a: ModelEpisode | None,
    b: ModelEpisode | None,
    logs: tuple[Mapping[str, WindowLog], Mapping[str, WindowLog]],
    specs: tuple[SignalSpec, SignalSpec],
    tolerance: Tolerance,
) -> EpisodePair:
    one = a or b
    assert one is not None
    if a is not None and b is not None:
        return EpisodePair(line=one.line, first=a, second=b, differences=tuple(_differences(a, b, tolerance)))
    silent = 0 if a is None else 1
    log = logs[silent].get(one.line)
    end_ns = one.end_ns if one.end_ns is not None else one.detection_ns
    why = "no windows of the line" if log is None else log.told(specs[silent], one.inception_ns, end_ns)
    which = ("first", "second")[silent]
    return EpisodePair(line=one.line, first=a, second=b, differences=(f"the {which} model is silent: {why}",))


def _differences(a: ModelEpisode, b: ModelEpisode, tolerance: Tolerance) -> list[str]:
    found = []
    both_three_phase = a.fault_type in THREE_PHASE and b.fault_type in THREE_PHASE
    if a.fault_class != b.fault_class and not both_three_phase:
        found.append(f"class {' then '.join(a.classes)} and {' then '.join(b.classes)}")
    later_ms = (b.inception_ns - a.inception_ns) / MS
    if abs(later_ms) > tolerance.inception_ms:
        found.append(f"inception {abs(later_ms):.1f} ms {'later' if later_ms > 0 else 'earlier'} by the second")
    if (a.duration_s is None) != (b.duration_s is None):
        found.append(f"cleared only by the {'first' if b.duration_s is None else 'second'}")
    elif a.duration_s is not None and b.duration_s is not None:
        longer_ms = (b.duration_s - a.duration_s) * 1000
        if abs(longer_ms) > tolerance.duration_ms:
            found.append(f"lasts {abs(longer_ms):.1f} ms {'longer' if longer_ms > 0 else 'shorter'} by the second")
    return found
