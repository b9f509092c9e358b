"""A retraining publishes one model or none, whatever happens during it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from model.artefact import Artefact
from stream.errors import BrokerUnreachableError, SettingsError
from tests.training.sidecar.sidecar_samples import (
    ChampionsInMemory,
    ReportsInMemory,
    model,
    no_windows,
    run_of,
    settings,
)
from training.errors import StoreError, TrainingError
from training.sidecar.job.process import JobExit, JobLimits
from training.sidecar.job.spec import CHAMPION, FEEDBACK
from training.sidecar.memory import Memory
from training.sidecar.retraining import Retrainer, check_spec
from training.sidecar.workdir import WorkDir

JOB_COMMAND = (sys.executable, "-m", "tests.training.sidecar.job.stub_job")
ROOT = Path(__file__).resolve().parents[3]


class Bench:
    """A retrainer with its working directory, an in-memory topic of models and the reports it published."""

    def __init__(self, path: Path, job_command: tuple[str, ...] = JOB_COMMAND, **given: object) -> None:
        self.settings = settings(path / "trainer", **given)
        self.workdir = WorkDir(self.settings.trainer_folder)
        self.champion, self.candidate = model("champion"), model("candidate")
        self.candidate.save(path / "candidate.safetensors")
        self.champions = ChampionsInMemory(self.champion)
        self.reports = ReportsInMemory()
        champions: Any = self.champions
        reports: Any = self.reports
        self.retrainer = Retrainer(self.settings, self.workdir, champions, reports, job_command)

    def attempts(self) -> list[str]:
        return (self.workdir.path / "attempts.txt").read_text().splitlines()


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("FAULTLINE_TEST_CANDIDATE", str(tmp_path / "candidate.safetensors"))
    return Bench(tmp_path)


async def test_a_candidate_that_passes_is_published_once_and_its_report_is_named(bench: Bench) -> None:
    final = await bench.retrainer.retrain(run_of(epochs=3), no_windows)
    assert (final.state, final.model_id, final.champion_id) == (
        "promoted",
        bench.candidate.model_id,
        bench.champion.model_id,
    )
    assert bench.champions.published == [bench.candidate.model_id]
    assert bench.champions.reasons == ["demand: because of one"]
    assert final.report_path == str(bench.workdir.archive_path("promoted", bench.candidate.model_id) / "report")
    assert bench.reports.states()[0] == "started"


async def test_a_refused_candidate_is_not_published_and_the_criterion_is_named(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAULTLINE_TEST_FAILED", "hold-out score: 0.1, at least 0.985")
    final = await bench.retrainer.retrain(run_of(), no_windows)
    assert (final.state, final.failed_criteria) == ("refused", ["hold-out score: 0.1, at least 0.985"])
    assert bench.champions.published == []


async def test_a_child_that_is_killed_is_run_again_on_what_it_left(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAULTLINE_TEST_DIE", "2")
    final = await bench.retrainer.retrain(run_of(), no_windows)
    assert final.state == "promoted"
    assert bench.attempts() == ["from the start", "candidate there", "candidate there"]


async def test_a_child_that_is_killed_every_time_costs_the_retraining_and_nothing_else(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAULTLINE_TEST_DIE", "99")
    final = await bench.retrainer.retrain(run_of(), no_windows)
    assert (final.state, final.model_id) == ("failed", None)
    assert "SIGKILL, probably because the machine ran out of memory (attempt 3 of 3)" in final.note
    assert not bench.workdir.run.exists(), "nothing half-done is left"
    monkeypatch.delenv("FAULTLINE_TEST_DIE")
    assert (await bench.retrainer.retrain(run_of("run-2"), no_windows)).state == "promoted"


async def test_a_trainer_killed_after_the_verdict_publishes_that_candidate_without_training(bench: Bench) -> None:
    class Killed(BaseException):
        pass

    def die() -> None:
        raise Killed

    bench.champions.before_publish = die
    with pytest.raises(Killed):
        await bench.retrainer.retrain(run_of(), no_windows)
    bench.champions.before_publish = lambda: None
    final = await bench.retrainer.retrain(run_of(), no_windows)
    assert final.state == "promoted"
    assert bench.champions.published == [bench.candidate.model_id]
    assert bench.attempts() == ["from the start"]
    assert "resumed" in bench.reports.reports[-1].note


async def test_a_trainer_killed_after_publishing_does_not_publish_again(bench: Bench) -> None:
    await bench.retrainer.retrain(run_of(), no_windows)
    final = await bench.retrainer.retrain(run_of(), no_windows)
    assert (final.state, final.model_id) == ("promoted", bench.candidate.model_id)
    assert bench.champions.published == [bench.candidate.model_id]


async def test_a_publishing_that_the_broker_does_not_confirm_is_tried_again_unless_it_went_through(
    bench: Bench,
) -> None:
    left = 2

    def unreachable() -> None:
        nonlocal left
        left -= 1
        if left >= 0:
            raise BrokerUnreachableError("nobody there")

    bench.champions.before_publish = unreachable
    assert (await bench.retrainer.retrain(run_of(), no_windows)).state == "promoted"
    assert bench.champions.published == [bench.candidate.model_id]


async def test_a_champion_promoted_by_hand_meanwhile_is_what_the_candidate_is_compared_with(bench: Bench) -> None:
    by_hand = model("by hand")
    shown: list[Artefact | None] = [bench.champion, by_hand]

    async def current() -> Artefact | None:
        return shown.pop(0) if shown else by_hand

    bench.champions.current = current  # type: ignore[method-assign]
    final = await bench.retrainer.retrain(run_of(), no_windows)
    assert (final.state, final.champion_id) == ("promoted", by_hand.model_id)
    assert bench.attempts() == ["from the start", "candidate there"], "judged again, not trained again"
    assert Artefact.load(bench.workdir.run / CHAMPION).model_id == by_hand.model_id


async def test_the_champion_made_again_is_not_published_again(bench: Bench) -> None:
    bench.champions.champion = bench.candidate
    final = await bench.retrainer.retrain(run_of(), no_windows)
    assert (final.state, bench.champions.published) == ("promoted", [])
    assert "gave the champion again" in final.note


async def test_the_first_model_of_a_spec_has_no_champion(bench: Bench) -> None:
    bench.champions.champion = None
    final = await bench.retrainer.retrain(run_of(), no_windows)
    assert (final.state, final.champion_id) == ("promoted", None)


async def test_a_model_that_cannot_be_signed_fails_and_keeps_the_candidate(bench: Bench) -> None:
    def refuse() -> None:
        raise SettingsError("set FAULTLINE_MODEL_PRIVATE_KEY")

    bench.champions.before_publish = refuse
    final = await bench.retrainer.retrain(run_of(), no_windows)
    assert (final.state, final.note, final.model_id) == (
        "failed",
        "set FAULTLINE_MODEL_PRIVATE_KEY",
        bench.candidate.model_id,
    )


async def test_what_the_field_taught_is_read_once_for_all_attempts(bench: Bench) -> None:
    taken: list[Path] = []

    async def snapshot(folder: Path) -> None:
        taken.append(folder)
        (folder / "windows").write_text("seen")

    await bench.retrainer.retrain(run_of(), snapshot)
    await bench.retrainer.retrain(run_of(), snapshot)
    assert len(taken) == 1
    assert (bench.workdir.run / FEEDBACK / "windows").read_text() == "seen"
    await bench.retrainer.retrain(run_of("run-2"), snapshot)
    assert len(taken) == 2


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), StoreError("store: No space left on device")]
)
async def test_a_full_disk_fails_the_retraining_with_its_reason_and_the_next_one_succeeds(
    bench: Bench, error: Exception
) -> None:
    async def full(folder: Path) -> None:
        raise error

    final = await bench.retrainer.retrain(run_of(), full)
    assert final.state == "failed"
    assert "No space left on device" in final.note
    assert (await bench.retrainer.retrain(run_of("run-2"), no_windows)).state == "promoted"


async def test_the_order_is_what_was_asked_and_otherwise_what_the_settings_say(tmp_path: Path) -> None:
    bench = Bench(tmp_path, retrain_epochs=7, evaluation_lines=2, retrain_warm_start=True)
    job = bench.retrainer.job_spec(run_of(episodes=300, seed=0))
    assert (job.epochs, job.episodes, job.seed, job.evaluation_lines) == (7, 300, 0, 2)
    assert job.warm_start
    assert not bench.retrainer.job_spec(run_of(warm_start=False)).warm_start


async def test_the_memory_of_a_job_is_the_setting_or_what_is_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = Bench(tmp_path / "given", retrain_memory_mb=5_000)
    assert given.retrainer.job_spec(run_of()).memory_mb == 5_000
    bench = Bench(tmp_path / "here")
    monkeypatch.setattr("training.sidecar.retraining.memory_here", lambda: Memory("cgroup", 8 << 30, 6 << 30))
    with capture_logs() as logged:
        assert bench.retrainer.job_spec(run_of()).memory_mb == 5_324, "6 GiB less a tenth of 8"
    (line,) = logged
    assert (line["event"], line["of"], line["limit_mb"]) == ("retraining-memory", "cgroup", 8192)
    monkeypatch.setattr("training.sidecar.retraining.memory_here", lambda: None)
    assert bench.retrainer.job_spec(run_of()).memory_mb is None


async def test_a_retraining_that_is_resumed_keeps_the_memory_that_it_began_with(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[JobLimits] = []

    async def run(command: object, folder: object, limits: JobLimits, on_progress: object) -> JobExit:
        asked.append(limits)
        return JobExit("stopped")

    monkeypatch.setattr("training.sidecar.retraining.run_job", run)
    for gib in (8, 2):
        monkeypatch.setattr(
            "training.sidecar.retraining.memory_here", lambda gib=gib: Memory("cgroup", gib << 30, gib << 30)
        )
        bench.workdir.begin(bench.retrainer.job_spec(run_of()))
        await bench.retrainer._run_attempts(run_of())
    assert asked[0] == asked[1]
    assert asked[0].memory_mb == 7_372


async def test_a_job_of_a_version_that_wrote_no_memory_has_the_limit_of_the_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path, retrain_memory_mb=5_000)
    asked: list[JobLimits] = []

    async def run(command: object, folder: object, limits: JobLimits, on_progress: object) -> JobExit:
        asked.append(limits)
        return JobExit("stopped")

    monkeypatch.setattr("training.sidecar.retraining.run_job", run)
    bench.workdir.begin(bench.retrainer.job_spec(run_of()).model_copy(update={"memory_mb": None}))
    await bench.retrainer._run_attempts(run_of())
    assert asked[0].memory_mb == 5_000


async def test_what_was_done_otherwise_than_configured_is_in_the_final_report(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAULTLINE_TEST_NOTE", "smaller than configured: 3 of 4 episodes")
    final = await bench.retrainer.retrain(run_of(), no_windows)
    assert (final.state, final.note) == ("promoted", "because of one; smaller than configured: 3 of 4 episodes")


def test_a_spec_without_a_recipe_is_refused() -> None:
    with pytest.raises(TrainingError, match="set FAULTLINE_SPEC to line or instant"):
        check_spec("mine")
