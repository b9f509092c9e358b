"""Whether every window that was sent was answered, and how fast: sent = answered ∪ dead-lettered, per record."""

from __future__ import annotations

from array import array
from dataclasses import dataclass

import numpy as np

Origin = tuple[str, int, int]
"""Topic, partition, offset of a record of windows."""


@dataclass(slots=True)
class _Fate:
    """What is known of one record: timestamps in ms, -1 before they are known."""

    windows: int = 0
    sent_ms: int = -1
    answered_windows: int = 0
    answered_ms: int = -1
    dead: bool = False


class Deliveries:
    """Account of records by their origin. Records and answers may be told in any order and more than once.

    Example:
        >>> account = Deliveries()
        >>> account.sent(("sensor-windows", 0, 0), windows=4, timestamp_ms=100)
        >>> account.sent(("sensor-windows", 0, 1), windows=4, timestamp_ms=110)
        >>> account.answered(("sensor-windows", 0, 0), windows=4, timestamp_ms=112)
        >>> account.lost, account.latency_ms(50)
        (4, 12.0)
    """

    def __init__(self) -> None:
        self._fates: dict[Origin, _Fate] = {}
        self._latencies_ms = array("d")
        self._open = 0
        self.records = 0
        """Records sent."""
        self.windows = 0
        """Windows sent."""
        self.answered_windows = 0
        self.repeated = 0
        """Records answered more than once."""
        self.dead_lettered = 0
        """Records in the dead letters."""

    def sent(self, origin: Origin, *, windows: int, timestamp_ms: int) -> None:
        """A record of so many windows (0 where they cannot be counted) is on its topic."""
        fate = self._fates.setdefault(origin, _Fate())
        if fate.sent_ms >= 0:
            return
        fate.windows, fate.sent_ms = windows, timestamp_ms
        self.records += 1
        self.windows += windows
        self._open += not (fate.dead or fate.answered_ms >= 0)
        self._match(fate)

    def answered(self, origin: Origin, *, windows: int, timestamp_ms: int) -> None:
        """The classes of so many windows of a record were published."""
        fate = self._fates.setdefault(origin, _Fate())
        if fate.answered_ms >= 0:
            self.repeated += 1
            return
        fate.answered_windows, fate.answered_ms = windows, timestamp_ms
        self.answered_windows += windows
        self._open -= fate.sent_ms >= 0 and not fate.dead
        self._match(fate)

    def dead(self, origin: Origin) -> None:
        """A record was dead-lettered."""
        fate = self._fates.setdefault(origin, _Fate())
        if fate.dead:
            return
        fate.dead = True
        self.dead_lettered += 1
        self._open -= fate.sent_ms >= 0 and fate.answered_ms < 0

    def _match(self, fate: _Fate) -> None:
        if fate.sent_ms >= 0 and fate.answered_ms >= 0:
            self._latencies_ms.append(fate.answered_ms - fate.sent_ms)

    @property
    def outstanding(self) -> int:
        """Records sent and neither answered nor dead-lettered yet."""
        return self._open

    @property
    def lost(self) -> int:
        """Windows sent and neither answered nor dead-lettered; a record whose windows cannot be counted is one."""
        lost = 0
        for fate in self._fates.values():
            if fate.sent_ms < 0 or fate.dead:
                continue
            lost += max(fate.windows, 1) if fate.answered_ms < 0 else max(0, fate.windows - fate.answered_windows)
        return lost

    def sent_ms(self, origin: Origin) -> int | None:
        """Timestamp of a record; None if it was not seen."""
        fate = self._fates.get(origin)
        return None if fate is None or fate.sent_ms < 0 else fate.sent_ms

    def latency_ms(self, percentile: float, *, last: int | None = None) -> float | None:
        """Percentile of record timestamp → answer timestamp, of all or of the ``last`` records; None without any."""
        values = self._latencies_ms if last is None else self._latencies_ms[-last:]
        return float(np.percentile(values, percentile)) if values else None
