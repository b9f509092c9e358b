"""Derive the report's sentences from measured results. Each names its numbers, and nothing unmeasured is claimed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from model.memory import memory_units
from model.spec import SignalSpec
from training.evaluation.conditions.results import ConditionCell, RobustnessResult
from training.evaluation.documents import DataSummary, Elsewhere, Events, Slice
from training.gate.gate import Verdict
from training.recipe import Recipe
from training.report.data import Calibration, Classification, Latency, Network, Training
from training.report.model_card import chains, parameters

# A larger gap between training and validation accuracy is reported as overfitting.
GAP = 0.03
# Types of layers that pass on values of the window and compute none.
REARRANGING = ("Cropping2D", "Flatten", "Reshape")
# A class, a slice or a condition that is further below the overall score gets a recommendation.
NOTABLE = 0.01
# If the temperature increases the calibration error by more than this, the increase is not due to chance.
NOTABLE_ECE = 0.002


def architecture_notes(network: Network, latency: Sequence[Latency], cores: int) -> tuple[str, ...]:
    """Return sentences on the distribution of parameters, the other architectures, and the time per window."""
    units = memory_units(network.architecture)
    reading_order = (
        f"A window is one step of the network, whose memory of {units} values goes on to the line's next window"
        if units
        else f"A window is read in {network.steps} steps of {network.values_per_step}"
        f" {'value' if network.values_per_step == 1 else 'values'}"
    )
    notes = [f"{reading_order}; the network has {network.parameters:,} parameters."]
    largest = max(network.layers, key=lambda layer: layer.parameters)
    share = largest.parameters / network.parameters
    notes.append(
        f"{largest.type} '{largest.name}' holds {largest.parameters:,} of the {network.parameters:,} ({share:.1%})."
    )
    reading, joining = chains(network.layers)
    if joining:
        counts = ", ".join(f"{part[0].name} to {part[-1].name} {parameters(part):,}" for part in (*reading, *joining))
        notes.append(f"{len(reading)} branches read the window. Parameters by branch, then joined: {counts}.")
        measured = [chain[0] for chain in reading if chain[0].parameters == 0 and chain[0].type not in REARRANGING]
        notes.extend(
            f"{layer.type} '{layer.name}' computes {layer.output_shape.strip('()').split(', ')[-1]} features of the"
            f" window with 0 parameters."
            for layer in measured
        )
    others = [other for other in network.alternatives if other.architecture != network.architecture]
    if others:
        counts = ", ".join(
            f"{other.architecture} {other.parameters:,} ({other.parameters / network.parameters - 1:+.0%})"
            for other in others
        )
        notes.append(
            f"Parameters of the other architectures for the same spec, compared with {network.parameters:,}: {counts}."
        )
    if latency:
        one, many = latency[0], max(latency, key=lambda row: row.windows_per_second)
        gain = many.windows_per_second / one.windows_per_second
        notes.append(
            f"A single window takes {one.median_ms:.3f} ms (median); in batches of {many.batch:,} the engine classifies"
            f" {many.windows_per_second:,.0f} windows/s on {cores} cores, {gain:.0f} times as many."
        )
    return tuple(notes)


def learning_notes(training: Training) -> tuple[str, ...]:
    """Return sentences on the learning curves and on overfitting."""
    notes = []
    if (history := training.history) is not None:
        top = max(range(len(history.val_accuracy)), key=history.val_accuracy.__getitem__)
        notes.append(
            f"The model achieved its highest validation accuracy of {history.val_accuracy[top]:.4f} at epoch {top + 1};"
            f" its weights are those of epoch {history.best_epoch}, where the validation loss was"
            f" {history.val_loss[history.best_epoch - 1]:.4f}."
        )
        if history.best_epoch == len(history.loss):
            before = f", {history.val_loss[-2]:.4f} in the one before" if len(history.val_loss) > 1 else ""
            notes.append(
                f"The best epoch is the last of {len(history.loss)}, with a validation loss of"
                f" {history.val_loss[-1]:.4f}{before}."
            )
    if training.accuracy is not None and training.val_accuracy is not None:
        gap = training.accuracy - training.val_accuracy
        verdict = f"above {GAP:.2f}, hence overfitting" if gap > GAP else f"within {GAP:.2f}"
        notes.append(
            f"Training accuracy {training.accuracy:.4f}, validation accuracy {training.val_accuracy:.4f}:"
            f" a gap of {gap:+.4f}, {verdict}."
        )
    return tuple(notes)


def recommendations(
    spec: SignalSpec,
    verdict: Verdict,
    training: Training,
    classification: Classification,
    calibration: Calibration,
    slices: Sequence[Slice],
    events: Events | None,
    conditions: RobustnessResult | None,
    data: DataSummary,
    elsewhere: Elsewhere | None,
) -> tuple[str, ...]:
    """Return recommendations for the next steps, the gate's verdict first."""
    return (
        _by_verdict(verdict),
        *_by_leakage(data, elsewhere, classification),
        *_by_class(spec, classification),
        *_by_slice(slices, classification),
        *_by_condition(conditions),
        *_by_events(events),
        *_by_calibration(calibration),
        *_by_training(training),
    )


