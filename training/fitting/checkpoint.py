"""Save the state of a training after each epoch in one file, from which a killed training resumes."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.files import write_atomic
from training.errors import TrainingError

Array = NDArray[np.generic]


@dataclass(frozen=True)
class State:
    """State of a training: everything that the next epoch depends on.

    ``variables`` are those of the network, including the state of its random generators, and of the optimiser.
    ``best`` holds the weights of the best epoch so far. ``history`` is a JSON object.
    """

    variables: Sequence[Array]
    best: Sequence[Array]
    history: dict[str, Any]


@dataclass(frozen=True)
class Checkpoint:
    """The checkpoint file of one training.

    Args:
        path: path of the file; its folder is created when needed.
        fingerprint: hash of everything that determines the training. A file with another fingerprint is never resumed.
    """

    path: Path
    fingerprint: str

    def save(self, state: State) -> None:
        """Write the file atomically: after a kill it holds the old state or the complete new one."""
        arrays = {f"variable_{k}": array for k, array in enumerate(state.variables)}
        arrays |= {f"best_{k}": array for k, array in enumerate(state.best)}
        about = {"fingerprint": self.fingerprint, "history": state.history}
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            for left in self.path.parent.glob(f".{self.path.name}.*.partial"):
                left.unlink()  # left by a killed writer
            with write_atomic(self.path) as file:
                np.savez(file, about=np.array(json.dumps(about)), allow_pickle=False, **arrays)
        except OSError as error:
            raise TrainingError(f"{self.path}: cannot write the checkpoint: {error.strerror or error}") from error

    def load(self) -> State | None:
        """Return the state that was saved last, or None if there is no file.

        Raises:
            TrainingError: the file is the checkpoint of another training, or not a checkpoint.
        """
        try:
            with np.load(self.path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            about = json.loads(str(arrays.pop("about")))
            found, history = about["fingerprint"], about["history"]
        except FileNotFoundError:
            return None
        except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
            raise TrainingError(f"{self.path}: not a Faultline checkpoint; remove it to start afresh") from error
        if found != self.fingerprint:
            raise TrainingError(
                f"{self.path}: belongs to another training (other data, options or network);"
                " give another --work-dir, or remove it to start afresh"
            )
        return State(_numbered(arrays, "variable"), _numbered(arrays, "best"), history)


def _numbered(arrays: dict[str, Array], kind: str) -> list[Array]:
    count = sum(name.startswith(f"{kind}_") for name in arrays)
    return [arrays[f"{kind}_{k}"] for k in range(count)]
