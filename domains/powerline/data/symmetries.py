"""Define the symmetries of a three-phase line for data augmentation.

Rotating the names of the phases gives an equally valid window, and so does changing all signs, since every value has
the opposite sign half a cycle later. With all combinations a network learns from six times as many windows.
"""

from __future__ import annotations

from domains.powerline.simulator.faults import CLASSES
from domains.powerline.simulator.measurement import renamed_class
from training.fitting.augmentation import Symmetries

__all__ = ["LINE_SYMMETRIES"]


def _of_three_phases() -> Symmetries:
    # Phases shown as A, B and C. Only rotations are used, so that the phase sequence stays positive.
    orders = [((0 - turn) % 3, (1 - turn) % 3, (2 - turn) % 3) for turn in range(3)] * 2
    return Symmetries(
        channels=tuple((*order, *(3 + phase for phase in order)) for order in orders),
        signs=(1.0,) * 3 + (-1.0,) * 3,
        classes=tuple(tuple(CLASSES.index(renamed_class(name, order)) for name in CLASSES) for order in orders),
    )


LINE_SYMMETRIES = _of_three_phases()
