"""Classify windows by openXDA's rule, as the Grid Protection Alliance documents it with openXDA's settings.

``FaultLocation.PrefaultTrigger``, 5 by default, is "the threshold at which the ratio between RMS current and prefault
RMS current indicates faulted conditions". The rule subtracts ``PrefaultTriggerAdjustment`` (50 A by default) from each
phase's RMS over one cycle, and divides by the same phase's RMS at the record's beginning. The phases above the
threshold are the faulted ones. Earlier versions compared the residual current with a separate trigger.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from domains.powerline.simulator.faults import CLASS_OF

PREFAULT_TRIGGER = 5.0
# Adjustment of 50 A on a line rated at about 600 A, since the current in ampere is unknown here. The RMS of one per
# unit is 0.71.
ADJUSTMENT = 0.08 * np.sqrt(0.5)
# Residual trigger as a share of the largest phase current, which needs no rating; the description gives it in ampere.
RESIDUAL_PART = 0.2
LEAST_RMS = 1e-3  # prevents division by zero on a dead channel


def openxda(windows: NDArray[np.float32], first_cycle: NDArray[np.float32]) -> NDArray[np.intp]:
    """Return the classes (k,) of ``windows`` (k, samples, 6), given each record's first cycle.

    A single faulted phase is classified as a fault to ground, since its current has no other path.
    """
    now, before = _rms(windows[:, :, :3]), _rms(first_cycle[:, :, :3])
    phases = (now - ADJUSTMENT) / np.maximum(before, LEAST_RMS) > PREFAULT_TRIGGER
    residual = _rms(windows[:, :, :3].sum(axis=2, keepdims=True))[:, 0]
    ground = (residual > RESIDUAL_PART * now.max(axis=1)) | (phases.sum(axis=1) == 1)
    a, b, c = phases.astype(int).T
    return np.asarray(CLASS_OF[a, b, c, ground.astype(int)], np.intp)


def _rms(values: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.asarray(np.sqrt(np.square(values, dtype=np.float64).mean(axis=1)))
