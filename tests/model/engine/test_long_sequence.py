"""A long line in one call, as after an hour without a worker."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from model.artefact import Artefact
from model.engine import Engine
from model.spec import load_spec
from tests.model.model_samples import artefact_of, windows_of

SPEC = load_spec("line")
STEPS, UNITS = 10_000, 96


@pytest.fixture(scope="module")
def remembering() -> Artefact:
    return artefact_of(SPEC, architecture="gru-memory", phasors=True)


@pytest.fixture(scope="module")
def engine(remembering: Artefact) -> Iterator[Engine]:
    with Engine(remembering, threads=2) as engine:
        yield engine


def test_ten_thousand_windows_of_a_line_are_answered_as_in_calls_of_one_to_a_hundred(engine: Engine) -> None:
    windows = windows_of(SPEC, STEPS)
    cold = np.zeros((1, UNITS), np.float32)
    whole, after_whole = engine.follow(windows, np.zeros(STEPS, np.intp), cold)
    random, parts, memory, done = np.random.default_rng(2), [], cold, 0
    while done < STEPS:
        count = min(int(random.integers(1, 101)), STEPS - done)
        answers, memory = engine.follow(windows[done : done + count], np.zeros(count, np.intp), memory)
        parts.append(answers)
        done += count
    assert len(parts) > 150
    np.testing.assert_allclose(whole, np.concatenate(parts), atol=1e-5)
    np.testing.assert_allclose(after_whole, memory, atol=1e-5)
    assert whole.std(axis=0).max() > 0.1, "answers that never change show nothing"
