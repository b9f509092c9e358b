"""From a seed, or from a data set, to an artefact: the recipe behind ``faultline train --spec line``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from domains.powerline.data.line_data import (
    INSTRUMENTS,
    RESISTIVE_SHARE,
    RESISTIVE_SWEEP,
    TRAINING_SWEEP,
    WHOLLY_KEPT,
    Batches,
)
from domains.powerline.data.ood import line_rejection, ood_windows, score_rejection
from domains.powerline.data.symmetries import LINE_SYMMETRIES
from domains.powerline.data.training_data import LINE_SHARES, Seeds, read_training_data, simulate_training_data
from domains.powerline.evaluation.events import evaluate_line
from domains.powerline.normalisation import PowerLineNormalisation
from domains.powerline.recipes.memory import LINE_EPISODES
from domains.powerline.rejection import PowerLineRejection
from model.architectures import build
from model.artefact import Artefact, build_model
from model.normalisation import Normalisation
from model.spec import SignalSpec, load_spec
from stream.detection.classify import with_rejection
from training.data.classifier import Classifier, Search
from training.data.feedback import feedback_scores, split_feedback, weighted_feedback
from training.data.windows import QUIET_WEIGHT, Windows
from training.fitting.calibration import Calibration, calibrate, prior_offset
from training.fitting.defaults import DEFAULT_ARCHITECTURE, DEFAULT_SEED
from training.fitting.fit import FitHistory, FitOptions, logits_of, make_repeatable
from training.fitting.manifests import (
    best,
    chosen,
    learned,
    recorded,
    rounded,
    trained_artefact,
)
from training.fitting.rounds import Fitted, Round, classifier_of, epochs_of, fit_rounds
from training.metrics import window_scores

# A line's rating is often unknown: currents are compressed from a fifth of the rated one on, voltages, whose base
# is known, hardly at all.
LINE_NORMALISATION: Normalisation = PowerLineNormalisation(
    kind="asinh", centre=(0.0,) * 6, scale=(0.2,) * 3 + (0.5,) * 3, phasors=True
)

# After every round but the last, the windows that the model still gets wrong are searched. One epoch is enough to know
# which they are; most epochs are spent with all of them.
ROUNDS = (Round(0.15, 5e-3, 0.3), Round(0.15, 4e-3, 0.3), Round(0.7, 4e-3, 0.01))
# From a model that is good already: small steps, so that it does not forget what it knows.
WARM_ROUNDS = (Round(0.5, 1e-3, 0.3), Round(0.5, 1e-3, 0.01))
# Windows are classified by how rare faults are, but not wholly: a missed fault costs more than a doubtful window.
# At half of it noise of 10 and 20 dB made faults of quiet windows (macro-F1 .976 and .989; .978 and .990 here), at four
# fifths fewer usual faults were found (.9976; .9979 here, .9983 at half).
PRIOR_PART = 0.65
LINE_FIT = FitOptions(batch=512, optimiser="muon", symmetries=LINE_SYMMETRIES)


@dataclass(frozen=True)
class LineOptions:
    """What ``faultline train --spec line`` was asked for."""

    seed: int = DEFAULT_SEED
    epochs: int = 6
    episodes: int = LINE_EPISODES
    test_lines: int = 30
    architecture: str = DEFAULT_ARCHITECTURE
    data: Path | None = None  # a data set to learn from, instead of ``episodes`` simulated ones
    patience: int | None = None  # epochs of a round without a better one after which it ends
    work_dir: Path | None = None  # of checkpoints: a killed training goes on from there
    show_progress: bool = True
    on_epoch: Callable[[FitHistory], None] | None = None  # told after every epoch, of a fit's epochs so far

    @property
    def command(self) -> str:
        """The command that makes the same model again."""
        learned_from = f"--episodes {self.episodes}" if self.data is None else f"--data {self.data.name}"
        given = f"--seed {self.seed} --epochs {self.epochs} {learned_from}"
        return f"faultline train --spec line{chosen(self.architecture, self.patience)} --out line.safetensors {given}"


def train_line(options: LineOptions, feedback: Windows | None = None, warm_start: Artefact | None = None) -> Artefact:
    """Simulate or read, fit, search hard windows, fit on with them, calibrate, score on fresh scenarios.

    Args:
        options: see LineOptions.
        feedback: labelled windows of production; a quarter of their episodes is held out (``training.data.feedback``).
        warm_start: a model of this spec to go on from, instead of random weights.

    Returns:
        The artefact; its manifest holds the command, the seed, package versions and the scores, and, of a data set,
        those of its test part and of every held-out band.

    Raises:
        DataSetError: the data set cannot be read, does not fit the spec or has too few episodes.
    """
    spec = load_spec("line")
    make_repeatable(options.seed)
    if warm_start is None:
        network, normalisation = new_network(options.architecture, spec, options.seed), LINE_NORMALISATION
    else:
        network, normalisation = build_model(warm_start), warm_start.manifest.normalisation
        options = replace(options, architecture=warm_start.manifest.architecture)
    seeds = Seeds(options.seed)
    if options.data is None:
        data = simulate_training_data(Batches.of(options.episodes), spec, seeds)
    else:
        data = read_training_data(options.data, spec, options.seed)
    train = data.train
    parts = split_feedback(feedback) if feedback is not None and len(feedback) else None
    if parts is not None:
        train = Windows.joined([train, weighted_feedback(parts.train, train, options.seed)])
    fitted = fit_line(network, train, data.validation, data.search, spec, options, warm=warm_start is not None)
    # Windows as often as they occur: of instructive ones alone the model would learn to doubt itself.
    done = calibrate_line(network, data.calibration, data.test, spec, seeds.rejection)
    refused = score_rejection(done.rejection, data.test, ood_windows(spec, options.seed), spec)
    metrics = {
        **evaluate_line(done.classify, spec, seeds.test, options.test_lines),
        "calibration": done.calibration.as_metrics(),
        "rejection": refused.as_metrics(),
        "validation": best(fitted.histories[-1]),
        "training": learned(network, train, spec),
        "history": recorded(fitted.histories),
        "windows": {"training": len(train), "hard": len(fitted.hard), "validation": len(data.validation)},
    }
    if options.data is not None:
        metrics["data"] = dict(_by_part(done.classify, {"test": data.test, **data.held_out}, spec))
    if parts is not None:
        scores = feedback_scores(done.unguarded, parts.hold_out, spec)
        metrics["field"] = {"windows": len(parts.train), "hold_out": scores}
    if warm_start is not None:
        metrics["warm_start"] = warm_start.model_id
    return trained_artefact(
        network,
        spec,
        options,
        normalisation=normalisation,
        temperature=done.calibration.temperature,
        metrics=metrics,
        fitting_s=sum(history.seconds for history in fitted.histories),
        rejection=done.rejection,
        source=data.source,
    )


def new_network(architecture: str, spec: SignalSpec, seed: int) -> Any:
    """Return an untrained network of this recipe."""
    return build(architecture, spec, LINE_NORMALISATION, seed)


def fit_line(
    network: Any,
    train: Windows,
    validation: Windows,
    search: Search,
    spec: SignalSpec,
    options: LineOptions,
    *,
    warm: bool = False,
) -> Fitted:
    """Fit a network in place by the rounds of this recipe, or by those for a model that is good already.

    Args:
        network: a Keras model from windows to logits.
        train: windows to learn from.
        validation: windows of other episodes.
        search: finds hard windows between two rounds.
        spec: of the windows.
        options: epochs, seed, patience, checkpoints and progress are taken.
        warm: whether the network is good already.
    """
    return fit_rounds(
        network,
        train,
        validation,
        spec,
        WARM_ROUNDS if warm else ROUNDS,
        replace(
            LINE_FIT,
            epochs=options.epochs,
            seed=options.seed,
            patience=options.patience,
            show_progress=options.show_progress,
        ),
        search=search,
        checkpoints=options.work_dir,
        on_epoch=options.on_epoch,
    )


def epochs_of_line(epochs: int, *, warm: bool = False) -> int:
    """Return how many epochs ``fit_line`` fits for ``epochs`` asked for."""
    return sum(epochs_of(WARM_ROUNDS if warm else ROUNDS, epochs))


@dataclass(frozen=True)
class Calibrated:
    """A fitted network with its temperature and bounds. ``classify`` answers as a worker does, ``unguarded`` without
    the bounds."""

    calibration: Calibration
    rejection: PowerLineRejection
    classify: Classifier
    unguarded: Classifier


def calibrate_line(
    network: Any, calibration: Windows, test: Windows, spec: SignalSpec, rejection_seed: int
) -> Calibrated:
    """Calibrate a fitted network in place, and choose the bounds beyond which a window is unlike training.

    Args:
        network: whose last bias is changed.
        calibration: windows as often as they occur; those that one state fills are taken.
        test: others, by which the temperature is evaluated.
        spec: of the windows.
        rejection_seed: of the lines that the bounds are chosen on.
    """
    calibrated = calibrate_for_prior(network, _whole(calibration), _whole(test), spec)
    rejection = line_rejection(spec, rejection_seed)
    classify = classifier_of(network, calibrated.temperature)
    return Calibrated(calibrated, rejection, with_rejection(classify, rejection, spec), classify)


def calibrate_for_prior(network: Any, calibration: Windows, test: Windows, spec: SignalSpec) -> Calibration:
    """Shift a fitted network to how rare faults are, then find its temperature.

    Args:
        network: whose last bias is changed.
        calibration: windows as often as they occur, from which both are found.
        test: others, by which the temperature is evaluated.
        spec: of the windows.
    """
    offset = prior_offset(logits_of(network, calibration.data), calibration.labels, spec.none_index)
    shift_logit(network, PRIOR_PART * offset, spec.none_index)
    logits, others = logits_of(network, calibration.data), logits_of(network, test.data)
    return calibrate(logits, calibration.labels, others, test.labels, spec)


def shift_logit(network: Any, offset: float, class_index: int) -> None:
    """Add ``offset`` to the logit of a class, in the bias of the network's last layer."""
    bias = network.get_layer("logits").bias
    values = np.array(bias.value)
    values[class_index] += offset
    bias.assign(values)


def decisive() -> tuple[object, ...]:
    """Return what decides the outcome of a training besides its options."""
    lines = (TRAINING_SWEEP, RESISTIVE_SWEEP, RESISTIVE_SHARE, INSTRUMENTS, WHOLLY_KEPT, QUIET_WEIGHT)
    return (*lines, LINE_NORMALISATION, LINE_SHARES, ROUNDS, LINE_FIT, PRIOR_PART)


def _whole(windows: Windows) -> Windows:
    """Return those that lie fully in one state."""
    return windows.take(windows.weights >= 1.0)


def _by_part(
    classify: Classifier, parts: Mapping[str, Windows], spec: SignalSpec
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the scores of the windows fully in one state, by part of a data set; none of a part without episodes."""
    for name, windows in parts.items():
        whole = _whole(windows)
        counts = {"episodes": len(np.unique(windows.episode)), "windows": len(whole)}
        scores = {}
        if len(whole):
            scores = rounded(window_scores(whole.labels, classify(whole.data).argmax(axis=1), spec))
        yield name if name == "test" else f"held-out-{name}", {**counts, **scores}
