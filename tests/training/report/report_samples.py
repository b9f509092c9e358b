"""The complete data of a report, made up, so that rendering is tested without an evaluation."""

from __future__ import annotations

import numpy as np

from model.spec import load_spec
from training.evaluation.conditions.results import ConditionCell, RobustnessResult
from training.evaluation.documents import DataSummary, Events, Failure, LeakageCheck, Rejection, RejectionRow, Slice
from training.evaluation.evaluation import Predictions
from training.gate.gate import EventScores, GateScores, GateThresholds, gate
from training.recipe import recipe_of
from training.report import recommendations
from training.report.data import History, Identity, Latency, Layer, Network, ReportData, Training
from training.report.scores import calibrate_scores, classify_scores, compare

SPEC = load_spec("line")
RECIPE = recipe_of(SPEC)
CLASSES = len(SPEC.classes)


def predictions(seed: int = 1, right: float = 0.95, episodes: int = 60, each: int = 20) -> Predictions:
    """Return predictions of which about ``right`` are correct; the labels are the same for every seed."""
    labels = np.random.default_rng(0).integers(0, CLASSES, episodes * each)
    rng = np.random.default_rng(seed)
    y_pred = np.where(rng.random(len(labels)) < right, labels, rng.integers(0, CLASSES, len(labels)))
    probabilities = np.full((len(labels), CLASSES), 0.1 / (CLASSES - 1), np.float32)
    probabilities[np.arange(len(labels)), y_pred] = 0.9
    return Predictions(labels, probabilities, np.repeat(np.arange(episodes), each), "made up")


def cell(condition: str, level: int, score: float, rule: float) -> ConditionCell:
    return ConditionCell(
        condition=condition,
        unit="dB",
        level=level,
        value=10.0 * level,
        episodes=10,
        windows=100,
        macro_f1=score,
        merged_macro_f1=score,
        merged_low=score,
        merged_high=score,
        baselines={"openxda": rule, "logistic": rule / 2},
        delay_cycles_median=0.7,
        delay_cycles_p95=0.9,
        flip_rate=0.01,
        false_alarms_per_line_hour=1.0,
        missed=0,
        faults=5,
    )


def robustness(model_id: str = "line-0123456789ab") -> RobustnessResult:
    cells = tuple(
        cell(name, level, start - 0.05 * level, 0.4).model_copy(update={"seen": name == "noise"})
        for name, start in (("noise", 1.0), ("lost_channel", 0.7))
        for level in range(1, 6)
    )
    return RobustnessResult(
        model_id=model_id,
        spec="line",
        seed=7,
        cells=cells,
        clean=cell("clean", 0, 0.99, 0.6),
        mean_corruption_error={"openxda": 41.7},
        worst=min(cells, key=lambda each: each.merged_macro_f1),
        lives=tuple(
            each.model_copy(update={"kind": "life", "merged_macro_f1": each.merged_macro_f1 - 0.1, "missed": 1})
            for each in cells
        ),
        clean_life=cell("clean", 0, 0.98, 0.6).model_copy(update={"kind": "life"}),
    )


def report_data() -> ReportData:
    """Return every part that a report can have."""
    candidate, champion = predictions(1, 0.97), predictions(2, 0.93)
    classification, calibration = classify_scores(candidate, SPEC), calibrate_scores(candidate, SPEC, 1.3)
    history = History(
        loss=(1.2, 0.5, 0.31), val_loss=(0.9, 0.45, 0.4), val_accuracy=(0.7, 0.85, 0.84),
        val_merged_macro_f1=(0.6, 0.8, 0.83), best_epoch=3,
    )  # fmt: skip
    training = Training(
        seconds=46.25, epochs=3, accuracy=0.9, val_accuracy=0.84, loss=0.31, val_loss=0.4, history=history
    )
    network = Network(
        architecture="gru",
        structure="GRU(64) → Dense(12)",
        steps=32,
        values_per_step=6,
        layers=(
            Layer(name="gru", type="GRU", named="GRU(64)", output_shape="(None, 64)", parameters=13_824),
            Layer(
                name="logits",
                type="Dense",
                named="Dense(12)",
                output_shape="(None, 12)",
                parameters=780,
                connected_to=("gru",),
            ),
        ),
        distribution={"GRU": 1, "Dense": 1},
        parameters=14_604,
        trainable=14_604,
        memory_bytes=58_416,
    )
    events = Events(
        injected=50, found=49, correct=48, wrong=1, missed=1, false_alarms=1, repeated=0, line_hours=0.5,
        delay_cycles_median=0.7, delay_cycles_p95=0.95, disturbances=100, disturbance_line_hours=0.5,
        disturbance_false_alarms=3, disturbance_by_kind={"motor_start": 2, "swing": 1},
    )  # fmt: skip
    scores = GateScores(
        holdout=0.9, ece=0.01, events=EventScores(false_alarms_per_line_hour=4, missed=0.02, delay_cycles_p95=0.95)
    )
    verdict = gate(scores, None, GateThresholds())
    slices = (Slice(dimension="fault resistance", band="above 10 Ω", episodes=9, windows=90, accuracy=0.7),)
    checks = (LeakageCheck(question="windows seen in training", found=0, of=1200),)
    data = DataSummary(training="faultline train", evaluation="made up", parts={"test": 1200}, leakage=checks)
    latency = (
        Latency(batch=1, median_ms=0.1, p95_ms=0.2, windows_per_second=10_000.0),
        Latency(batch=512, median_ms=6.0, p95_ms=8.0, windows_per_second=85_333.3),
    )
    wave = tuple(tuple(round(float(np.sin(0.2 * t + phase)), 3) for t in range(96)) for phase in range(6))
    conditions = robustness()
    return ReportData(
        generated_at="2026-01-02 03:04:05 UTC",
        identity=Identity(
            model_id="line-0123456789ab", spec="line", spec_digest="a" * 64, weights_sha256="b" * 64,
            artefact_sha256="c" * 64, artefact_bytes=68_920, command="faultline train --seed 1", seed=1,
            trained_on="linux-x86_64", trained_with={"keras": "3"}, evaluated_with={"keras": "3"},
            evaluation_seed=9, processor="a <processor>", cores=2, memory_gib=8.0,
        ),
        network=network,
        training=training,
        classification=classification,
        calibration=calibration,
        data=data,
        slices=slices,
        events=events,
        conditions=conditions,
        rejection=Rejection(
            bounds={"most_current": 200.0},
            rows=(RejectionRow(input="white noise", windows=4000, rejected=0.99),),
            good_rejected=0.001,
        ),
        latency=latency,
        failures=(
            Failure(title="missed fault", truth="AG", said="no episode", probability=None, facts={"position": 0.5},
                    channels=SPEC.channels, samples=wave, samples_per_cycle=32, mark=48),
        ),
        champion=compare(candidate, champion, "line-ba9876543210", SPEC),
        gate_scores=scores,
        verdict=verdict,
        architecture_notes=recommendations.architecture_notes(network, latency, 2),
        learning_notes=recommendations.learning_notes(training),
        recommendations=recommendations.recommendations(
            SPEC, verdict, training, classification, calibration, slices, events, conditions, data, None
        ),
        intended_use=recommendations.intended_use(RECIPE, classification, events),
        limits=recommendations.limits(RECIPE, events, conditions, "made up"),
        rollback=("faultline worker --spec line",),
    )  # fmt: skip
