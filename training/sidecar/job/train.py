"""Trains the candidate of a retraining: simulated episodes, and the labelled windows of the field beside them."""

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
from training.sidecar.job.spec import CHAMPION, FIELD, WORK, JobSpec
from training.sidecar.store.store import LabelledStore

log = structlog.get_logger(__name__)

Tell = Callable[[float, str], None]


def train_candidate(job: JobSpec, folder: Path, tell: Tell) -> Artefact:
    """Train what ``job`` asks for, from the checkpoints in ``folder`` where there are some.

    Args:
        job: for spec line or instant.
        folder: of the retraining; checkpoints and the windows learned from are kept there.
        tell: of the part that is done, and the stage.

    Raises:
        TrainingError: it cannot be trained so.
        OSError: the folder cannot be written.
    """
    work = folder / WORK
    resumed = work.is_dir()
    try:
        return _trained(job, folder, tell)
    except TrainingError as error:
        if not resumed:
            raise
        # Checkpoints of another version of ourselves, or damaged ones: what they save is not worth giving up for.
        log.warning("checkpoints-not-taken-up", error=str(error), then="the training begins anew")
        shutil.rmtree(work)
        return _trained(job, folder, tell)


def _trained(job: JobSpec, folder: Path, tell: Tell) -> Artefact:
    if job.spec == "instant":
        return train_instant(_instant_options(job, folder, tell))
    field = field_windows(folder, load_spec("line"))
    told = f" and {len(field):,} labelled windows" if field is not None else ""
    tell(0.0, f"simulating{told}")
    beside = folder / CHAMPION
    champion = Artefact.load(beside) if job.warm_start and beside.exists() else None
    rounds = ROUNDS if champion is None else WARM_ROUNDS
    return train_line(_line_options(job, folder, rounds, tell), field, champion)


def _line_options(job: JobSpec, folder: Path, rounds: Sequence[Round], tell: Tell) -> LineOptions:
    default = LineOptions()
    epochs = job.epochs or default.epochs
    return LineOptions(
        seed=default.seed if job.seed is None else job.seed,
        epochs=epochs,
        episodes=job.episodes or default.episodes,
        test_lines=min(default.test_lines, job.evaluation_lines),
        work_dir=folder / WORK,
        show_progress=False,
        on_epoch=_Epochs(sum(epochs_of(rounds, epochs)), tell),
    )


def _instant_options(job: JobSpec, folder: Path, tell: Tell) -> InstantOptions:
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
        on_epoch=_Epochs(2 * epochs, tell),  # on both splits
    )


class _Epochs:
    """Counts the epochs of fits that follow one another. Those of a fit that was done before a kill are not told."""

    def __init__(self, total: int, tell: Tell) -> None:
        self._total, self._tell = total, tell
        self._before = self._of_this = 0

    def __call__(self, history: FitHistory) -> None:
        if history.epochs <= self._of_this:
            self._before += self._of_this
        self._of_this = history.epochs
        done = min(self._before + self._of_this, self._total)
        self._tell(done / self._total, f"epoch {done} of {self._total}, loss {history.loss[-1]:.4f}")


def field_windows(folder: Path, spec: SignalSpec) -> Windows | None:
    """Return the labelled windows to learn from, of the snapshot that the trainer took; None where there are none."""
    if not (folder / FIELD).is_dir():
        return None
    with LabelledStore(folder / FIELD) as store:
        windows = store.windows(spec)
    return windows if len(windows) else None
