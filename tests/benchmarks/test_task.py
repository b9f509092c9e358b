"""The job of the contenders: a model with a memory follows every line from batch to batch."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks.contenders import task as contenders_task
from benchmarks.contenders.settings import ContenderSettings
from benchmarks.contenders.task import Task
from model.spec import load_spec
from tests.stream.doubles import CountingClassifier, marked_record

SPEC = load_spec("line")


@pytest.mark.parametrize("cuts", [[], [1], [2, 3], [1, 2, 3, 4, 5]])
def test_answers_do_not_depend_on_the_cut_into_batches(monkeypatch: pytest.MonkeyPatch, cuts: list[int]) -> None:
    artefact = SimpleNamespace(manifest=SimpleNamespace(spec=SPEC))
    monkeypatch.setattr(contenders_task, "open_artefact", lambda settings: artefact)
    monkeypatch.setattr(contenders_task, "Engine", lambda *_, **__: SimpleNamespace(warm=lambda: None))
    records = [marked_record(line, [1, 4], SPEC, sequence=2 * n) for n in range(3) for line in ("a", "b")]

    def answers(cuts: list[int]) -> Any:
        settings = ContenderSettings(bootstrap="", group="", input_topic="", output_topic="")
        task = Task(settings).with_engine()
        task._engine = CountingClassifier(SPEC)  # type: ignore[assignment]
        parts = [records[first:last] for first, last in zip([0, *cuts], [*cuts, len(records)], strict=True)]
        return np.concatenate([task.classify(task.decode(part)) for part in parts])

    whole = answers([])
    np.testing.assert_array_equal(answers(cuts), whole)
    assert len(np.unique(whole.max(axis=1))) == 6, "each of a line's six windows has another memory"
