"""Write files atomically: a reader sees the old file or the complete new one, also after a kill or a power cut."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

__all__ = ["write_atomic", "write_text_atomic"]


@contextmanager
def write_atomic(path: Path) -> Iterator[BinaryIO]:
    """Open a new file that replaces ``path`` when the block ends, synchronised to the disk.

    If the block raises or the process is killed, the file at ``path`` stays as it was. A killed writer leaves a
    hidden file ``.NAME.*.partial`` in the same folder.

    Args:
        path: path of the file; its folder must exist.

    Yields:
        The new file, open for writing bytes.

    Raises:
        OSError: the file cannot be written; no partial file is left behind.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.bin"
        >>> with write_atomic(path) as file:
        ...     _ = file.write(b"whole")
        >>> path.read_bytes()
        b'whole'
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.partial")
    try:
        with partial.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
        _sync_folder(path.parent)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_text_atomic(path: Path, text: str) -> None:
    """Write a text file in UTF-8 atomically; raise OSError as ``write_atomic`` does."""
    with write_atomic(path) as file:
        file.write(text.encode("utf-8"))


def _sync_folder(folder: Path) -> None:
    """Synchronise a folder to the disk, so that new file names in it survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
