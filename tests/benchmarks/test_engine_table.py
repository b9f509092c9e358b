"""The engine table compares the same network in every contender and prints correct ratios."""

from __future__ import annotations

import json
from io import StringIO

import numpy as np
import pytest
from rich.console import Console

from benchmarks.engine.contenders import ARRANGEMENTS, BOUND, OURS, TITLES
from benchmarks.engine.process import Contender
from benchmarks.engine.table import AGREEMENT, Found, engine_table, measure, without_phasors
from model.artefact import Artefact, shipped
from model.engine import Engine
from model.errors import EngineError
from tests.model.model_samples import artefact_of, windows_of

COUNT = 70


@pytest.fixture(scope="module")
def artefact() -> Artefact:
    return shipped("line")


@pytest.fixture(scope="module")
def windows(artefact: Artefact) -> np.ndarray:
    return windows_of(artefact.manifest.spec, COUNT)


@pytest.fixture(scope="module")
def ours(artefact: Artefact, windows: np.ndarray) -> np.ndarray:
    with Engine(artefact, buckets=(64,)) as engine:
        return engine.classify(windows)


@pytest.mark.parametrize("name", ["onnxruntime", "openvino", "keras"])
def test_every_arrangement_of_a_contender_answers_like_our_engine(
    name: str, artefact: Artefact, windows: np.ndarray, ours: np.ndarray
) -> None:
    if name != "keras":
        pytest.importorskip("onnx")
        pytest.importorskip(name)
    for label, prepare in ARRANGEMENTS[name](artefact):
        for count in (1, 17, COUNT):
            found = prepare(count)(windows[:count])
            np.testing.assert_allclose(found, ours[:count], atol=AGREEMENT, err_msg=f"{label}, {count} windows")


def test_the_graph_is_also_the_network_of_another_centre_without_phasors(windows: np.ndarray) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    plain = artefact_of(shipped("line").manifest.spec, architecture="gru-memory")
    _, prepare = next(iter(ARRANGEMENTS["onnxruntime"](plain)))
    with Engine(plain, buckets=(64,)) as engine:
        np.testing.assert_allclose(prepare(COUNT)(windows), engine.classify(windows), atol=AGREEMENT)


def test_without_phasors_the_trained_gru_is_kept(artefact: Artefact) -> None:
    plain = without_phasors(artefact)
    assert plain.manifest.normalisation.feature_layer is None
    for name in ("memory_gru/gru_cell/kernel", "memory_gru/gru_cell/recurrent_kernel", "head/kernel"):
        np.testing.assert_array_equal(plain.weights[name], artefact.weights[name])


@pytest.mark.long
def test_a_measured_table_has_a_rate_for_every_turn_of_ours_and_of_the_bound(
    artefact: Artefact, windows: np.ndarray
) -> None:
    told: list[str] = []
    found = measure("line", artefact, windows, contenders=(), batches=(1, 64), turns=2, seconds=0.05, say=told.append)
    assert set(found.rates) == {(name, batch) for name in (OURS, BOUND) for batch in (1, 64)}
    assert all(len(rates) == 2 and min(rates) > 0 for rates in found.rates.values())
    assert found.ratio(OURS, OURS, 64) == 1.0
    assert told


@pytest.mark.long
def test_a_contender_that_answers_otherwise_ends_the_run(
    artefact: Artefact, windows: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = Contender.answers
    shift = {"keras": 2 * AGREEMENT}
    monkeypatch.setattr(Contender, "answers", lambda self, batch: honest(self, batch) + shift.get(self.name, 0))
    with pytest.raises(EngineError, match="keras predict: the probabilities of 4 windows differ from Faultline"):
        measure("line", artefact, windows, contenders=("keras",), batches=(4,), turns=1, seconds=0.05)


def test_a_contender_that_cannot_serve_the_model_says_why(windows: np.ndarray) -> None:
    pytest.importorskip("onnxruntime")
    lstm = artefact_of(shipped("line").manifest.spec, architecture="lstm")
    with (
        Contender("onnxruntime", lstm, windows) as contender,
        pytest.raises(EngineError, match="only networks with a memory"),
    ):
        contender.arrange(1)


def test_a_ratio_is_the_median_over_turns_and_the_table_shows_it() -> None:
    found = Found("line", (OURS, BOUND), (1024,))
    found.rates = {(OURS, 1024): [60.0, 50.0, 90.0], (BOUND, 1024): [100.0, 100.0, 100.0]}
    found.arrangements = {(OURS, 1024): "one way", (BOUND, 1024): "another"}
    assert found.ratio(OURS, BOUND, 1024) == 0.6
    text = StringIO()
    Console(file=text, width=120).print(engine_table(found))
    assert TITLES[OURS] in text.getvalue()
    assert "0.60" in text.getvalue()
    rows = json.loads(json.dumps(found.as_dict()))["rows"]
    assert [row["of_bound"] for row in rows] == [0.6, 1.0]
