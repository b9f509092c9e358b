"""How well published events tell the faults that were injected. Pure: labels and events in, counts out.

Definitions, in event time:

- A *fault* is a run of windows of one line whose labels are not none. A change between fault classes without none
  in between makes it one fault with several *stages*; a change between the three-phase classes with and without
  ground is no change, since the two cannot be told apart on a balanced line. A window's label is its last
  sample's, so a fault begins within one hop before the end of its first window.
- A fault is *found* if an episode overlaps it. It may overlap as late as the fault's end plus the *grace*: one
  cycle, which a window looks back, and one hop, by which the end is known.
- It is *correct* if the class that the overlapping episodes hold at its end plus the grace (the latest onset or
  update until then) is its last stage's, three-phase classes counted as one. Found but not correct is *wrong*.
- A stage of two cycles or more is *reported* if an onset or update of its class was decided within it plus the grace.
- An onset decided outside every fault, grace included, is a *false alarm*, even if a fault begins during its episode.
- A fault that the recording cuts off within two cycles of its beginning is not counted: nobody could confirm it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from model.spec import SignalSpec
from stream.contract import FaultEvent

NS = 1_000_000_000
LASTING_CYCLES = 2
"""A stage that lasts so long should be reported by itself, and a shorter fault may be cut off."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Part of a fault with one class; times in Unix ns."""

    fault_class: int
    begin_ns: int
    end_ns: int


@dataclass(frozen=True, slots=True)
class InjectedFault:
    """One fault as the labels tell it; ``cycle_ns`` and ``hop_ns`` are its line's."""

    line: str
    stages: tuple[Stage, ...]
    cycle_ns: int
    hop_ns: int

    @property
    def begin_ns(self) -> int:
        """Earliest possible inception."""
        return self.stages[0].begin_ns

    @property
    def end_ns(self) -> int:
        """End of the last window of the fault."""
        return self.stages[-1].end_ns

    @property
    def grace_ns(self) -> int:
        """How long after the end a decision still belongs to the fault."""
        return self.cycle_ns + self.hop_ns


@dataclass(slots=True)
class _Line:
    """Runs of equal labels: class, end of the first and of the last window."""

    cycle_ns: int
    hop_ns: int
    last_start_ns: int = -1
    runs: list[tuple[int, int, int]] = field(default_factory=list)


class Truth:
    """Gathers the labels of windows as they pass, and makes faults of them.

    Example:
        >>> from model.spec import load_spec
        >>> truth = Truth(load_spec("line"))
        >>> truth.add("feeder-1", 0, 1600.0, [0, 0, 1, 1, 1, 0])
        >>> [(fault.line, fault.stages[0].fault_class) for fault in truth.faults()]
        [('feeder-1', 1)]
    """

    def __init__(self, spec: SignalSpec) -> None:
        self.spec = spec
        self._merged = spec.merged_three_phase()
        self._lines: dict[str, _Line] = {}

    @property
    def lines(self) -> int:
        """How many lines were seen."""
        return len(self._lines)

    def add(self, line: str, start_ns: int, rate_hz: float, labels: Sequence[int]) -> None:
        """Take the labels of consecutive windows, the first of which starts at ``start_ns``.

        Windows that do not start after the line's last one are repeats and ignored.
        """
        known = self._lines.get(line)
        if known is None:
            cycle_ns = round(self.spec.samples_per_cycle * NS / rate_hz)
            known = self._lines[line] = _Line(cycle_ns, round(self.spec.hop * NS / rate_hz))
        length_ns = round(self.spec.samples * NS / rate_hz)
        for index, label in enumerate(labels):
            window_ns = start_ns + round(index * self.spec.hop * NS / rate_hz)
            if window_ns <= known.last_start_ns:
                continue
            known.last_start_ns = window_ns
            end_ns = window_ns + length_ns
            if known.runs and known.runs[-1][0] == label:
                known.runs[-1] = (label, known.runs[-1][1], end_ns)
            else:
                known.runs.append((label, end_ns, end_ns))

    def class_during(self, line: str, begin_ns: int, end_ns: int) -> int:
        """The last fault class in ``begin_ns … end_ns``, or in the grace before; the none class without one."""
        none = self.spec.none_index
        known = self._lines.get(line)
        if known is None:
            return none
        begun = bisect_right(known.runs, end_ns, key=lambda run: run[1] - known.hop_ns)
        for label, _, last_ns in reversed(known.runs[:begun]):
            if last_ns + known.cycle_ns + known.hop_ns < begin_ns:
                break
            if label != none:
                return label
        return none

    def faults(self) -> list[InjectedFault]:
        """All faults that count, in the order of their beginning."""
        found = [fault for line, known in self._lines.items() for fault in self._faults(line, known)]
        return sorted(found, key=lambda fault: (fault.begin_ns, fault.line))

    def _faults(self, line: str, known: _Line) -> Iterable[InjectedFault]:
        stages: list[Stage] = []
        for label, first_ns, last_ns in known.runs:
            if label == self.spec.none_index:
                if stages:
                    yield InjectedFault(line, tuple(stages), known.cycle_ns, known.hop_ns)
                stages = []
            elif stages and self._merged[stages[-1].fault_class] == self._merged[label]:
                stages[-1] = Stage(stages[-1].fault_class, stages[-1].begin_ns, last_ns)
            else:
                stages.append(Stage(label, first_ns - known.hop_ns, last_ns))
        if stages and stages[-1].end_ns - stages[0].begin_ns >= LASTING_CYCLES * known.cycle_ns:
            yield InjectedFault(line, tuple(stages), known.cycle_ns, known.hop_ns)


