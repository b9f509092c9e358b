"""A cron expression is read in UTC, and every time that is due has one request."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from training.sidecar.requests.schedule import Schedule

START = datetime(2026, 3, 28, 23, 59, 30, tzinfo=UTC)


def test_every_time_that_is_due_comes_once() -> None:
    schedule, moment, due = Schedule("*/20 * * * *"), START, []
    for _ in range(4):
        moment = schedule.next_after(moment)
        due.append(moment.strftime("%H:%M"))
    assert due == ["00:00", "00:20", "00:40", "01:00"]


def test_a_change_to_summer_time_moves_nothing() -> None:
    schedule = Schedule("30 2 * * *")  # an hour that Central European clocks lack on that day
    assert schedule.next_after(START) == datetime(2026, 3, 29, 2, 30, tzinfo=UTC)
    elsewhere = START.astimezone(timezone(timedelta(hours=-5)))
    assert schedule.next_after(elsewhere) == schedule.next_after(START)


def test_two_trainers_ask_for_the_same_time_under_one_id() -> None:
    schedule = Schedule("0 3 * * 0")
    due = schedule.next_after(START)
    first, second = schedule.request(due, "line", "a"), schedule.request(due, "line", "b")
    assert first.request_id == second.request_id == "schedule-line-20260329T030000Z"
    assert schedule.request(schedule.next_after(due), "line", "a").request_id != first.request_id
    assert first.reason == "schedule"
    assert "0 3 * * 0" in first.note
