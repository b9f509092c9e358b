"""A job leaves complete files only, and replaces those that a killed one left."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from domains.powerline.recipes.memory import LEAST_EPISODES, LINE_EPISODES, line_memory
from model.artefact import shipped
from model.spec import load_spec
from training.data.feedback import labelled_count
from training.errors import TrainingError
from training.sidecar.job.main import FIRST_TO_DIE, OOM_SCORE, evaluate_on_feedback, exclusive, put_report
from training.sidecar.job.size import labelled_windows, sized_job
from training.sidecar.job.spec import CANDIDATE, CHAMPION, FEEDBACK, PAGE, REPORT, JobSpec
from training.sidecar.job.train import read_feedback


def test_a_report_takes_the_place_of_one_that_a_killed_attempt_left(tmp_path: Path) -> None:
    for text in ("first", "second"):
        put_report(tmp_path, lambda place, text=text: (place / PAGE).write_text(text))  # type: ignore[misc]
    assert [path.name for path in tmp_path.iterdir()] == [REPORT]
    assert (tmp_path / REPORT / PAGE).read_text() == "second"


def test_a_report_that_cannot_be_written_is_not_there_in_parts(tmp_path: Path) -> None:
    def full(place: Path) -> None:
        (place / "report.json").write_text("{}")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        put_report(tmp_path, full)
    assert not (tmp_path / REPORT).exists()
    put_report(tmp_path, lambda place: (place / PAGE).write_text("page"))
    assert [path.name for path in (tmp_path / REPORT).iterdir()] == [PAGE]


def test_two_attempts_never_work_on_one_retraining(tmp_path: Path) -> None:
    order: list[str] = []
    entered = threading.Event()

    def second() -> None:
        with exclusive(tmp_path):
            order.append("second")

    with exclusive(tmp_path):
        thread = threading.Thread(target=second)
        thread.start()
        entered.wait(0.05)
        order.append("first")
    thread.join(30)
    assert order == ["first", "second"]


@pytest.mark.parametrize("enough", [False, True])
def test_candidate_and_champion_are_compared_on_labelled_windows_that_no_training_sees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, enough: bool
) -> None:
    shutil.copytree(Path(__file__).parents[1] / "folder_of_10f72e6" / "run" / FEEDBACK, tmp_path / FEEDBACK)
    for name in (CANDIDATE, CHAMPION):
        shipped("line").save(tmp_path / name)
    monkeypatch.setenv("FAULTLINE_GATE_FIELD_WINDOWS", "1" if enough else "100")
    criterion, metrics = evaluate_on_feedback("line", tmp_path, with_champion=True)
    assert 0 < metrics["field_windows"] <= 12
    assert {name: metrics[f"champion_{name}"] for name in metrics if name.startswith("field_")} == {
        name: value for name, value in metrics.items() if name.startswith("field_")
    }
    assert (criterion is not None) == enough
    alone = evaluate_on_feedback("line", tmp_path, with_champion=False)
    assert alone == (None, {name: value for name, value in metrics.items() if name.startswith("field_")})


def test_without_labelled_windows_there_is_nothing_to_compare(tmp_path: Path) -> None:
    assert evaluate_on_feedback("line", tmp_path, with_champion=False) == (None, {})


def job(**given: Any) -> JobSpec:
    known: dict[str, Any] = {"run_id": "r", "spec": "line", "epochs": 1, "episodes": None, "seed": 1}
    known |= {"warm_start": False, "data": None, "evaluation_episodes": 110, "evaluation_lines": 30, "nice": 10}
    return JobSpec.model_validate({**known, **given})


def test_a_job_that_fits_keeps_its_size(tmp_path: Path) -> None:
    for fits in (job(memory_mb=100_000), job(memory_mb=None), job(memory_mb=4_000, episodes=400)):
        assert sized_job(fits, tmp_path) == (fits, "")


def test_a_job_that_does_not_fit_is_made_smaller_and_says_so(tmp_path: Path) -> None:
    need = line_memory(30)
    smaller, note = sized_job(job(memory_mb=4_000), tmp_path)
    assert smaller.episodes == need.episodes_within(4_000, LINE_EPISODES)
    assert need.needed_mb(smaller.episodes) <= 4_000
    assert note == (
        f"smaller than configured: {smaller.episodes:,} of 194,560 episodes, since 4,000 MiB of memory are available "
        f"and all episodes need {need.needed_mb(LINE_EPISODES):,} MiB"
    )
    assert sized_job(job(memory_mb=4_000), tmp_path) == (smaller, note), "a resumed retraining goes on"


def test_a_file_that_the_recipe_only_evaluates_on_leaves_the_size_to_the_memory(tmp_path: Path) -> None:
    simulated = sized_job(job(memory_mb=4_000), tmp_path)[0].episodes
    smaller, note = sized_job(job(memory_mb=4_000, data=tmp_path / "classData.csv"), tmp_path)
    assert smaller.episodes == simulated
    assert note


def test_labelled_windows_take_memory_as_well(tmp_path: Path) -> None:
    shutil.copytree(Path(__file__).parents[1] / "folder_of_10f72e6" / "run" / FEEDBACK, tmp_path / FEEDBACK)
    count = labelled_windows(tmp_path, "line")
    for steps in (0, 128):
        feedback = read_feedback(tmp_path, load_spec("line"), steps)
        assert feedback is not None
        assert labelled_count(feedback) == count > 0
    assert labelled_windows(tmp_path, "instant") > 0, "windows of another spec do not count"
    _, note = sized_job(job(memory_mb=4_000), tmp_path)
    assert f" episodes and {count:,} labelled windows, since" in note


def test_a_job_whose_smallest_sensible_size_does_not_fit_is_refused_with_what_it_needs(tmp_path: Path) -> None:
    need = line_memory(30)
    with pytest.raises(TrainingError) as raised:
        sized_job(job(memory_mb=1_000), tmp_path)
    said = str(raised.value)
    assert f"needs {need.needed_mb(LEAST_EPISODES):,} MiB of memory for {LEAST_EPISODES:,} episodes" in said
    assert "may use 1,000 MiB" in said
    assert f"{need.needed_mb(LINE_EPISODES):,} MiB for all 194,560 episodes" in said
    # A size that a person requested is not refused for being small.
    with pytest.raises(TrainingError, match="for 400 episodes"):
        sized_job(job(memory_mb=1_000, episodes=400), tmp_path)


def test_a_recipe_whose_memory_is_not_known_is_not_changed(tmp_path: Path) -> None:
    instant = job(spec="instant", memory_mb=300, data=tmp_path / "classData.csv")
    assert sized_job(instant, tmp_path) == (instant, "")


@pytest.mark.skipif(not OOM_SCORE.exists(), reason="oom_score_adj is Linux's")
def test_linux_ends_the_child_before_any_other_process() -> None:
    code = "from training.sidecar.job.main import die_first, OOM_SCORE; die_first(); print(OOM_SCORE.read_text())"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert int(shown.stdout) == FIRST_TO_DIE == 1000
