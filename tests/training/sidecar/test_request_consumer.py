"""Requests count once the journal has them; the timetable asks at every time that is due."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from stream.contract import RetrainRequest
from tests.training.sidecar.sidecar_samples import ToldReports, request, settings
from training.sidecar.metrics import TrainerMetrics
from training.sidecar.requests.consumer import RequestDesk, read_request, report_on
from training.sidecar.requests.schedule import Schedule
from training.sidecar.requests.timetable import keep_timetable
from training.sidecar.workdir import TrainerFolder


def desk_in(path: Path) -> tuple[RequestDesk, ToldReports, TrainerFolder]:
    given = settings(path)
    folder, told = TrainerFolder(given.trainer_folder), ToldReports()
    announcer: Any = told
    return RequestDesk(given, "line", folder, announcer, TrainerMetrics()), told, folder


async def test_who_asks_meanwhile_is_told_that_the_request_was_merged(tmp_path: Path) -> None:
    desk, told, _ = desk_in(tmp_path)
    await desk.receive(request("one"))
    first = desk.begin()
    for name in ("two", "three", "two"):
        await desk.receive(request(name))
    assert [(report.state, report.request_ids) for report in told.reports] == [
        ("merged", ["two"]),
        ("merged", ["three"]),
    ]
    assert first is not None
    desk.end(report_on(first, "refused"))
    desk.finish()
    follow_up = desk.begin()
    assert follow_up is not None
    assert follow_up.request_ids == ["two", "three"]
    assert {report.run_id for report in told.reports} == {follow_up.run_id}


async def test_a_restarted_trainer_knows_what_runs_what_waits_and_what_was_served(tmp_path: Path) -> None:
    desk, _, folder = desk_in(tmp_path)
    await desk.receive(request("one"))
    running = desk.begin()
    await desk.receive(request("two"))
    folder.close()
    again, told, _ = desk_in(tmp_path)
    assert again.wanted.is_set()
    assert again.begin() == running
    await again.receive(request("one"))
    assert told.reports == []
    assert running is not None
    again.end(report_on(running, "promoted"))
    assert "promoted" in again.journal.last
    again.finish()
    follow_up = again.begin()
    assert follow_up is not None
    assert follow_up.request_ids == ["two"]


async def test_a_request_that_the_journal_cannot_take_is_told_to_have_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, told, folder = desk_in(tmp_path)

    def full(journal: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folder, "write_journal", full)
    await desk.receive(request("one"))
    assert told.states() == ["failed"]
    assert "No space left on device" in told.reports[0].note
    assert not desk.wanted.is_set()
    monkeypatch.undo()
    await desk.receive(request("two"))
    run = desk.begin()
    assert run is not None
    assert run.request_ids == ["two"]


async def test_what_is_done_stays_done_in_memory_when_the_journal_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, _, folder = desk_in(tmp_path)
    await desk.receive(request("one"))
    run = desk.begin()
    assert run is not None

    def full(journal: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folder, "write_journal", full)
    desk.end(report_on(run, "failed"))
    desk.finish()
    assert not desk.wanted.is_set()
    assert desk.begin() is None


@pytest.mark.parametrize("value", [None, b"", b"{", b"[]", b'{"spec": "line"}', b"\xff"])
def test_what_is_no_request_is_passed_over(value: bytes | None) -> None:
    assert read_request(value) is None


async def test_the_timetable_asks_at_every_time_that_is_due_and_once_for_what_it_slept_through() -> None:
    class EnoughError(Exception):
        pass

    now = datetime(2026, 1, 1, 0, 0, 30, tzinfo=UTC)
    asked: list[RetrainRequest] = []

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += timedelta(seconds=seconds)

    async def ask(one: RetrainRequest) -> None:
        nonlocal now
        asked.append(one)
        if len(asked) == 2:
            now += timedelta(minutes=35)  # the machine was asleep
        if len(asked) == 4:
            raise EnoughError

    with pytest.raises(EnoughError):
        await keep_timetable(Schedule("*/10 * * * *"), "line", "trainer", ask, now=lambda: now, sleep=sleep)
    assert [one.at.strftime("%H:%M") for one in asked] == ["00:10", "00:20", "01:00", "01:10"]
    assert {one.reason for one in asked} == {"schedule"}
    assert len({one.request_id for one in asked}) == 4
    await asyncio.sleep(0)
