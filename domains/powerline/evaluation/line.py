"""Evaluate a `line` model on unseen lines, by a mixed scenario and one of non-faults only."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from domains.powerline.data.datasets import DataSetRecipe, simulated
from domains.powerline.data.line_sequences import PART, training_part
from domains.powerline.data.scenario import STRETCH_S, scenario
from domains.powerline.data.training_data import Seeds
from domains.powerline.evaluation.events import TEST_SECONDS
from model.artefact import Artefact
from model.spec import SignalSpec
from stream.detection.scoring import score_events
from stream.detection.truth import injected_faults
from stream.windowing import cut_windows
from training.data.classifier import Classifier
from training.data.episodes import Event, Scenario
from training.data.sequences import Sequences
from training.data.windows import window_ends
from training.document import delays
from training.evaluation.documents import DataSummary, Events, LeakageCheck, Slice
from training.evaluation.evaluation import Evaluation, Predictions, Progress, repeated_windows, worst
from training.report.failures import scenario_failures
from training.report.records import ClassifiedScenario, classified, event_at
from training.report.scores import merged_macro_f1

_BANDS: dict[str, tuple[str, tuple[float, ...], str]] = {
    "resistance_ohm": ("fault resistance", (0.1, 1.0, 10.0), "Ω"),
    "position": ("fault position", (0.2, 0.5, 0.8), "of the line"),
    "load_angle_deg": ("load angle", (-15.0, 0.0, 15.0), "°"),
    "strength_local": ("strength of the near source", (8.0, 16.0, 30.0), "times the line's rating"),
    "inception_deg": ("inception angle", (90.0, 180.0, 270.0), "°"),
}
_NAMES = {"kilovolt": ("nominal voltage", "kV"), "clearing": ("clearing", "")}


def line_scenarios(lines: int, seed: int) -> tuple[Scenario, Scenario]:
    """Simulate the mixed scenario and the one without faults."""
    return scenario(lines, TEST_SECONDS, seed), scenario(lines, TEST_SECONDS, seed + 1, fault_share=0.0)


def evaluate_line_model(
    classify: Classifier,
    artefact: Artefact,
    scenarios: tuple[Scenario, Scenario],
    seed: int,
    step: Progress,
) -> Evaluation:
    """Evaluate a `line` classifier.

    Args:
        classify: see ``training.data.classifier.Classifier``.
        artefact: artefact whose manifest describes the data of its training.
        scenarios: result of ``line_scenarios``.
        seed: seed of the scenarios.
        step: called with a description of each step.
    """
    spec = artefact.manifest.spec
    step("classifying the mixed scenario")
    mixed = classified(scenarios[0], classify, spec)
    step("classifying non-faults")
    quiet = classified(scenarios[1], classify, spec)
    predictions = line_predictions(mixed, spec)
    step("checking for leakage")
    lines = len(mixed.scenario.labels)
    source = (
        f"{lines} lines simulated for {TEST_SECONDS:.0f} s each with an occurrence every {STRETCH_S} s; a second such"
        f" scenario without faults. Windows lying fully in one state."
    )
    data = DataSummary(
        training=str(artefact.manifest.provenance.get("command", "not recorded")),
        evaluation=source,
        parts=_parts(artefact, len(predictions.labels)),
        leakage=_leakage(artefact, mixed, seed),
    )
    slices = [*_fault_slices(mixed, spec), *_silence_slices((mixed, quiet), spec)]
    return Evaluation(
        predictions=predictions,
        data=data,
        slices=worst(slices),
        failures=scenario_failures((mixed, quiet), spec),
        events=_events(mixed, quiet, spec),
        holdout=merged_macro_f1(predictions, spec),
    )


def line_predictions(record: ClassifiedScenario, spec: SignalSpec) -> Predictions:
    """Return the windows that lie fully in one state; an episode is one stretch of one line, with one event."""
    stretch = round(STRETCH_S * record.scenario.rate_hz)
    ends = window_ends(record.scenario.labels.shape[1], spec)
    place = np.arange(len(record.scenario.labels))[:, None] * 10_000 + (ends // stretch)[None, :]
    return Predictions(
        labels=record.labels[record.whole],
        probabilities=record.probabilities[record.whole],
        episode=place[record.whole],
        source="fresh simulated lines, windows lying fully in one state",
    )


def _parts(artefact: Artefact, evaluated: int) -> dict[str, int]:
    metrics: dict[str, Any] = dict(artefact.manifest.metrics)
    counts = metrics.get("windows") or {}
    return {**{str(name): int(count) for name, count in counts.items()}, "evaluation": evaluated}


def _leakage(artefact: Artefact, mixed: ClassifiedScenario, seed: int) -> tuple[LeakageCheck, ...]:
    """Compare seeds with those of training, and windows with a part of the training data simulated again."""
    trained = artefact.manifest.provenance.get("seed")
    if not isinstance(trained, int):
        return ()
    used = Seeds(trained).used()
    spec = artefact.manifest.spec
    source: Any = artefact.manifest.provenance.get("data")
    if source is None:
        training = _flat(cut_windows(_first_part(spec, trained).data, spec))
    else:
        recipe = DataSetRecipe.model_validate(source["recipe"])
        used.add(recipe.seed)
        training = _flat(cut_windows(next(simulated(recipe)).samples, spec))
    windows = np.concatenate([cut_windows(line, spec) for line in mixed.scenario.samples])
    return (
        LeakageCheck(
            question="evaluation seeds that training, mining, calibration or its own test used",
            found=len(used & {seed, seed + 1}),
            of=2,
        ),
        repeated_windows(windows, training),
    )


@lru_cache(maxsize=1)  # a candidate and its champion mostly have the same seed
def _first_part(spec: SignalSpec, seed: int) -> Sequences:
    """Simulate the first part of a training set again."""
    return training_part(0, PART, spec, seed)


def _flat(windows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return windows (n, steps, samples, channels) as windows (n * steps, samples, channels)."""
    return windows.reshape(-1, *windows.shape[2:])


