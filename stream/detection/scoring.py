"""Score episodes against the true faults. Pure.

Definitions, in samples or in event time:

- An episode belongs to the first *fault* during which it opened: after the fault began, and no later than the *grace*
  period after it ended. The grace period is one window, because a window that starts at the fault's end may still
  contain a sample of the fault, plus the uncertainty of the end, which is one hop if only windows are labelled.
- A fault is *found* if an episode belongs to it, and *missed* if none does. Further episodes of the same fault are
  *repeated*.
- A fault is *correct* if its last episode ends with the class of its last stage; equivalent classes count as equal. A
  fault that is found but not correct is *wrong*. It is correct *at onset* if its first episode also opened with the
  class of one of its stages.
- An episode that belongs to no fault is a *false alarm*, even if a fault begins while the episode is open.
- A stage of two periods or more is *reported* if an episode of the fault took its class within the stage or the grace
  period after it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from model.spec import SignalSpec
from stream.contract import FaultEvent
from stream.detection.batch import track_batch
from stream.detection.decode import DecodedBatch, LineWindows, WindowRecord
from stream.detection.episodes import EpisodeStep, EpisodeTracker
from stream.detection.line_state import LineState
from stream.detection.order import all_new
from stream.detection.truth import LASTING_CYCLES, InjectedFault, Stage
from stream.windowing import cut_windows

UNKNOWN_CLASS = -1
"""Index of a class that the spec does not have."""
METRICS = (
    *("injected", "found", "correct", "onset_correct", "wrong", "missed", "false_alarms", "repeated"),
    *("line_hours", "delay_cycles_median", "delay_cycles_p95"),
)
"""Names of the event scores in a manifest."""
WINDOWS_AT_ONCE = 25
"""Number of windows tracked as one record. An idle line skips a whole record, so most windows outside a fault are not
tracked one by one. Of 4, 25 and 100, this number was the fastest for one-minute lines with twenty faults each."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Onset or update of an episode: the time of its last sample, and the class from then on."""

    at: int
    fault_class: int


@dataclass(frozen=True, slots=True)
class Episode:
    """Confirmed episode of one line (its id, or the number of a record), from its onset on."""

    line: str | int
    decisions: tuple[Decision, ...]

    @property
    def at(self) -> int:
        """Return the time of the onset."""
        return self.decisions[0].at

    @property
    def onset_class(self) -> int:
        """Return the class at the onset."""
        return self.decisions[0].fault_class

    @property
    def last_class(self) -> int:
        """Return the class at the end."""
        return self.decisions[-1].fault_class


# Episodes of probabilities and of events -----------------------------------------------------------------------------


def detect_episodes(
    probabilities: NDArray[np.float32], samples: NDArray[np.float32], spec: SignalSpec
) -> list[Episode]:
    """Return the episodes that the worker's tracker finds in records; times are samples from a record's beginning.

    The time of a decision is the number of samples up to it: the index of its last sample plus one.

    Args:
        probabilities: float32 (records, windows, classes), after rejection.
        samples: float32 (records, t, channels), from which the windows were cut.
        spec: signal spec of the windows; its episode policy applies.
    """
    found: list[Episode] = []
    for number, steps in enumerate(episode_steps(probabilities, samples, spec)):
        found += [Episode(number, decisions) for decisions in _decisions(steps, spec)]
    return found


def episode_steps(
    probabilities: NDArray[np.float32], samples: NDArray[np.float32], spec: SignalSpec
) -> Iterator[list[EpisodeStep]]:
    """Yield for each record the steps of all episodes that the worker's tracker finds in it.

    Times are those of samples of 1 µs. The arguments are those of ``detect_episodes``.
    """
    tracker = EpisodeTracker(spec)
    for record, answers in zip(samples, probabilities, strict=True):
        lines: dict[str, LineState] = {}
        batch = DecodedBatch(cut_windows(record, spec), list(_entries(len(answers), spec)), [])
        yield [step for _, step in track_batch(tracker, lines, batch, answers, all_new(batch)).steps]


def _entries(count: int, spec: SignalSpec) -> Iterator[LineWindows]:
    """Yield the windows of a record as messages of one line; a sample lasts 1 µs, so that times are whole numbers."""
    record = WindowRecord("record", 0, 0, 0, None, None)
    for first in range(0, count, WINDOWS_AT_ONCE):
        length = min(WINDOWS_AT_ONCE, count - first)
        yield LineWindows(record, "record", first, first * spec.hop * 1000, 1e6, first, length, None)


def _decisions(steps: Iterable[EpisodeStep], spec: SignalSpec) -> Iterable[tuple[Decision, ...]]:
    found: dict[str, tuple[Decision, ...]] = defaultdict(tuple)
    for step in steps:
        if step.state != "clear":
            found[step.episode_id] += (Decision(step.sequence * spec.hop + spec.samples, step.fault_class),)
    return found.values()


def unique_events(events: Iterable[FaultEvent]) -> list[FaultEvent]:
    """Return events without repeats (equal ids): a change of type is on two topics, and a crash repeats events."""
    return list({event.event_id: event for event in events}.values())


def published_episodes(events: Iterable[FaultEvent], spec: SignalSpec) -> list[Episode]:
    """Return the episodes of published events, in the order of their onsets, timed in Unix ns.

    Args:
        events: events in any order; repeats are allowed. Events of an episode without an onset are left out.
        spec: signal spec, which gives the index of every class.
    """
    of_episode: dict[tuple[str, str], list[FaultEvent]] = defaultdict(list)
    for event in sorted(unique_events(events), key=lambda event: event.detection_ns):
        if event.state == "onset" or (event.state == "update" and (event.line, event.episode_id) in of_episode):
            of_episode[event.line, event.episode_id].append(event)
    return [
        Episode(line, tuple(Decision(step.detection_ns, _index(step.fault_class, spec)) for step in steps))
        for (line, _), steps in of_episode.items()
    ]


