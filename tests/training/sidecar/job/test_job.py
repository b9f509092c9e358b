"""An attempt leaves whole files only, and replaces those that a killed one left."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest

from model.artefact import shipped
from training.sidecar.job.main import evaluate_on_feedback, exclusive, put_report
from training.sidecar.job.spec import CANDIDATE, CHAMPION, FEEDBACK, PAGE, REPORT


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
