"""Compare two models on one recording with the worker's detection, without a broker, and explain the differences.

Example:
    >>> from faultline.comparison import compare
    >>> found = compare(open_replay(path, spec), load_artefact("a.safetensors"),
    ...                        load_artefact("b.safetensors"))  # doctest: +SKIP
    >>> found.agree, [pair.differences for pair in found.pairs]  # doctest: +SKIP
    (False, [('class AG with the first, AB with the second',)])
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from model.artefact import Artefact
from model.engine import Engine
from model.errors import FaultlineError
from model.frozen import FrozenModel
from model.spec import SignalSpec
from stream.contract import NS_PER_S, FaultEvent, QualityFlag
from stream.detection.decode import DecodedBatch, LineWindows, WindowRecord, decode_batch
from stream.detection.offline import Detector, batched
from stream.recordings.sources import ReplayRecord, Source

MS = 1_000_000
THREE_PHASE = ("lll", "lllg")
MAX_MESSAGE_BYTES = 100_000_000
"""Largest message in bytes. It is high because every message in a recording was once accepted by a broker."""


class CompareError(FaultlineError):
    """Two models cannot be compared on a source."""


# Results -------------------------------------------------------------------------------------------------------------


class Tolerance(FrozenModel):
    """Differences below which two episodes count as equal."""

    inception_ms: float = Field(
        5.0, ge=0, description="Difference of inceptions, ms; a quarter of a 50 Hz cycle, the hop of the windows."
    )
    duration_ms: float = Field(
        20.0, ge=0, description="Difference of durations, ms; a 50 Hz cycle, one window more or less at the end."
    )


class ModelEpisode(FrozenModel):
    """One fault on one line as detected by one model."""

    line: str
    fault_class: str = Field(description="Class of the last onset or update.")
    fault_type: str
    classes: tuple[str, ...] = Field(description="Every class that the episode had, in order.")
    confidence: float
    inception_ns: int
    detection_ns: int = Field(description="Detection time of the onset, Unix ns.")
    duration_s: float | None = Field(None, description="Duration, seconds; None if the recording ends before.")
    quality: tuple[QualityFlag, ...] = ()

    @classmethod
    def of(cls, events: Sequence[FaultEvent]) -> Self:
        """Return the episode of these events, which are in order of time."""
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
        """Return the time of the clearing, Unix ns; None if the recording ends before."""
        return None if self.duration_s is None else self.inception_ns + round(self.duration_s * NS_PER_S)


class EpisodePair(FrozenModel):
    """Episode that both models detected, or only one of them."""

    line: str
    first: ModelEpisode | None
    second: ModelEpisode | None
    differences: tuple[str, ...] = Field((), description="Differences as text; empty if the models agree.")

    @property
    def at_ns(self) -> int:
        """Return the earlier of the two inceptions, Unix ns."""
        return min(episode.inception_ns for episode in (self.first, self.second) if episode is not None)

    @property
    def relation(self) -> Literal["same", "different", "only first", "only second"]:
        """Return the relation of the two models' episodes."""
        if self.first is None:
            return "only second"
        if self.second is None:
            return "only first"
        return "different" if self.differences else "same"


class LineWindowsDiffer(FrozenModel):
    """Line with windows that the models classify differently; three-phase classes with and without ground are equal."""

    line: str
    windows: int
    differ: int
    first_ns: int


class Comparison(FrozenModel):
    """Comparison of two models on one recording."""

    models: tuple[str, str]
    begin_ns: int
    windows: int
    not_judged: dict[str, int] = Field(description="Records that no worker could classify, by reason.")
    lines: tuple[LineWindowsDiffer, ...]
    pairs: tuple[EpisodePair, ...]

    @property
    def agree(self) -> bool:
        """Return True if both models found the same episodes; single windows may differ."""
        return all(pair.relation == "same" for pair in self.pairs)

    @property
    def windows_differ(self) -> int:
        """Return the number of windows that are classified differently."""
        return sum(line.differ for line in self.lines)


