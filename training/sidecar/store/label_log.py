"""All verdicts that were given, one JSON line each. A torn line was never answered, so it comes again."""

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
MOST = 20_000  # remembered for windows that are still to come; labels already given stay with their windows


class Verdicts:
    """The verdicts below ``folder``, in the order in which they came.

    Raises:
        StoreError: they cannot be read.
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
                verdict = WindowLabel.model_validate_json(line)
            except ValidationError:
                log.warning("torn-verdict-passed-over", file=str(self._path))
                continue
            self._by_id[verdict.label_id] = verdict

    def __contains__(self, verdict: WindowLabel) -> bool:
        return verdict.label_id in self._by_id

    def of(self, spec: str) -> list[WindowLabel]:
        """Verdicts on windows of a spec."""
        return [verdict for verdict in self._by_id.values() if verdict.spec == spec]

    def append(self, verdict: WindowLabel) -> None:
        """Add one, on the disk when this returns.

        Raises:
            StoreError: it cannot be written.
        """
        try:
            with self._path.open("ab+") as file:
                torn = file.tell() > 0 and file.seek(-1, os.SEEK_END) >= 0 and file.read(1) != b"\n"
                file.write(b"\n" * torn + verdict.model_dump_json().encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise StoreError(f"{self._path}: cannot be written: {error.strerror or error}; make room") from error
        self._by_id[verdict.label_id] = verdict

    def too_many(self) -> set[str]:
        """Ids of the oldest half where there are more than can be remembered."""
        return set(list(self._by_id)[: MOST // 2]) if len(self._by_id) > MOST else set()

    def forget(self, gone: set[str]) -> None:
        """Drop verdicts by their id."""
        self._by_id = {name: verdict for name, verdict in self._by_id.items() if name not in gone}
        replace_text(self._path, "".join(v.model_dump_json() + "\n" for v in self._by_id.values()))

    def copy(self, folder: Path) -> None:
        """Have the file in another folder, too."""
        if self._path.exists():
            shutil.copyfile(self._path, folder / FILE)


def replace_text(path: Path, text: str) -> None:
    """Write a small file whole or not at all."""
    try:
        write_text_atomic(path, text)
    except OSError as error:
        raise StoreError(f"{path}: cannot be written: {error.strerror or error}; make room") from error
