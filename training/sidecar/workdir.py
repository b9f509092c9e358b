"""The trainer's folder: where requests stand, the retraining under way, and what became of earlier candidates.

store/                     labelled windows (training.sidecar.store.store)
journal.json               requests that run and wait, the last verdicts
run/                       the retraining under way: order, checkpoints, candidate, report, outcome
promoted/MODEL_ID/         candidate, report and outcome of models that were promoted; the newest ones
refused/MODEL_ID/          the same of candidates that the gate refused
"""

from __future__ import annotations

import fcntl
import shutil
from pathlib import Path
from typing import IO, Literal

import structlog
from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from model.files import write_text_atomic
from stream.contract import TrainingReport
from stream.errors import WorkerError
from training.sidecar.job.spec import CANDIDATE, JOB_FILE, OUTCOME, REPORT, JobSpec, Outcome
from training.sidecar.requests.queue import Desk

log = structlog.get_logger(__name__)

Verdict = Literal["promoted", "refused"]
VERDICTS: tuple[Verdict, ...] = ("promoted", "refused")
KEPT = (CANDIDATE, REPORT, OUTCOME)


class Journal(BaseModel):
    """What a restarted trainer must know. ``ended`` is the last word on what runs, not yet told by all means."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    desk: Desk = Desk()
    ended: TrainingReport | None = None
    last: dict[str, AwareDatetime] = {}
    """When a retraining last ended so, by its state."""


class TrainerFolder:
    """Paths and files of one trainer's folder, which no second trainer may use at the same time.

    Raises:
        WorkerError: the folder cannot be written, or another trainer has it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.run = self.path / "run"
        self.store = self.path / "store"
        self.drift = self.path / "drift.json"
        self._journal = self.path / "journal.json"
        self._lock = self._locked()

    def _locked(self) -> IO[str]:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = (self.path / ".lock").open("w")
        except OSError as error:
            raise WorkerError(
                f"{self.path}: {error.strerror or error}: set FAULTLINE_TRAINER_FOLDER to a folder that can be written"
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            raise WorkerError(
                f"{self.path}: another trainer is using it: end that one, or set FAULTLINE_TRAINER_FOLDER"
            ) from None
        return lock

    def close(self) -> None:
        """Let another trainer have the folder."""
        self._lock.close()

    # Journal ------------------------------------------------------------------------------------------------------

    def read_journal(self) -> Journal:
        """Return what was written last; an empty journal in a new folder.

        Raises:
            WorkerError: it is not what a trainer writes.
        """
        try:
            return Journal.model_validate_json(self._journal.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return Journal()
        except (OSError, UnicodeDecodeError, ValidationError) as error:
            reason = str(error).splitlines()[0]
            raise WorkerError(f"{self._journal} cannot be read ({reason}): remove it to begin with none") from error

    def write_journal(self, journal: Journal) -> None:
        """Write the journal whole.

        Raises:
            OSError: it cannot be written; the old one stays.
        """
        write_text_atomic(self._journal, journal.model_dump_json(indent=1) + "\n")

    # The retraining under way -------------------------------------------------------------------------------------

    def job_spec(self) -> JobSpec | None:
        """Return the order in ``run/``; None where there is none."""
        try:
            return JobSpec.model_validate_json((self.run / JOB_FILE).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, ValidationError):
            return None

    def begin(self, job: JobSpec) -> None:
        """Make ``run/`` ready for ``order``; what it holds of the same retraining stays, its first order included.

        Raises:
            OSError: it cannot be written.
        """
        under_way = self.job_spec()
        if under_way is None or under_way.run_id != job.run_id:
            self.clear()
            self.run.mkdir(parents=True)
            write_text_atomic(self.run / JOB_FILE, job.model_dump_json(indent=1) + "\n")

    def outcome(self) -> Outcome | None:
        """Return the gate's word on the candidate in ``run/``; None before there is one."""
        try:
            return Outcome.model_validate_json((self.run / OUTCOME).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, ValidationError):
            return None

    def clear(self) -> None:
        """Remove ``run/``."""
        shutil.rmtree(self.run, ignore_errors=True)

    # What became of candidates ------------------------------------------------------------------------------------

    def place(self, verdict: Verdict, model_id: str) -> Path:
        """Folder of a candidate that was judged."""
        return self.path / verdict / model_id

    def file_away(self, verdict: Verdict, model_id: str, keep: int) -> None:
        """Move what is worth keeping of ``run/`` to its place, and remove the oldest there beyond ``keep``.

        Repeating it after a kill does what was left to do. A full disk costs the copy, never the verdict.
        """
        target = self.place(verdict, model_id)
        outcome = self.outcome()
        try:
            if outcome is not None and outcome.model_id == model_id:
                for entry in self.run.iterdir():
                    if entry.name not in KEPT:
                        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
                target.parent.mkdir(exist_ok=True)
                shutil.rmtree(target, ignore_errors=True)
                self.run.rename(target)
            self._prune(verdict, keep)
        except OSError as error:
            log.warning("candidate-not-filed", model_id=model_id, error=str(error))
        self.clear()

    def _prune(self, verdict: Verdict, keep: int) -> None:
        folder = self.path / verdict
        kept = sorted(
            (entry for entry in folder.iterdir() if entry.is_dir()),
            key=lambda entry: entry.stat().st_mtime_ns,
            reverse=True,
        )
        for old in kept[keep:]:
            shutil.rmtree(old)


def find_report(folder: Path, model_id: str) -> Path | None:
    """Return the folder of a model's report below a trainer's folder, of "latest" the newest; None without one."""
    found = [place for verdict in VERDICTS for place in (folder / verdict).glob(f"*/{REPORT}") if place.is_dir()]
    if model_id == "latest":
        return max(found, key=lambda place: place.parent.stat().st_mtime_ns, default=None)
    return next((place for place in found if place.parent.name == model_id), None)
