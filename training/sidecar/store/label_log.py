"""The log of all operator labels, one JSON line each. A torn line was never committed, so its label comes again."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import structlog
from pydantic import ValidationError

from model.files import write_text_atomic
from stream.contract import WindowLabel
from training.errors import StoreError

log = structlog.get_logger(__name__)

FILE = "verdicts.jsonl"
# Kept for windows that are still to come; labels already given stay with their windows.
MAX_LABELS = 20_000


class LabelLog:
    """The labels in ``folder``, in the order of their arrival.

    Raises:
        StoreError: the file cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._by_id: dict[str, WindowLabel] = {}
        try:
            lines = self._path.read_bytes().splitlines()
        except FileNotFoundError:
            return
        except OSError as error:
            raise StoreError(f"{self._path}: cannot be read: {error.strerror or error}") from error
        for line in filter(None, lines):
            try:
                label = WindowLabel.model_validate_json(line)
            except ValidationError:
                log.warning("torn-label-skipped", file=str(self._path))
                continue
            self._by_id[label.label_id] = label

    def __contains__(self, label: WindowLabel) -> bool:
        return label.label_id in self._by_id

    def of(self, spec: str) -> list[WindowLabel]:
        """Return the labels on windows of a spec."""
        return [label for label in self._by_id.values() if label.spec == spec]

    def append(self, label: WindowLabel) -> None:
        """Add a label; it is on the disk when this returns.

        Raises:
            StoreError: it cannot be written.
        """
        try:
            with self._path.open("ab+") as file:
                torn = file.tell() > 0 and file.seek(-1, os.SEEK_END) >= 0 and file.read(1) != b"\n"
                file.write(b"\n" * torn + label.model_dump_json().encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise StoreError(f"{self._path}: cannot be written: {error.strerror or error}; make room") from error
        self._by_id[label.label_id] = label

    def surplus(self) -> set[str]:
        """Return the ids of the oldest labels, half of ``MAX_LABELS``, where there are more than ``MAX_LABELS``."""
        return set(list(self._by_id)[: MAX_LABELS // 2]) if len(self._by_id) > MAX_LABELS else set()

    def forget(self, gone: set[str]) -> None:
        """Drop labels by their id."""
        self._by_id = {name: label for name, label in self._by_id.items() if name not in gone}
        replace_text(self._path, "".join(label.model_dump_json() + "\n" for label in self._by_id.values()))

    def copy(self, folder: Path) -> None:
        """Copy the file to another folder."""
        if self._path.exists():
            shutil.copyfile(self._path, folder / FILE)


def replace_text(path: Path, text: str) -> None:
    """Write a small file, whole or not at all."""
    try:
        write_text_atomic(path, text)
    except OSError as error:
        raise StoreError(f"{path}: cannot be written: {error.strerror or error}; make room") from error
