"""Estimate the zero-sequence voltage from the change of phase-to-phase voltages in the event."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from domains.powerline.waveforms.record import Segment

Values = NDArray[np.float32]


def with_estimated_zero_sequence(
    balanced: NDArray[np.float64], segments: Sequence[Segment], frequency_hz: float
) -> tuple[Values, bool]:
    """Return phase-to-ground voltages, and True if their zero sequence is estimated."""
    return balanced.astype(np.float32), False
