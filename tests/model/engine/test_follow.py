"""The memory of lines: the same answers whatever the batch, the neighbours and the cuts of the stream."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.artefact import Artefact, build_model, shipped
from model.engine import Engine
from model.errors import EngineError
from model.spec import load_spec
from stream.windowing import cut_windows
from tests.model.model_samples import artefact_of, windows_of

SPEC = load_spec("line")
LINES, STEPS = 5, 40
UNITS = 96


@pytest.fixture(scope="module")
def remembering() -> Artefact:
    return artefact_of(SPEC, architecture="gru-memory", phasors=True)


@pytest.fixture(scope="module")
def engine(remembering: Artefact) -> Iterator[Engine]:
    with Engine(remembering, threads=2, buckets=(1, 16, 64)) as engine:
        yield engine


@pytest.fixture(scope="module")
def records() -> np.ndarray:
    return windows_of(SPEC, LINES * STEPS).reshape(LINES, STEPS, *SPEC.window_shape)


@pytest.fixture(scope="module")
def expected(remembering: Artefact, records: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the probabilities and the memory after every window, computed by Keras in one call."""
    logits, memories = build_model(remembering)([records, np.zeros((LINES, UNITS), np.float32)])
    powers = np.asarray(logits, np.float64) / remembering.manifest.temperature
    powers = np.exp(powers - powers.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True), np.asarray(memories)


def test_records_are_answered_as_by_keras(
    engine: Engine, records: np.ndarray, expected: tuple[np.ndarray, np.ndarray]
) -> None:
    found = engine.follow_records(records)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected[0], atol=1e-5)
    assert np.abs(found[:, 1:] - engine.classify(records[:, 1:].reshape(-1, 32, 6)).reshape(LINES, -1, 12)).max() > 0.1


@given(st.data())
@settings(max_examples=25, deadline=None)
def test_answers_do_not_depend_on_how_the_stream_is_cut_nor_on_neighbours(
    engine: Engine, records: np.ndarray, expected: tuple[np.ndarray, np.ndarray], data: st.DataObject
) -> None:
    memory = np.zeros((LINES, UNITS), np.float32)
    done = [0] * LINES
    for _ in range(data.draw(st.integers(1, 4), label="batches")):
        taken = [data.draw(st.integers(0, STEPS - at)) for at in done]
        line = np.repeat(np.arange(LINES), taken)
        line = line[data.draw(st.permutations(range(len(line))), label="order")] if len(line) < 40 else line[::-1]
        step = np.empty(len(line), np.intp)
        for one in range(LINES):
            step[line == one] = done[one] + np.arange(taken[one])
        before = memory.copy()
        found, after = engine.follow(records[line, step], line, memory)
        np.testing.assert_array_equal(memory, before)
        np.testing.assert_allclose(found, expected[0][line, step], atol=1e-5)
        memory, done = after, [at + count for at, count in zip(done, taken, strict=True)]
    for one, at in enumerate(done):
        np.testing.assert_allclose(memory[one], expected[1][one, at - 1] if at else 0, atol=1e-5)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
@pytest.mark.parametrize("several", [False, True])
def test_a_broken_window_spoils_neither_other_lines_nor_the_memory(
    engine: Engine, records: np.ndarray, several: bool, value: float
) -> None:
    steps = 3 if several else 1
    line = np.repeat(np.arange(LINES), steps)
    memory = engine.follow(records[:, 5], np.arange(LINES), np.zeros((LINES, UNITS), np.float32))[1]
    windows = records[:, :steps].reshape(-1, *SPEC.window_shape).copy()
    whole, after_whole = engine.follow(windows, line, memory)
    windows[2 * steps, 3, 2] = value
    found, after = engine.follow(windows, line, memory)
    assert np.isfinite(after).all()
    others = line != 2
    np.testing.assert_allclose(found[others], whole[others], atol=1e-5)
    np.testing.assert_allclose(np.delete(after, 2, axis=0), np.delete(after_whole, 2, axis=0), atol=1e-5)
    if not np.isfinite(value):
        assert np.isnan(found[2 * steps]).all()
        kept = engine.follow(windows[2 * steps + 1 : 3 * steps], np.full(steps - 1, 2), memory)[1][2]
        np.testing.assert_allclose(after[2], kept, atol=1e-5)


