"""The job of the contenders: a model with a memory follows every line from batch to batch."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks.contenders import task as contenders_task
from benchmarks.contenders.keras_predict import KerasPredict
from benchmarks.contenders.settings import ContenderSettings
from benchmarks.contenders.task import Task
from model.engine import Engine
from model.spec import load_spec
from tests.model.model_samples import artefact_of, windows_of
from tests.stream.doubles import CountingClassifier, marked_record

SPEC = load_spec("line")
SETTINGS = ContenderSettings(bootstrap="", group="", input_topic="", output_topic="")


@pytest.mark.parametrize("cuts", [[], [1], [2, 3], [1, 2, 3, 4, 5]])
def test_answers_do_not_depend_on_the_cut_into_batches(monkeypatch: pytest.MonkeyPatch, cuts: list[int]) -> None:
    artefact = SimpleNamespace(manifest=SimpleNamespace(spec=SPEC))
    monkeypatch.setattr(contenders_task, "open_artefact", lambda settings: artefact)
    monkeypatch.setattr(contenders_task, "Engine", lambda *_, **__: SimpleNamespace(warm=lambda: None))
    records = [marked_record(line, [1, 4], SPEC, sequence=2 * n) for n in range(3) for line in ("a", "b")]

    def answers(cuts: list[int]) -> Any:
        task = Task(SETTINGS).with_engine()
        task._model = CountingClassifier(SPEC)
        parts = [records[first:last] for first, last in zip([0, *cuts], [*cuts, len(records)], strict=True)]
        return np.concatenate([task.classify(task.decode(part)) for part in parts])

    whole = answers([])
    np.testing.assert_array_equal(answers(cuts), whole)
    assert len(np.unique(whole.max(axis=1))) == 6, "each of a line's six windows has another memory"


def test_keras_follows_lines_of_unequal_length_as_our_engine_does() -> None:
    artefact = artefact_of(SPEC, architecture="gru-memory", phasors=True)
    keras = KerasPredict(artefact, SETTINGS)
    line = np.array([1, 0, 1, 2, 1, 0, 1, 1, 2])
    windows = windows_of(SPEC, len(line), seed=3)
    memory = np.random.default_rng(4).normal(0, 0.3, (3, keras.memory_units)).astype(np.float32)
    with Engine(artefact, threads=1, buckets=(1, 16)) as engine:
        expected = engine.follow(windows, line, memory)
    given = keras.follow(windows, line, memory)
    for one, other in zip(expected, given, strict=True):
        np.testing.assert_allclose(other, one, atol=2e-5)
    assert np.abs(given[0] - keras.follow(windows, line, 0 * memory)[0]).max() > 1e-3, "the memory matters"
