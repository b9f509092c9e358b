"""Derive the true faults from labels, to score events against them. Pure.

Times are sample numbers if every sample of a record has a label, and Unix ns if every window has one.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from model.spec import SignalSpec
from stream.contract import NS_PER_S

LASTING_CYCLES = 2
"""Shortest stage, in periods, that should be reported by itself; a shorter fault may be cut off."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Part of a fault with one class, from ``begin`` to ``end`` (exclusive)."""

    fault_class: int
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class InjectedFault:
    """Fault of one line according to the labels."""

    line: str | int
    """Id of the line, or number of the record."""
    stages: tuple[Stage, ...]
    sample: float = 1.0
    """Length of a sample in the unit of the times."""
    uncertain: int = 0
    """Number of samples after ``end`` within which the fault may have ended."""

    @property
    def begin(self) -> int:
        """Return the earliest possible inception."""
        return self.stages[0].begin

    @property
    def end(self) -> int:
        """Return the end of the last stage."""
        return self.stages[-1].end

    @property
    def classes(self) -> tuple[int, ...]:
        """Return the class of every stage."""
        return tuple(stage.fault_class for stage in self.stages)


def injected_faults(labels: NDArray[np.int8], none_index: int = 0) -> list[InjectedFault]:
    """Return the faults in labels (records, t): runs of faulty samples, where a change of class begins a new stage."""
    found = []
    for record, row in enumerate(labels):
        faulty = np.concatenate([[False], row != none_index, [False]])
        edges = np.flatnonzero(faulty[1:] != faulty[:-1])
        for begin, end in zip(edges[::2], edges[1::2], strict=True):
            run = row[begin:end]
            first = [0, *(np.flatnonzero(run[1:] != run[:-1]) + 1)]
            spans = zip(first, [*first[1:], len(run)], strict=True)
            stages = tuple(Stage(int(run[a]), int(begin + a), int(begin + b)) for a, b in spans)
            found.append(InjectedFault(record, stages))
    return found


@dataclass(slots=True)
class _Line:
    """Line with its runs of equal labels: class, end of the first and of the last window."""

    sample_ns: float
    period_ns: int
    hop_ns: int
    last_start_ns: int = -1
    runs: list[tuple[int, int, int]] = field(default_factory=list)


class Truth:
    """Collect the labels of windows and derive the true faults from them.

    A fault is a run of windows of one line that are labelled with fault classes. If the fault class changes without a
    no-fault window in between, this is one fault with several stages; equivalent classes of the spec count as equal. A
    window's label is that of its last sample, so a fault begins within one hop before the end of its first window, and
    ends within one hop after the end of its last. A fault that the recording cuts off within two periods of its
    beginning is not counted, since no model could confirm it. A period is the signal's own, or the length of a window
    if the signal has none.

    Example:
        >>> from model.spec import load_spec
        >>> truth = Truth(load_spec("line"))
        >>> truth.add("feeder-1", 0, 1600.0, [0, 0, 1, 1, 1, 0])
        >>> [(fault.line, fault.stages[0].fault_class) for fault in truth.faults()]
        [('feeder-1', 1)]
    """

    def __init__(self, spec: SignalSpec) -> None:
        self.spec = spec
        self._merged = spec.equivalent_indices()
        self._lines: dict[str, _Line] = {}

    @property
    def lines(self) -> int:
        """Return the number of lines."""
        return len(self._lines)

    def add(self, line: str, start_ns: int, rate_hz: float, labels: Sequence[int]) -> None:
        """Add the labels of consecutive windows, the first of which starts at ``start_ns``.

        Windows that do not start after the line's last one are repeats and are ignored.
        """
        known = self._lines.get(line)
        if known is None:
            period_ns = round((self.spec.period_samples or self.spec.samples) * NS_PER_S / rate_hz)
            hop_ns = round(self.spec.hop * NS_PER_S / rate_hz)
            known = self._lines[line] = _Line(NS_PER_S / rate_hz, period_ns, hop_ns)
        length_ns = round(self.spec.samples * NS_PER_S / rate_hz)
        for index, label in enumerate(labels):
            window_ns = start_ns + round(index * self.spec.hop * NS_PER_S / rate_hz)
            if window_ns <= known.last_start_ns:
                continue
            known.last_start_ns = window_ns
            end_ns = window_ns + length_ns
            if known.runs and known.runs[-1][0] == label:
                known.runs[-1] = (label, known.runs[-1][1], end_ns)
            else:
                known.runs.append((label, end_ns, end_ns))

    def class_during(self, line: str, begin_ns: int, end_ns: int) -> int:
        """Return the last fault class in ``begin_ns … end_ns`` or up to a period and a hop before; else no fault's."""
        none = self.spec.none_index
        known = self._lines.get(line)
        if known is None:
            return none
        begun = bisect_right(known.runs, end_ns, key=lambda run: run[1] - known.hop_ns)
        for label, _, last_ns in reversed(known.runs[:begun]):
            if last_ns + known.period_ns + known.hop_ns < begin_ns:
                break
            if label != none:
                return label
        return none

    def faults(self) -> list[InjectedFault]:
        """Return all counted faults, in the order of their beginning."""
        found = [fault for line, known in self._lines.items() for fault in self._faults(line, known)]
        return sorted(found, key=lambda fault: (fault.begin, fault.line))

    def _faults(self, line: str, known: _Line) -> Iterable[InjectedFault]:
        stages: list[Stage] = []
        for label, first_ns, last_ns in known.runs:
            if label == self.spec.none_index:
                if stages:
                    yield self._fault(line, known, stages)
                stages = []
            elif stages and self._merged[stages[-1].fault_class] == self._merged[label]:
                stages[-1] = Stage(stages[-1].fault_class, stages[-1].begin, last_ns)
            else:
                stages.append(Stage(label, first_ns - known.hop_ns, last_ns))
        if stages and stages[-1].end - stages[0].begin >= LASTING_CYCLES * known.period_ns:
            yield self._fault(line, known, stages)

    def _fault(self, line: str, known: _Line, stages: Sequence[Stage]) -> InjectedFault:
        return InjectedFault(line, tuple(stages), known.sample_ns, uncertain=self.spec.hop)