def _name(fault_class: int, spec: SignalSpec) -> str:
    return "a class unknown to the spec" if fault_class == UNKNOWN_CLASS else spec.class_names[fault_class]


def _index(name: str, spec: SignalSpec) -> int:
    return spec.class_index(name) if name in spec.class_names else UNKNOWN_CLASS


# Scores --------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class ClassScore:
    """Counts of the faults whose last stage has one class or type."""

    injected: int = 0
    found: int = 0
    correct: int = 0


@dataclass(slots=True)
class EventScore:
    """Counts, defined in the module's docstring. ``injected = correct + wrong + missed``."""

    line_hours: float
    injected: int = 0
    found: int = 0
    correct: int = 0
    onset_correct: int = 0
    wrong: int = 0
    missed: int = 0
    false_alarms: int = 0
    repeated: int = 0
    delay_cycles_median: float = 0.0
    """Median delay from inception to first onset of the faults found, in periods."""
    delay_cycles_p95: float = 0.0
    onsets: int = 0
    stages: int = 0
    """Number of stages of two periods or more."""
    stages_reported: int = 0
    by_class: dict[str, ClassScore] = field(default_factory=lambda: defaultdict(ClassScore))
    by_type: dict[str, ClassScore] = field(default_factory=lambda: defaultdict(ClassScore))
    onset_types: set[str] = field(default_factory=set)
    not_correct: list[tuple[InjectedFault, str | None]] = field(default_factory=list)
    """Faults that were missed (None) or wrong (with the final class)."""
    false_episodes: list[tuple[Episode, str]] = field(default_factory=list)
    """False alarms, with the class of their onset."""

    def as_metrics(self) -> dict[str, float]:
        """Return the counts and the false alarms per line-hour, rounded for a manifest."""
        rate = self.false_alarms / self.line_hours if self.line_hours else 0.0
        values = {name: float(getattr(self, name)) for name in METRICS}
        return {name: round(value, 4) for name, value in (*values.items(), ("false_alarms_per_line_hour", rate))}


def score_events(
    faults: Sequence[InjectedFault], episodes: Sequence[Episode], spec: SignalSpec, line_hours: float = 0.0
) -> EventScore:
    """Score episodes against the true faults.

    Args:
        faults: faults from ``injected_faults`` or ``Truth.faults``.
        episodes: episodes from ``detect_episodes`` or ``published_episodes``, with times in the same unit.
        spec: signal spec, which gives the grace period, the signal's period, names, types and equivalent classes.
        line_hours: total length of all records in hours; 0 if no rate is needed.
    """
    score = EventScore(line_hours, injected=len(faults), onsets=len(episodes))
    known = [episode.onset_class for episode in episodes if episode.onset_class != UNKNOWN_CLASS]
    score.onset_types = {spec.classes[index].type for index in known}
    left, delays = list(episodes), []
    for fault in faults:
        own = [episode for episode in left if belongs(episode, fault, spec)]
        left = [episode for episode in left if episode not in own]
        _count_fault(score, fault, own, spec)
        if own:
            delays.append((own[0].at - fault.begin) / ((spec.period_samples or spec.samples) * fault.sample))
    score.false_alarms = len(left)
    score.false_episodes = [(episode, _name(episode.onset_class, spec)) for episode in left]
    if delays:
        score.delay_cycles_median = float(np.median(delays))
        score.delay_cycles_p95 = float(np.percentile(delays, 95))
    return score


def _count_fault(score: EventScore, fault: InjectedFault, episodes: Sequence[Episode], spec: SignalSpec) -> None:
    correct = bool(episodes) and _same(spec, episodes[-1].last_class, fault.classes[-1])
    truth = spec.classes[fault.classes[-1]]
    for count in (score, score.by_class[truth.name], score.by_type[truth.type]):
        count.found += bool(episodes)
        count.correct += correct
    score.by_class[truth.name].injected += 1
    score.by_type[truth.type].injected += 1
    if not correct:
        score.not_correct.append((fault, _name(episodes[-1].last_class, spec) if episodes else None))
    score.missed += not episodes
    score.wrong += bool(episodes) and not correct
    score.repeated += max(len(episodes) - 1, 0)
    score.onset_correct += correct and any(_same(spec, episodes[0].onset_class, stage) for stage in fault.classes)
    least = LASTING_CYCLES * (spec.period_samples or spec.samples) * fault.sample
    lasting = [stage for stage in fault.stages if stage.end - stage.begin >= least]
    score.stages += len(lasting)
    score.stages_reported += sum(_reported(stage, fault, episodes, spec) for stage in lasting)


def belongs(episode: Episode, fault: InjectedFault, spec: SignalSpec) -> bool:
    """Return True if an episode opened during a fault or its grace period."""
    return episode.line == fault.line and fault.begin < episode.at <= fault.end + _grace(fault, spec)


def _grace(fault: InjectedFault, spec: SignalSpec) -> int:
    return round((spec.samples + fault.uncertain) * fault.sample)


def _reported(stage: Stage, fault: InjectedFault, episodes: Sequence[Episode], spec: SignalSpec) -> bool:
    latest = stage.end + _grace(fault, spec)
    decisions = [decision for episode in episodes for decision in episode.decisions]
    return any(stage.begin < one.at <= latest and _same(spec, one.fault_class, stage.fault_class) for one in decisions)


def _same(spec: SignalSpec, fault_class: int, truth: int) -> bool:
    merged = spec.equivalent_indices()
    return fault_class != UNKNOWN_CLASS and merged[fault_class] == merged[truth]