@dataclass(slots=True)
class ClassScore:
    """Faults of one class or type (their last stage's)."""

    injected: int = 0
    found: int = 0
    correct: int = 0


@dataclass(slots=True)
class EventScore:
    """Counts; see the module for what they mean. ``injected = correct + wrong + missed``."""

    injected: int = 0
    onsets: int = 0
    correct: int = 0
    wrong: int = 0
    missed: int = 0
    false_alarms: int = 0
    stages: int = 0
    """Stages of two cycles or more."""
    stages_reported: int = 0
    by_class: dict[str, ClassScore] = field(default_factory=lambda: defaultdict(ClassScore))
    by_type: dict[str, ClassScore] = field(default_factory=lambda: defaultdict(ClassScore))
    onset_types: set[str] = field(default_factory=set)
    not_correct: list[tuple[InjectedFault, str | None]] = field(default_factory=list)
    """Faults that were missed (None) or wrong (the class held)."""
    false_onsets: list[FaultEvent] = field(default_factory=list)


@dataclass(slots=True)
class _Episode:
    steps: list[FaultEvent] = field(default_factory=list)

    def overlaps(self, fault: InjectedFault) -> bool:
        begins = [step.detection_ns for step in self.steps if step.state == "onset"]
        if not begins or begins[0] > fault.end_ns + fault.grace_ns:
            return False
        return all(_cleared_ns(step) >= fault.begin_ns for step in self.steps if step.state == "clear")


def _cleared_ns(clear: FaultEvent) -> int:
    return clear.inception_ns + round((clear.duration_s or 0.0) * NS)


def unique_events(events: Iterable[FaultEvent]) -> list[FaultEvent]:
    """Events without repeats: a change of type is published on two topics, a crash repeats, under the same id."""
    return list({event.event_id: event for event in events}.values())


def score_events(faults: Sequence[InjectedFault], events: Iterable[FaultEvent], spec: SignalSpec) -> EventScore:
    """Score published events against the faults that were there.

    Args:
        faults: from ``Truth.faults``.
        events: in any order, repeats allowed.
        spec: gives names, types and the merged classes.
    """
    score = EventScore()
    episodes: dict[str, dict[str, _Episode]] = defaultdict(lambda: defaultdict(_Episode))
    faults_of: dict[str, list[InjectedFault]] = defaultdict(list)
    for fault in faults:
        faults_of[fault.line].append(fault)
    for event in sorted(unique_events(events), key=lambda event: event.detection_ns):
        episodes[event.line][event.episode_id].steps.append(event)
        if event.state == "onset":
            _count_onset(score, event, faults_of[event.line])
    for fault in faults:
        overlapping = [episode for episode in episodes[fault.line].values() if episode.overlaps(fault)]
        _count_fault(score, fault, overlapping, spec)
        _count_stages(score, fault, overlapping, spec)
    return score


def _count_onset(score: EventScore, onset: FaultEvent, faults: Sequence[InjectedFault]) -> None:
    score.onsets += 1
    score.onset_types.add(onset.fault_type)
    if not any(fault.begin_ns <= onset.detection_ns <= fault.end_ns + fault.grace_ns for fault in faults):
        score.false_alarms += 1
        score.false_onsets.append(onset)


def _count_fault(score: EventScore, fault: InjectedFault, episodes: Sequence[_Episode], spec: SignalSpec) -> None:
    truth = spec.classes[fault.stages[-1].fault_class]
    counts = (score.by_class[truth.name], score.by_type[truth.type])
    score.injected += 1
    for count in counts:
        count.injected += 1
    if not episodes:
        score.missed += 1
        score.not_correct.append((fault, None))
        return
    latest_ns = fault.end_ns + fault.grace_ns
    decisions = [
        step
        for episode in episodes
        for step in episode.steps
        if step.state != "clear" and step.detection_ns <= latest_ns
    ]
    held = max(decisions, key=lambda step: step.detection_ns).fault_class
    correct = _same(spec, held, fault.stages[-1].fault_class)
    score.correct += correct
    score.wrong += not correct
    for count in counts:
        count.found += 1
        count.correct += correct
    if not correct:
        score.not_correct.append((fault, held))


def _count_stages(score: EventScore, fault: InjectedFault, episodes: Sequence[_Episode], spec: SignalSpec) -> None:
    for stage in fault.stages:
        if stage.end_ns - stage.begin_ns < LASTING_CYCLES * fault.cycle_ns:
            continue
        score.stages += 1
        score.stages_reported += any(
            step.state != "clear"
            and stage.begin_ns <= step.detection_ns <= stage.end_ns + fault.grace_ns
            and _same(spec, step.fault_class, stage.fault_class)
            for episode in episodes
            for step in episode.steps
        )


def _same(spec: SignalSpec, name: str, truth: int) -> bool:
    merged = spec.merged_three_phase()
    return name in spec.class_names and merged[spec.class_index(name)] == merged[truth]
