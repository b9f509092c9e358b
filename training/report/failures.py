"""Select the failures that a report shows: wrong events and misclassified windows, with their waveforms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from model.spec import SignalSpec
from stream.detection.scoring import belongs
from stream.detection.truth import injected_faults
from training.data.episodes import Event
from training.data.windows import Windows
from training.evaluation.documents import Failure
from training.evaluation.evaluation import MOST_FAILURES, Predictions
from training.report.records import ClassifiedScenario, event_at

BEFORE_LENGTHS, AFTER_LENGTHS = 1.5, 4.5  # window lengths shown before and after the marked sample
DIGITS = 3  # decimals of a waveform's values; a plotted line is thicker than the rounding


class Axes(TypedDict):
    """The fields of ``Failure`` that scale its time axis and group its channels."""

    samples_per_cycle: int | None
    rate_hz: float | None
    quantities: Mapping[str, tuple[int, ...]]


def scenario_failures(records: Sequence[ClassifiedScenario], spec: SignalSpec) -> tuple[Failure, ...]:
    """Return missed and wrong faults, false alarms, and then the most confident misclassified windows.

    Args:
        records: classified scenarios; misclassified windows are taken from the first.
        spec: spec of the windows.
    """
    found: list[Failure] = []
    for record in records:
        found += [*_events_missed_or_wrong(record, spec), *_false_alarms(record, spec)]
    if len(found) < MOST_FAILURES:
        found += _wrong_windows(records[0], spec, MOST_FAILURES - len(found))
    # Show one failure of each kind before a second of any kind, which is more informative than six missed faults.
    turns = [[earlier.title for earlier in found[:k]].count(failure.title) for k, failure in enumerate(found)]
    return tuple(found[k] for k in sorted(range(len(found)), key=turns.__getitem__)[:MOST_FAILURES])


def _events_missed_or_wrong(record: ClassifiedScenario, spec: SignalSpec) -> Iterator[Failure]:
    merged = np.array(spec.equivalent_indices())
    for fault in injected_faults(record.scenario.labels, spec.none_index):
        own = [episode for episode in record.found if belongs(episode, fault, spec)]
        truth = " → ".join(spec.class_names[c] for c in fault.classes)
        event = event_at(record.scenario.events, fault.line, fault.begin)
        if not own:
            yield _failure(record, spec, "missed fault", truth, "no episode", int(fault.line), fault.begin, event)
        elif merged[own[-1].last_class] != merged[fault.classes[-1]]:
            predicted = spec.class_names[own[-1].last_class]
            yield _failure(record, spec, "wrong class", truth, predicted, int(fault.line), fault.begin, event)


def _false_alarms(record: ClassifiedScenario, spec: SignalSpec) -> Iterator[Failure]:
    faults = injected_faults(record.scenario.labels, spec.none_index)
    for d in record.found:
        if any(belongs(d, fault, spec) for fault in faults):
            continue
        event = event_at(record.scenario.events, d.line, d.at)
        truth = "quiet" if event is None else event.kind.replace("_", " ")
        predicted = spec.class_names[d.onset_class]
        yield _failure(record, spec, "false alarm", truth, predicted, int(d.line), d.at, event)


def _wrong_windows(record: ClassifiedScenario, spec: SignalSpec, count: int) -> Iterator[Failure]:
    """Yield misclassified windows that lie fully in one state, the most confident first, one per event."""
    merged = np.array(spec.equivalent_indices())
    predicted = record.probabilities.argmax(axis=2)
    confidence = record.probabilities.max(axis=2) * (record.whole & (merged[predicted] != merged[record.labels]))
    seen: set[tuple[int, int]] = set()
    for flat in np.argsort(-confidence, axis=None):
        line, k = np.unravel_index(int(flat), confidence.shape)
        if confidence[line, k] == 0 or len(seen) == count:
            return
        last = int(k) * spec.hop + spec.samples - 1
        event = event_at(record.scenario.events, int(line), last)
        key = int(line), -1 if event is None else event.start
        if key in seen:
            continue
        seen.add(key)
        yield _failure(
            record,
            spec,
            "wrong window",
            spec.class_names[record.labels[line, k]],
            spec.class_names[predicted[line, k]],
            int(line),
            last,
            event,
            float(confidence[line, k]),
        )


def _failure(
    record: ClassifiedScenario,
    spec: SignalSpec,
    title: str,
    truth: str,
    predicted: str,
    line: int,
    sample: int,
    event: Event | None,
    probability: float | None = None,
) -> Failure:
    length = record.scenario.samples.shape[1]
    first = max(0, sample - round(BEFORE_LENGTHS * spec.samples))
    last = min(length, sample + round(AFTER_LENGTHS * spec.samples))
    facts = {} if event is None else {"event": event.kind, **event.parameters}
    return Failure(
        title=title,
        truth=truth,
        said=predicted,
        probability=None if probability is None else round(probability, 4),
        facts={name: round(value, 3) if isinstance(value, float) else value for name, value in facts.items()},
        channels=spec.channels,
        samples=waveform(record.scenario.samples[line, first:last]),
        mark=sample - first,
        **axes(spec),
    )


def wrong_windows(predictions: Predictions, windows: Windows, spec: SignalSpec) -> tuple[Failure, ...]:
    """Return the most confident misclassified windows, one for each pair of true and predicted class.

    Args:
        predictions: predictions for the windows.
        windows: the same windows in the same order.
        spec: spec of the windows.
    """
    merged = np.array(spec.equivalent_indices())
    confidence = predictions.probabilities.max(axis=1) * (merged[predictions.y_pred] != merged[predictions.labels])
    found: dict[tuple[int, int], Failure] = {}
    for k in np.argsort(-confidence, kind="stable"):
        pair = int(predictions.labels[k]), int(predictions.y_pred[k])
        if confidence[k] == 0 or len(found) == MOST_FAILURES:
            break
        if pair not in found:
            found[pair] = Failure(
                title="wrong window",
                truth=spec.class_names[pair[0]],
                said=spec.class_names[pair[1]],
                probability=round(float(confidence[k]), 4),
                facts={"episode": str(predictions.episode[k])},
                channels=spec.channels,
                samples=waveform(windows.data[k]),
                mark=spec.samples - 1,
                **axes(spec),
            )
    return tuple(found.values())


def axes(spec: SignalSpec) -> Axes:
    """Return the unit of time (cycles, or seconds for a spec without cycles) and the quantities of the channels."""
    return {
        "samples_per_cycle": spec.period_samples,
        "rate_hz": None if spec.period_samples else spec.rate_hz,
        "quantities": spec.groups,
    }


def waveform(samples: NDArray[np.float32]) -> tuple[tuple[float, ...], ...]:
    """Return samples (t, channels) as rows per channel, rounded."""
    return tuple(tuple(round(float(value), DIGITS) for value in channel) for channel in samples.T)
