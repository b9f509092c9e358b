"""Refuse files whose reading would need too much memory."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from pathlib import Path

from domains.powerline.waveforms.errors import RecordError

TOO_MUCH = "reading it would need too much memory"


def check_size(paths: Sequence[Path], limit: int, remedy: str, why: str = TOO_MUCH) -> None:
    """Raise an error if one of the files is no ordinary file, or if together they are larger than a limit.

    Args:
        paths: the files of one record.
        limit: largest number of bytes.
        remedy: advice for the user, e.g. ``save fewer variables``.
        why: reason for the limit.

    Raises:
        RecordError: the message names the first file.
    """
    found = [path.stat() for path in paths]
    for path, one in zip(paths, found, strict=True):
        if not stat.S_ISREG(one.st_mode):
            raise RecordError(f"{path}: no file: a folder or a device is in its place")
    size = sum(one.st_size for one in found)
    if size > limit:
        what = "has" if len(paths) == 1 else f"and the {len(paths) - 1} files that belong to it have"
        allowed = "max_bytes allows" if why == TOO_MUCH else "it may have"
        raise RecordError(f"{paths[0]} {what} {size:,} bytes: {why}; {remedy}: {allowed} at most {limit:,} bytes")
