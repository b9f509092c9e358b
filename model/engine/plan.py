"""Plan how a compiled recurrent step runs over lines with different numbers of windows. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["Block", "Plan", "cut", "plan"]

# Fixed cost of a call, in windows: it takes about 0.1 ms, and a window takes 0.012 ms.
_CALL_COST = 8
# Fixed cost of a step within a call, in windows: a step of a few lines reads all recurrent weights.
_STEP_COST = 4
# Largest factor by which a core's share is padded before it is cut into smaller calls.
_PADDING = 1.25
# Smallest share of a batch, in windows, that is worth passing to another core.
_SMALLEST_SHARE = 64
# Smallest number of lines that is worth passing to another core: below it a step takes as long for half of the lines.
_FEWEST_LINES = 16


@dataclass(frozen=True)
class Block:
    """One call: ``steps`` steps of ``size`` lines, of which the first ``lines`` are used.

    ``first`` is the number of windows that the block's lines have before it.
    """

    size: int
    steps: int
    lines: int
    first: int


@dataclass(frozen=True)
class Plan:
    """Blocks of consecutive steps of the lines ``lines`` (indices), to be computed one after the other.

    A block covers the first of ``lines``, which are sorted by their number of windows, the largest first.
    """

    lines: NDArray[np.intp]
    blocks: tuple[Block, ...]


def cut(count: int, threads: int, buckets: tuple[int, ...], smallest: int = _SMALLEST_SHARE) -> list[int]:
    """Return buckets that together hold ``count`` rows, the largest first; only the last is padded.

    Args:
        count: number of rows in the batch, which are windows or lines.
        threads: number of cores to spread them over.
        buckets: available sizes, ascending.
        smallest: smallest number of rows that is worth passing to another core.

    Example:
        >>> cut(600, 2, (1, 8, 64, 256))
        [256, 256, 64, 8, 8, 8]
    """
    share = max(count / threads * _PADDING, smallest)
    largest = max((bucket for bucket in buckets if bucket <= share), default=buckets[0])
    whole, rest = divmod(count, largest)
    return [largest] * whole + list(_cover(rest, buckets)[1])


@lru_cache(maxsize=4096)
def _cover(count: int, buckets: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
    """Return cost and buckets of the cheapest cover: pad to the next bucket, or fill a smaller one and continue."""
    if count == 0:
        return 0, ()
    above = min((bucket for bucket in buckets if bucket >= count), default=None)
    below = max((bucket for bucket in buckets if bucket < count), default=None)
    choices: list[tuple[int, tuple[int, ...]]] = []
    if above is not None:
        choices.append((above + _CALL_COST, (above,)))
    if below is not None:
        cost, rest = _cover(count - below, buckets)
        choices.append((below + _CALL_COST + cost, (below, *rest)))
    return min(choices)


def plan(counts: NDArray[np.intp], threads: int, shapes: Sequence[tuple[int, int]]) -> list[Plan]:
    """Plan the steps of all lines. The plans are independent of one another and may run in parallel.

    Every window belongs to exactly one block, and the blocks of a line follow one another.

    Args:
        counts: number of windows of every line (lines,); it may be 0.
        threads: number of cores to spread the lines over.
        shapes: available numbers of lines and steps of a block; for every number of lines there is one of one step.
    """
    sorted_lines = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]
    sizes = tuple(sorted({size for size, _ in shapes}))
    plans = []
    start = 0
    for size in cut(len(sorted_lines), threads, sizes, _FEWEST_LINES):
        lines = sorted_lines[start : start + size]
        plans.append(Plan(lines, _blocks(counts[lines], shapes)))
        start += size
    return plans


def _blocks(counts: NDArray[np.intp], shapes: Sequence[tuple[int, int]]) -> tuple[Block, ...]:
    """Return the blocks of lines whose numbers of windows, all positive, are sorted from the largest."""
    blocks = []
    first = 0
    while first < counts[0]:
        left = counts[: np.count_nonzero(counts > first)] - first
        size = min(size for size, _ in shapes if size >= len(left))
        steps = min(
            (steps for lines, steps in shapes if lines == size),
            key=lambda steps: (_CALL_COST + steps * (_STEP_COST + size)) / np.minimum(left, steps).sum(),
        )
        blocks.append(Block(size, steps, len(left), first))
        first += steps
    return tuple(blocks)