@dataclass(slots=True)
class WindowLog:
    """Results of a model for every window of a line, in 17 bytes per window."""

    _starts: list[NDArray[np.int64]] = field(default_factory=list)
    _classes: list[NDArray[np.uint8]] = field(default_factory=list)
    _faults: list[NDArray[np.float32]] = field(default_factory=list)
    _is_ood: list[NDArray[np.bool_]] = field(default_factory=list)
    count: int = 0
    window_ns: int = 0
    """Length of a window in ns."""

    def add(
        self,
        entry: LineWindows,
        spec: SignalSpec,
        classes: NDArray[np.intp],
        fault: NDArray[np.float32],
        is_ood: NDArray[np.bool_],
    ) -> None:
        """Add the windows of a record.

        Args:
            entry: position of the windows in the batch, and their times.
            spec: spec of the windows.
            classes: (n,), index of the most probable class.
            fault: float32 (n,), probability of any fault.
            is_ood: bool (n,), True for windows that are out of distribution.
        """
        steps = np.round(np.arange(entry.count) * (spec.hop * NS_PER_S / entry.rate_hz)).astype(np.int64)
        self._starts.append(entry.start_ns + steps)
        self._classes.append(classes.astype(np.uint8))
        self._faults.append(fault)
        self._is_ood.append(is_ood)
        self.count += entry.count
        self.window_ns = round(spec.samples * NS_PER_S / entry.rate_hz)

    @property
    def first_ns(self) -> int:
        """Return the earliest start of a window, Unix ns."""
        return min(int(part[0]) for part in self._starts)

    def starts_ns(self) -> NDArray[np.int64]:
        """Return the start of every window, Unix ns, int64 (n,)."""
        return np.concatenate(self._starts)

    def class_names(self, spec: SignalSpec) -> NDArray[np.str_]:
        """Return the class name of every window (n,), with equivalent classes under one name."""
        merged = spec.equivalent_indices()
        names = np.array([spec.class_names[index] for index in merged])
        return names[np.concatenate(self._classes)]

    def describe(self, spec: SignalSpec, first_ns: int, end_ns: int) -> str:
        """Return a text that describes the model's classes of the windows that overlap an interval of time."""
        starts = self.starts_ns()
        inside = (starts < end_ns) & (starts + self.window_ns > first_ns)
        if not inside.any():
            return "it has no windows of that time"
        names = np.array(spec.class_names)[np.concatenate(self._classes)[inside]]
        counts = ", ".join(f"{count} {name}" for name, count in Counter(names.tolist()).most_common(3))
        highest = float(np.concatenate(self._faults)[inside].max())
        text = f"its {int(inside.sum())} windows of that time: {counts}; highest fault probability {highest:.0%}"
        ood = int(np.concatenate(self._is_ood)[inside].sum())
        return text + (f"; {ood} out of distribution" if ood else "")


# Two models over a source ---------------------------------------------------------------------------------------------


@dataclass(slots=True)
class ModelRun:
    """Detection and results of one model over a recording."""

    detector: Detector
    events: list[FaultEvent] = field(default_factory=list)
    logs: dict[str, WindowLog] = field(default_factory=lambda: defaultdict(WindowLog))

    @property
    def spec(self) -> SignalSpec:
        """Return the spec of the model."""
        return self.detector.spec

    def process(self, batch: DecodedBatch) -> None:
        """Run the detection on a batch and log the results of its windows."""
        found = self.detector.process_batch(batch)
        self.events += found.events
        is_ood = self.detector.classifier.is_ood(batch.windows)
        for entry in batch.records:
            span = slice(entry.first, entry.first + entry.count)
            fault = 1.0 - found.probabilities[span, self.spec.none_index]
            self.logs[entry.line].add(entry, self.spec, found.classes[span], fault, is_ood[span])

    def episodes(self) -> list[ModelEpisode]:
        """Return the episodes in order of inception."""
        by_id: dict[str, list[FaultEvent]] = defaultdict(list)
        for event in self.events:
            by_id[event.episode_id].append(event)
        found = [ModelEpisode.of(events) for events in by_id.values()]
        return sorted(found, key=lambda episode: (episode.inception_ns, episode.line))


def compare(
    source: Source,
    first: Artefact,
    second: Artefact,
    *,
    topic: str | None = None,
    tolerance: Tolerance | None = None,
    progress: Callable[[int], None] = lambda records: None,
) -> Comparison:
    """Run two models over a source and pair their episodes.

    Args:
        source: recorded windows.
        first: first model.
        second: second model, for windows of the same shape; its classes may differ.
        topic: topic of the windows; if the source has records of this topic, those of other topics are skipped.
        tolerance: differences below which episodes count as equal; 5 ms and 20 ms by default.
        progress: function that is called with the number of records processed.

    Returns:
        The pairs of episodes, and the windows that the models classify differently.

    Raises:
        CompareError: if the models classify different windows, or the source has no windows that they can classify.
    """
    spec = first.manifest.spec
    if _shape(spec) != _shape(second.manifest.spec):
        raise CompareError(
            f"the models classify different windows: {spec.name!r} with {', '.join(spec.channels)}, and "
            f"{second.manifest.spec.name!r} with {', '.join(second.manifest.spec.channels)}; give two of one spec"
        )
    with Engine(first) as engine, Engine(second) as other:
        runs = [ModelRun(Detector(each, each.spec)) for each in (engine, other)]
        return compare_runs(source, runs[0], runs[1], topic=topic, tolerance=tolerance, progress=progress)


