"""Augment windows by symmetries: transformations that turn a labelled window into another correctly labelled one.

In every epoch, each window is transformed by a symmetry drawn at random.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Symmetries"]


@dataclass(frozen=True)
class Symmetries:
    """Transformations of windows, one per entry.

    Attributes:
        channels: original position of every channel, for each transformation.
        signs: factor by which all samples are multiplied, for each transformation.
        classes: class index into which every class turns, for each transformation.
    """

    channels: tuple[tuple[int, ...], ...]
    signs: tuple[float, ...]
    classes: tuple[tuple[int, ...], ...]

    def __len__(self) -> int:
        return len(self.signs)
