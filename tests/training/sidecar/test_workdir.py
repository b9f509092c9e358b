"""The working directory: one sidecar's, complete files only, a bounded number of candidates."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from model.files import write_text_atomic
from stream.errors import WorkerError
from tests.training.sidecar.sidecar_samples import request
from training.sidecar.job.spec import CANDIDATE, JOB_FILE, OUTCOME, REPORT, WORK, JobSpec, Outcome
from training.sidecar.requests.journal import Journal, JournalFile
from training.sidecar.requests.queue import RetrainQueue
from training.sidecar.workdir import WorkDir, find_report


def job(run_id: str = "run-1") -> JobSpec:
    return JobSpec(
        run_id=run_id,
        spec="line",
        epochs=None,
        episodes=None,
        seed=None,
        warm_start=False,
        data=None,
        evaluation_episodes=0,
        evaluation_lines=1,
        nice=0,
    )


def evaluated(workdir: WorkDir, model_id: str, run_id: str = "run-1") -> None:
    """Leave the files that a child process leaves."""
    workdir.begin(job(run_id))
    (workdir.run / CANDIDATE).write_bytes(b"weights")
    (workdir.run / WORK).mkdir()
    (workdir.run / WORK / "checkpoint").write_bytes(b"large")
    (workdir.run / REPORT).mkdir()
    (workdir.run / REPORT / "report.html").write_text("page")
    outcome = Outcome(model_id=model_id, champion_id=None, passed=True, failed_criteria=[], metrics={})
    write_text_atomic(workdir.run / OUTCOME, outcome.model_dump_json())


def test_a_second_trainer_on_the_same_folder_is_turned_away(tmp_path: Path) -> None:
    first = WorkDir(tmp_path)
    with pytest.raises(WorkerError, match="another trainer is using it"):
        WorkDir(tmp_path)
    first.close()
    WorkDir(tmp_path).close()


def test_a_folder_that_cannot_be_made_says_which_setting_to_change(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkerError, match="set FAULTLINE_TRAINER_FOLDER"):
        WorkDir(tmp_path / "file" / "trainer")


def test_the_journal_is_read_as_it_was_written(tmp_path: Path) -> None:
    file = JournalFile(WorkDir(tmp_path).journal)
    assert file.read() == Journal()
    journal = Journal(queue=RetrainQueue().receive(request(), "run-1")[0].begin())
    file.write(journal)
    assert file.read() == journal
    (tmp_path / "journal.json").write_text("{half")
    with pytest.raises(WorkerError, match="remove it"):
        file.read()


def test_a_journal_that_cannot_be_written_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = JournalFile(WorkDir(tmp_path).journal)
    file.write(Journal(last={}))
    before = (tmp_path / "journal.json").read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        file.write(Journal(queue=RetrainQueue().receive(request(), "run-1")[0]))
    assert (tmp_path / "journal.json").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "journal.json"]


def test_a_retraining_that_goes_on_keeps_what_it_has_and_another_begins_empty(tmp_path: Path) -> None:
    workdir = WorkDir(tmp_path)
    workdir.begin(job())
    (workdir.run / CANDIDATE).write_bytes(b"weights")
    workdir.begin(job())
    assert (workdir.run / CANDIDATE).exists()
    workdir.begin(job("run-2"))
    assert [path.name for path in workdir.run.iterdir()] == [JOB_FILE]


def test_an_evaluated_candidate_is_archived_with_its_report_and_without_its_checkpoints(tmp_path: Path) -> None:
    workdir = WorkDir(tmp_path)
    evaluated(workdir, "line-1")
    workdir.archive("promoted", "line-1", keep=3)
    path = workdir.archive_path("promoted", "line-1")
    assert sorted(path.name for path in path.iterdir()) == sorted([CANDIDATE, REPORT, OUTCOME])
    assert not workdir.run.exists()
    workdir.archive("promoted", "line-1", keep=3)  # a sidecar that was killed right after
    assert (path / REPORT / "report.html").read_text() == "page"


def test_only_so_many_candidates_are_kept_the_newest_ones(tmp_path: Path) -> None:
    workdir = WorkDir(tmp_path)
    for number in range(4):
        evaluated(workdir, f"line-{number}", f"run-{number}")
        workdir.archive("refused", f"line-{number}", keep=2)
        os.utime(workdir.archive_path("refused", f"line-{number}"), ns=(number, number))
    assert sorted(path.name for path in (tmp_path / "refused").iterdir()) == ["line-2", "line-3"]
    evaluated(workdir, "line-9", "run-9")
    workdir.archive("refused", "line-9", keep=0)
    assert list((tmp_path / "refused").iterdir()) == []


def test_a_report_is_found_by_its_model_and_by_being_the_latest(tmp_path: Path) -> None:
    workdir = WorkDir(tmp_path)
    assert find_report(tmp_path, "latest") is None
    for number, archive in ((1, "promoted"), (2, "refused")):
        evaluated(workdir, f"line-{number}", f"run-{number}")
        workdir.archive(archive, f"line-{number}", keep=2)  # type: ignore[arg-type]
        os.utime(tmp_path / archive / f"line-{number}", ns=(number, number))
    assert find_report(tmp_path, "line-1") == tmp_path / "promoted" / "line-1" / REPORT
    assert find_report(tmp_path, "latest") == tmp_path / "refused" / "line-2" / REPORT
    assert find_report(tmp_path, "line-7") is None
