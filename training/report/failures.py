"""The gallery of failures: which events and windows went wrong, with their waveforms."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from domains.powerline.data.scenario import Event
from model.spec import SignalSpec
from stream.detection.scoring import belongs
from stream.detection.truth import injected_faults
from training.report.data import Failure
from training.report.evaluation import GALLERY

if TYPE_CHECKING:
    from domains.powerline.evaluation.line import Record

BEFORE_CYCLES, AFTER_CYCLES = 1.5, 4.5
DIGITS = 3  # of a waveform's values: a plot's line is thicker


def line_failures(records: Sequence[Record], spec: SignalSpec) -> tuple[Failure, ...]:
    """Return missed and wrong faults, false alarms, then the windows that were wrong with the highest probability."""
    found: list[Failure] = []
    for record in records:
        found += [*_events_missed_or_wrong(record, spec), *_false_alarms(record, spec)]
    if len(found) < GALLERY:
        found += _wrong_windows(records[0], spec, GALLERY - len(found))
    # One of each kind before a second of any: six missed faults would tell less.
    turns = [[earlier.title for earlier in found[:k]].count(failure.title) for k, failure in enumerate(found)]
    return tuple(found[k] for k in sorted(range(len(found)), key=turns.__getitem__)[:GALLERY])


def _events_missed_or_wrong(record: Record, spec: SignalSpec) -> Iterator[Failure]:
    merged = np.array(spec.equivalent_indices())
    for fault in injected_faults(record.what.labels, spec.none_index):
        mine = [episode for episode in record.found if belongs(episode, fault, spec)]
        truth = " → ".join(spec.class_names[c] for c in fault.classes)
        event = _event_at(record.what.events, int(fault.line), fault.begin)
        if not mine:
            yield _failure(record, spec, "missed fault", truth, "no episode", int(fault.line), fault.begin, event)
        elif merged[mine[-1].last_class] != merged[fault.classes[-1]]:
            said = spec.class_names[mine[-1].last_class]
            yield _failure(record, spec, "wrong class", truth, said, int(fault.line), fault.begin, event)


def _false_alarms(record: Record, spec: SignalSpec) -> Iterator[Failure]:
    faults = injected_faults(record.what.labels, spec.none_index)
    for d in record.found:
        if any(belongs(d, fault, spec) for fault in faults):
            continue
        event = _event_at(record.what.events, int(d.line), d.at)
        truth = "quiet" if event is None else event.kind.replace("_", " ")
        said = spec.class_names[d.onset_class]
        yield _failure(record, spec, "false alarm", truth, said, int(d.line), d.at, event)


def _wrong_windows(record: Record, spec: SignalSpec, count: int) -> Iterator[Failure]:
    """Windows lying fully in one state that were called another, the surest first, one of each event."""
    merged = np.array(spec.equivalent_indices())
    said = record.probabilities.argmax(axis=2)
    sure = record.probabilities.max(axis=2) * (record.whole & (merged[said] != merged[record.labels]))
    seen: set[tuple[int, int]] = set()
    for flat in np.argsort(-sure, axis=None):
        line, k = np.unravel_index(int(flat), sure.shape)
        if sure[line, k] == 0 or len(seen) == count:
            return
        last = int(k) * spec.hop + spec.samples - 1
        event = _event_at(record.what.events, int(line), last)
        key = int(line), -1 if event is None else event.start
        if key in seen:
            continue
        seen.add(key)
        yield _failure(
            record,
            spec,
            "wrong window",
            spec.class_names[record.labels[line, k]],
            spec.class_names[said[line, k]],
            int(line),
            last,
            event,
            float(sure[line, k]),
        )


def _event_at(events: Sequence[Event], line: int, sample: int) -> Event | None:
    begun = [event for event in events if event.line == line and event.start <= sample]
    return max(begun, key=lambda event: event.start) if begun else None


def _failure(
    record: Record,
    spec: SignalSpec,
    title: str,
    truth: str,
    said: str,
    line: int,
    sample: int,
    event: Event | None,
    probability: float | None = None,
) -> Failure:
    length = record.what.samples.shape[1]
    first = max(0, sample - round(BEFORE_CYCLES * (spec.period_samples or spec.samples)))
    last = min(length, sample + round(AFTER_CYCLES * (spec.period_samples or spec.samples)))
    facts = {} if event is None else {"event": event.kind, **event.parameters}
    return Failure(
        title=title,
        truth=truth,
        said=said,
        probability=None if probability is None else round(probability, 4),
        facts={name: round(value, 3) if isinstance(value, float) else value for name, value in facts.items()},
        channels=spec.channels,
        samples=waveform(record.what.samples[line, first:last]),
        samples_per_cycle=spec.period_samples or spec.samples,
        mark=sample - first,
    )


def waveform(samples: NDArray[np.float32]) -> tuple[tuple[float, ...], ...]:
    """Return samples (t, channels) as rows per channel, rounded."""
    return tuple(tuple(round(float(value), DIGITS) for value in channel) for channel in samples.T)
