"""Cross-validate the `line` recipe by groups of episodes, so that no model is evaluated on episodes of its training.

The parts of the training set are dealt to as many groups as there are folds. The model of a fold learns from all groups
but one, with the recipe's rounds, normalisation and calibration. It is evaluated on

- windows of the group left out, with instruments as bad as in training, and windows that lie fully in one state of new
  lines with usual instruments;
- faults on new lines: found faults, missed faults and delay;
- disturbances of every kind on new lines. One hour has sixty disturbances. Each stands for a minute, of which only the
  seconds around it are simulated; the simulated quiet time stands for the quiet time between disturbances.

Windows that are out of distribution count as no fault, as in a worker.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray
from pydantic import ValidationError

from domains.powerline.data.line_sequences import natural_sequences, training_part
from domains.powerline.data.training_data import Seeds, part_sizes, search_among, validation_sequences
from domains.powerline.evaluation.events import score_disturbances, score_faults
from domains.powerline.evaluation.fold_results import Fold, Folds, WindowScores
from domains.powerline.recipes.line import (
    LINE_NORMALISATION,
    LineOptions,
    between_rounds,
    calibrate_line,
    decisive,
    epochs_of_line,
    fit_line,
    new_network,
)
from model.artefact import Artefact
from model.engine import Engine
from model.files import write_text_atomic
from model.spec import SignalSpec, load_spec
from stream.detection.classify import with_rejection
from stream.windowing import cut_windows
from training.data.classifier import Classifier
from training.data.sequences import Sequences, forget
from training.errors import TrainingError
from training.fitting.defaults import DEFAULT_SEED
from training.fitting.fit import FitHistory, make_repeatable
from training.fitting.rounds import classifier_of
from training.metrics import window_scores

__all__ = ["FoldOptions", "cross_validate", "epochs_per_fold", "run_fold"]

log = structlog.get_logger(__name__)

FOLD_SEED = 10_000  # distance between the seeds of two folds
GROUPS = "groups"  # folder of the training set's parts, which all folds share
LEAST_PER_FOLD = 6  # episodes: one of every kind of life with every kind of instruments
MOST_HELD_OUT = 6  # parts of the group left out that are scored
Epoch = Callable[[int, FitHistory], None]


@dataclass(frozen=True)
class FoldOptions:
    """Options of ``faultline folds``.

    ``lines`` is the number of new lines of 64 s each, simulated once with faults and once without. ``usual_episodes``
    have at most one fault each: with 400 of them, one wrong episode changes macro-F1 by half a point.
    """

    folds: int = 5
    seed: int = DEFAULT_SEED
    epochs: int = LineOptions.epochs
    episodes: int = LineOptions.episodes
    architecture: str = LineOptions.architecture
    lines: int = 60
    usual_episodes: int = 2000

    def __post_init__(self) -> None:
        if self.folds < 2:
            raise TrainingError("cross-validation needs at least two folds")
        if self.episodes < LEAST_PER_FOLD * self.folds:
            raise TrainingError(f"{self.episodes} episodes are too few for {self.folds} folds; use more --episodes")

    @property
    def fingerprint(self) -> str:
        """Hash of everything that determines the result; another fingerprint means another recipe or other options."""
        return hashlib.sha256(repr((self, *decisive())).encode()).hexdigest()[:16]


def epochs_per_fold(options: FoldOptions) -> int:
    """Return the number of epochs for which a fold is fitted."""
    return epochs_of_line(options.epochs)


def cross_validate(options: FoldOptions, work_dir: Path, on_epoch: Epoch | None = None) -> Folds:
    """Run, one after another, all folds whose results are not in ``work_dir`` yet.

    Raises:
        TrainingError: ``work_dir`` holds results of other options or of another recipe, or cannot be written.
    """
    folds = [run_fold(options, k, work_dir, on_epoch) for k in range(1, options.folds + 1)]
    forget(work_dir / GROUPS)
    return Folds.of(options.fingerprint, folds)


def run_fold(options: FoldOptions, number: int, work_dir: Path, on_epoch: Epoch | None = None) -> Fold:
    """Train and score one fold, or read its result if it exists already.

    Args:
        options: options of the whole cross-validation.
        number: number of the fold, from 1.
        work_dir: folder for one result and one checkpoint per fold, and for the groups' sequences until all folds are
            done. A killed fold resumes after its last epoch.
        on_epoch: called after every epoch with the fold's number and the history of its round.

    Returns:
        The result of the fold.

    Raises:
        TrainingError: the fold does not exist, or ``work_dir`` holds a result of other options or cannot be written.
    """
    if not 1 <= number <= options.folds:
        raise TrainingError(f"there is no fold {number}; choose 1 to {options.folds}")
    path = work_dir / f"fold-{number}.json"
    if (known := _read(path, options.fingerprint)) is not None:
        log.info("fold-already-done", fold=number, of=options.folds)
        return known
    begun = time.perf_counter()
    spec = load_spec("line")
    seed = options.seed + number * FOLD_SEED
    report = None if on_epoch is None else lambda history: on_epoch(number, history)
    network, counts = _fitted(options, number, seed, spec, work_dir, report)
    scores = _scores(network, options, number, seed, spec, work_dir)
    fold = Fold(
        fingerprint=options.fingerprint,
        fold=number,
        windows=counts,
        seconds=round(time.perf_counter() - begun, 1),
        **scores,
    )
    _write(path, fold)
    return fold


def _parts(options: FoldOptions, number: int, spec: SignalSpec, work_dir: Path, *, inside: bool) -> list[Sequences]:
    """Return the parts of the training set that are in group ``number``, or those of all other groups.

    Parts are dealt to the groups in turn, so that every group has all kinds of lives and instruments.
    """
    sizes = enumerate(part_sizes(options.episodes, options.folds))
    own = [(part, size) for part, size in sizes if (part % options.folds == number - 1) == inside]
    return [training_part(part, size, spec, options.seed, work_dir) for part, size in own]


def _fitted(
    options: FoldOptions,
    number: int,
    seed: int,
    spec: SignalSpec,
    work_dir: Path,
    on_epoch: Callable[[FitHistory], None] | None,
) -> tuple[Any, dict[str, int]]:
    make_repeatable(seed)
    network = new_network(options.architecture, spec, seed)
    train = _parts(options, number, spec, work_dir / GROUPS, inside=False)
    validation = validation_sequences(len(train[0]), spec, Seeds(seed))
    fitted = fit_line(
        network,
        train,
        validation,
        search_among(between_rounds(train), spec),
        spec,
        LineOptions(
            seed=seed,
            epochs=options.epochs,
            work_dir=work_dir / f"fold-{number}",
            show_progress=False,
            on_epoch=on_epoch,
        ),
    )
    counts = {"training": sum(part.labels.size for part in train), "validation": validation.labels.size}
    return network, {**counts, "hard": fitted.hard.labels.size}


def _scores(
    network: Any, options: FoldOptions, number: int, seed: int, spec: SignalSpec, work_dir: Path
) -> dict[str, Any]:
    seeds = Seeds(seed)
    calibration, usual = (
        natural_sequences(options.usual_episodes, spec, drawn) for drawn in (seeds.calibration, seeds.test)
    )
    done = calibrate_line(network, calibration, usual, spec, Seeds(options.seed).rejection)
    classify = with_rejection(classifier_of(network, done.calibration.temperature), done.rejection, spec)
    groups = work_dir / GROUPS
    held_out = Sequences.joined(_parts(options, number, spec, groups, inside=True)[:MOST_HELD_OUT])
    artefact = Artefact.from_model(
        network,
        spec,
        normalisation=LINE_NORMALISATION,
        architecture=options.architecture,
        temperature=done.calibration.temperature,
    )
    with Engine(artefact) as engine:
        follow = with_rejection(engine.follow_records, done.rejection, spec)
        events = {
            "faults": score_faults(follow, spec, seeds.test + 1, options.lines),
            "disturbances": score_disturbances(follow, spec, seeds.test + 2, options.lines),
        }
    return {
        **dict(_scored("held_out", held_out, held_out.weights > 0, classify, spec)),
        **dict(_scored("usual", usual, usual.weights >= 1.0, classify, spec)),
        **events,
    }


def _scored(
    name: str, sequences: Sequences, scored: NDArray[np.bool_], classify: Classifier, spec: SignalSpec
) -> Iterator[tuple[str, WindowScores]]:
    """Yield the scores of the windows ``scored`` (n, steps), of faults alone and of all."""
    labels = sequences.labels[scored]
    y_pred = classify(cut_windows(sequences.data, spec)).argmax(axis=2)[scored]
    for which, rows in (("faults", labels != spec.none_index), ("all", np.ones(len(labels), bool))):
        scores = window_scores(labels[rows], y_pred[rows], spec)
        rounded = {key: round(value, 5) for key, value in scores.items()}
        yield f"{name}_{which}", WindowScores(windows=int(rows.sum()), **rounded)


def _read(path: Path, fingerprint: str) -> Fold | None:
    try:
        fold = Fold.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise TrainingError(f"{path} is not the result of a fold; remove it to run the fold again") from error
    if fold.fingerprint != fingerprint:
        raise TrainingError(
            f"{path} is the result of other options or of another recipe; give another --work-dir, or remove it"
        )
    return fold


def _write(path: Path, fold: Fold) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text_atomic(path, fold.model_dump_json(indent=1) + "\n")
    except OSError as error:
        raise TrainingError(f"{path}: cannot be written: {error.strerror or error}") from error
