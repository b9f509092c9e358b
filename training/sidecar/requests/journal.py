"""Read and write the sidecar's journal, a JSON file with the state of its requests for a restart."""

from __future__ import annotations

from pathlib import Path

from pydantic import AwareDatetime, ConfigDict, Field, ValidationError

from model.files import write_text_atomic
from model.frozen import FrozenModel
from stream.contract import TrainingReport
from stream.errors import WorkerError
from training.sidecar.requests.queue import RetrainQueue


class Journal(FrozenModel):
    """State of the requests that a restarted sidecar needs."""

    model_config = ConfigDict(populate_by_name=True)

    queue: RetrainQueue = Field(RetrainQueue(), alias="desk", description="Running and waiting requests.")
    ended: TrainingReport | None = Field(
        None, description="Final report on the running retraining, until it is published and its files are archived."
    )
    last: dict[str, AwareDatetime] = Field({}, description="Time of the latest retraining that ended in each state.")


class JournalFile:
    """Journal file at ``path``."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> Journal:
        """Return the last written journal; an empty one if there is no file yet.

        Raises:
            WorkerError: if the file is not a journal.
        """
        try:
            return Journal.model_validate_json(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return Journal()
        except (OSError, UnicodeDecodeError, ValidationError) as error:
            reason = str(error).splitlines()[0]
            raise WorkerError(f"{self.path} cannot be read ({reason}): remove it to start without a journal") from error

    def write(self, journal: Journal) -> None:
        """Replace the file with ``journal`` atomically.

        Raises:
            OSError: if it cannot be written; the old file stays.
        """
        write_text_atomic(self.path, journal.model_dump_json(indent=1, by_alias=True) + "\n")
