"""What a drift detector keeps over a restart."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

Array = NDArray[np.float64]


class Model(BaseModel):
    """Base of the detector's values."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class LineState(Model):
    """What a line is compared with: its features in its first buckets, and once there are enough their medians."""

    first: tuple[tuple[float | None, ...], ...] = ()
    reference: tuple[float | None, ...] | None = None


class DriftState(Model):
    """What a restart needs. ``values`` are what ADWIN was given, per feature; it is fed again."""

    version: Literal[1] = 1
    spec: str
    features: tuple[str, ...]
    bucket_s: float
    lines: dict[str, LineState]
    values: tuple[tuple[float, ...], ...]
    found: tuple[bool, ...]
    bucket: int | None
    signalled_ns: int | None


def plain(row: Array) -> tuple[float | None, ...]:
    """Numbers for JSON, which knows no NaN."""
    return tuple(round(float(v), 6) if np.isfinite(v) else None for v in row)
