"""Bytes of a record, which stay in the file if they are many.

Parts of the file are read instead of mapped into memory: access to a mapped file ends the process once another program
has cut the file off.
"""

from __future__ import annotations

import os
import weakref
from dataclasses import dataclass
from pathlib import Path

from domains.powerline.waveforms.errors import RecordError

IN_MEMORY_BYTES = 4 << 20
"""Size up to which a file is read at once."""


class StoredBytes:
    """Bytes in memory, or in a file that stays open until this object is deleted.

    Args:
        content: the bytes, or the path of the file.

    Attributes:
        size: number of bytes.
    """

    def __init__(self, content: bytes | Path) -> None:
        self._content = b""
        self._descriptor: int | None = None
        if isinstance(content, bytes):
            self._content, self.size = content, len(content)
            return
        descriptor = os.open(content, os.O_RDONLY)
        closes = weakref.finalize(self, os.close, descriptor)
        self.size = os.fstat(descriptor).st_size
        if self.size > IN_MEMORY_BYTES:
            self._descriptor = descriptor
        else:
            self._content = _read_at(descriptor, self.size, 0)
            self.size = len(self._content)
            closes()

    def read_at(self, size: int, position: int) -> bytes:
        """Return the bytes from a position; fewer at the end, and if the file has become shorter since."""
        if self._descriptor is None:
            return self._content[position : position + size]
        return _read_at(self._descriptor, size, position)


@dataclass(frozen=True, slots=True)
class DataPart:
    """Part of a file that holds the samples.

    Attributes:
        source: bytes of the file.
        begin: position of the first byte of the part.
        size: number of bytes.
        path: the file, for messages.
        first_line: number of the line in the file at which the part begins.
    """

    source: StoredBytes
    begin: int
    size: int
    path: Path
    first_line: int = 1

    def head(self, size: int) -> bytes:
        """Return at most ``size`` bytes from the start."""
        return self.source.read_at(min(size, self.size), self.begin)

    def read(self, size: int, offset: int) -> bytes:
        """Return bytes of the part.

        Raises:
            RecordError: the file has become shorter since it was opened.
        """
        found = self.source.read_at(size, self.begin + offset)
        if len(found) < size:
            raise changed(self.path)
        return found


def changed(path: Path) -> RecordError:
    """Return the error for a file that has become shorter since it was opened."""
    return RecordError(f"{path}: the file has become shorter while it was read: read it again")


def _read_at(descriptor: int, size: int, position: int) -> bytes:
    parts = []
    while size > 0 and (part := os.pread(descriptor, size, position)):
        parts.append(part)
        size, position = size - len(part), position + len(part)
    return b"".join(parts)
