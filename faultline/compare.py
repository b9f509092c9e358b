"""Two models on one recording, without a broker: the worker's own decode, engine, rejection and episode code, twice.

Example:
    >>> from faultline.compare import compare_models
    >>> found = compare_models(open_replay(settings, path), load_artefact("a.safetensors"),
    ...                        load_artefact("b.safetensors"))  # doctest: +SKIP
    >>> found.agree, [pair.differences for pair in found.pairs]  # doctest: +SKIP
    (False, [('class AG and AB',)])
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from faultline.comparing_pairs import (
    Comparison,
    LineWindowsDiffer,
    ModelEpisode,
    Tolerance,
    WindowLog,
    paired,
)
from model.artefact import Artefact
from model.engine import Engine
from model.errors import FaultlineError
from model.spec import SignalSpec
from stream.contract import FaultEvent, SourceRecord
from stream.detection.classify import Classifier, classify_windows
from stream.detection.decode import DecodedBatch, decode_batch
from stream.detection.episodes import EpisodeTracker
from stream.detection.events import fault_event
from stream.detection.line_state import LineState
from stream.recordings.sources import ReplayRecord, Source

BATCH_WINDOWS = 4096
"""Classified at once: enough to fill the engine's buckets, 3 MiB of `line` windows."""
MAX_MESSAGE_BYTES = 100_000_000
"""What a broker took once is judged."""


class CompareError(FaultlineError):
    """Two models cannot be compared on a source."""


@dataclass(slots=True)
class _Taken:
    """A record of a source as if it had been consumed."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


@dataclass(slots=True)
class ModelRun:
    """One model's way through a recording."""

    classifier: Classifier
    tracker: EpisodeTracker
    events: list[FaultEvent] = field(default_factory=list)
    logs: dict[str, WindowLog] = field(default_factory=lambda: defaultdict(WindowLog))
    _states: dict[str, LineState] = field(default_factory=dict)

    def take(self, batch: DecodedBatch) -> None:
        """Judge the windows of a batch, in the order of their records."""
        spec = self.tracker.spec
        probabilities, _ = classify_windows(self.classifier, batch.windows, spec.none_index)
        unlike = self.classifier.is_ood(batch.windows)
        classes = probabilities.argmax(axis=1)
        for entry in batch.records:
            span = slice(entry.first, entry.first + entry.count)
            tracked = self.tracker.track(
                self._states.get(entry.line), entry, batch.windows[span], classes[span], probabilities[span]
            )
            self._states[entry.line] = tracked.state
            source = SourceRecord(topic=entry.record.topic, partition=0, offset=entry.record.offset)
            self.events += [fault_event(step, spec, self.classifier.model_id, source) for step in tracked.steps]
            fault = 1.0 - probabilities[span, spec.none_index]
            self.logs[entry.line].add(entry, spec, classes[span], fault, unlike[span])

    def episodes(self) -> list[ModelEpisode]:
        """What was found, by inception."""
        by_id: dict[str, list[FaultEvent]] = defaultdict(list)
        for event in self.events:
            by_id[event.episode_id].append(event)
        found = [ModelEpisode.of(events) for events in by_id.values()]
        return sorted(found, key=lambda episode: (episode.inception_ns, episode.line))


def compare_models(
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
        first, second: models for windows of one shape; their classes may differ.
        topic: of the windows; records of other topics are passed over where the source has some of this one.
        tolerance: what is no difference.
        progress: called with the number of records done.

    Raises:
        CompareError: the models judge different windows, or the source has none that they judge.
    """
    spec = first.manifest.spec
    if _shape(spec) != _shape(second.manifest.spec):
        raise CompareError(
            f"the models judge different windows: {spec.name!r} with {', '.join(spec.channels)}, and "
            f"{second.manifest.spec.name!r} with {', '.join(second.manifest.spec.channels)}"
        )
    with Engine(first) as engine, Engine(second) as other:
        runs = [ModelRun(each, EpisodeTracker(each.spec)) for each in (engine, other)]
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
    """See ``compare_models``; the models are there already."""
    spec = first.tracker.spec
    outcomes: Counter[str] = Counter()
    records = source.records()
    if topic is not None and topic in source.topics:
        records = (record for record in records if record.topic == topic)
    done = 0
    for taken in _batches(records):
        batch = decode_batch(taken, spec, max_bytes=MAX_MESSAGE_BYTES)
        outcomes.update(dead.reason for dead in batch.dead)
        for run in (first, second):
            run.take(batch)
        done += len(taken)
        progress(done)
    windows = sum(log.count for log in first.logs.values())
    if not windows:
        why = ", ".join(f"{count} {reason}" for reason, count in outcomes.items()) or "it is empty"
        raise CompareError(f"no window of spec {spec.name!r} is in the source ({why}): FAULTLINE_SPEC says which")
    return Comparison(
        models=(first.classifier.model_id, second.classifier.model_id),
        begin_ns=min(log.first_ns for log in first.logs.values()),
        windows=windows,
        not_judged=dict(outcomes),
        lines=_window_differences(first, second),
        pairs=paired(
            (first.episodes(), second.episodes()),
            (first.logs, second.logs),
            (first.tracker.spec, second.tracker.spec),
            tolerance or Tolerance(),
        ),
    )


def _shape(spec: SignalSpec) -> tuple[object, ...]:
    return spec.name, spec.channels, spec.samples, spec.hop, spec.samples_per_cycle


def _batches(records: Iterable[ReplayRecord]) -> Iterator[list[_Taken]]:
    taken: list[_Taken] = []
    windows = 0
    for offset, record in enumerate(records):
        topic, time_ms = record.topic or "source", record.timestamp_ms or 0
        taken.append(_Taken(topic, 0, offset, time_ms, record.key, record.value, record.headers))
        windows += max(record.windows, 1)
        if windows >= BATCH_WINDOWS:
            yield taken
            taken, windows = [], 0
    if taken:
        yield taken


def _window_differences(first: ModelRun, second: ModelRun) -> tuple[LineWindowsDiffer, ...]:
    """Lines of which single windows are classed differently, the worst first."""
    found = []
    for line, log in first.logs.items():
        a, b = log.class_names(first.tracker.spec), second.logs[line].class_names(second.tracker.spec)
        differ: NDArray[np.bool_] = a != b
        if differ.any():
            at = log.starts_ns()[differ]
            found.append(LineWindowsDiffer(line=line, windows=log.count, differ=int(differ.sum()), first_ns=int(at[0])))
    return tuple(sorted(found, key=lambda line: (-line.differ, line.line)))
