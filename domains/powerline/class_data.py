"""``classData.csv`` as something to replay: `instant` windows with labels, in the file's own units.

The `instant` artefact is trained on these units (ampere and per unit), so nothing is scaled here.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from domains.powerline.data.classdata import HEADER, read_classdata
from model.spec import load_spec
from stream.recordings.sources import SamplesSource, Source, SourceKind, SourceOptions

RATE_HZ = 20_000.0
"""About 400 samples a cycle of 50 Hz; the file itself has no times."""


def is_class_data(path: Path) -> bool:
    """Whether a file begins with the header of ``classData.csv``."""
    with path.open("rb") as file:
        first = file.readline(256).decode("utf-8-sig", "replace")
    return tuple(cell.strip() for cell in first.split(",")) == HEADER


def open_class_data(path: Path, options: SourceOptions) -> Source:
    """The rows as one line per contiguous run of a class, or cut into ``options.lines`` equal parts.

    Raises:
        DataSetError: a row is not as it should be; it says which.
    """
    spec = load_spec("instant")
    windows = read_classdata(path, spec)
    if options.lines is None:
        edges = np.flatnonzero(np.diff(windows.episode)) + 1
    else:
        edges = np.linspace(0, len(windows), options.lines + 1).round().astype(int)[1:-1]
    rows = np.split(np.arange(len(windows)), edges)
    lines = [
        (f"classdata-{number}", windows.data[part, 0, :], windows.labels[part])
        for number, part in enumerate(rows, start=1)
    ]
    return SamplesSource(lines, spec, RATE_HZ, options)


CLASS_DATA = SourceKind("classData.csv", is_class_data, open_class_data)
