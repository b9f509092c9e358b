"""End a worker that has lag and makes no progress, and a shutdown that hangs.

Both watchdogs are threads, since the event loop itself may be blocked. Both end the process at once (``os._exit``):
nothing unconfirmed was committed, so the restarted process repeats work and loses nothing.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

log = structlog.get_logger(__name__)

EXIT_STUCK = 75
"""Exit status EX_TEMPFAIL: a restart is expected to help."""
CHECK_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class Vitals:
    """State of a worker at one moment, as read by the watchdog."""

    progress: int
    """Number of micro-batches that left the pipeline."""
    lag: int
    """Number of records appended and not acknowledged."""
    excused: bool
    """True if no progress is expected: in a rebalance, while restoring, or while a topic cannot be written."""


class StuckDetector:
    """Pure detector: a worker is stuck if it has lag and makes no progress for ``timeout_s`` without an excuse.

    Example:
        >>> detector = StuckDetector(timeout_s=10)
        >>> [detector.stuck(Vitals(5, lag, False), now) for lag, now in ((3, 0.0), (3, 9.0), (3, 10.0))]
        [False, False, True]
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._progress = -1
        self._since_s = 0.0

    def stuck(self, vitals: Vitals, now_s: float) -> bool:
        """Return True if the worker is stuck, given its state at ``now_s`` (monotonic seconds)."""
        if vitals.progress != self._progress or vitals.lag <= 0 or vitals.excused:
            self._progress, self._since_s = vitals.progress, now_s
            return False
        return now_s - self._since_s >= self._timeout_s


class StuckWatchdog:
    """Watchdog that ends the process when its worker is stuck.

    Args:
        vitals: returns the worker's state; called on the watchdog's thread, so it must not wait for the event loop.
        timeout_s: time without progress after which the worker is stuck.
        end: called with the exit status.
    """

    def __init__(
        self, vitals: Callable[[], Vitals], timeout_s: float, *, end: Callable[[int], None] = os._exit
    ) -> None:
        self._vitals = vitals
        self._detector = StuckDetector(timeout_s)
        self._timeout_s = timeout_s
        self._end = end
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="stuck-watchdog", daemon=True)

    def start(self) -> None:
        """Start watching."""
        self._thread.start()

    def stop(self) -> None:
        """Stop watching."""
        self._stop.set()

    def _watch(self) -> None:
        vitals = Vitals(progress=-1, lag=0, excused=True)
        while not self._stop.wait(CHECK_EVERY_S):
            try:
                vitals = self._vitals()
            except Exception as error:
                # The last state is used again, so that a worker whose state can no longer be read is also ended.
                log.warning("worker-state-unknown", error=repr(error))
            if self._detector.stuck(vitals, time.monotonic()):
                log.critical(
                    "worker-stuck",
                    lag=vitals.lag,
                    for_s=self._timeout_s,
                    then="the process ends; after a restart uncommitted records are repeated",
                )
                self._end(EXIT_STUCK)
                return


class StopWatchdog:
    """Watchdog that ends the process when its shutdown takes longer than ``timeout_s``."""

    def __init__(self, timeout_s: float, *, end: Callable[[int], None] = os._exit) -> None:
        self._timeout_s = timeout_s
        self._end = end
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="stop-watchdog", daemon=True)

    def start(self) -> None:
        """Start the time limit; call this when the shutdown begins."""
        self._thread.start()

    def stop(self) -> None:
        """Stop watching, since the shutdown is complete."""
        self._done.set()

    def _watch(self) -> None:
        if not self._done.wait(self._timeout_s):
            log.critical(
                "shutdown-timed-out", for_s=self._timeout_s, then="the process ends; nothing unconfirmed is committed"
            )
            self._end(EXIT_STUCK)
