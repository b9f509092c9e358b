"""Augmentation by symmetries: transformations that turn a labelled window into another correctly labelled one.

Every epoch shows each window in a transformation drawn at random.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Symmetries"]


@dataclass(frozen=True)
class Symmetries:
    """Transformations of windows, one per entry.

    Attributes:
        channels: for each transformation, the original position of every channel.
        signs: for each transformation, the factor on all samples.
        classes: for each transformation, the class index that every class becomes.
    """

    channels: tuple[tuple[int, ...], ...]
    signs: tuple[float, ...]
    classes: tuple[tuple[int, ...], ...]

    def __len__(self) -> int:
        return len(self.signs)
