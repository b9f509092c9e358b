"""Errors of waveform files. Every message names the file, the position in it, and what to do next."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from model.errors import FaultlineError


class RecordError(FaultlineError):
    """A waveform file cannot be read.

    Attributes:
        line: number of the invalid line of text, from 1; None if the error is not in text.
        offset: position of the first byte that cannot be read; None if the error is not in binary data.
    """

    line: int | None = None
    offset: int | None = None

    @classmethod
    def in_line(cls, path: Path, line: int, message: str) -> Self:
        """Return an error in a line of text."""
        error = cls(f"{path}, line {line}: {message}")
        error.line = line
        return error

    @classmethod
    def at_byte(cls, path: Path, offset: int, message: str) -> Self:
        """Return an error in binary data."""
        error = cls(f"{path}, byte {offset}: {message}")
        error.offset = offset
        return error
