"""Train a `line` artefact on simulated episodes or a data set: the recipe of ``faultline train --spec line``."""

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
    changed_options,
    history_record,
    rounded,
    trained_artefact,
    training_scores,
    validation_scores,
)
from training.fitting.rounds import Fitted, Round, classifier_of, epochs_of, fit_rounds
from training.metrics import window_scores

# A line's rating is often unknown, so currents above a fifth of rated current are compressed. Voltages have a known
# base and are hardly compressed.
LINE_NORMALISATION: Normalisation = PowerLineNormalisation(
    kind="asinh", centre=(0.0,) * 6, scale=(0.2,) * 3 + (0.5,) * 3, phasors=True
)

# After every round but the last, a search adds windows that the model still misclassifies. One epoch is enough to find
# them; most epochs train with all of them.
ROUNDS = (Round(0.15, 5e-3, 0.3), Round(0.15, 4e-3, 0.3), Round(0.7, 4e-3, 0.01))
# Rounds that start from a trained model: small steps preserve its training.
WARM_ROUNDS = (Round(0.5, 1e-3, 0.3), Round(0.5, 1e-3, 0.01))
# Share of the logit offset for the rarity of faults that is applied. It is not 1, since a missed fault costs more than
# a doubtful window. At 0.5, quiet windows with noise of 10 and 20 dB were classified as faults (macro-F1 .976 and .989;
# with this value .978 and .990). At 0.8, fewer usual faults were found (.9976; with this value .9979, at 0.5 .9983).
PRIOR_PART = 0.65
LINE_FIT = FitOptions(batch=512, optimiser="muon", symmetries=LINE_SYMMETRIES)


@dataclass(frozen=True)
class LineOptions:
    """Options of ``faultline train --spec line``."""

    seed: int = DEFAULT_SEED
    epochs: int = 6
    episodes: int = LINE_EPISODES
    test_lines: int = 30
    architecture: str = DEFAULT_ARCHITECTURE
    data: Path | None = None  # data set to learn from, instead of ``episodes`` simulated ones
    patience: int | None = None  # epochs without improvement after which a round ends
    work_dir: Path | None = None  # folder of checkpoints, from which a killed training resumes
    show_progress: bool = True
    on_epoch: Callable[[FitHistory], None] | None = None  # called after every epoch with the epochs of the fit so far

    @property
    def command(self) -> str:
        """The command that trains the same model again."""
        learned_from = f"--episodes {self.episodes}" if self.data is None else f"--data {self.data.name}"
        given = f"--seed {self.seed} --epochs {self.epochs} {learned_from}"
        changed = changed_options(self.architecture, self.patience)
        return f"faultline train --spec line{changed} --out line.safetensors {given}"


def train_line(options: LineOptions, feedback: Windows | None = None, warm_start: Artefact | None = None) -> Artefact:
    """Train a `line` model: get the data, fit with searches for hard windows, calibrate, score on new scenarios.

    Args:
        options: see LineOptions.
        feedback: labelled windows of production; a quarter of their episodes is held out (``training.data.feedback``).
        warm_start: a model of this spec to start from, instead of random weights.

    Returns:
        The artefact. Its manifest holds the command, the seed, package versions and the scores; for a data set, also
        the scores of its test part and of every held-out band.

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
    # Calibrate on windows as often as they occur: on instructive windows alone the model would become underconfident.
    done = calibrate_line(network, data.calibration, data.test, spec, seeds.rejection)
    refused = score_rejection(done.rejection, data.test, ood_windows(spec, options.seed), spec)
    metrics = {
        **evaluate_line(done.classify, spec, seeds.test, options.test_lines),
        "calibration": done.calibration.as_metrics(),
        "rejection": refused.as_metrics(),
        "validation": validation_scores(fitted.histories[-1]),
        "training": training_scores(network, train, spec),
        "history": history_record(fitted.histories),
        "windows": {"training": len(train), "hard": len(fitted.hard), "validation": len(data.validation)},
    }
    if options.data is not None:
        metrics["data"] = dict(_by_part(done.classify, {"test": data.test, **data.held_out}, spec))
    if parts is not None:
        scores = feedback_scores(done.without_rejection, parts.hold_out, spec)
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
    """Build an untrained network of this recipe."""
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
    """Fit a network in place by the rounds of this recipe, or by those for a model that is already trained.

    Args:
        network: a Keras model from windows to logits.
        train: windows to learn from.
        validation: windows of other episodes.
        search: finds hard windows between two rounds.
        spec: spec of the windows.
        options: epochs, seed, patience, checkpoints and progress.
        warm: True if the network is already trained.

    Returns:
        The histories of the rounds, and the hard windows.
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
    """Return the total number of epochs of all rounds of ``fit_line`` if ``epochs`` are requested."""
    return sum(epochs_of(WARM_ROUNDS if warm else ROUNDS, epochs))


@dataclass(frozen=True)
class Calibrated:
    """Calibration of a fitted network, with its bounds and classifiers.

    ``classify`` rejects out-of-distribution windows, as a worker does; ``without_rejection`` ignores the bounds.
    """

    calibration: Calibration
    rejection: PowerLineRejection
    classify: Classifier
    without_rejection: Classifier


def calibrate_line(
    network: Any, calibration: Windows, test: Windows, spec: SignalSpec, rejection_seed: int
) -> Calibrated:
    """Calibrate a fitted network in place, and choose the bounds beyond which a window is out of distribution.

    Args:
        network: the network; its last bias is changed.
        calibration: windows at their natural frequency; only those that lie fully in one state are used.
        test: other windows, on which the temperature is evaluated.
        spec: spec of the windows.
        rejection_seed: seed of the lines on which the bounds are chosen.
    """
    calibrated = calibrate_for_prior(network, _whole(calibration), _whole(test), spec)
    rejection = line_rejection(spec, rejection_seed)
    classify = classifier_of(network, calibrated.temperature)
    return Calibrated(calibrated, rejection, with_rejection(classify, rejection, spec), classify)


def calibrate_for_prior(network: Any, calibration: Windows, test: Windows, spec: SignalSpec) -> Calibration:
    """Adapt a fitted network to the rarity of faults, then find its temperature.

    Args:
        network: the network; its last bias is changed.
        calibration: windows at their natural frequency, to which offset and temperature are fitted.
        test: other windows, on which the temperature is evaluated.
        spec: spec of the windows.
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
    """Return the constants that determine the result of a training, besides its options."""
    lines = (TRAINING_SWEEP, RESISTIVE_SWEEP, RESISTIVE_SHARE, INSTRUMENTS, WHOLLY_KEPT, QUIET_WEIGHT)
    return (*lines, LINE_NORMALISATION, LINE_SHARES, ROUNDS, LINE_FIT, PRIOR_PART)


def _whole(windows: Windows) -> Windows:
    """Return the windows that lie fully in one state."""
    return windows.take(windows.weights >= 1.0)


def _by_part(
    classify: Classifier, parts: Mapping[str, Windows], spec: SignalSpec
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the scores of windows fully in one state by part of a data set; a part without episodes has no scores."""
    for name, windows in parts.items():
        whole = _whole(windows)
        counts = {"episodes": len(np.unique(windows.episode)), "windows": len(whole)}
        scores = {}
        if len(whole):
            scores = rounded(window_scores(whole.labels, classify(whole.data).argmax(axis=1), spec))
        yield name if name == "test" else f"held-out-{name}", {**counts, **scores}
