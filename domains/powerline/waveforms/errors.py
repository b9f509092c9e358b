"""Errors of records. Every message names the file, where in it, and what to do next."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from model.errors import FaultlineError


class RecordError(FaultlineError):
    """A record of waveforms cannot be read.

    Attributes:
        line: number of the offending line of a text part, from 1; None where there is none.
        offset: byte of a binary part from which it cannot be read; None where there is none.
    """

    line: int | None = None
    offset: int | None = None

    @classmethod
    def in_line(cls, path: Path, line: int, message: str) -> Self:
        """An error in a line of text."""
        error = cls(f"{path}, line {line}: {message}")
        error.line = line
        return error

    @classmethod
    def at_byte(cls, path: Path, offset: int, message: str) -> Self:
        """An error in binary data."""
        error = cls(f"{path}, byte {offset}: {message}")
        error.offset = offset
        return error
