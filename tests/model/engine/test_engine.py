from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.architectures import ARCHITECTURES
from model.artefact import Artefact, build_model
from model.engine import Engine
from model.engine.compile import has_accelerator
from model.errors import EngineError, ShapeArtefactError
from model.spec import load_spec
from tests.model.model_samples import artefact_of, logits_of, windows_of

BUCKETS = (1, 4, 16, 64)
ALL = 300


@pytest.fixture(scope="module")
def engine(line_artefact: Artefact) -> Iterator[Engine]:
    with Engine(line_artefact, threads=2, buckets=BUCKETS) as engine:
        yield engine.warm()


@pytest.fixture(scope="module")
def windows(line_artefact: Artefact) -> np.ndarray:
    return windows_of(line_artefact.manifest.spec, ALL)


@pytest.fixture(scope="module")
def one_by_one(line_artefact: Artefact, windows: np.ndarray) -> np.ndarray:
    with Engine(line_artefact, threads=1, buckets=(1,)) as engine:
        return engine.classify(windows)


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def test_probabilities_are_the_softmax_of_the_keras_models_calibrated_logits(artefact: Artefact) -> None:
    windows = windows_of(artefact.manifest.spec, 37)
    logits = logits_of(build_model(artefact), windows).astype(np.float64)
    with Engine(artefact, buckets=(8, 32)) as engine:
        found = engine.classify(windows)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, softmax(logits / artefact.manifest.temperature), atol=1e-5)
    assert found.max() > 2 / found.shape[1], "weights too small for the comparison to mean anything"


@given(st.integers(0, ALL))
@settings(max_examples=60)
def test_the_answer_is_the_same_whatever_the_batch_and_bucket(
    engine: Engine, windows: np.ndarray, one_by_one: np.ndarray, count: int
) -> None:
    found = engine.classify(windows[:count])
    assert found.shape == (count, 12)
    np.testing.assert_allclose(found, one_by_one[:count], atol=1e-5)


@pytest.mark.parametrize("bucket", BUCKETS)
def test_every_bucket_alone_gives_the_same_answer(
    line_artefact: Artefact, windows: np.ndarray, one_by_one: np.ndarray, bucket: int
) -> None:
    with Engine(line_artefact, threads=2, buckets=(bucket,)) as engine:
        np.testing.assert_allclose(engine.classify(windows[:70]), one_by_one[:70], atol=1e-5)


def test_a_strided_view_is_classified_like_its_copy(
    engine: Engine, windows: np.ndarray, one_by_one: np.ndarray
) -> None:
    np.testing.assert_allclose(engine.classify(windows[::3]), one_by_one[::3], atol=1e-5)


def test_a_window_that_is_not_finite_spoils_only_its_own_row(
    engine: Engine, windows: np.ndarray, one_by_one: np.ndarray
) -> None:
    broken = windows[:50].copy()
    broken[7, 3, 2] = np.nan
    found = engine.classify(broken)
    assert np.isnan(found[7]).all()
    others = np.arange(50) != 7
    np.testing.assert_allclose(found[others], one_by_one[:50][others], atol=1e-5)


def test_callers_in_many_threads_get_their_own_answers(
    engine: Engine, windows: np.ndarray, one_by_one: np.ndarray
) -> None:
    starts = list(range(0, 200, 7))
    with ThreadPoolExecutor(8) as callers:
        answers = list(callers.map(lambda start: engine.classify(windows[start : start + 90]), starts))
    for start, answer in zip(starts, answers, strict=True):
        np.testing.assert_allclose(answer, one_by_one[start : start + 90], atol=1e-5)


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((2, 32, 6), np.float64),
        np.zeros((2, 31, 6), np.float32),
        np.zeros((2, 6, 32), np.float32),
        np.zeros((32, 6), np.float32),
        [[0.0] * 6] * 32,
    ],
)
def test_other_types_and_shapes_are_refused_with_what_was_expected(engine: Engine, wrong: np.ndarray) -> None:
    with pytest.raises(EngineError, match=r"float32 \(n, 32, 6\) for spec 'line'"):
        engine.classify(wrong)


def test_a_hotter_temperature_flattens_the_probabilities(windows: np.ndarray) -> None:
    spec = load_spec("line")
    with Engine(artefact_of(spec, temperature=1.0), buckets=(64,)) as cold:
        sharp = cold.classify(windows[:64])
    with Engine(artefact_of(spec, temperature=4.0), buckets=(64,)) as hot:
        flat = hot.classify(windows[:64])
    assert (flat.max(axis=1) < sharp.max(axis=1)).all()
    np.testing.assert_array_equal(flat.argmax(axis=1), sharp.argmax(axis=1))


