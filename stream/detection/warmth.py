"""Count the consecutive windows that a model has followed on each line since it began. Pure.

A model that begins beside another has no memory of any line. Its answers for a line are those of a cold start until it
has followed the line for some windows.
"""

from __future__ import annotations

from collections.abc import Sequence

from stream.detection.order import BEGINS, Ordered

WARM_WINDOWS = 64
"""Number of consecutive windows after which a line's memory counts as warm: .32 s at 50 Hz with the spec ``line``.

It is longer than the longest time that an event needs to be judged, and it is the context that the trainer keeps before
labelled windows, so a network has seen cold starts of this length in training."""


class Warmth:
    """Numbers of consecutive windows by line, for a model that follows every batch.

    Args:
        windows: number of windows after which a line is warm.
    """

    def __init__(self, windows: int = WARM_WINDOWS) -> None:
        self._enough = windows
        self._windows: dict[int, int] = {}
        """Number of consecutive windows of each line that is cold, by slot."""
        self._warm: set[int] = set()
        """Slots of the warm lines."""

    @property
    def lines(self) -> int:
        """Return the number of lines with windows."""
        return len(self._windows) + len(self._warm)

    @property
    def cold_lines(self) -> int:
        """Return the number of lines that are not warm."""
        return len(self._windows)

    @property
    def is_warm(self) -> bool:
        """Return True if there are lines and all of them are warm."""
        return bool(self._warm) and not self._windows

    def advance(self, ordered: Sequence[Ordered]) -> None:
        """Count the new windows of batches that the model has followed together.

        Args:
            ordered: order of each batch.
        """
        cold, warm = self._windows, self._warm
        for one in ordered:
            added = [0] * len(one.slots)
            for run, length in zip(one.runs, one.lengths, strict=True):
                if length:
                    added[run] += length
            for slot, before, count in zip(one.slots, one.before, added, strict=True):
                if before == BEGINS:
                    warm.discard(slot)
                    cold.pop(slot, None)
                elif slot in warm:
                    continue
                total = cold.get(slot, 0) + count
                if total < self._enough:
                    cold[slot] = total
                else:
                    cold.pop(slot, None)
                    warm.add(slot)

    def forget(self) -> None:
        """Forget all lines, whose slots belong to other lines from now on."""
        self._windows.clear()
        self._warm.clear()
