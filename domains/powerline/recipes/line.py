"""Train a `line` artefact on simulated lives or a data set: the recipe of ``faultline train --spec line``."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from domains.powerline.data.leave_out import lives_without
from domains.powerline.data.line_sequences import INSTRUMENTS, KINDS, QUIET, STEPS
from domains.powerline.data.ood import in_distribution_windows, line_rejection, ood_windows, score_rejection
from domains.powerline.data.symmetries import LINE_SYMMETRIES
from domains.powerline.data.training_data import (
    HARD_SHARE,
    Seeds,
    read_training_data,
    search_among,
    simulate_training_data,
)
from domains.powerline.evaluation.events import evaluate_line
from domains.powerline.normalisation import PowerLineNormalisation
from domains.powerline.recipes.memory import LINE_EPISODES
from domains.powerline.rejection import PowerLineRejection
from model.architectures import MEMORY_ARCHITECTURE, build, memory_units
from model.artefact import Artefact, build_model
from model.engine import Engine
from model.normalisation import Normalisation
from model.spec import SignalSpec, load_spec
from stream.detection.classify import with_rejection
from stream.windowing import cut_windows
from training.data.classifier import Classifier, Search
from training.data.feedback import feedback_scores, split_feedback, weighted_feedback
from training.data.sequences import Sequences
from training.data.windows import QUIET_WEIGHT
from training.errors import TrainingError
from training.fitting.augmentation import Outages
from training.fitting.calibration import Calibration, calibrate, prior_offset
from training.fitting.defaults import DEFAULT_SEED
from training.fitting.fit import FitHistory, FitOptions, make_repeatable, sequence_logits_of
from training.fitting.manifests import (
    changed_options,
    history_record,
    rounded,
    sequence_scores,
    trained_artefact,
    validation_scores,
)
from training.fitting.rounds import Fitted, Round, epochs_of, fit_rounds
from training.metrics import window_scores

# A line's rating is often unknown, so currents above a fifth of rated current are compressed. Voltages have a known
# base and are hardly compressed.
LINE_NORMALISATION: Normalisation = PowerLineNormalisation(
    kind="asinh", centre=(0.0,) * 6, scale=(0.2,) * 3 + (0.5,) * 3, phasors=True
)

# The first round learns from the first parts of the training set. A search repeats those sequences of the next parts
# that the model gets most wrong, and the second round learns from all of these. The third learns from the searched
# parts and those with the worst instruments, the fourth from parts with milder instruments, and the last from both. The
# mean of the weights of the last three is the network.
FIRST_PARTS, MIDDLE_PARTS, MILD_SHARE, LAST_PARTS = 0.42, 0.84, 0.715, 0.21
AVERAGED_ROUNDS = 3
# From the second round on, a phase is lost for up to 25 cycles, or all channels keep their value for some samples.
OUTAGES = Outages(
    groups=((0, 3), (1, 4), (2, 5)), zero_share=0.2, zero_samples=(28, 800), held_share=0.12, held_samples=(2, 80)
)
ROUNDS = (
    Round(0.22, 6e-3, 0.3, part=FIRST_PARTS),
    Round(0.33, 6e-3, 0.01, part=MIDDLE_PARTS, outages=OUTAGES),
    Round(0.22, 3e-3, 0.01, begin=FIRST_PARTS, hard=False, outages=OUTAGES),
    Round(0.11, 2.5e-3, 0.01, part=MILD_SHARE, hard=False, outages=OUTAGES.rarer(0.5)),
    Round(0.11, 3e-3, 0.01, begin=LAST_PARTS, hard=False, outages=OUTAGES.rarer(0.8)),
)
# Rounds that start from a trained model: small steps preserve its training.
WARM_ROUNDS = (Round(0.5, 1e-3, 0.3, part=0.5), Round(0.5, 1e-3, 0.01))
# Share of the logit offset for the rarity of faults that is applied. It is not 1, since a missed fault costs more than
# a doubtful window. At 0.43, 212 faults were missed in the 140 cells of the base conditions, with this value 190; false
# alarms were 0.058 and 0.065 per line-hour, and the means of the cells 0.9766 and 0.9764.
PRIOR_PART = 0.34
LINE_FIT = FitOptions(batch=64, optimiser="muon", symmetries=LINE_SYMMETRIES)
SCORED_PARTS = 3  # parts of the training set that the finished network is scored on


@dataclass(frozen=True)
class LineOptions:
    """Options of ``faultline train --spec line``; an episode is a sequence of ``STEPS`` windows of one life."""

    seed: int = DEFAULT_SEED
    epochs: int = 9
    episodes: int = LINE_EPISODES
    test_lines: int = 30
    architecture: str = MEMORY_ARCHITECTURE
    data: Path | None = None  # data set to learn from, instead of ``episodes`` simulated ones
    patience: int | None = None  # epochs without improvement after which a round ends
    work_dir: Path | None = None  # folder of checkpoints and sequences, from which a killed training resumes
    show_progress: bool = True
    on_epoch: Callable[[FitHistory], None] | None = None  # called after every epoch with the epochs of the fit so far
    without: tuple[str, ...] = ()  # conditions whose events and instruments no simulated sequence contains

    @property
    def command(self) -> str:
        """The command that trains the same model again."""
        learned_from = f"--episodes {self.episodes}" if self.data is None else f"--data {self.data.name}"
        given = f"--seed {self.seed} --epochs {self.epochs} {learned_from}"
        changed = changed_options(self.architecture, self.patience, MEMORY_ARCHITECTURE)
        return f"faultline train --spec line{changed} --out line.safetensors {given}"


def train_line(options: LineOptions, feedback: Sequences | None = None, warm_start: Artefact | None = None) -> Artefact:
    """Train a `line` model: get the data, fit with a search for hard sequences, calibrate, score on new scenarios.

    Args:
        options: see LineOptions.
        feedback: labelled sequences of production; a quarter of them is held out (``training.data.feedback``).
        warm_start: a model of this spec to start from, instead of random weights.

    Returns:
        The artefact. Its manifest holds the command, the seed, package versions and the scores; for a data set, also
        the scores of its test part and of every held-out band.

    Raises:
        DataSetError: the data set cannot be read, does not fit the spec or has too few episodes.
        TrainingError: a condition of ``options.without`` cannot be left out.
    """
    spec = load_spec("line")
    if options.data is not None and options.without:
        raise TrainingError("conditions can be left out of a simulated training only, not of a data set")
    lives = lives_without(options.without)
    make_repeatable(options.seed)
    if warm_start is None:
        network, normalisation = new_network(options.architecture, spec, options.seed), LINE_NORMALISATION
    else:
        network, normalisation = build_model(warm_start), warm_start.manifest.normalisation
        options = replace(options, architecture=warm_start.manifest.architecture)
    seeds = Seeds(options.seed)
    if options.data is None:
        data = simulate_training_data(
            options.episodes, spec, seeds, options.work_dir, lives=lives, show_progress=options.show_progress
        )
    else:
        data = read_training_data(options.data, spec, options.seed)
    train = list(data.train)
    parts = split_feedback(feedback) if feedback is not None and len(feedback) else None
    if parts is not None:
        # Every round learns from the first parts.
        simulated = sum(float(part.weights.sum()) for part in data.train)
        train.insert(0, weighted_feedback(parts.train, simulated, options.seed))
    search = search_among(between_rounds(data.train), spec)
    fitted = fit_line(network, train, data.validation, search, spec, options, warm=warm_start is not None)
    done = calibrate_line(network, data.calibration, data.test, spec, seeds.rejection)

    def artefact(metrics: dict[str, Any]) -> Artefact:
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

    with Engine(artefact({})) as engine:
        follow: Classifier = engine.follow_records
        classify = with_rejection(follow, done.rejection, spec)
        usual = in_distribution_windows(spec, seeds.test)
        refused = score_rejection(done.rejection, usual, ood_windows(spec, options.seed), spec)
        metrics = {
            **evaluate_line(classify, spec, seeds.test, options.test_lines),
            "calibration": done.calibration.as_metrics(),
            "rejection": refused.as_metrics(),
            "validation": validation_scores(fitted.histories[-1]),
            "training": sequence_scores(network, Sequences.joined(train[-SCORED_PARTS:]), spec),
            "history": history_record(fitted.histories),
            "windows": {
                "training": sum(part.labels.size for part in train),
                "hard": fitted.hard.labels.size,
                "validation": data.validation.labels.size,
            },
        }
        if options.data is not None:
            metrics["data"] = dict(_by_part(classify, {"test": data.test, **data.held_out}, spec))
        if parts is not None:
            scores = feedback_scores(follow, parts.hold_out, spec)
            metrics["field"] = {"windows": int((parts.train.weights > 0).sum()), "hold_out": scores}
    if warm_start is not None:
        metrics["warm_start"] = warm_start.model_id
    if options.without:
        metrics["without"] = list(options.without)
    return artefact(metrics)


def between_rounds(train: Sequence[Sequences]) -> Sequence[Sequences]:
    """Return the parts that are searched for hard sequences: those that the first round does not learn from."""
    return train[math.ceil(FIRST_PARTS * len(train)) : math.ceil(MIDDLE_PARTS * len(train))]


def new_network(architecture: str, spec: SignalSpec, seed: int) -> Any:
    """Build an untrained network of this recipe.

    Raises:
        TrainingError: the architecture has no memory, and so cannot learn from sequences.
    """
    if not memory_units(architecture):
        raise TrainingError(
            f"spec {spec.name!r} learns from sequences of windows, and architecture {architecture!r} has no memory:"
            f" leave --architecture out, or give {MEMORY_ARCHITECTURE}"
        )
    return build(architecture, spec, LINE_NORMALISATION, seed)


def fit_line(
    network: Any,
    train: Sequence[Sequences],
    validation: Sequences,
    search: Search,
    spec: SignalSpec,
    options: LineOptions,
    *,
    warm: bool = False,
) -> Fitted:
    """Fit a network in place by the rounds of this recipe, or by those for a model that is already trained.

    Args:
        network: a Keras model with a memory.
        train: sequences to learn from, in parts.
        validation: sequences of other lives.
        search: finds hard sequences between two rounds.
        spec: spec of the windows.
        options: epochs, seed, patience, checkpoints and progress.
        warm: True if the network is already trained.

    Returns:
        The histories of the rounds, and the hard sequences.
    """
    return fit_rounds(
        network,
        train,
        validation,
        spec,
        _rounds(options, warm=warm),
        replace(
            LINE_FIT,
            epochs=options.epochs,
            seed=options.seed,
            patience=options.patience,
            show_progress=options.show_progress,
        ),
        search=search,
        averaged=1 if warm else AVERAGED_ROUNDS,
        checkpoints=options.work_dir,
        on_epoch=options.on_epoch,
    )


def _rounds(options: LineOptions, *, warm: bool) -> tuple[Round, ...]:
    rounds = WARM_ROUNDS if warm else ROUNDS
    return tuple(replace(one, outages=None) for one in rounds) if {"phase_loss", "gap"} & {*options.without} else rounds


def epochs_of_line(epochs: int, *, warm: bool = False) -> int:
    """Return the total number of epochs of all rounds of ``fit_line`` if ``epochs`` are requested."""
    return sum(epochs_of(WARM_ROUNDS if warm else ROUNDS, epochs))


@dataclass(frozen=True)
class Calibrated:
    """Calibration of a fitted network, and the bounds beyond which its answers mean nothing."""

    calibration: Calibration
    rejection: PowerLineRejection


def calibrate_line(
    network: Any, calibration: Sequences, test: Sequences, spec: SignalSpec, rejection_seed: int
) -> Calibrated:
    """Calibrate a fitted network in place, and choose the bounds beyond which a window is out of distribution.

    Calibrates on windows as often as they occur: on instructive windows alone the model would become underconfident.
    Adapts the network to the rarity of faults, then finds its temperature.

    Args:
        network: the network; its last bias is changed.
        calibration: sequences at their natural frequency; only windows that lie fully in one state are used.
        test: other sequences, on which the temperature is evaluated.
        spec: spec of the windows.
        rejection_seed: seed of the lines on which the bounds are chosen.
    """
    logits, labels = _whole_logits(network, calibration, spec)
    offset = prior_offset(logits, labels, spec.none_index)
    shift_logit(network, PRIOR_PART * offset, spec.none_index)
    calibrated = calibrate(*_whole_logits(network, calibration, spec), *_whole_logits(network, test, spec), spec)
    return Calibrated(calibrated, line_rejection(spec, rejection_seed))


def _whole_logits(
    network: Any, sequences: Sequences, spec: SignalSpec
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Return logits (k, classes) and labels (k,) of the windows that lie fully in one state."""
    whole = sequences.weights >= 1.0
    return sequence_logits_of(network, cut_windows(sequences.data, spec))[whole], sequences.labels[whole]