def _by_verdict(verdict: Verdict) -> str:
    count = len(verdict.criteria)
    if verdict.passed:
        return f"Deploy: all {count} criteria of the gate are met."
    failed = "; ".join(criterion.text for criterion in verdict.failed[:3])
    return f"Do not deploy: {len(verdict.failed)} of {count} criteria of the gate are not met: {failed}."


def _by_leakage(data: DataSummary, elsewhere: Elsewhere | None, classification: Classification) -> Iterator[str]:
    leaks = [check for check in data.leakage if check.allowed is not None and check.found > check.allowed]
    for check in leaks:
        yield f"Repair the data before relying on any score: {check.found:,} of {check.of:,} {check.question}."
    known = [check for check in data.leakage if check.allowed is None and check.found > check.of / 10]
    if known and elsewhere is not None:
        check = max(known, key=lambda check: check.found)
        yield (
            f"Rely on the {elsewhere.split} split, merged macro-F1 {elsewhere.merged_macro_f1:.4f}, and not on"
            f" {classification.scores.merged_macro_f1:.4f} here: {check.found:,} of {check.of:,} {check.question}."
        )


def _by_class(spec: SignalSpec, classification: Classification) -> Iterator[str]:
    merged = spec.equivalent_indices()
    table = classification.confusion
    errors = sum(count for row, line in enumerate(table) for column, count in enumerate(line) if row != column)
    alike = [k for k, into in enumerate(merged) if merged.count(into) > 1]
    for first in dict.fromkeys(merged[k] for k in alike):
        group = [k for k in alike if merged[k] == first]
        swapped = sum(table[row][column] for row in group for column in group if row != column)
        if errors and swapped:
            names = " and ".join(spec.class_names[k] for k in group)
            yield (
                f"Read {names} as one: {swapped:,} of the {errors:,} wrong windows are between the"
                f" {'two' if len(group) == 2 else len(group)}; macro-F1 is"
                f" {classification.scores.macro_f1:.4f} with them apart and {classification.scores.merged_macro_f1:.4f}"
                f" merged."
            )
    others = [row for k, row in enumerate(classification.classes) if k not in alike and row.windows]
    if not others:
        return
    weakest = min(others, key=lambda row: row.f1)
    if weakest.f1 < classification.scores.merged_macro_f1 - NOTABLE:
        k = spec.class_index(weakest.name)
        wrong = [(count, column) for column, count in enumerate(table[k]) if column != k]
        most, column = max(wrong)
        other = spec.class_names[column]
        rest = f"; the model classifies {most:,} of its {weakest.windows:,} windows as {other}" if most else ""
        yield f"Add episodes of {weakest.name}, the weakest class with F1 {weakest.f1:.4f}{rest}."


def _by_slice(slices: Sequence[Slice], classification: Classification) -> Iterator[str]:
    overall = classification.scores.merged_accuracy
    if slices and slices[0].accuracy < overall - NOTABLE:
        worst = slices[0]
        yield (
            f"Add training data of {worst.dimension} {worst.band}: {worst.accuracy:.2%} of {worst.windows:,} windows"
            f" are correct there, {overall:.2%} overall."
        )


