"""Read ``classData.csv``, the public set of six waveforms of one line, and split it in two ways.

The first four columns are bits for the faulted conductors (G, C, B, A). The other columns are Ia, Ib, Ic in ampere and
Va, Vb, Vc per unit at one instant. The rows with the same bits are consecutive instants of one waveform.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from model.spec import SignalSpec
from training.data.windows import Windows
from training.errors import DataSetError, TrainingError

HEADER = ("G", "C", "B", "A", "Ia", "Ib", "Ic", "Va", "Vb", "Vc")
SHARES = (0.6, 0.2, 0.2)
Split = Literal["random", "blocks"]

# Class by the bits (G, C, B, A). The set gives only the type of fault, except for two phase-to-phase faults.
_CLASS_OF_BITS = {
    (0, 0, 0, 0): "None",
    (0, 0, 1, 1): "LL AB",
    (0, 1, 1, 0): "LL BC",
    (0, 1, 1, 1): "LLL",
    (1, 1, 1, 1): "LLLG",
    **{(1, c, b, a): "LG" for c, b, a in ((1, 0, 0), (0, 1, 0), (0, 0, 1))},
    **{(1, c, b, a): "LLG" for c, b, a in ((1, 1, 0), (1, 0, 1), (0, 1, 1))},
}


def read_classdata(path: Path, spec: SignalSpec) -> Windows:
    """Read the file as windows float32 (n, 1, 6) in raw units; ``episode`` numbers the runs of equal bits.

    Args:
        path: the CSV file.
        spec: `instant`, or a spec with the same channels and class names.

    Raises:
        DataSetError: the file is not a valid ``classData.csv``; the message names the line.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.reader(file))
    except (OSError, UnicodeDecodeError) as error:
        raise DataSetError(f"{path}: cannot be read: {error}") from error
    if not rows or tuple(cell.strip() for cell in rows[0]) != HEADER:
        raise DataSetError(f"{path}, line 1: expected the columns {','.join(HEADER)}; is it classData.csv?")
    if len(rows) < 2:
        raise DataSetError(f"{path}: there are no rows after the header; download the file again")
    labels, values = np.empty(len(rows) - 1, np.int32), np.empty((len(rows) - 1, 6), np.float32)
    for k, row in enumerate(rows[1:]):
        try:
            labels[k], values[k] = _parsed(row, spec)
        except ValueError as error:
            raise DataSetError(f"{path}, line {k + 2}: {error}") from error
    runs = np.cumsum(np.concatenate([[0], labels[1:] != labels[:-1]]))
    return Windows(values[:, None, :], labels, np.ones(len(labels), np.float32), runs.astype(np.int64))


def _parsed(row: Sequence[str], spec: SignalSpec) -> tuple[int, NDArray[np.float32]]:
    if len(row) != len(HEADER):
        raise ValueError(f"expected {len(HEADER)} values, found {len(row)}")
    bits = tuple(cell.strip() for cell in row[:4])
    if any(bit not in ("0", "1") for bit in bits):
        raise ValueError(f"the bits G,C,B,A must be 0 or 1, not {','.join(bits)}")
    name = _CLASS_OF_BITS.get((int(bits[0]), int(bits[1]), int(bits[2]), int(bits[3])))
    if name is None:
        raise ValueError(f"the bits G,C,B,A = {','.join(bits)} stand for no class")
    values = np.array([float(cell) for cell in row[4:]], np.float32)
    if not np.isfinite(values).all():
        raise ValueError("a value is not finite")
    return spec.class_index(name), values


def split_classdata(windows: Windows, split: Split, seed: int) -> tuple[Windows, Windows, Windows]:
    """Return the training, validation and test part (60, 20, 20 %).

    Args:
        windows: result of ``read_classdata``.
        split: "random" shuffles rows, so that neighbouring instants of one waveform are in training and test; use it
            only to compare with published figures. "blocks" cuts every run into three stretches of time, so that the
            test part is unseen.
        seed: seed of the shuffle.

    Raises:
        TrainingError: the name of the split is unknown.
    """
    if split == "random":
        order = np.random.default_rng(seed).permutation(len(windows))
        first, second = (round(float(b) * len(order)) for b in np.cumsum(SHARES)[:2])
        return windows.take(order[:first]), windows.take(order[first:second]), windows.take(order[second:])
    if split != "blocks":
        raise TrainingError(f"unknown split {split!r}; choose random or blocks")
    part = np.empty(len(windows), int)
    for run in np.unique(windows.episode):
        where = np.flatnonzero(windows.episode == run)
        place = (np.arange(len(where)) + 0.5) / len(where)
        part[where] = np.searchsorted(np.cumsum(SHARES)[:2], place)
    return windows.take(part == 0), windows.take(part == 1), windows.take(part == 2)