def shift_logit(network: Any, offset: float, class_index: int) -> None:
    """Add ``offset`` to the logit of a class, in the bias of the network's last layer."""
    bias = network.get_layer("logits").bias
    values = np.array(bias.value)
    values[class_index] += offset
    bias.assign(values)


def decisive() -> tuple[object, ...]:
    """Return the constants that determine the result of a training, besides its options."""
    lives = (STEPS, QUIET, KINDS, INSTRUMENTS, QUIET_WEIGHT, HARD_SHARE)
    return (*lives, LINE_NORMALISATION, ROUNDS, AVERAGED_ROUNDS, LINE_FIT, PRIOR_PART)


def _by_part(
    classify: Classifier, parts: Mapping[str, Sequences], spec: SignalSpec
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the scores of windows fully in one state by part of a data set; a part without episodes has no scores."""
    for name, sequences in parts.items():
        whole = sequences.weights >= 1.0
        counts = {"episodes": len(sequences), "windows": int(whole.sum())}
        scores = {}
        if whole.any():
            y_pred = classify(cut_windows(sequences.data, spec)).argmax(axis=2)[whole]
            scores = rounded(window_scores(sequences.labels[whole], y_pred, spec))
        yield name if name == "test" else f"held-out-{name}", {**counts, **scores}