def compare_runs(
    source: Source,
    first: ModelRun,
    second: ModelRun,
    *,
    topic: str | None = None,
    tolerance: Tolerance | None = None,
    progress: Callable[[int], None] = lambda records: None,
) -> Comparison:
    """Compare models that are already loaded; see ``compare``."""
    spec = first.spec
    outcomes: Counter[str] = Counter()
    records = source.records()
    if topic is not None and topic in source.topics:
        records = (record for record in records if record.topic == topic)
    done = 0
    for consumed in batched(_window_records(records)):
        batch = decode_batch(consumed, spec, max_bytes=MAX_MESSAGE_BYTES)
        outcomes.update(dead.reason for dead in batch.dead)
        for run in (first, second):
            run.process(batch)
        done += len(consumed)
        progress(done)
    windows = sum(log.count for log in first.logs.values())
    if not windows:
        why = ", ".join(f"{count} {reason}" for reason, count in outcomes.items()) or "it is empty"
        raise CompareError(
            f"the source has no window of spec {spec.name!r} ({why}): compare models of the spec of its windows"
        )
    return Comparison(
        models=(first.detector.classifier.model_id, second.detector.classifier.model_id),
        begin_ns=min(log.first_ns for log in first.logs.values()),
        windows=windows,
        not_judged=dict(outcomes),
        lines=_window_differences(first, second),
        pairs=paired(
            (first.episodes(), second.episodes()),
            (first.logs, second.logs),
            (first.spec, second.spec),
            tolerance or Tolerance(),
        ),
    )


def _shape(spec: SignalSpec) -> tuple[object, ...]:
    return spec.name, spec.channels, spec.samples, spec.hop, spec.period_samples


def _window_records(records: Iterable[ReplayRecord]) -> Iterator[tuple[WindowRecord, int]]:
    for offset, record in enumerate(records):
        topic, time_ms = record.topic or "source", record.timestamp_ms or 0
        yield WindowRecord(topic, 0, offset, time_ms, record.key, record.value, record.headers), max(record.windows, 1)


def _window_differences(first: ModelRun, second: ModelRun) -> tuple[LineWindowsDiffer, ...]:
    """Return the lines with windows that are classified differently, starting with the line with the most."""
    found = []
    for line, log in first.logs.items():
        a, b = log.class_names(first.spec), second.logs[line].class_names(second.spec)
        differ: NDArray[np.bool_] = a != b
        if differ.any():
            at = log.starts_ns()[differ]
            found.append(LineWindowsDiffer(line=line, windows=log.count, differ=int(differ.sum()), first_ns=int(at[0])))
    return tuple(sorted(found, key=lambda line: (-line.differ, line.line)))


# Pairs of episodes ----------------------------------------------------------------------------------------------------


def paired(
    episodes: tuple[Sequence[ModelEpisode], Sequence[ModelEpisode]],
    logs: tuple[Mapping[str, WindowLog], Mapping[str, WindowLog]],
    specs: tuple[SignalSpec, SignalSpec],
    tolerance: Tolerance,
) -> tuple[EpisodePair, ...]:
    """Pair the episodes of two models that overlap in time on the same line, the longest overlaps first.

    Args:
        episodes: episodes of the first and of the second model.
        logs: results per window of the two models, by line.
        specs: specs of the two models.
        tolerance: differences below which episodes count as equal.

    Returns:
        Pairs in order of time; every episode is in exactly one pair.
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
    # Two episodes that are both not cleared overlap up to the end of the recording.
    return (min(ends) if ends else begin + NS_PER_S) - begin


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
    why = "it has no windows of the line" if log is None else log.describe(specs[silent], one.inception_ns, end_ns)
    which = ("first", "second")[silent]
    return EpisodePair(line=one.line, first=a, second=b, differences=(f"the {which} model has no episode: {why}",))


def _differences(a: ModelEpisode, b: ModelEpisode, tolerance: Tolerance) -> list[str]:
    found = []
    both_three_phase = a.fault_type in THREE_PHASE and b.fault_type in THREE_PHASE
    if a.fault_class != b.fault_class and not both_three_phase:
        found.append(f"class {' then '.join(a.classes)} with the first, {' then '.join(b.classes)} with the second")
    later_ms = (b.inception_ns - a.inception_ns) / MS
    if abs(later_ms) > tolerance.inception_ms:
        found.append(f"inception {abs(later_ms):.1f} ms {'later' if later_ms > 0 else 'earlier'} with the second")
    if (a.duration_s is None) != (b.duration_s is None):
        found.append(f"cleared only with the {'first' if b.duration_s is None else 'second'}")
    elif a.duration_s is not None and b.duration_s is not None:
        longer_ms = (b.duration_s - a.duration_s) * 1000
        if abs(longer_ms) > tolerance.duration_ms:
            found.append(f"lasts {abs(longer_ms):.1f} ms {'longer' if longer_ms > 0 else 'shorter'} with the second")
    return found