def _by_condition(conditions: RobustnessResult | None) -> Iterator[str]:
    if conditions is None:
        return
    worst, clean = conditions.worst, conditions.clean
    if worst.merged_macro_f1 < clean.merged_macro_f1 - NOTABLE:
        beside = "".join(f", {name} {score:.3f}" for name, score in worst.baselines.items())
        yield (
            f"Train with more of condition '{_words(worst.condition)}': at level {worst.level}"
            f" ({f'{worst.value} {worst.unit}'.strip()})"
            f" merged macro-F1 is {worst.merged_macro_f1:.3f} against {clean.merged_macro_f1:.3f} without any{beside}."
        )
    for name in sorted({name for cell in conditions.cells for name in cell.baselines}):
        beaten = [cell for cell in conditions.cells if cell.baselines.get(name, 0.0) > cell.merged_macro_f1]
        if beaten:
            first = max(beaten, key=lambda cell: cell.baselines[name] - cell.merged_macro_f1)
            yield (
                f"Look into the {len(beaten)} of {len(conditions.cells)} cells in which {name} is better, most of all"
                f" {_words(first.condition)} level {first.level}: {first.baselines[name]:.3f} against"
                f" {first.merged_macro_f1:.3f}."
            )


def _by_events(events: Events | None) -> Iterator[str]:
    if events is None:
        return
    if events.disturbance_by_kind:
        kind, count = max(events.disturbance_by_kind.items(), key=lambda item: item[1])
        yield (
            f"Search for more hard windows of {_words(kind)}: it caused {count} of the"
            f" {events.disturbance_false_alarms} false alarms that {events.disturbances} non-faults raised in"
            f" {events.disturbance_line_hours:.2f} line-hours."
        )
    if events.missed or events.wrong:
        yield (
            f"Study the gallery of failures: the model missed {events.missed} of {events.injected} faults, and"
            f" {events.wrong} ended with a wrong class."
        )


def _by_calibration(calibration: Calibration) -> Iterator[str]:
    if calibration.ece > calibration.ece_before + NOTABLE_ECE:
        yield (
            f"Fit the temperature on other data: with {calibration.temperature:.3f} the calibration error is"
            f" {calibration.ece:.4f}, without it {calibration.ece_before:.4f}."
        )


def _by_training(training: Training) -> Iterator[str]:
    history = training.history
    if history is not None and history.best_epoch == len(history.loss):
        yield f"Train longer than {len(history.loss)} epochs: the last was the best."
    if training.accuracy is not None and training.val_accuracy is not None:
        gap = training.accuracy - training.val_accuracy
        if gap > GAP:
            yield f"Use more episodes or stronger augmentation: training accuracy is {gap:.4f} above validation."


def intended_use(recipe: Recipe, classification: Classification, events: Events | None) -> tuple[str, ...]:
    """Return sentences on the intended use of the model, with numbers."""
    spec = recipe.spec
    uses = [
        f"Classifying windows of {spec.samples} by {len(spec.channels)} values ({', '.join(spec.channels)}),"
        f" {recipe.window_words()}, into {len(spec.classes)} classes; measured on"
        f" {classification.scores.windows:,} windows."
    ]
    if events is not None:
        uses.append(
            f"Events by {spec.episode.confirm} of {spec.episode.of} windows: {events.found} of {events.injected} faults"
            f" found, {events.false_alarms_per_line_hour:.2f} false alarms per line-hour with something happening on"
            f" every line all the time."
        )
    return tuple(uses)


def limits(recipe: Recipe, events: Events | None, conditions: RobustnessResult | None, source: str) -> tuple[str, ...]:
    """Return sentences on the limits of the model, with numbers."""
    sentences = [*recipe.limits(events, source)]
    if conditions is not None:
        weak = [cell for cell in conditions.cells if cell.merged_macro_f1 < 0.9]
        names = sorted({cell.condition for cell in weak})
        where = ", ".join(f"{_words(name)} from level {_first(weak, name)}" for name in names)
        sentences.append(
            f"Merged macro-F1 is below .90 in {len(weak)} of {len(conditions.cells)} cells of the conditions"
            f"{': ' * bool(weak)}{where}."
        )
    return tuple(sentences)


def _words(name: str) -> str:
    return name.replace("_", " ")


def _first(cells: Sequence[ConditionCell], condition: str) -> int:
    return min(cell.level for cell in cells if cell.condition == condition)
