"""Asks for a retraining whenever the schedule is due."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import structlog

from stream.contract import RetrainRequest
from training.sidecar.requests.schedule import Schedule

log = structlog.get_logger(__name__)

# Longest sleep at a time, so that a clock that was set is noticed.
LONGEST_S = 30.0


def utc_now() -> datetime:
    """The time, aware, in UTC."""
    return datetime.now(UTC)


async def keep_timetable(
    schedule: Schedule,
    spec: str,
    by: str,
    ask: Callable[[RetrainRequest], Awaitable[None]],
    *,
    now: Callable[[], datetime] = utc_now,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    on_due: Callable[[datetime], None] = lambda _: None,
) -> None:
    """Ask, for ever, at every time that is due.

    Args:
        schedule: when.
        spec: of the requests.
        by: who asks.
        ask: publishes a request; returns when it is confirmed.
        now, sleep: the clock.
        on_due: told of the next time.
    """
    due = schedule.next_after(now())
    while True:
        on_due(due)
        log.info("next-retraining-due", at=due.isoformat())
        while (left_s := (due - now()).total_seconds()) > 0:
            await sleep(min(left_s, LONGEST_S))
        await ask(schedule.request(due, spec, by))
        # From the present, not from what was due: what was missed meanwhile is one retraining, not many.
        due = schedule.next_after(max(due, now()))
