"""Train the candidate of a retraining on the data of its recipe and on labelled windows from production."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import structlog

from model.artefact import Artefact
from model.spec import SignalSpec, load_spec
from training.data.feedback import Feedback, labelled_count
from training.errors import TrainingError
from training.fitting.fit import FitHistory
from training.recipe import TrainOptions, recipe_of
from training.sidecar.job.spec import CHAMPION, FEEDBACK, WORK, JobSpec
from training.sidecar.store.store import LabelledStore

log = structlog.get_logger(__name__)

OnProgress = Callable[[float, str], None]
"""Function that is called with the progress, 0 to 1, and the stage."""


def train_candidate(job: JobSpec, folder: Path, on_progress: OnProgress) -> Artefact:
    """Train the candidate of ``job``, resuming from the checkpoints in ``folder`` if there are any.

    Args:
        job: a job for a spec that has a recipe.
        folder: folder of the retraining, with the checkpoints and the labelled windows.
        on_progress: called with the progress and the stage.

    Returns:
        The candidate.

    Raises:
        TrainingError: if the job or its data do not allow a training.
        OSError: if the folder cannot be written.
    """
    work = folder / WORK
    resumed = work.is_dir()
    try:
        return _train(job, folder, on_progress)
    except TrainingError as error:
        if not resumed:
            raise
        # The checkpoints are damaged or of another version: losing their work is better than failing.
        log.warning("checkpoints-not-used", error=str(error), then="the training starts from the beginning")
        shutil.rmtree(work)
        return _train(job, folder, on_progress)


def _train(job: JobSpec, folder: Path, on_progress: OnProgress) -> Artefact:
    spec = load_spec(job.spec)
    recipe = recipe_of(spec)
    recipe.require_data(job.data, "set FAULTLINE_RETRAIN_DATA to its path")
    feedback = read_feedback(folder, spec, recipe.steps)
    if recipe.preparing:
        and_feedback = f" and {labelled_count(feedback):,} labelled windows" if feedback is not None else ""
        on_progress(0.0, f"{recipe.preparing}{and_feedback}")
    champion_file = folder / CHAMPION
    champion = Artefact.load(champion_file) if job.warm_start and champion_file.exists() else None
    options = TrainOptions(
        seed=job.seed,
        epochs=job.epochs,
        episodes=job.episodes,
        data=job.data if recipe.needs_data is not None else None,
        most_test_lines=job.evaluation_lines,
        work_dir=folder / WORK,
        show_progress=False,
    )
    counted = _Epochs(recipe.epochs(options, warm=champion is not None), on_progress)
    return recipe.train(replace(options, on_epoch=counted), feedback, champion)


class _Epochs:
    """Counter of the epochs of successive fits; it does not see the epochs of fits that ended before a kill."""

    def __init__(self, total: int, on_progress: OnProgress) -> None:
        self._total, self._on_progress = total, on_progress
        self._before = self._of_this = 0

    def __call__(self, history: FitHistory) -> None:
        if history.epochs <= self._of_this:
            self._before += self._of_this
        self._of_this = history.epochs
        done = min(self._before + self._of_this, self._total)
        self._on_progress(done / self._total, f"epoch {done} of {self._total}, loss {history.loss[-1]:.4f}")


def read_feedback(folder: Path, spec: SignalSpec, steps: int) -> Feedback | None:
    """Return the labelled windows in the snapshot of the store; None if there are none.

    Args:
        folder: folder of the retraining.
        spec: spec of the windows.
        steps: number of windows of a sequence, or 0 for single windows; see ``Recipe.steps``.
    """
    if not (folder / FEEDBACK).is_dir():
        return None
    with LabelledStore(folder / FEEDBACK) as store:
        feedback: Feedback = store.sequences(spec, steps) if steps else store.windows(spec)
    return feedback if len(feedback) else None
