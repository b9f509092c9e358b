"""When a retraining is due by a cron expression. Pure: times in, times out; all of them in UTC."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from croniter import croniter

from stream.contract import RetrainRequest


@dataclass(frozen=True)
class Schedule:
    """A cron expression of five fields, read in UTC: a day that is changed to summer time has no hour twice.

    What was due while no trainer ran is not made up for: the next time by the clock is.

    Example:
        >>> Schedule("0 3 * * 0").next_after(datetime(2026, 11, 20, tzinfo=UTC)).isoformat()
        '2026-11-22T03:00:00+00:00'
    """

    expression: str

    def next_after(self, moment: datetime) -> datetime:
        """Return the first time after ``moment`` (aware) at which a retraining is due."""
        following: datetime = croniter(self.expression, moment.astimezone(UTC)).get_next(datetime)
        return following

    def request(self, due: datetime, spec: str, by: str) -> RetrainRequest:
        """Return the request for a retraining that is due. Its id follows from spec and time: a trainer that is
        restarted within the minute, or a second one, asks for the same and is served once."""
        return RetrainRequest(
            request_id=f"schedule-{spec}-{due.astimezone(UTC):%Y%m%dT%H%M%SZ}",
            spec=spec,
            reason="schedule",
            by=by,
            at=due,
            note=f"due by the schedule {self.expression!r}",
        )
