"""``faultline retrain --wait`` ends with the outcome of the retraining, in plain words."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from faultline.cli.models.retrain import _show
from stream.contract import TrainingReport


def report(**given: Any) -> TrainingReport:
    known: dict[str, Any] = {
        "run_id": "r",
        "request_ids": ["q"],
        "spec": "line",
        "reason": "demand",
        "state": "promoted",
        "at": datetime(2026, 1, 1, tzinfo=UTC),
        "progress": 1.0,
        "model_id": "line-1",
    }
    return TrainingReport.model_validate({**known, **given})


def test_the_reason_that_a_person_gave_is_not_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    _show(report(note="40 labels"), "40 labels")
    assert capsys.readouterr().out == "promoted: line-1\n"


@pytest.mark.parametrize("state", ["promoted", "refused"])
def test_a_retraining_smaller_than_configured_says_so(state: str, capsys: pytest.CaptureFixture[str]) -> None:
    note = "40 labels; smaller than configured: 60,000 of 400,000 episodes, since 3,500 MiB of memory are there"
    _show(report(state=state, note=note), "40 labels")
    assert capsys.readouterr().out == f"{state}: line-1\n{note}\n"


def test_a_failure_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    _show(report(state="failed", model_id=None, note="no memory"), "no memory")
    assert capsys.readouterr().out == "failed: no model\nno memory\n"
