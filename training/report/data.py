"""The contents of a report as one versioned document, from which ``report.md`` and ``report.html`` are rendered."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from training.document import Document
from training.evaluation.conditions.results import RobustnessResult
from training.evaluation.documents import DataSummary, Elsewhere, Events, Failure, Rejection, Slice
from training.gate.gate import GateScores, Verdict


class Layer(Document):
    """One Keras layer of the network."""

    name: str
    type: str
    named: str = Field(description="Type with its size, such as GRU(64).")
    output_shape: str
    parameters: int
    connected_to: tuple[str, ...] = Field((), description="Layers whose output it reads; empty if it reads the window.")


class Alternative(Document):
    """Another architecture for the same spec, with its number of parameters."""

    architecture: str
    parameters: int


class Network(Document):
    """The network, described from the built model."""

    architecture: str
    structure: str = Field(description="Layers with their sizes, in the order of the computation.")
    steps: int
    values_per_step: int
    hop: int | None = Field(None, description="Samples of a window that the window before does not have.")
    layers: tuple[Layer, ...]
    distribution: dict[str, int]
    parameters: int
    trainable: int
    memory_bytes: int
    alternatives: tuple[Alternative, ...] = ()


class History(Document):
    """Losses and scores, one value per epoch; ``best_epoch`` counts from 1."""

    loss: tuple[float, ...]
    val_loss: tuple[float, ...]
    val_accuracy: tuple[float, ...]
    val_merged_macro_f1: tuple[float, ...]
    best_epoch: int


class Training(Document):
    """The artefact's record of its training; a value that it does not record is null."""

    seconds: float | None = None
    epochs: int | None = None
    accuracy: float | None = None
    val_accuracy: float | None = None
    loss: float | None = None
    val_loss: float | None = None
    history: History | None = None


class Identity(Document):
    """The model, the command and versions that produced it, and the machine that evaluated it."""

    model_id: str
    spec: str
    spec_digest: str
    weights_sha256: str
    artefact_sha256: str
    artefact_bytes: int
    command: str
    seed: int | None
    trained_on: str
    trained_with: dict[str, str]
    evaluated_with: dict[str, str]
    evaluation_seed: int
    processor: str
    cores: int
    memory_gib: float


class Scores(Document):
    """Scores per window; "merged" counts the spec's equivalent classes as one. Interval: 95 %, over episodes."""

    windows: int
    episodes: int
    accuracy: float
    macro_f1: float
    merged_accuracy: float
    merged_macro_f1: float
    merged_low: float
    merged_high: float


class ClassRow(Document):
    """Scores of one class."""

    name: str
    windows: int
    precision: float
    recall: float
    f1: float


class Classification(Document):
    """Scores on windows unseen in training."""

    source: str
    scores: Scores
    classes: tuple[ClassRow, ...]
    confusion: tuple[tuple[int, ...], ...] = Field(
        description="Rows: true class. Columns: predicted class. Both in the order of classes."
    )


class CalibrationBin(Document):
    """Mean confidence and accuracy of the windows whose highest probability lies in low … high."""

    low: float
    high: float
    windows: int
    confidence: float
    accuracy: float


class Calibration(Document):
    """Calibration of the merged classes, with the artefact's temperature and without."""

    temperature: float
    ece: float
    ece_before: float
    brier: float
    brier_before: float
    bins: tuple[CalibrationBin, ...]


class Latency(Document):
    """Duration of one call of the compiled engine."""

    batch: int
    median_ms: float
    p95_ms: float
    windows_per_second: float


class Difference(Document):
    """One score of both models on the same windows, with an interval by paired bootstrap over episodes."""

    score: str
    candidate: float
    champion: float
    difference: float
    low: float | None = None
    high: float | None = None


class ChampionComparison(Document):
    """Comparison of the candidate with the model in use."""

    model_id: str
    resamples: int
    episodes: int
    disagreeing_windows: int
    windows: int
    rows: tuple[Difference, ...]


class ReportData(Document):
    """The complete contents of a report."""

    schema_version: Literal[1] = 1
    generated_at: str
    identity: Identity
    network: Network
    training: Training
    classification: Classification
    elsewhere: Elsewhere | None = None
    calibration: Calibration
    data: DataSummary
    slices: tuple[Slice, ...]
    events: Events | None = None
    conditions: RobustnessResult | None = None
    zero_shot: RobustnessResult | None = Field(
        None, description="Conditions scored by models that were trained without them."
    )
    rejection: Rejection | None = None
    latency: tuple[Latency, ...]
    failures: tuple[Failure, ...]
    champion: ChampionComparison | None = None
    gate_scores: GateScores
    verdict: Verdict
    architecture_notes: tuple[str, ...]
    learning_notes: tuple[str, ...]
    recommendations: tuple[str, ...]
    intended_use: tuple[str, ...]
    limits: tuple[str, ...]
    rollback: tuple[str, ...] = Field(description="Commands that return to the previous model.")