def test_an_artefact_that_does_not_fit_its_architecture_makes_no_engine(line_artefact: Artefact) -> None:
    weights = dict(line_artefact.weights)
    weights["surplus"] = np.zeros(3, np.float32)
    manifest = line_artefact.manifest
    wrong = Artefact.create(
        weights, spec=manifest.spec, architecture=manifest.architecture, normalisation=manifest.normalisation
    )
    with pytest.raises(ShapeArtefactError, match="'surplus' of shape none"):
        Engine(wrong)


def test_a_closed_engine_says_so_and_may_be_closed_again(line_artefact: Artefact, windows: np.ndarray) -> None:
    engine = Engine(line_artefact, buckets=(1,))
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.classify(windows[:1])


@pytest.mark.parametrize("options", [{"threads": 0}, {"buckets": ()}, {"buckets": (0, 8)}])
def test_impossible_threads_and_buckets_are_refused(line_artefact: Artefact, options: dict[str, object]) -> None:
    with pytest.raises(EngineError, match="at least 1"):
        Engine(line_artefact, **options)  # type: ignore[arg-type]


def test_an_engine_tells_its_model_and_spec(engine: Engine, line_artefact: Artefact) -> None:
    assert engine.model_id == line_artefact.model_id
    assert engine.spec == load_spec("line")


def _answers(engine: Engine, windows: np.ndarray) -> np.ndarray:
    with engine:
        return engine.classify(windows)


def test_a_model_of_other_weights_shares_what_is_compiled_and_answers_for_itself(
    engine: Engine, windows: np.ndarray
) -> None:
    other = artefact_of(load_spec("line"), seed=11, temperature=2.0)
    alone = _answers(Engine(other, threads=2, buckets=BUCKETS), windows)
    before = engine.classify(windows)
    sharing = Engine(other, threads=2, buckets=BUCKETS, like=engine)
    assert sharing._computation is engine._computation
    np.testing.assert_array_equal(_answers(sharing, windows), alone)
    np.testing.assert_array_equal(engine.classify(windows), before)
    assert np.abs(alone - before).max() > 0.1, "two models of the same answers show nothing"


def test_a_model_of_another_normalisation_shares_nothing(engine: Engine, windows: np.ndarray) -> None:
    other = artefact_of(load_spec("line"), scale=0.25)
    alone = _answers(Engine(other, buckets=BUCKETS), windows)
    assert np.abs(_answers(Engine(other, buckets=BUCKETS, like=engine), windows) - alone).max() < 1e-6
    assert np.abs(engine.classify(windows) - alone).max() > 0.1


def test_an_artefact_that_does_not_fit_makes_no_engine_beside_one_that_does(
    engine: Engine, line_artefact: Artefact
) -> None:
    manifest = line_artefact.manifest
    renamed = {f"x{name}": weight for name, weight in line_artefact.weights.items()}
    wrong = Artefact.create(
        renamed, spec=manifest.spec, architecture=manifest.architecture, normalisation=manifest.normalisation
    )
    with pytest.raises(ShapeArtefactError, match="needs tensor"):
        Engine(wrong, like=engine)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_network_with_two_branches_computed_in_stages_gives_keras_probabilities(architecture: str) -> None:
    artefact = artefact_of(load_spec("line"), architecture=architecture, phasors=True)
    windows = windows_of(artefact.manifest.spec, 40)
    logits = logits_of(build_model(artefact), windows).astype(np.float64)
    with Engine(artefact, buckets=(8, 32)) as engine:
        found = engine.classify(windows)
    np.testing.assert_allclose(found, softmax(logits / artefact.manifest.temperature), atol=1e-5)


@pytest.mark.slow
def test_a_call_is_computed_in_the_thread_that_makes_it() -> None:
    """Run in a process of its own, since the backend's threads are fixed at its first computation."""
    if keras.backend.backend() != "tensorflow" or has_accelerator():
        pytest.skip("only TensorFlow on a CPU computes in its callers' threads")
    measured = """
import time
import numpy as np
from model.artefact import shipped
from model.engine import Engine

with Engine(shipped("line"), threads=1, buckets=(512,)).warm() as engine:
    windows = np.random.default_rng(1).normal(0, 1, (2048, 32, 6)).astype(np.float32)
    mine, everyones = time.thread_time(), time.process_time()
    for _ in range(10):
        engine.classify(windows)
    print((time.thread_time() - mine) / (time.process_time() - everyones))
"""
    done = subprocess.run([sys.executable, "-c", measured], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) > 0.8
