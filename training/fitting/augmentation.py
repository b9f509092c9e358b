"""Other forms of a window that are as true as it is: one epoch learns from one of them, the next from another."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Symmetries"]


@dataclass(frozen=True)
class Symmetries:
    """Form by form: which channel each channel is, what all are multiplied by, and which class each class becomes."""

    channels: tuple[tuple[int, ...], ...]
    signs: tuple[float, ...]
    classes: tuple[tuple[int, ...], ...]

    def __len__(self) -> int:
        return len(self.signs)
