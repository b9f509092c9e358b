"""A request counts once the journal has it; the schedule sends one at every time that is due."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from stream.contract import RetrainRequest
from tests.training.sidecar.sidecar_samples import ReportsInMemory, request, settings
from training.sidecar.metrics import SidecarMetrics
from training.sidecar.requests.consumer import RequestConsumer, read_request
from training.sidecar.requests.journal import JournalFile
from training.sidecar.requests.reports import new_report
from training.sidecar.requests.schedule import Schedule, run_schedule
from training.sidecar.workdir import WorkDir


def consumer_in(path: Path) -> tuple[RequestConsumer, ReportsInMemory, WorkDir]:
    given = settings(path)
    workdir, published = WorkDir(given.trainer_folder), ReportsInMemory()
    reports: Any = published
    journal_file = JournalFile(workdir.journal)
    return RequestConsumer(given, "line", journal_file, reports, SidecarMetrics()), published, workdir


async def test_a_request_that_arrives_meanwhile_is_reported_as_merged(tmp_path: Path) -> None:
    consumer, published, _ = consumer_in(tmp_path)
    await consumer.receive(request("one"))
    first = consumer.begin()
    for name in ("two", "three", "two"):
        await consumer.receive(request(name))
    assert [(report.state, report.request_ids) for report in published.reports] == [
        ("merged", ["two"]),
        ("merged", ["three"]),
    ]
    assert first is not None
    consumer.end(new_report(first, "refused"))
    consumer.finish()
    follow_up = consumer.begin()
    assert follow_up is not None
    assert follow_up.request_ids == ["two", "three"]
    assert {report.run_id for report in published.reports} == {follow_up.run_id}


async def test_a_restarted_trainer_knows_what_runs_what_waits_and_what_was_served(tmp_path: Path) -> None:
    consumer, _, workdir = consumer_in(tmp_path)
    await consumer.receive(request("one"))
    running = consumer.begin()
    await consumer.receive(request("two"))
    workdir.close()
    again, published, _ = consumer_in(tmp_path)
    assert again.pending.is_set()
    assert again.begin() == running
    await again.receive(request("one"))
    assert published.reports == []
    assert running is not None
    again.end(new_report(running, "promoted"))
    assert "promoted" in again.journal.last
    again.finish()
    follow_up = again.begin()
    assert follow_up is not None
    assert follow_up.request_ids == ["two"]


async def test_a_request_that_the_journal_cannot_take_is_reported_as_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    consumer, published, _ = consumer_in(tmp_path)

    def full(journal: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(consumer._journal_file, "write", full)
    await consumer.receive(request("one"))
    assert published.states() == ["failed"]
    assert "No space left on device" in published.reports[0].note
    assert not consumer.pending.is_set()
    monkeypatch.undo()
    await consumer.receive(request("two"))
    run = consumer.begin()
    assert run is not None
    assert run.request_ids == ["two"]


async def test_what_is_done_stays_done_in_memory_when_the_journal_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    consumer, _, _ = consumer_in(tmp_path)
    await consumer.receive(request("one"))
    run = consumer.begin()
    assert run is not None

    def full(journal: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(consumer._journal_file, "write", full)
    consumer.end(new_report(run, "failed"))
    consumer.finish()
    assert not consumer.pending.is_set()
    assert consumer.begin() is None


@pytest.mark.parametrize("value", [None, b"", b"{", b"[]", b'{"spec": "line"}', b"\xff"])
def test_what_is_no_request_is_passed_over(value: bytes | None) -> None:
    assert read_request(value) is None


async def test_the_schedule_asks_at_every_time_that_is_due_and_once_for_what_it_slept_through() -> None:
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
        await run_schedule(Schedule("*/10 * * * *"), "line", "trainer", ask, now=lambda: now, sleep=sleep)
    assert [one.at.strftime("%H:%M") for one in asked] == ["00:10", "00:20", "01:00", "01:10"]
    assert {one.reason for one in asked} == {"schedule"}
    assert len({one.request_id for one in asked}) == 4
    await asyncio.sleep(0)
