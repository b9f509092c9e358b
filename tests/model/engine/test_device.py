"""Memories that stay on the device: the answers of ``Engine.follow``, with only windows and answers copied."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from model.artefact import Artefact
from model.engine import DeviceMemories, Engine
from model.errors import EngineError
from model.spec import load_spec
from tests.model.model_samples import artefact_of, windows_of

SPEC = load_spec("line")
LINES, UNITS = 9, 96


@pytest.fixture(scope="module")
def remembering() -> Artefact:
    return artefact_of(SPEC, architecture="gru-memory", phasors=True)


@pytest.fixture(scope="module")
def engine(remembering: Artefact) -> Iterator[Engine]:
    with Engine(remembering, threads=1, buckets=(4, 32)) as engine:
        yield engine


@pytest.fixture
def memories(engine: Engine) -> DeviceMemories:
    return engine.device_memories(LINES)


# Lines of each call: one window per line, many windows of few lines, a batch larger than the largest bucket, no window.
CALLS = {
    "one window per line": [[3, 0, 8], [0, 3, 1], list(range(LINES))],
    "many windows of few lines": [[2] * 20 + [5] * 3, [5, 2, 5, 5, 2]],
    "more windows than the largest bucket": [[0, 1, 2] * 30, [1] * 40],
    "none": [[], [4], []],
}


@pytest.mark.parametrize("calls", CALLS.values(), ids=CALLS.keys())
def test_answers_and_memories_are_those_of_follow(
    engine: Engine, memories: DeviceMemories, calls: list[list[int]]
) -> None:
    expected = np.zeros((LINES, UNITS), np.float32)
    for number, lines in enumerate(calls):
        windows, line = windows_of(SPEC, len(lines), seed=number), np.array(lines, np.intp)
        answers, expected = engine.follow(windows, line, expected)
        found = memories.follow(windows, line)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, answers, atol=1e-5)
    np.testing.assert_allclose(memories.read(np.arange(LINES)), expected, atol=1e-5)


@pytest.mark.parametrize("value", [np.nan, np.inf, 3e38])
@pytest.mark.parametrize("several", [False, True])
def test_a_broken_window_spoils_neither_other_lines_nor_the_memory(
    engine: Engine, memories: DeviceMemories, several: bool, value: float
) -> None:
    line = np.repeat([6, 2, 4], 3 if several else 1)
    windows = windows_of(SPEC, len(line))
    windows[4 if several else 1, 3, 2] = value
    answers, after = engine.follow(windows, line, np.zeros((LINES, UNITS), np.float32))
    np.testing.assert_allclose(memories.follow(windows, line), answers, atol=1e-5)
    np.testing.assert_allclose(memories.read(np.arange(LINES)), after, atol=1e-5)


def test_memories_are_written_and_read_and_one_that_is_not_finite_becomes_cold(memories: DeviceMemories) -> None:
    given = np.random.default_rng(1).normal(size=(5, UNITS)).astype(np.float32)
    given[1, 7] = np.nan
    memories.write(np.array([8, 3, 0, 1, 5]), given)
    given[1] = 0
    np.testing.assert_array_equal(memories.read(np.array([5, 3, 8, 2])), [given[4], given[1], given[0], 0 * given[0]])
    assert len(memories) == LINES
    assert memories.read(np.zeros(0, np.intp)).shape == (0, UNITS)


def test_following_copies_windows_and_answers_but_no_memory(engine: Engine, memories: DeviceMemories) -> None:
    memories.follow(windows_of(SPEC, 32), np.arange(32) % LINES)
    assert memories.copied.to_host == 32 * 12 * 4
    assert memories.copied.to_device - 32 * 32 * 6 * 4 < 32 * UNITS * 4, "beside the windows, only their places"
    before = memories.copied.to_host
    memories.read(np.arange(4))
    assert memories.copied.to_host - before == 4 * UNITS * 4


def test_all_shapes_can_be_compiled_beforehand(remembering: Artefact) -> None:
    with Engine(remembering, threads=1, buckets=(2,)) as engine:
        assert engine.device_memories(3).warm().follow(windows_of(SPEC, 2), np.array([0, 0])).shape == (2, 12)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (np.zeros(3, np.intp), "an integer for each of 2 rows"),
        (np.zeros(2), "an integer for each of 2 rows"),
        (np.array([0, LINES]), "from 0 to 8; got numbers from 0 to 9"),
        (np.array([-1, 0]), "from 0 to 8; got numbers from -1 to 0"),
    ],
)
def test_lines_that_do_not_fit_are_refused(memories: DeviceMemories, line: np.ndarray, complaint: str) -> None:
    with pytest.raises(EngineError, match=complaint):
        memories.follow(windows_of(SPEC, 2), line)


def test_other_shapes_and_numbers_are_refused(engine: Engine, memories: DeviceMemories) -> None:
    with pytest.raises(EngineError, match=r"float32 \(n, 32, 6\) for spec 'line'"):
        memories.follow(np.zeros((1, 31, 6), np.float32), np.array([0]))
    with pytest.raises(EngineError, match=r"memories must be float32 \(2, 96\); got float32 \(2, 95\)"):
        memories.write(np.array([0, 1]), np.zeros((2, 95), np.float32))
    with pytest.raises(EngineError, match="at least one line, got 0"):
        engine.device_memories(0)


def test_a_model_without_a_memory_has_none_on_the_device(line_artefact: Artefact) -> None:
    with Engine(line_artefact) as engine, pytest.raises(EngineError, match="has no memory that could stay"):
        engine.device_memories(1)


def test_a_retrained_model_shares_what_is_compiled(engine: Engine, memories: DeviceMemories) -> None:
    other = artefact_of(SPEC, architecture="gru-memory", phasors=True, seed=11)
    windows = windows_of(SPEC, 4)
    with Engine(other, threads=1, buckets=(4, 32), like=engine) as sharing:
        answers, _ = sharing.follow(windows, np.arange(4), np.zeros((4, UNITS), np.float32))
        np.testing.assert_allclose(sharing.device_memories(LINES).follow(windows, np.arange(4)), answers, atol=1e-5)
    assert np.abs(memories.follow(windows, np.arange(4)) - answers).max() > 0.1
