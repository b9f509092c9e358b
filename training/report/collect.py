"""Collects everything that a report says about a model: evaluation, champion, conditions, gate, latency."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from domains.powerline.data.line_data import Classifier
from domains.powerline.evaluation.instant import instant_evidence
from domains.powerline.evaluation.line import EVALUATION_SEED, line_evidence, line_scenarios
from domains.powerline.evaluation.ood import measured_conditions, measured_rejection
from model.artefact import Artefact
from model.engine import Engine
from stream.detection.classify import with_rejection
from training.errors import TrainingError
from training.evaluation.conditions.paired import WIDTH, standard_errors
from training.evaluation.conditions.results import RobustnessResult
from training.evaluation.robustness import QUICK_EPISODES
from training.gate.gate import HOLDOUT, EventScores, GateScores, GateThresholds, gate
from training.report import recommendations
from training.report.data import Calibration, ChampionComparison, ReportData
from training.report.evaluation import Evidence, Progress, measure_latency
from training.report.model_card import describe_network, describe_training, identify
from training.report.scores import calibrate_scores, classify_scores, compare

LINES = 30


@dataclass(frozen=True)
class ReportOptions:
    """What ``faultline report`` was asked for; paths are only told in the rollback commands."""

    model: Path
    champion: Path | None = None
    data: Path | None = None
    robustness: RobustnessResult | None = None
    champion_robustness: RobustnessResult | None = None
    episodes: int = QUICK_EPISODES
    """Records per cell of the conditions, where no result is given; 0 for no conditions."""
    lines: int = LINES
    seed: int = EVALUATION_SEED


def collect(options: ReportOptions, thresholds: GateThresholds | None = None, step: Progress = print) -> ReportData:
    """Evaluate a model, and its champion on the same episodes.

    Args:
        options: what to evaluate, and what was already measured.
        thresholds: of the gate; those of the model's spec by default.
        step: told what is being done.

    Raises:
        TrainingError: models of different specs, a robustness result of another model, or no data where the spec
            needs some.
        DataSetError: the data cannot be read.
        ArtefactError: a model cannot be read.
    """
    artefact = Artefact.load(options.model)
    champion = None if options.champion is None else Artefact.load(options.champion)
    _fit_together(artefact, champion, options)
    spec = artefact.manifest.spec
    evaluate = _evaluation(artefact, options, step)
    with Engine(artefact) as engine:
        evidence = evaluate(_answering(engine, artefact), artefact)
        step("timing the engine")
        latency = measure_latency(engine, spec, options.seed)
        conditions = _conditions(_answering(engine, artefact), artefact, options.robustness, options.episodes, step)
    judged = evidence.judged
    classification = classify_scores(judged, spec)
    calibration = calibrate_scores(judged, spec, artefact.manifest.temperature)
    scores = gate_scores(evidence, calibration, conditions)
    step("offering foreign input")
    rejection = measured_rejection(artefact, options.seed, options.data) if spec.name == "line" else None
    comparison, champion_scores, errors = None, None, {}
    if champion is not None:
        step(f"evaluating the champion {champion.model_id}")
        with Engine(champion) as engine:
            theirs = evaluate(_answering(engine, champion), champion)
            answering = _answering(engine, champion)
            cells = _conditions(answering, champion, options.champion_robustness, options.episodes, step)
        comparison = compare(judged, theirs.judged, champion.model_id, spec)
        told = calibrate_scores(theirs.judged, spec, champion.manifest.temperature)
        champion_scores = gate_scores(theirs, told, cells)
        errors = _errors(comparison, conditions, cells, spec.name)
    verdict = gate(scores, champion_scores, thresholds or GateThresholds.of_spec(spec.name), errors)
    network, training = describe_network(artefact), describe_training(artefact)
    identity = identify(artefact, options.seed)
    return ReportData(
        generated_at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
        identity=identity,
        network=network,
        training=training,
        classification=classification,
        elsewhere=evidence.elsewhere,
        calibration=calibration,
        data=evidence.data,
        slices=evidence.slices,
        events=evidence.events,
        conditions=conditions,
        rejection=rejection,
        latency=latency,
        failures=evidence.failures,
        champion=comparison,
        gate_scores=scores,
        verdict=verdict,
        architecture_notes=recommendations.architecture_notes(network, latency, identity.cores),
        learning_notes=recommendations.learning_notes(training),
        recommendations=recommendations.recommendations(
            spec,
            verdict,
            training,
            classification,
            calibration,
            evidence.slices,
            evidence.events,
            conditions,
            evidence.data,
            evidence.elsewhere,
        ),
        intended_use=recommendations.intended_use(spec, classification, evidence.events),
        limits=recommendations.limits(spec, evidence.events, conditions, evidence.judged.source),
        rollback=_rollback(options, artefact),
    )


def gate_scores(evidence: Evidence, calibration: Calibration, conditions: RobustnessResult | None) -> GateScores:
    """Return what the gate looks at."""
    events = evidence.events
    cells = () if conditions is None else conditions.cells
    return GateScores(
        holdout=round(evidence.holdout, 4),
        cells={cell.name: cell.merged_macro_f1 for cell in cells},
        rule_cells={cell.name: cell.baselines["openxda"] for cell in cells if "openxda" in cell.baselines},
        ece=calibration.ece,
        events=None
        if events is None
        else EventScores(
            false_alarms_per_line_hour=round(events.false_alarms_per_line_hour, 4),
            missed=round(events.missed / events.injected, 4) if events.injected else 0.0,
            delay_cycles_p95=events.delay_cycles_p95,
            faults=events.injected,
            line_hours=round(events.line_hours + events.disturbance_line_hours, 4),
        ),
    )


def _errors(
    comparison: ChampionComparison, mine: RobustnessResult | None, theirs: RobustnessResult | None, spec: str
) -> dict[str, float]:
    """Standard errors of the differences that the gate looks at."""
    errors = {} if mine is None or theirs is None else standard_errors(mine, theirs)
    merged = comparison.rows[0]
    # The gate's hold-out of instant is another split than the one that the two are compared on.
    if spec == "line" and merged.low is not None and merged.high is not None:
        errors[HOLDOUT] = (merged.high - merged.low) / WIDTH
    return errors


def _evaluation(
    artefact: Artefact, options: ReportOptions, step: Progress
) -> Callable[[Classifier, Artefact], Evidence]:
    """The evaluation of the spec, on episodes drawn once for candidate and champion."""
    if artefact.manifest.spec.name == "line":
        step(f"simulating {options.lines} lines")
        scenarios = line_scenarios(options.lines, options.seed)
        return lambda classify, which: line_evidence(classify, which, scenarios, options.seed, step)
    data = options.data
    if data is None:
        raise TrainingError("the report of an instant model needs --data, the path of classData.csv")
    return lambda classify, which: instant_evidence(classify, which, data, step)


def _answering(engine: Engine, artefact: Artefact) -> Classifier:
    """What a worker would answer: windows unlike training are no fault."""
    return with_rejection(engine.classify, artefact.manifest.rejection, artefact.manifest.spec)


def _conditions(
    classify: Classifier, artefact: Artefact, given: RobustnessResult | None, episodes: int, step: Progress
) -> RobustnessResult | None:
    """The given result, or a measured one; conditions are defined for `line` only."""
    if given is not None or artefact.manifest.spec.name != "line":
        return given
    return measured_conditions(classify, artefact, episodes, step)


def _fit_together(artefact: Artefact, champion: Artefact | None, options: ReportOptions) -> None:
    spec = artefact.manifest.spec
    if spec.name not in ("line", "instant"):
        raise TrainingError(f"there is no evaluation for spec {spec.name!r}; there are line and instant")
    if champion is not None and champion.manifest.spec.digest != spec.digest:
        raise TrainingError(
            f"the champion's spec ({champion.manifest.spec.name}) differs from the model's ({spec.name}):"
            " their scores cannot be compared"
        )
    if champion is not None and spec.name == "instant" and _rows(artefact) != _rows(champion):
        # Each would be judged on rows that the other has learned.
        raise TrainingError(
            f"the model was trained on the split {_rows(artefact)}, the champion on {_rows(champion)}: train both with"
            " the same --split and --seed to compare them"
        )
    for result, which, option in (
        (options.robustness, artefact, "--robustness"),
        (options.champion_robustness, champion, "--champion-robustness"),
    ):
        if result is not None and (which is None or result.model_id != which.model_id):
            raise TrainingError(f"{option} is of model {result.model_id}, not of {which and which.model_id}")


def _rows(artefact: Artefact) -> str:
    """Which rows of ``classData.csv`` an `instant` model has learned: its split and the seed of that."""
    manifest = artefact.manifest
    return f"{manifest.metrics.get('split')}, seed {manifest.provenance.get('seed')}"


def _rollback(options: ReportOptions, artefact: Artefact) -> tuple[str, ...]:
    """Commands that bring back the model in use before."""
    before = options.champion
    spec = artefact.manifest.spec.name
    if before is None:
        return (f"faultline worker --spec {spec}",)
    return (f"faultline worker --spec {spec} --model {before.name}",)