def _events(mixed: ClassifiedScenario, quiet: ClassifiedScenario, spec: SignalSpec) -> Events:
    injected = injected_faults(mixed.scenario.labels, spec.none_index)
    score = score_events(injected, mixed.found, spec, mixed.scenario.labels.size / mixed.scenario.rate_hz / 3600)
    kinds: dict[str, int] = defaultdict(int)
    for episode in quiet.found:
        event = event_at(quiet.scenario.events, episode.line, episode.at)
        kinds["quiet" if event is None else event.kind] += 1
    return Events(
        injected=score.injected,
        found=score.found,
        correct=score.correct,
        wrong=score.wrong,
        missed=score.missed,
        false_alarms=score.false_alarms,
        repeated=score.repeated,
        line_hours=round(score.line_hours, 4),
        **delays(spec, round(score.delay_cycles_median, 4), round(score.delay_cycles_p95, 4)),
        disturbances=len(quiet.scenario.events),
        disturbance_line_hours=round(quiet.scenario.labels.size / quiet.scenario.rate_hz / 3600, 4),
        disturbance_false_alarms=len(quiet.found),
        disturbance_by_kind=dict(sorted(kinds.items())),
    )


def _fault_slices(record: ClassifiedScenario, spec: SignalSpec) -> Iterator[Slice]:
    """Yield the accuracy in windows of faults, by the simulated parameters of the fault."""
    merged = np.array(spec.equivalent_indices())
    right = merged[record.probabilities.argmax(axis=2)] == merged[record.labels]
    ends = window_ends(record.scenario.labels.shape[1], spec)
    counted: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
    for event in record.scenario.events:
        if not event.classes:
            continue
        inside = record.whole[event.line] & (ends >= event.start) & (ends < event.stop)
        result = int(right[event.line, inside].sum()), int(inside.sum())
        if result[1]:
            for key in _bands_of(event):
                counted[key].append(result)
    yield from _slices(counted)


def _bands_of(event: Event) -> Iterator[tuple[str, str]]:
    yield "fault", " → ".join(event.classes)
    yield "stages", "evolving" if len(event.classes) > 1 else "one"
    for name, (dimension, bounds, unit) in _BANDS.items():
        value = event.parameters.get(name)
        if isinstance(value, float):
            yield dimension, f"{_band(value, bounds)} {unit}"
    for name, (dimension, unit) in _NAMES.items():
        if name in event.parameters:
            value = event.parameters[name]
            yield dimension, f"{value:g} {unit}" if isinstance(value, float) else str(value).replace("_", " ")


def _band(value: float, bounds: tuple[float, ...]) -> str:
    k = int(np.searchsorted(bounds, value))
    if k == 0:
        return f"below {bounds[0]:g}"
    return f"above {bounds[-1]:g}" if k == len(bounds) else f"{bounds[k - 1]:g} … {bounds[k]:g}"


def _silence_slices(records: tuple[ClassifiedScenario, ...], spec: SignalSpec) -> Iterator[Slice]:
    """Yield the accuracy in windows of non-faults by kind; class none is correct."""
    counted: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
    for record in records:
        silent = record.probabilities.argmax(axis=2) == spec.none_index
        ends = window_ends(record.scenario.labels.shape[1], spec)
        for event in record.scenario.events:
            if event.classes:
                continue
            inside = (ends >= event.start) & (ends < event.stop + spec.samples)
            inside &= record.labels[event.line] == spec.none_index
            counted["non-fault", event.kind.replace("_", " ")].append(
                (int(silent[event.line, inside].sum()), int(inside.sum()))
            )
    yield from _slices(counted)


def _slices(counted: dict[tuple[str, str], list[tuple[int, int]]]) -> Iterator[Slice]:
    for (dimension, band), results in sorted(counted.items()):
        right, windows = (sum(column) for column in zip(*results, strict=True))
        if windows:
            accuracy = round(right / windows, 4)
            yield Slice(dimension=dimension, band=band, episodes=len(results), windows=windows, accuracy=accuracy)
