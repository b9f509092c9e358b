"""The two watchdogs: against a consumer that is stuck while lag waits, and against a stop that hangs.

Both are threads, since what they watch may be the event loop itself, and both end the process at once
(``os._exit``): nothing unconfirmed was committed, so the restart repeats and loses nothing.
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
"""EX_TEMPFAIL: a restart is expected to help."""
CHECK_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class Vitals:
    """State of a worker at one moment, as the watchdog sees it."""

    progress: int
    """Micro-batches that went through."""
    lag: int
    """Records appended and not finished."""
    excused: bool
    """In a rebalance, restoring, or waiting for a topic that cannot be written: waiting is right."""


class StuckDetector:
    """Pure part: a worker is stuck when it has lag and has not moved for ``timeout_s`` without an excuse.

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
        """Return True if these vitals, taken at ``now_s`` (monotonic seconds), are those of a stuck worker."""
        if vitals.progress != self._progress or vitals.lag <= 0 or vitals.excused:
            self._progress, self._since_s = vitals.progress, now_s
            return False
        return now_s - self._since_s >= self._timeout_s


class StuckWatchdog:
    """Ends the process when its worker is stuck.

    Args:
        vitals: called from the watchdog's thread; must not wait for the event loop.
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
                # The last vitals stand, so that a worker whose vitals cannot be taken any more is ended too.
                log.warning("vitals-unknown", error=repr(error))
            if self._detector.stuck(vitals, time.monotonic()):
                log.critical(
                    "worker-stuck",
                    lag=vitals.lag,
                    for_s=self._timeout_s,
                    then="the process ends; its restart repeats what was not committed",
                )
                self._end(EXIT_STUCK)
                return


class StopWatchdog:
    """Ends the process when its stop takes longer than ``timeout_s``."""

    def __init__(self, timeout_s: float, *, end: Callable[[int], None] = os._exit) -> None:
        self._timeout_s = timeout_s
        self._end = end
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="stop-watchdog", daemon=True)

    def start(self) -> None:
        """Begin when the stop begins."""
        self._thread.start()

    def stop(self) -> None:
        """Note that the stop is through."""
        self._done.set()

    def _watch(self) -> None:
        if not self._done.wait(self._timeout_s):
            log.critical("stop-hangs", for_s=self._timeout_s, then="the process ends; nothing unconfirmed is committed")
            self._end(EXIT_STUCK)
