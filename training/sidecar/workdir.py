"""Manage the sidecar's working directory, which holds store, journal, running retraining and earlier candidates.

Contents::

    store/                     labelled windows (training.sidecar.store.store)
    drift.json                 state of the drift detector (training.sidecar.drift.detector)
    journal.json               running and waiting requests, latest outcomes (training.sidecar.requests.journal)
    run/                       the running retraining: job specification, checkpoints, candidate, report, outcome
    promoted/MODEL_ID/         candidate, report and outcome of promoted models; the newest ones
    refused/MODEL_ID/          candidate, report and outcome of candidates that the gate refused; the newest ones
"""

from __future__ import annotations

import fcntl
import shutil
from pathlib import Path
from typing import IO, Literal

import structlog
from pydantic import ValidationError

from model.files import write_text_atomic
from stream.errors import WorkerError
from training.sidecar.job.spec import CANDIDATE, JOB_FILE, OUTCOME, REPORT, JobSpec, Outcome

log = structlog.get_logger(__name__)

Archive = Literal["promoted", "refused"]
"""Folder of candidates that the gate promoted or refused."""
ARCHIVES: tuple[Archive, ...] = ("promoted", "refused")
ARCHIVED_FILES = (CANDIDATE, REPORT, OUTCOME)


class WorkDir:
    """Paths and files of the working directory of one sidecar; a lock keeps other sidecars out.

    Raises:
        WorkerError: if the directory cannot be written, or another sidecar uses it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.run = self.path / "run"
        self.store = self.path / "store"
        self.drift = self.path / "drift.json"
        self.journal = self.path / "journal.json"
        self._lock = self._locked()

    def _locked(self) -> IO[str]:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = (self.path / ".lock").open("w")
        except OSError as error:
            raise WorkerError(
                f"{self.path}: {error.strerror or error}: set FAULTLINE_TRAINER_FOLDER to a writable folder"
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            raise WorkerError(
                f"{self.path}: another trainer is using it: stop that one, or set FAULTLINE_TRAINER_FOLDER"
            ) from None
        for left in self.path.glob(".*.partial"):
            left.unlink(missing_ok=True)  # the file of a writer that was killed
        return lock

    def close(self) -> None:
        """Release the lock, so that another sidecar can use the directory."""
        self._lock.close()

    # The running retraining ---------------------------------------------------------------------------------------

    def job_spec(self) -> JobSpec | None:
        """Return the job specification in ``run/``; None if there is none."""
        try:
            return JobSpec.model_validate_json((self.run / JOB_FILE).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, ValidationError):
            return None

    def begin(self, job: JobSpec) -> None:
        """Prepare ``run/`` for ``job``; if it holds the same retraining, keep its files with the first specification.

        Raises:
            OSError: if it cannot be written.
        """
        under_way = self.job_spec()
        if under_way is None or under_way.run_id != job.run_id:
            self.clear()
            self.run.mkdir(parents=True)
            write_text_atomic(self.run / JOB_FILE, job.model_dump_json(indent=1) + "\n")

    def outcome(self) -> Outcome | None:
        """Return the gate's verdict on the candidate in ``run/``; None until there is one."""
        try:
            return Outcome.model_validate_json((self.run / OUTCOME).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, ValidationError):
            return None

    def clear(self) -> None:
        """Remove ``run/``."""
        shutil.rmtree(self.run, ignore_errors=True)

    # Earlier candidates -------------------------------------------------------------------------------------------

    def archive_path(self, archive: Archive, model_id: str) -> Path:
        """Return the folder of an archived candidate."""
        return self.path / archive / model_id

    def archive(self, archive: Archive, model_id: str, keep: int) -> None:
        """Move candidate, report and outcome from ``run/`` to their archive, and remove the oldest beyond ``keep``.

        A call that is repeated after a kill completes the interrupted one. If the disk is full, the archive copy is
        skipped; the gate's decision stands.
        """
        target = self.archive_path(archive, model_id)
        outcome = self.outcome()
        try:
            if outcome is not None and outcome.model_id == model_id:
                for entry in self.run.iterdir():
                    if entry.name not in ARCHIVED_FILES:
                        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
                target.parent.mkdir(exist_ok=True)
                shutil.rmtree(target, ignore_errors=True)
                self.run.rename(target)
            self._prune(archive, keep)
        except OSError as error:
            log.warning("candidate-not-archived", model_id=model_id, error=str(error))
        self.clear()

    def _prune(self, archive: Archive, keep: int) -> None:
        newest_first = sorted(
            (entry for entry in (self.path / archive).iterdir() if entry.is_dir()),
            key=lambda entry: entry.stat().st_mtime_ns,
            reverse=True,
        )
        for old in newest_first[keep:]:
            shutil.rmtree(old)


def find_report(folder: Path, model_id: str) -> Path | None:
    """Return the report of a model in a working directory, the newest one for "latest"; None if there is none."""
    reports = [path for archive in ARCHIVES for path in (folder / archive).glob(f"*/{REPORT}") if path.is_dir()]
    if model_id == "latest":
        return max(reports, key=lambda path: path.parent.stat().st_mtime_ns, default=None)
    return next((path for path in reports if path.parent.name == model_id), None)
