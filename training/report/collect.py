"""Collect the contents of a model's report: evaluation, champion, conditions, gate, latency."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from model.artefact import Artefact
from model.engine import Engine
from model.errors import ArtefactError
from stream.detection.classify import with_rejection
from training.data.classifier import Classifier
from training.errors import TrainingError
from training.evaluation.conditions.paired import WIDTH, standard_errors
from training.evaluation.conditions.results import RobustnessResult
from training.evaluation.evaluation import Evaluation, Progress
from training.evaluation.robustness import QUICK_EPISODES, evaluate
from training.gate.gate import HOLDOUT, EventScores, GateScores, gate
from training.gate.thresholds import GateThresholds
from training.recipe import EvaluationOptions, Recipe, recipe_of
from training.report import recommendations
from training.report.data import Calibration, ChampionComparison, ReportData
from training.report.latency import measure_latency
from training.report.model_card import describe_network, describe_training, identify
from training.report.scores import calibrate_scores, classify_scores, compare

__all__ = ["ReportOptions", "collect", "count_steps", "gate_scores"]

LINES = 30


@dataclass(frozen=True)
class ReportOptions:
    """Options of ``faultline report``."""

    model: Path
    champion: Path | None = None
    data: Path | None = None
    robustness: RobustnessResult | None = None
    champion_robustness: RobustnessResult | None = None
    zero_shot: RobustnessResult | None = None
    """Result of ``faultline zero-shot``, shown beside the model's."""
    episodes: int = QUICK_EPISODES
    """Records per cell of the conditions, if no result is given; 0 for no conditions."""
    lines: int = LINES
    """Number of simulated lines in the evaluation."""
    seed: int | None = None
    """Seed of the evaluation; by default the recipe's."""


def collect(options: ReportOptions, thresholds: GateThresholds | None = None, step: Progress = print) -> ReportData:
    """Evaluate a model, and its champion on the same episodes.

    Args:
        options: the models to evaluate, and results that were measured before.
        thresholds: limits of the gate; by default those of the model's recipe.
        step: called with a progress text at every step.

    Raises:
        TrainingError: the models have different specs, a robustness result is another model's, or the spec needs a
            data file that was not given.
        DataSetError: the data cannot be read.
        ArtefactError: a model cannot be read.
    """
    artefact = Artefact.load(options.model)
    champion = None if options.champion is None else Artefact.load(options.champion)
    spec = artefact.manifest.spec
    recipe = recipe_of(spec, "evaluation")
    _fit_together(recipe, artefact, champion, options)
    seed = recipe.evaluation_seed if options.seed is None else options.seed
    asked = EvaluationOptions(seed, options.lines, options.data)
    evaluate_model = recipe.evaluation(asked, step)
    with Engine(artefact) as engine:
        evaluation = evaluate_model(_classifier(engine, artefact), artefact)
        step("timing the engine")
        latency = measure_latency(engine, spec, seed)
        conditions = _conditions(recipe, engine, artefact, options.robustness, options.episodes, asked, step)
    predictions = evaluation.predictions
    classification = classify_scores(predictions, spec)
    calibration = calibrate_scores(predictions, spec, artefact.manifest.temperature)
    scores = gate_scores(evaluation, calibration, conditions, recipe.rule)
    step("testing the rejection of out-of-distribution input")
    rejection = recipe.rejection(artefact, asked)
    comparison, champion_scores, errors = None, None, {}
    loaded, note = _loaded(champion)
    if champion is not None and loaded is not None:
        step(f"evaluating the champion {champion.model_id}")
        with loaded as engine:
            beside = evaluate_model(_classifier(engine, champion), champion)
            cells = _conditions(recipe, engine, champion, options.champion_robustness, options.episodes, asked, step)
        comparison = compare(predictions, beside.predictions, champion.model_id, spec)
        calibrated = calibrate_scores(beside.predictions, spec, champion.manifest.temperature)
        champion_scores = gate_scores(beside, calibrated, cells, recipe.rule)
        errors = _errors(comparison, conditions, cells, evaluation)
    verdict = gate(scores, champion_scores, thresholds or recipe.thresholds(), errors, note)
    network, training = describe_network(artefact), describe_training(artefact)
    identity = identify(artefact, seed)
    return ReportData(
        generated_at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
        identity=identity,
        network=network,
        training=training,
        classification=classification,
        elsewhere=evaluation.elsewhere,
        calibration=calibration,
        data=evaluation.data,
        slices=evaluation.slices,
        events=evaluation.events,
        conditions=conditions,
        zero_shot=options.zero_shot,
        rejection=rejection,
        latency=latency,
        failures=evaluation.failures,
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
            evaluation.slices,
            evaluation.events,
            conditions,
            evaluation.data,
            evaluation.elsewhere,
        ),
        intended_use=recommendations.intended_use(recipe, classification, evaluation.events),
        limits=recommendations.limits(recipe, evaluation.events, conditions, predictions.source),
        rollback=_rollback(options, artefact),
    )


