"""The forms in which a window of a three-phase line is as true as it is.

A line is the same when its phases are named one further, and half a cycle later everything has the other sign. A
network that is shown windows in all these forms learns from six times as many.
"""

from __future__ import annotations

from domains.powerline.simulator.faults import CLASSES
from domains.powerline.simulator.measurement import renamed_class
from training.fitting.augmentation import Symmetries

__all__ = ["LINE_SYMMETRIES"]


def _of_three_phases() -> Symmetries:
    # Which phase is shown as A, B and C: in turn, so that their sequence stays positive.
    orders = [((0 - turn) % 3, (1 - turn) % 3, (2 - turn) % 3) for turn in range(3)] * 2
    return Symmetries(
        channels=tuple((*order, *(3 + phase for phase in order)) for order in orders),
        signs=(1.0,) * 3 + (-1.0,) * 3,
        classes=tuple(tuple(CLASSES.index(renamed_class(name, order)) for name in CLASSES) for order in orders),
    )


LINE_SYMMETRIES = _of_three_phases()
