"""Read the TOML file of ``--mapping``."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from domains.powerline.waveforms.errors import RecordError


def read_mapping(path: Path) -> dict[str, Any]:
    """Read the TOML file of ``--mapping``.

    Raises:
        RecordError: the file cannot be read, or is not valid TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecordError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecordError(f"{path}: not valid TOML: {error}") from error
