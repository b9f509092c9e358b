"""From a seed, or from a data set, to an artefact: the recipes behind ``faultline train``."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import structlog

from model.architectures import build
from model.artefact import Artefact, build_model
from model.normalisation import Normalisation
from model.rejection import Rejection
from model.spec import SignalSpec, load_spec
from training.calibration import calibrate
from training.classdata import Split, read_classdata, split_classdata
from training.evaluation import evaluate_line, guarded
from training.fit import (
    FitHistory,
    FitOptions,
    cross_entropy,
    fit,
    fit_temperature,
    logits_of,
    make_repeatable,
    stay_on_one_core,
)
from training.line_data import Batches, training_windows
from training.rejection import good_windows, line_rejection, score_rejection, strange_windows
from training.rounds import Round, classifier_of, fit_rounds
from training.scores import window_scores
from training.sidecar.field import field_scores, split_field, weighed
from training.windows import Windows, split_by_episode

log = structlog.get_logger()

DEFAULT_ARCHITECTURE = "gru"
# A line's rating is often unknown: currents are compressed from a fifth of the rated one on, voltages, whose base
# is known, hardly at all.
LINE_NORMALISATION = Normalisation(kind="asinh", centre=(0.0,) * 6, scale=(0.2,) * 3 + (0.5,) * 3, phasors=True)
LINE_SHARES = (0.94, 0.06)  # training, validation


# After every round but the last, the windows that the model still gets wrong are searched in fresh episodes.
ROUNDS = (Round(0.28, 4e-3, 0.3), Round(0.28, 3e-3, 0.3), Round(0.44, 2.5e-3, 0.01))
# From a model that is good already: small steps, so that it does not forget what it knows.
WARM_ROUNDS = (Round(0.5, 1e-3, 0.3), Round(0.5, 1e-3, 0.01))
LINE_FIT = FitOptions(batch=512)
# Seeds of what is simulated apart from the training set; any number beyond its own range of seeds will do.
CALIBRATION_SEED, REJECTION_SEED, TEST_SEED = 7_000_000, 8_000_000, 9_000_000

DEFAULT_SEED = 2024

# The reference report's protocol: batches of 32, 50 epochs. Learning rate and clipping are ours, chosen on the
# validation part.
REFERENCE = FitOptions(epochs=50, batch=32, learning_rate=1e-2, final_rate=0.003, select_by="accuracy")


@dataclass(frozen=True)
class LineOptions:
    """What ``faultline train --spec line`` was asked for."""

    seed: int = DEFAULT_SEED
    epochs: int = 8
    episodes: int = 60_000
    test_lines: int = 30
    architecture: str = DEFAULT_ARCHITECTURE
    work_dir: Path | None = None  # of checkpoints: a killed training goes on from there
    show_progress: bool = True
    on_epoch: Callable[[FitHistory], None] | None = None  # told after every epoch, of a fit's epochs so far

    @property
    def command(self) -> str:
        """The command that makes the same model again."""
        given = f"--seed {self.seed} --epochs {self.epochs} --episodes {self.episodes}"
        return f"faultline train --spec line{_chosen(self.architecture)} --out line.safetensors {given}"


def _chosen(architecture: str) -> str:
    return "" if architecture == DEFAULT_ARCHITECTURE else f" --architecture {architecture}"


def train_line(options: LineOptions, field: Windows | None = None, warm_start: Artefact | None = None) -> Artefact:
    """Simulate, fit, search hard windows, fit on with them, calibrate, score on fresh scenarios.

    Args:
        options: see LineOptions.
        field: labelled windows of the field; a quarter of their episodes is held out (``training.sidecar.field``).
        warm_start: a model of this spec to go on from, instead of random weights.

    Returns:
        The artefact; its manifest holds the command, the seed, package versions and the scores.
    """
    spec = load_spec("line")
    make_repeatable(options.seed)
    if warm_start is None:
        network, normalisation = build(options.architecture, spec, LINE_NORMALISATION, options.seed), LINE_NORMALISATION
    else:
        network, normalisation = build_model(warm_start), warm_start.manifest.normalisation
        options = replace(options, architecture=warm_start.manifest.architecture)
    batches = Batches.of(options.episodes)
    windows = training_windows(batches, spec, options.seed)
    train, validation = split_by_episode(windows, LINE_SHARES, options.seed)
    log.info("training_windows_simulated", episodes=batches.mixed + batches.brief, windows=len(windows))
    parts = split_field(field) if field is not None and len(field) else None
    if parts is not None:
        train = Windows.joined([train, weighed(parts.train, train, options.seed)])

    fitted = fit_rounds(
        network,
        train,
        validation,
        spec,
        ROUNDS if warm_start is None else WARM_ROUNDS,
        replace(LINE_FIT, epochs=options.epochs, seed=options.seed, show_progress=options.show_progress),
        mined=batches.mined,
        first_episode=batches.mixed + batches.brief,
        checkpoints=options.work_dir,
        on_epoch=options.on_epoch,
    )
    histories, hard = fitted.histories, fitted.hard

    # Windows as often as they occur: of instructive ones alone the model would learn to doubt itself.
    fresh = [good_windows(spec, options.seed + seed) for seed in (CALIBRATION_SEED, TEST_SEED)]
    sure, known = (windows.take(windows.weights >= 1.0) for windows in fresh)
    calibrated = calibrate(
        logits_of(network, sure.data), sure.labels, logits_of(network, known.data), known.labels, spec
    )
    rejection = line_rejection(spec, options.seed + REJECTION_SEED)
    refused = score_rejection(rejection, fresh[1], strange_windows(spec, options.seed), spec)
    temperature = calibrated.temperature
    answer = guarded(classifier_of(network, temperature), rejection, spec)
    scores = evaluate_line(answer, spec, options.seed + TEST_SEED, options.test_lines)
    metrics = {
        **scores,
        "calibration": calibrated.as_metrics(),
        "rejection": refused.as_metrics(),
        "validation": _best(histories[-1]),
        "training": _learned(network, train, spec),
        "history": recorded(histories),
        "windows": {"training": len(train), "hard": len(hard), "validation": len(validation)},
    }
    if parts is not None:
        judged = field_scores(classifier_of(network, temperature), parts.hold_out, spec)
        metrics["field"] = {"windows": len(parts.train), "hold_out": judged}
    if warm_start is not None:
        metrics["warm_start"] = warm_start.model_id
    fitting_s = sum(history.seconds for history in histories)
    return _artefact(network, spec, normalisation, temperature, metrics, options, fitting_s, rejection)


@dataclass(frozen=True)
class InstantOptions:
    """What ``faultline train --spec instant`` was asked for."""

    data: Path
    seed: int = DEFAULT_SEED
    epochs: int = REFERENCE.epochs
    split: Split = "random"
    architecture: str = DEFAULT_ARCHITECTURE
    work_dir: Path | None = None  # of checkpoints: a killed training goes on from there
    show_progress: bool = True
    on_epoch: Callable[[FitHistory], None] | None = None  # told after every epoch, of a fit's epochs so far

    @property
    def command(self) -> str:
        """The command that makes the same model again."""
        given = f"--data {self.data.name} --split {self.split} --seed {self.seed} --epochs {self.epochs}"
        return f"faultline train --spec instant{_chosen(self.architecture)} --out instant.safetensors {given}"


def train_instant(options: InstantOptions) -> Artefact:
    """Fit the reference report's network to ``classData.csv`` on both splits, and score both.

    Returns:
        The artefact of the split that was asked for. Its manifest holds both splits' scores.

    Raises:
        DataSetError: the file is not ``classData.csv``.
    """
    spec = load_spec("instant")
    windows = read_classdata(options.data, spec)
    stay_on_one_core()
    scores: dict[str, Any] = {}
    chosen: tuple[Any, Normalisation, float, float] | None = None
    splits: tuple[Split, ...] = ("random", "blocks")
    for split in splits:
        train, validation, test = split_classdata(windows, split, options.seed)
        how = replace(REFERENCE, epochs=options.epochs, seed=options.seed, show_progress=options.show_progress)
        checkpoint = options.work_dir / f"instant-{split}.npz" if options.work_dir else None
        network, normalisation, history = fit_reference(
            options.architecture, spec, train, validation, how, checkpoint, options.on_epoch
        )
        temperature = fit_temperature(logits_of(network, validation.data), validation.labels)
        said = logits_of(network, test.data).argmax(axis=1)
        scores[split] = {
            "training": _learned(network, train, spec),
            "validation": _best(history),
            "history": recorded([history]),
            "test": _rounded(window_scores(test.labels, said, spec)),
            "rows": {"training": len(train), "validation": len(validation), "test": len(test)},
        }
        if split == options.split:
            chosen = network, normalisation, temperature, history.seconds
    assert chosen is not None
    metrics = {"split": options.split, **scores}
    network, normalisation, temperature, fitting_s = chosen
    return _artefact(network, spec, normalisation, temperature, metrics, options, fitting_s)


def fit_reference(
    architecture: str,
    spec: SignalSpec,
    train: Windows,
    validation: Windows,
    options: FitOptions,
    checkpoint: Path | None = None,
    on_epoch: Callable[[FitHistory], None] | None = None,
) -> tuple[Any, Normalisation, FitHistory]:
    """Fit a network by the protocol of the reference report, scaled by the training part's statistics alone.

    Returns:
        The network with its best epoch's weights, the normalisation inside it, and how training went.
    """
    make_repeatable(options.seed)
    normalisation = Normalisation.fitted(train.data)
    network = build(architecture, spec, normalisation, options.seed)
    return network, normalisation, fit(network, train, validation, spec, options, checkpoint, on_epoch)


def recorded(histories: Sequence[FitHistory]) -> dict[str, Any]:
    """Return what a manifest keeps of the epochs of successive fits: lists by epoch, ``best_epoch`` counted from 1.

    The best epoch is the last fit's, since that is where the network's weights come from.
    """
    scores = [epoch for history in histories for epoch in history.scores]
    return {
        "loss": [round(value, 5) for history in histories for value in history.loss],
        "val_loss": [round(value, 5) for history in histories for value in history.val_loss],
        "val_accuracy": [round(epoch["accuracy"], 4) for epoch in scores],
        "val_merged_macro_f1": [round(epoch["merged_macro_f1"], 4) for epoch in scores],
        "best_epoch": sum(len(history.loss) for history in histories[:-1]) + histories[-1].best_epoch,
    }


def _learned(network: Any, train: Windows, spec: SignalSpec) -> dict[str, float]:
    """Score the finished network on what it learned from: the distance to the validation scores is overfitting."""
    logits = logits_of(network, train.data)
    scores = window_scores(train.labels, logits.argmax(axis=1), spec)
    return _rounded({**scores, "loss": cross_entropy(logits, train.labels, train.weights)})


def _best(history: FitHistory) -> dict[str, float]:
    return _rounded(history.scores[history.best_epoch - 1])


def _rounded(scores: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in scores.items()}


def _artefact(
    network: Any,
    spec: SignalSpec,
    normalisation: Normalisation,
    temperature: float,
    metrics: dict[str, Any],
    options: LineOptions | InstantOptions,
    fitting_s: float,
    rejection: Rejection | None = None,
) -> Artefact:
    packages = ("keras", "tensorflow-cpu", "numpy", "scipy")
    return Artefact.from_model(
        network,
        spec,
        normalisation=normalisation,
        architecture=options.architecture,
        temperature=temperature,
        rejection=rejection,
        metrics=metrics,
        provenance={
            "command": options.command,
            "seed": options.seed,
            "run": {"training_seconds": round(fitting_s, 2)},
            "versions": {"python": platform.python_version(), **{name: _version(name) for name in packages}},
            "platform": f"{sys.platform}-{platform.machine()}",
        },
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except ModuleNotFoundError:
        return "not installed"
