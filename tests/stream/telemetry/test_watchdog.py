"""The watchdogs end a stuck worker and a hanging stop, and leave a waiting worker alone."""

from __future__ import annotations

import threading

import pytest

from stream.telemetry import watchdog as watchdog_module
from stream.telemetry.watchdog import EXIT_STUCK, StopWatchdog, StuckDetector, StuckWatchdog, Vitals


def verdicts(*vitals: tuple[float, int, int, bool]) -> list[bool]:
    detector = StuckDetector(timeout_s=10)
    return [detector.stuck(Vitals(progress, lag, excused), now) for now, progress, lag, excused in vitals]


def test_lag_without_progress_for_the_timeout_is_stuck() -> None:
    assert verdicts((0, 1, 5, False), (9.9, 1, 5, False), (10, 1, 5, False)) == [False, False, True]


def test_progress_starts_the_time_anew() -> None:
    assert verdicts((0, 1, 5, False), (9, 2, 5, False), (18, 2, 5, False), (19, 2, 5, False))[-2:] == [False, True]


def test_a_worker_without_lag_is_never_stuck() -> None:
    assert verdicts((0, 1, 0, False), (100, 1, 0, False), (1000, 1, 0, False)) == [False] * 3


def test_lag_counts_from_when_it_began_and_not_from_the_last_progress() -> None:
    assert verdicts((0, 1, 0, False), (100, 1, 0, False), (105, 1, 5, False), (109, 1, 5, False)) == [False] * 4


def test_an_excuse_starts_the_time_anew() -> None:
    assert verdicts((0, 1, 5, False), (9, 1, 5, True), (12, 1, 5, False), (18, 1, 5, False), (19, 1, 5, False)) == [
        False,
        False,
        False,
        False,
        True,
    ]


class Ended:
    """Replace the process's exit and store its status."""

    def __init__(self) -> None:
        self.status: int | None = None
        self.happened = threading.Event()

    def __call__(self, status: int) -> None:
        self.status = status
        self.happened.set()


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> Ended:
    monkeypatch.setattr(watchdog_module, "CHECK_EVERY_S", 0.001)
    return Ended()


def test_a_stuck_worker_is_ended_for_a_restart(ended: Ended) -> None:
    StuckWatchdog(lambda: Vitals(1, 5, False), 0.01, end=ended).start()
    assert ended.happened.wait(10)
    assert ended.status == EXIT_STUCK


def test_vitals_that_cannot_be_taken_once_do_not_blind_the_watchdog(ended: Ended) -> None:
    failures = iter([RuntimeError("between two assignments")])

    def vitals() -> Vitals:
        for failure in failures:
            raise failure
        return Vitals(1, 5, False)

    StuckWatchdog(vitals, 0.01, end=ended).start()
    assert ended.happened.wait(10)


def test_a_stopped_watchdog_watches_no_more(ended: Ended) -> None:
    asked = threading.Event()

    def vitals() -> Vitals:
        asked.set()
        return Vitals(1, 0, False)

    watchdog = StuckWatchdog(vitals, 0.0, end=ended)
    watchdog.start()
    assert asked.wait(10)
    watchdog.stop()
    watchdog._thread.join(10)
    assert not watchdog._thread.is_alive()
    assert ended.status is None


def test_a_stop_that_hangs_is_ended(ended: Ended) -> None:
    StopWatchdog(0.001, end=ended).start()
    assert ended.happened.wait(10)
    assert ended.status == EXIT_STUCK


def test_a_stop_that_is_through_is_left_alone(ended: Ended) -> None:
    watchdog = StopWatchdog(60, end=ended)
    watchdog.start()
    watchdog.stop()
    watchdog._thread.join(10)
    assert not watchdog._thread.is_alive()
    assert ended.status is None
