"""The sidecar's journal: the state of its requests that survives a restart, in one JSON file."""

from __future__ import annotations

from pathlib import Path

from pydantic import AwareDatetime, ConfigDict, Field, ValidationError

from model.files import write_text_atomic
from model.frozen import FrozenModel
from stream.contract import TrainingReport
from stream.errors import WorkerError
from training.sidecar.requests.queue import RetrainQueue


class Journal(FrozenModel):
    """What a restarted sidecar must know."""

    model_config = ConfigDict(populate_by_name=True)

    queue: RetrainQueue = Field(RetrainQueue(), alias="desk", description="Requests that run and wait.")
    ended: TrainingReport | None = Field(
        None, description="Final report on the retraining that runs, until it is published and its files are archived."
    )
    last: dict[str, AwareDatetime] = Field({}, description="Time of the latest retraining that ended in each state.")


class JournalFile:
    """Reads and writes the journal at ``path``."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> Journal:
        """Return the journal written last; an empty one where there is no file yet.

        Raises:
            WorkerError: the file is not a journal.
        """
        try:
            return Journal.model_validate_json(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return Journal()
        except (OSError, UnicodeDecodeError, ValidationError) as error:
            reason = str(error).splitlines()[0]
            raise WorkerError(f"{self.path} cannot be read ({reason}): remove it to begin with none") from error

    def write(self, journal: Journal) -> None:
        """Replace the file by ``journal``, whole.

        Raises:
            OSError: it cannot be written; the old file stays.
        """
        write_text_atomic(self.path, journal.model_dump_json(indent=1, by_alias=True) + "\n")
