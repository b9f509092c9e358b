"""Plan how a compiled recurrent step runs over lines with different numbers of windows. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["Block", "Plan", "cut", "plan"]

# Fixed cost of a call, in windows: it takes about 0.1 ms, and a window takes 0.012 ms.
_CALL_COST = 8
# The same for a call that computes the recurrent steps of lines, in steps of one line, which take 0.004 ms.
_BLOCK_COST = 24
# Largest factor by which a core's share is padded before it is cut into smaller calls.
_PADDING = 1.25
# Smallest share of a batch, in windows, that is worth passing to another core.
_SMALLEST_SHARE = 64
# Smallest number of lines that is worth passing to another core.
_FEWEST_LINES = 64


@dataclass(frozen=True)
class Block:
    """One call: ``steps`` of at most ``room`` steps, for ``lines`` of at most ``size`` lines.

    The lines are consecutive in their plan, from ``begin`` on, and have ``first`` windows before the block.
    """

    size: int
    room: int
    begin: int
    lines: int
    first: int
    steps: int


@dataclass(frozen=True)
class Plan:
    """Blocks of consecutive steps of the lines ``lines`` (indices), to be computed one after the other.

    The lines are sorted by their number of windows, the largest first.
    """

    lines: NDArray[np.intp]
    blocks: tuple[Block, ...]


def cut(
    count: int,
    threads: int,
    buckets: tuple[int, ...],
    smallest: int = _SMALLEST_SHARE,
    call_cost: int = _CALL_COST,
) -> list[int]:
    """Return buckets that together hold ``count`` rows, the largest first; only the last is padded.

    Args:
        count: number of rows in the batch, which are windows or lines.
        threads: number of cores to spread them over.
        buckets: available sizes, ascending.
        smallest: smallest number of rows that is worth passing to another core.
        call_cost: fixed cost of a call, in rows.

    Example:
        >>> cut(600, 2, (1, 8, 64, 256))
        [256, 256, 64, 8, 8, 8]
    """
    share = max(count / threads * _PADDING, smallest)
    largest = max((bucket for bucket in buckets if bucket <= share), default=buckets[0])
    whole, rest = divmod(count, largest)
    return [*[largest] * whole, *_cover(rest, buckets, call_cost)]


@lru_cache(maxsize=4096)
def _cover(count: int, buckets: tuple[int, ...], call_cost: int) -> tuple[int, ...]:
    """Return the buckets of the cheapest cover: fill the largest ones, and pad the last at the cheapest point."""
    filled: list[int] = []
    choices: list[tuple[int, int, int]] = []  # cost, number of filled buckets, and the padded one
    spent = 0
    while count:
        above = min((bucket for bucket in buckets if bucket >= count), default=None)
        if above is not None:
            choices.append((spent + above + call_cost, len(filled), above))
        below = max((bucket for bucket in buckets if bucket < count), default=None)
        if below is None:
            break
        filled.append(below)
        spent += below + call_cost
        count -= below
    if not choices:
        return tuple(filled)
    _, number, padded = min(choices)
    return (*filled[:number], padded)


def plan(counts: NDArray[np.intp], threads: int, shapes: Sequence[tuple[int, int]]) -> list[Plan]:
    """Plan the steps of all lines. The plans are independent of one another and may run in parallel.

    Every window belongs to exactly one block, and the blocks of a line follow one another.

    Args:
        counts: number of windows of every line (lines,); it may be 0.
        threads: number of cores to spread the lines over.
        shapes: available blocks: every number of lines once, with its largest number of steps.
    """
    sorted_lines = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]
    rooms = dict(sorted(shapes))
    plans = []
    start = 0
    for size in _sizes(counts[sorted_lines], threads, tuple(rooms)):
        lines = sorted_lines[start : start + size]
        plans.append(Plan(lines, tuple(_blocks(counts[lines], rooms))))
        start += size
    return plans


def _sizes(left: NDArray[np.intp], threads: int, sizes: tuple[int, ...]) -> list[int]:
    """Return the sizes of the blocks for lines that have ``left`` windows, sorted from the largest."""
    if not len(left):
        return []
    typical = int(left[len(left) // 2])
    return cut(len(left), threads, sizes, _FEWEST_LINES, max(1, _BLOCK_COST // typical))


def _blocks(counts: NDArray[np.intp], rooms: dict[int, int]) -> Iterator[Block]:
    """Yield the blocks of lines whose numbers of windows, all positive, are sorted from the largest.

    A block ends when half of its lines have no more windows, so that no call computes mainly for nothing.
    """
    pending = [(0, len(counts), 0)]
    while pending:
        begin, end, first = pending.pop()
        left = counts[begin:end] - first
        left = left[: np.count_nonzero(left > 0)]
        for size in _sizes(left, 1, tuple(rooms)):
            own = left[:size]
            steps = min(rooms[size], int(own[len(own) // 2]))
            yield Block(size, rooms[size], begin, len(own), first, steps)
            pending.append((begin, begin + len(own), first + steps))
            begin, left = begin + len(own), left[size:]
