"""Cross-validate the `line` recipe by groups of episodes, so that no model is evaluated on episodes of its training.

The number of simulated groups of episodes equals the number of folds, and each group has its own seeds. The model of a
fold learns from all groups but one, with the recipe's rounds, normalisation and calibration. It is evaluated on

- windows that lie fully in one state: those of the group left out, with instruments as bad as in training, and those of
  new lines with usual instruments, where each such window counts as often as it occurs;
- faults on new lines: found faults, missed faults and delay;
- disturbances of every kind on new lines. One hour has sixty disturbances. Each stands for a minute, of which only the
  seconds around it are simulated; the simulated quiet time stands for the quiet time between disturbances.

Windows that are out of distribution count as no fault, as in a worker.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import structlog
from pydantic import ValidationError

from domains.powerline.data.line_data import Batches, training_windows
from domains.powerline.data.ood import in_distribution_windows
from domains.powerline.data.training_data import LINE_SHARES, Seeds, simulated_search
from domains.powerline.evaluation.events import score_disturbances, score_faults
from domains.powerline.evaluation.fold_results import Fold, Folds, WindowScores
from domains.powerline.recipes.line import (
    LineOptions,
    calibrate_line,
    decisive,
    epochs_of_line,
    fit_line,
    new_network,
)
from model.files import write_text_atomic
from model.spec import SignalSpec, load_spec
from training.data.classifier import Classifier
from training.data.windows import Windows, split_by_episode
from training.errors import TrainingError
from training.evaluation.classifier import classify_single
from training.evaluation.fold_groups import forget_groups, kept_group
from training.fitting.defaults import DEFAULT_ARCHITECTURE, DEFAULT_SEED
from training.fitting.fit import FitHistory, make_repeatable
from training.metrics import window_scores

__all__ = ["FoldOptions", "cross_validate", "epochs_per_fold", "run_fold"]

log = structlog.get_logger(__name__)

GROUP_SEED = 10_000  # distance between the seeds of two groups; a training set takes two seeds
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
    architecture: str = DEFAULT_ARCHITECTURE
    lines: int = 60
    usual_episodes: int = 2000

    def __post_init__(self) -> None:
        if self.folds < 2:
            raise TrainingError("cross-validation needs at least two folds")
        if min(self.batches.mixed, self.batches.brief, self.batches.mined) < 2:
            raise TrainingError(f"{self.episodes} episodes are too few for {self.folds} folds; use more --episodes")

    @property
    def batches(self) -> Batches:
        """Numbers of episodes of one group."""
        return Batches.of(self.episodes // self.folds)

    @property
    def fingerprint(self) -> str:
        """Hash of everything that determines the result; another fingerprint means another recipe or other options."""
        return hashlib.sha256(repr((self, self.batches, *decisive())).encode()).hexdigest()[:16]


def epochs_per_fold(options: FoldOptions) -> int:
    """Return the number of epochs for which a fold is fitted."""
    return epochs_of_line(options.epochs)


def cross_validate(options: FoldOptions, work_dir: Path, on_epoch: Epoch | None = None) -> Folds:
    """Run, one after another, all folds whose results are not in ``work_dir`` yet.

    Raises:
        TrainingError: ``work_dir`` holds results of other options or of another recipe, or cannot be written.
    """
    folds = [run_fold(options, k, work_dir, on_epoch) for k in range(1, options.folds + 1)]
    forget_groups(work_dir)
    return Folds.of(options.fingerprint, folds)


def run_fold(options: FoldOptions, number: int, work_dir: Path, on_epoch: Epoch | None = None) -> Fold:
    """Train and score one fold, or read its result if it exists already.

    Args:
        options: options of the whole cross-validation.
        number: number of the fold, from 1.
        work_dir: folder for one result and one checkpoint per fold, and for the groups' windows until all folds are
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
    seed = options.seed + number * GROUP_SEED * (options.folds + 1)
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


def _group(options: FoldOptions, number: int, spec: SignalSpec, work_dir: Path) -> Windows:
    """Return the windows of group ``number``; the numbers of its episodes are unique among all groups."""
    windows = kept_group(
        work_dir / f"group-{number}.npz",
        options.fingerprint,
        lambda: training_windows(options.batches, spec, options.seed + number * GROUP_SEED, options.folds),
    )
    size = options.batches.mixed + options.batches.brief
    return replace(windows, episode=windows.episode + (number - 1) * size)


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
    others = [k for k in range(1, options.folds + 1) if k != number]
    windows = Windows.joined([_group(options, k, spec, work_dir) for k in others])
    train, validation = split_by_episode(windows, LINE_SHARES, seed)
    mined = Batches.of(options.episodes * len(others) // options.folds).mined
    first_episode = options.folds * (options.batches.mixed + options.batches.brief)  # after the episodes of all groups
    fitted = fit_line(
        network,
        train,
        validation,
        simulated_search(mined, spec, Seeds(seed), first_episode),
        spec,
        LineOptions(
            seed=seed,
            epochs=options.epochs,
            work_dir=work_dir / f"fold-{number}",
            show_progress=False,
            on_epoch=on_epoch,
        ),
    )
    return network, {"training": len(train), "validation": len(validation), "hard": len(fitted.hard)}


def _scores(
    network: Any, options: FoldOptions, number: int, seed: int, spec: SignalSpec, work_dir: Path
) -> dict[str, Any]:
    seeds = Seeds(seed)
    calibration, test = (
        in_distribution_windows(spec, drawn, options.usual_episodes) for drawn in (seeds.calibration, seeds.test)
    )
    classify = calibrate_line(network, calibration, test, spec, Seeds(options.seed).rejection).classify
    held_out, usual = (
        windows.take(windows.weights >= 1.0) for windows in (_group(options, number, spec, work_dir), test)
    )
    return {
        **dict(_scored("held_out", held_out, classify, spec)),
        **dict(_scored("usual", usual, classify, spec)),
        "faults": score_faults(classify, spec, seeds.test + 1, options.lines),
        "disturbances": score_disturbances(classify, spec, seeds.test + 2, options.lines),
    }


def _scored(name: str, whole: Windows, classify: Classifier, spec: SignalSpec) -> Iterator[tuple[str, WindowScores]]:
    y_pred = classify_single(classify, whole.data).argmax(axis=1)
    for which, rows in (("faults", whole.labels != spec.none_index), ("all", np.ones(len(whole), bool))):
        scores = window_scores(whole.labels[rows], y_pred[rows], spec)
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
