"""Write files whole: a reader sees the old file or the whole new one, also after a kill or a power cut."""

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
    """Open a new file that takes its name when the block ends, on the disk and whole.

    Where the block raises, or is killed, what is at ``path`` stays. A killed writer leaves a hidden file
    ``.NAME.*.partial`` beside it.

    Args:
        path: of the file; its folder must be there.

    Raises:
        OSError: it cannot be written; nothing is left behind.

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
    """Write a text file in UTF-8 as ``write_atomic`` does. Raises OSError as it does."""
    with write_atomic(path) as file:
        file.write(text.encode("utf-8"))


def _sync_folder(folder: Path) -> None:
    """Make names given in ``folder`` outlast a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