def count_steps(options: ReportOptions) -> int:
    """Return approximately how often ``collect`` calls ``step``."""
    recipe = recipe_of(Artefact.load(options.model).manifest.spec, "evaluation")
    models = 1 + (options.champion is not None)
    results = (options.robustness, options.champion_robustness)[:models]
    measured = sum(result is None for result in results) if options.episodes and recipe.conditions else 0
    return 1 + 5 * models + measured * (1 + len(recipe.conditions))


def gate_scores(
    evaluation: Evaluation, calibration: Calibration, conditions: RobustnessResult | None, rule: str | None
) -> GateScores:
    """Return the scores that the gate evaluates; ``rule`` is the name of the baseline to beat."""
    events = evaluation.events
    cells = () if conditions is None else conditions.all_cells
    return GateScores(
        holdout=round(evaluation.holdout, 4),
        cells={cell.name: cell.merged_macro_f1 for cell in cells},
        rule_cells={cell.name: cell.baselines[rule] for cell in cells if rule in cell.baselines and rule is not None},
        ece=calibration.ece,
        events=None
        if events is None
        else EventScores(
            false_alarms_per_line_hour=round(events.false_alarms_per_line_hour, 4),
            missed=round(events.missed / events.injected, 4) if events.injected else 0.0,
            delay_cycles_p95=events.delay_cycles_p95,
            delay_s_p95=events.delay_s_p95,
            faults=events.injected,
            line_hours=round(events.line_hours + events.disturbance_line_hours, 4),
        ),
    )


def _errors(
    comparison: ChampionComparison,
    candidate: RobustnessResult | None,
    champion: RobustnessResult | None,
    evaluation: Evaluation,
) -> dict[str, float]:
    """Return the standard errors of the differences that the gate evaluates."""
    errors = {} if candidate is None or champion is None else standard_errors(candidate, champion)
    merged = comparison.rows[0]
    if evaluation.holdout_is_predicted and merged.low is not None and merged.high is not None:
        errors[HOLDOUT] = (merged.high - merged.low) / WIDTH
    return errors


def _loaded(champion: Artefact | None) -> tuple[Engine | None, str | None]:
    """Return the champion's engine, or None and the reason for which the gate judges the candidate alone."""
    if champion is None:
        return None, None
    try:
        return Engine(champion), None
    except ArtefactError as error:
        return None, (
            f"The champion {champion.model_id} cannot be compared, so the candidate is judged alone: this version"
            f" cannot load it ({error})."
        )


def _classifier(engine: Engine, artefact: Artefact) -> Classifier:
    """Return a classifier that, like a worker, counts out-of-distribution windows as no fault."""
    return with_rejection(engine.follow_records, artefact.manifest.rejection, artefact.manifest.spec)


def _conditions(
    recipe: Recipe,
    engine: Engine,
    artefact: Artefact,
    given: RobustnessResult | None,
    episodes: int,
    asked: EvaluationOptions,
    step: Progress,
) -> RobustnessResult | None:
    """Return the given result, or measure one on the fixed records; None for no episodes or no conditions."""
    if given is not None or not episodes or not recipe.conditions:
        return given

    def begin(condition: str, level: int) -> None:
        if level <= 1:
            step(f"condition {condition.replace('_', ' ')}")

    return evaluate(
        _classifier(engine, artefact),
        recipe.reference(asked, artefact),
        recipe.conditions.chosen(),
        episodes=episodes,
        model_id=artefact.model_id,
        progress=begin,
    )


def _fit_together(recipe: Recipe, artefact: Artefact, champion: Artefact | None, options: ReportOptions) -> None:
    spec = artefact.manifest.spec
    if champion is not None and champion.manifest.spec.digest != spec.digest:
        raise TrainingError(
            f"the champion's spec ({champion.manifest.spec.name}) differs from the model's ({spec.name}):"
            " their scores cannot be compared"
        )
    if champion is not None:
        recipe.check_comparable(artefact, champion)
    for result, which, option in (
        (options.robustness, artefact, "--robustness"),
        (options.champion_robustness, champion, "--champion-robustness"),
    ):
        if result is not None and (which is None or result.model_id != which.model_id):
            raise TrainingError(f"{option} is of model {result.model_id}, not of {which and which.model_id}")


def _rollback(options: ReportOptions, artefact: Artefact) -> tuple[str, ...]:
    """Return the commands that return to the previous model."""
    before = options.champion
    spec = artefact.manifest.spec.name
    if before is None:
        return (f"faultline worker --spec {spec}",)
    return (f"faultline worker --spec {spec} --model {before.name}",)