def test_a_line_without_windows_keeps_its_memory_and_a_broken_memory_is_cold(
    engine: Engine, records: np.ndarray, expected: tuple[np.ndarray, np.ndarray]
) -> None:
    memory = np.full((3, UNITS), 0.25, np.float32)
    memory[1, 7] = np.nan
    found, after = engine.follow(records[0, :1], np.array([1]), memory)
    np.testing.assert_allclose(found[0], expected[0][0, 0], atol=1e-5)
    np.testing.assert_array_equal(after[[0, 2]], memory[[0, 2]])


def test_without_windows_nothing_changes(engine: Engine) -> None:
    memory = np.full((2, UNITS), 0.5, np.float32)
    found, after = engine.follow(windows_of(SPEC, 0), np.zeros(0, np.intp), memory)
    assert found.shape == (0, 12)
    np.testing.assert_array_equal(after, memory)
    assert engine.follow_records(np.zeros((0, 4, 32, 6), np.float32)).shape == (0, 4, 12)


@pytest.mark.parametrize(
    ("line", "memory", "complaint"),
    [
        (np.zeros(2, np.intp), np.zeros((1, 95), np.float32), r"memory must be float32 \(lines, 96\)"),
        (np.zeros(2, np.intp), np.zeros((1, 96)), r"memory must be float32 \(lines, 96\)"),
        (np.zeros(3, np.intp), np.zeros((1, 96), np.float32), "an integer for each of 2 windows"),
        (np.zeros(2), np.zeros((1, 96), np.float32), "an integer for each of 2 windows"),
        (np.array([0, 1]), np.zeros((1, 96), np.float32), "the 1 rows of memory; got numbers from 0 to 1"),
        (np.array([0, -1]), np.zeros((1, 96), np.float32), "the 1 rows of memory; got numbers from -1 to 0"),
    ],
)
def test_lines_and_memories_that_do_not_fit_are_refused(
    engine: Engine, line: np.ndarray, memory: np.ndarray, complaint: str
) -> None:
    with pytest.raises(EngineError, match=complaint):
        engine.follow(windows_of(SPEC, 2), line, memory)


def test_a_model_without_a_memory_follows_as_it_classifies(line_artefact: Artefact) -> None:
    windows = windows_of(SPEC, 6)
    with Engine(line_artefact, threads=1, buckets=(8,)) as engine:
        assert engine.memory_units == 0
        memory = np.zeros((2, 0), np.float32)
        found, after = engine.follow(windows, np.array([0, 0, 1, 0, 1, 1]), memory)
        np.testing.assert_array_equal(found, engine.classify(windows))
        assert after.shape == (2, 0)
        np.testing.assert_allclose(engine.follow_records(windows.reshape(2, 3, 32, 6)).reshape(6, -1), found, atol=1e-5)


def test_a_retrained_model_shares_what_is_compiled(engine: Engine, records: np.ndarray) -> None:
    other = artefact_of(SPEC, architecture="gru-memory", phasors=True, seed=11, temperature=2.0)
    first = engine.follow_records(records[:2, :3])
    with Engine(other, threads=2, buckets=(1, 16, 64), like=engine) as sharing:
        assert sharing._computation is engine._computation
        assert np.abs(sharing.follow_records(records[:2, :3]) - first).max() > 0.1
    np.testing.assert_array_equal(engine.follow_records(records[:2, :3]), first)


@pytest.mark.slow
def test_a_long_record_is_answered_alike_window_by_window_and_at_once() -> None:
    # Another tanh in the last digits is enough to fail: a GRU adds such differences up over many windows.
    lines, steps = 4, 1500
    samples = np.arange(steps * SPEC.hop + SPEC.samples - SPEC.hop)
    turns = samples[:, None] / SPEC.samples - np.array([0, 1, 2, 0, 1, 2]) / 3
    random = np.random.default_rng(3)
    size = 1 + 0.3 * np.sin(samples / 900)[:, None] * np.array([1, 1, 1, 0, 0, 0])
    records = np.sin(2 * np.pi * turns) * size + random.normal(0, 0.02, (lines, len(samples), 6))
    records[1:, :, 1] *= 1 + 0.8 * (samples % 4000 > 3600)  # one phase rises for a while, and comes back
    windows = np.stack([cut_windows(record.astype(np.float32), SPEC) for record in records])
    with Engine(shipped("line"), threads=1) as engine:
        at_once = engine.follow_records(windows)
        memory = np.zeros((lines, UNITS), np.float32)
        for step in range(steps):
            found, memory = engine.follow(np.ascontiguousarray(windows[:, step]), np.arange(lines), memory)
            np.testing.assert_allclose(found, at_once[:, step], atol=1e-5, err_msg=f"step {step}")
