"""Request retrainings on a cron schedule: compute the due times (pure, in UTC), and send the requests."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog
from croniter import croniter

from stream.contract import RetrainRequest

log = structlog.get_logger(__name__)

# Longest single sleep, so that a change of the system clock takes effect.
MAX_SLEEP_S = 30.0


@dataclass(frozen=True)
class Schedule:
    """Cron expression of five fields, read in UTC, so that no hour occurs twice when summer time ends.

    A due time that passed while no sidecar was running is skipped.

    Example:
        >>> Schedule("0 3 * * 0").next_after(datetime(2026, 11, 20, tzinfo=UTC)).isoformat()
        '2026-11-22T03:00:00+00:00'
    """

    expression: str

    def next_after(self, moment: datetime) -> datetime:
        """Return the first time after ``moment`` (with a time zone) at which a retraining is due."""
        following: datetime = croniter(self.expression, moment.astimezone(UTC)).get_next(datetime)
        return following

    def request(self, due: datetime, spec: str, by: str) -> RetrainRequest:
        """Return the request for a retraining that is due.

        The id is computed from spec and time. A sidecar that is restarted within the minute, or a second sidecar, sends
        a request with the same id, and the retraining takes place once.
        """
        return RetrainRequest(
            request_id=f"schedule-{spec}-{due.astimezone(UTC):%Y%m%dT%H%M%SZ}",
            spec=spec,
            reason="schedule",
            by=by,
            at=due,
            note=f"due by the schedule {self.expression!r}",
        )


def utc_now() -> datetime:
    """Return the current time in UTC, with its time zone."""
    return datetime.now(UTC)


async def run_schedule(
    schedule: Schedule,
    spec: str,
    by: str,
    send: Callable[[RetrainRequest], Awaitable[None]],
    *,
    now: Callable[[], datetime] = utc_now,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    on_due: Callable[[datetime], None] = lambda _: None,
) -> None:
    """Send a request at every due time, until cancelled.

    Args:
        schedule: the due times.
        spec: name of the spec to retrain.
        by: name of the sender in the requests.
        send: publishes a request; returns once it is acknowledged.
        now: returns the current time.
        sleep: sleeps for some seconds.
        on_due: called with the next due time.
    """
    due = schedule.next_after(now())
    while True:
        on_due(due)
        log.info("next-retraining-due", at=due.isoformat())
        while (left_s := (due - now()).total_seconds()) > 0:
            await sleep(min(left_s, MAX_SLEEP_S))
        await send(schedule.request(due, spec, by))
        # Continue from the current time, not from the due time, so that several missed times give one retraining.
        due = schedule.next_after(max(due, now()))
