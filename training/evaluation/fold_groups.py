"""Store the groups of a cross-validation: the first fold that needs a group simulates it, all others read it."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np
import structlog

from model.files import write_atomic
from training.data.windows import Windows

__all__ = ["forget_groups", "kept_group"]

log = structlog.get_logger(__name__)


def kept_group(path: Path, fingerprint: str, simulate: Callable[[], Windows]) -> Windows:
    """Read a group's windows, or simulate and store them; without disk space every fold simulates them again.

    Args:
        path: path of the file, half a gigabyte for the recipe's default groups; its folder is created when needed.
        fingerprint: hash of everything that determines the windows. A file with another fingerprint is overwritten.
        simulate: returns the windows.
    """
    if (known := _read(path, fingerprint)) is not None:
        return known
    windows = simulate()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with write_atomic(path) as file:
            arrays = {one.name: getattr(windows, one.name) for one in fields(Windows)}
            np.savez(file, fingerprint=np.array(fingerprint), allow_pickle=False, **arrays)
    except OSError as error:
        log.warning("group-not-kept", path=str(path), error=error.strerror or str(error), then="simulated again")
    return windows


def forget_groups(folder: Path) -> None:
    """Remove the files of ``kept_group`` from a folder, including partial files of a killed process."""
    for pattern in ("group-*.npz", ".group-*.partial"):
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)


def _read(path: Path, fingerprint: str) -> Windows | None:
    try:
        with np.load(path, allow_pickle=False) as file:
            if str(file["fingerprint"]) != fingerprint:
                return None
            return Windows(**{one.name: file[one.name] for one in fields(Windows)})
    except FileNotFoundError:
        return None
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        log.warning("group-not-readable", path=str(path), error=repr(error), then="simulated again")
        return None
