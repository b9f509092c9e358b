"""Trains the candidate of a retraining on simulated episodes and on labelled windows from production."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

from domains.powerline.recipes.instant import InstantOptions, train_instant
from domains.powerline.recipes.line import ROUNDS, WARM_ROUNDS, LineOptions, train_line
from model.artefact import Artefact
from model.spec import SignalSpec, load_spec
from training.data.windows import Windows
from training.errors import TrainingError
from training.fitting.fit import FitHistory
from training.fitting.rounds import Round, epochs_of
from training.sidecar.job.spec import CHAMPION, FEEDBACK, WORK, JobSpec
from training.sidecar.store.store import LabelledStore

log = structlog.get_logger(__name__)

OnProgress = Callable[[float, str], None]
"""Called with the part that is done, 0…1, and the stage."""


def train_candidate(job: JobSpec, folder: Path, on_progress: OnProgress) -> Artefact:
    """Train the candidate of ``job``, from the checkpoints in ``folder`` where there are some.

    Args:
        job: for spec line or instant.
        folder: of the retraining; holds the checkpoints and the labelled windows.
        on_progress: called with the part that is done and the stage.

    Raises:
        TrainingError: the job or its data do not allow a training.
        OSError: the folder cannot be written.
    """
    work = folder / WORK
    resumed = work.is_dir()
    try:
        return _train(job, folder, on_progress)
    except TrainingError as error:
        if not resumed:
            raise
        # Checkpoints of another version, or damaged ones: the time they save is not worth failing for.
        log.warning("checkpoints-not-used", error=str(error), then="the training starts over")
        shutil.rmtree(work)
        return _train(job, folder, on_progress)


def _train(job: JobSpec, folder: Path, on_progress: OnProgress) -> Artefact:
    if job.spec == "instant":
        return train_instant(_instant_options(job, folder, on_progress))
    field = feedback_windows(folder, load_spec("line"))
    and_feedback = f" and {len(field):,} labelled windows" if field is not None else ""
    on_progress(0.0, f"simulating{and_feedback}")
    beside = folder / CHAMPION
    champion = Artefact.load(beside) if job.warm_start and beside.exists() else None
    rounds = ROUNDS if champion is None else WARM_ROUNDS
    return train_line(_line_options(job, folder, rounds, on_progress), field, champion)


def _line_options(job: JobSpec, folder: Path, rounds: Sequence[Round], on_progress: OnProgress) -> LineOptions:
    default = LineOptions()
    epochs = job.epochs or default.epochs
    return LineOptions(
        seed=default.seed if job.seed is None else job.seed,
        epochs=epochs,
        episodes=job.episodes or default.episodes,
        test_lines=min(default.test_lines, job.evaluation_lines),
        work_dir=folder / WORK,
        show_progress=False,
        on_epoch=_Epochs(sum(epochs_of(rounds, epochs)), on_progress),
    )


def _instant_options(job: JobSpec, folder: Path, on_progress: OnProgress) -> InstantOptions:
    if job.data is None:
        raise TrainingError("spec instant is trained on classData.csv: set FAULTLINE_RETRAIN_DATA to its path")
    default = InstantOptions(job.data)
    epochs = job.epochs or default.epochs
    return InstantOptions(
        job.data,
        seed=default.seed if job.seed is None else job.seed,
        epochs=epochs,
        split="blocks",  # what the gate judges by
        work_dir=folder / WORK,
        show_progress=False,
        on_epoch=_Epochs(2 * epochs, on_progress),  # on both splits
    )


class _Epochs:
    """Counts the epochs of successive fits. The epochs of a fit that ended before a kill are not reported."""

    def __init__(self, total: int, on_progress: OnProgress) -> None:
        self._total, self._on_progress = total, on_progress
        self._before = self._of_this = 0

    def __call__(self, history: FitHistory) -> None:
        if history.epochs <= self._of_this:
            self._before += self._of_this
        self._of_this = history.epochs
        done = min(self._before + self._of_this, self._total)
        self._on_progress(done / self._total, f"epoch {done} of {self._total}, loss {history.loss[-1]:.4f}")


def feedback_windows(folder: Path, spec: SignalSpec) -> Windows | None:
    """Return the labelled windows of the snapshot that the sidecar took; None where there are none."""
    if not (folder / FEEDBACK).is_dir():
        return None
    with LabelledStore(folder / FEEDBACK) as store:
        windows = store.windows(spec)
    return windows if len(windows) else None
