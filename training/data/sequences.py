"""Hold labelled stretches of lines, from which a network with a memory learns: successive windows of one line."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Self

import numpy as np
import structlog
from numpy.typing import NDArray

from model.files import write_atomic
from model.spec import SignalSpec

__all__ = ["Sequences", "forget", "kept", "samples_of"]

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Sequences:
    """Labelled sequences of equal length.

    Windows of a line overlap, so a sequence holds its samples once. Window k of a sequence consists of the samples
    ``k * hop … k * hop + samples - 1``. A network begins every sequence with a cold memory.

    Attributes:
        data: float32 (n, (steps - 1) * hop + samples, channels), per unit.
        labels: int32 (n, steps), class index of each window.
        weights: float32 (n, steps), weight of each window; 0 for a window without a label, which advances the memory
            and is not learned from.
        episode: int64 (n,), number of the episode, or of the stretch of a line, that a sequence is from.
    """

    data: NDArray[np.float32]
    labels: NDArray[np.int32]
    weights: NDArray[np.float32]
    episode: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def steps(self) -> int:
        """Return the number of windows of a sequence."""
        return int(self.labels.shape[1])

    def take(self, index: NDArray[np.intp] | NDArray[np.bool_]) -> Self:
        """Return the sequences at ``index`` (positions or a mask)."""
        return type(self)(**{f.name: getattr(self, f.name)[index] for f in fields(self)})

    @classmethod
    def empty(cls, spec: SignalSpec, steps: int) -> Self:
        """Return no sequences of ``steps`` windows of ``spec``."""
        data = np.zeros((0, samples_of(steps, spec), len(spec.channels)), np.float32)
        return cls(data, np.zeros((0, steps), np.int32), np.zeros((0, steps), np.float32), np.zeros(0, np.int64))

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Return all sequences of ``parts`` in their order."""
        return cls(**{f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(cls)})


def samples_of(steps: int, spec: SignalSpec) -> int:
    """Return the number of samples that ``steps`` successive windows of ``spec`` cover."""
    return (steps - 1) * spec.hop + spec.samples


def kept(path: Path, make: Callable[[], Sequences]) -> Sequences:
    """Return the sequences in a file; if there is no such file, make them and write it.

    Without disk space, or with a damaged file, the sequences are made again every time.

    Args:
        path: path of the file, whose name identifies its contents; its folder is created when needed.
        make: returns the sequences.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            return Sequences(**{f.name: file[f.name] for f in fields(Sequences)})
    except FileNotFoundError:
        pass
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        log.warning("sequences-not-read", path=str(path), error=str(error), then="made again")
    made = make()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with write_atomic(path) as file:
            np.savez(file, allow_pickle=False, **{f.name: getattr(made, f.name) for f in fields(Sequences)})
    except OSError as error:
        log.warning("sequences-not-kept", path=str(path), error=error.strerror or str(error), then="made again")
    return made


def forget(folder: Path) -> None:
    """Remove the files of ``kept`` from a folder, including partial files of a killed process."""
    for pattern in ("sequences-*.npz", ".sequences-*.partial"):
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)
