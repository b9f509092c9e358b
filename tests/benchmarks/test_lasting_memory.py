"""The check of lasting memory follows every line without a break, in blocks, up to the fault."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.checks import lasting_memory
from benchmarks.checks.lasting_memory import RATE, faults, judge, quiet_blocks
from model.spec import load_spec

SPEC = load_spec("line")


class Continuous:
    """Follower that requires every window to overlap the line's window before it, and classifies by the current."""

    memory_units = SPEC.samples - SPEC.hop

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.windows = 0

    def follow(self, windows: np.ndarray, line: np.ndarray, memory: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        after = memory.copy()
        for window, number in zip(windows, line, strict=True):
            if after[number].any():
                np.testing.assert_array_equal(window[: -SPEC.hop, 3], after[number])
            after[number] = window[SPEC.hop :, 3]
        self.windows += len(windows)
        loud = np.abs(windows[:, :, :3]).max(axis=(1, 2)) > self.limit
        return np.eye(len(SPEC.classes), dtype=np.float32)[loud.astype(int)], after

    def is_ood(self, windows: np.ndarray) -> np.ndarray:
        return np.zeros(len(windows), bool)


def test_the_quiet_time_continues_into_the_record() -> None:
    records = faults(3, seed=2)
    blocks = list(quiet_blocks(records, 25, SPEC, np.random.default_rng(1)))
    assert sum(block.shape[1] for block in blocks) == 25 * RATE
    assert len(blocks) == 3
    joined = np.concatenate([blocks[-1][:, -64:], records.samples[:, :32]], axis=1)[:, :, 3:]
    bends = np.abs(np.diff(joined, n=2, axis=1))
    assert bends[:, 58:66].max() < 1.5 * bends[:, :50].max()


@pytest.mark.parametrize(("stepped", "ratio"), [(1.0, 1.0), (2.0, 0.5)])
def test_the_current_steps_a_second_before_the_record(stepped: float, ratio: float) -> None:
    block = next(quiet_blocks(faults(3, seed=2), 4, SPEC, np.random.default_rng(1), stepped=stepped))
    peaks = [np.abs(block[:, begin : begin + 160, :3]).max(axis=(1, 2)) for begin in (int(2 * RATE), int(3.5 * RATE))]
    np.testing.assert_allclose(peaks[1] / peaks[0], ratio, rtol=0.1)


def test_every_window_of_a_line_follows_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lasting_memory, "BLOCK_S", 0.5)
    engine = Continuous(limit=1e9)
    found = judge(engine, faults(2, seed=2), 2, SPEC, seed=1)
    assert engine.windows == 2 * ((2 * RATE + 24 * 32 - SPEC.samples) / SPEC.hop + 1)
    assert (found.quiet_events, found.found, found.correct, found.faults) == (0, 0, 0, 2)
    assert found.quiet_hours == pytest.approx(4 / 3600)


def test_events_of_the_quiet_time_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lasting_memory, "BLOCK_S", 0.5)
    assert judge(Continuous(limit=-1.0), faults(2, seed=2), 1, SPEC, seed=1).quiet_events >= 2
