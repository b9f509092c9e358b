"""Pace a replay: compute when a record is due, and measure how late records were sent."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median

from stream.contract import NS_PER_S

FINE_MS = 0.01
"""Step of the lateness histogram up to ``COARSE_FROM_MS``; above, the step is 1 ms up to ``LATEST_MS``."""
COARSE_FROM_MS = 100.0
LATEST_MS = 60_000.0
DRIFT_OVER_S = 1.0
"""Length of the first and last periods whose lateness is compared."""


class Pacer:
    """Pace of a replay: the pace of the source multiplied by ``speed``, counted from the first record.

    Example:
        >>> now = [100.0]
        >>> pacer = Pacer(2.0, lambda: now[0])
        >>> pacer.wait_s(5 * NS_PER_S), pacer.wait_s(6 * NS_PER_S)
        (0.0, 0.5)
    """

    def __init__(self, speed: float | None, clock_s: Callable[[], float]) -> None:
        self._speed = speed
        self._clock_s = clock_s
        self._first: tuple[int, float] | None = None

    def wait_s(self, due_ns: int) -> float:
        """Return the seconds until a record is due; negative if it is late, 0 without a pace."""
        if self._speed is None:
            return 0.0
        if self._first is None:
            self._first = (due_ns, self._clock_s())
        first_ns, began_s = self._first
        return began_s + (due_ns - first_ns) / NS_PER_S / self._speed - self._clock_s()


@dataclass(slots=True)
class Punctuality:
    """Histogram of how late records were sent, in bounded memory.

    Example:
        >>> kept = Punctuality()
        >>> for number in range(100):
        ...     kept.note(number * 0.1, 0.001 if number < 99 else 0.050)
        >>> kept.quantile_ms(0.5), kept.quantile_ms(0.99), round(kept.drift_ms, 1)
        (1.0, 1.0, 0.0)
    """

    _steps: Counter[float] = field(default_factory=Counter)
    _first: list[float] = field(default_factory=list)
    _last: deque[tuple[float, float]] = field(default_factory=deque)
    _began_s: float | None = None

    def note(self, due_s: float, late_s: float) -> None:
        """Add a record that was due at ``due_s`` (of any clock) and was sent ``late_s`` later (negative: earlier)."""
        late_ms = late_s * 1000
        step = FINE_MS if abs(late_ms) < COARSE_FROM_MS else 1.0
        self._steps[round(min(round(late_ms / step) * step, LATEST_MS), 2)] += 1
        self._began_s = due_s if self._began_s is None else self._began_s
        if due_s < self._began_s + DRIFT_OVER_S:
            self._first.append(late_ms)
        self._last.append((due_s, late_ms))
        while self._last[0][0] < due_s - DRIFT_OVER_S:
            self._last.popleft()

    def quantile_ms(self, share: float) -> float:
        """Return the lateness in ms that this share of the records did not exceed; 0 without records."""
        left = share * self._steps.total()
        for late_ms in sorted(self._steps):
            left -= self._steps[late_ms]
            if left <= 1e-9:
                return late_ms
        return 0.0

    @property
    def drift_ms(self) -> float:
        """Return the median lateness of the last second minus that of the first, in ms.

        A mean would show single delays instead of a drift.
        """
        if not self._first:
            return 0.0
        return median(late for _, late in self._last) - median(self._first)
