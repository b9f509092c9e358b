"""Drift detection sees a few windows of every line and bucket, and a memory follows them without a gap."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.spec import load_spec
from stream.detection.decode import DecodedBatch, LineWindows, WindowRecord
from tests.training.sidecar.sidecar_samples import settings
from training.sidecar.drift import monitor
from training.sidecar.drift.sampling import (
    RECORDS_OF_BUCKET,
    WARM_UP_WINDOWS,
    WINDOWS_OF_RECORD,
    Sampler,
)
from training.sidecar.metrics import SidecarMetrics

SPEC = load_spec("line")
HOP_NS, BUCKET_S, UNITS = 5_000_000, 10.0, 2
BUCKET_WINDOWS = round(BUCKET_S * 1e9) // HOP_NS
RECORD = WindowRecord("sensor-windows", 0, 0, 0, b"", b"")
Sent = tuple[str, int, int]
"""Line, number of the first window, and number of windows of a record."""


def batch_of(sent: list[Sent]) -> DecodedBatch:
    """Return records whose windows hold their own number in every value."""
    records, numbers, first = [], [], 0
    for line, number, count in sent:
        records.append(LineWindows(RECORD, line, number, number * HOP_NS, SPEC.rate_hz, first, count, None))
        numbers.append(np.arange(number, number + count))
        first += count
    windows = np.broadcast_to(np.concatenate(numbers)[:, None, None], (first, *SPEC.window_shape))
    return DecodedBatch(np.ascontiguousarray(windows, np.float32), records, [])


def sampled(sent: list[Sent], at_once: int, units: int = UNITS) -> list[tuple[int, str, list[int], int]]:
    """Return stretch, line, numbers of the windows and of the unmeasured ones of every sample."""
    sampler, stretches, found = Sampler(SPEC, BUCKET_S, units), [], []
    for first in range(0, len(sent), at_once):
        batch = batch_of(sent[first : first + at_once])
        for sample in sampler.samples(batch):
            if sample.stretch not in stretches:
                stretches.append(sample.stretch)
            numbers = batch.windows[sample.rows, 0, 0].astype(int).tolist()
            assert sample.start_ns.tolist() == [n * HOP_NS for n in numbers]
            found.append((stretches.index(sample.stretch), sample.line, numbers, sample.unmeasured))
    return found


RUNS = st.lists(
    st.tuples(st.sampled_from("ab"), st.sampled_from([0, 0, 0, 7, BUCKET_WINDOWS]), st.integers(1, 90)), max_size=40
)


def sent_by(runs: list[tuple[str, int, int]]) -> list[Sent]:
    """Return the records of runs of line, windows that are missing, and windows that are sent."""
    last = {"a": 0, "b": 0}
    sent = []
    for line, missing, count in runs:
        sent.append((line, last[line] + missing, count))
        last[line] += missing + count
    return sent


@given(RUNS, st.integers(1, 5))
def test_a_stretch_is_of_consecutive_windows_and_however_many_records_are_fetched(
    runs: list[tuple[str, int, int]], at_once: int
) -> None:
    sent = sent_by(runs)
    found = sampled(sent, at_once)
    assert found == sampled(sent, 1)
    for number in {stretch for stretch, *_ in found}:
        parts = [part for part in found if part[0] == number]
        windows = [n for _, _, numbers, _ in parts for n in numbers]
        assert len({line for _, line, _, _ in parts}) == 1
        assert windows == list(range(windows[0], windows[0] + len(windows)))
        unmeasured = sum(count for *_, count in parts)
        assert len(windows) - unmeasured <= WINDOWS_OF_RECORD
        line = parts[0][1]
        own = [(first, count) for name, first, count in sent if name == line]
        resumes = windows[0] == own[0][0] or any(first + count == windows[0] for first, count in own)
        assert unmeasured == (min(WARM_UP_WINDOWS, len(windows)) if resumes else 0)
    begins: dict[str, list[int]] = {}
    for number in range(1 + max((stretch for stretch, *_ in found), default=-1)):
        _, line, numbers, _ = next(part for part in found if part[0] == number)
        begins.setdefault(line, []).append(numbers[0])
    assert all(b - a >= BUCKET_WINDOWS for own in begins.values() for a, b in pairwise(own))


def test_without_a_memory_a_few_records_of_a_bucket_are_sampled() -> None:
    sent = [("a", 100 * k, 100) for k in range(BUCKET_WINDOWS // 100)]
    found = sampled(sent, 3, units=0)
    assert [len(numbers) for _, _, numbers, _ in found] == [WINDOWS_OF_RECORD] * RECORDS_OF_BUCKET
    assert {unmeasured for *_, unmeasured in found} == {0}
    assert found[0][2][0] == 0
    assert found[0][2][-1] == 99


class Counting:
    """An engine whose memory holds the number of windows seen and the sum of their values."""

    memory_units = UNITS

    def __init__(self, *_: Any, **__: Any) -> None:
        self.answered: dict[tuple[int, int], int] = {}

    def follow(self, windows: np.ndarray, line: np.ndarray, memory: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        advanced, probabilities = memory.copy(), np.zeros((len(windows), len(SPEC.classes)), np.float32)
        for row, (window, place) in enumerate(zip(windows, line, strict=True)):
            advanced[place] += (1, window[0, 0])
            probabilities[row, 0] = advanced[place, 0]
        return probabilities, advanced

    def close(self) -> None:
        pass


@pytest.mark.parametrize("at_once", [1, 4, 1000])
def test_the_memory_of_a_stretch_goes_on_from_record_to_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(monitor, "Engine", Counting)
    watch = monitor.DriftMonitor(
        SPEC, monitor.drift_policy(settings(tmp_path)), tmp_path / "drift.json", SidecarMetrics()
    )
    watch.use(monitor_model())
    shown: list[tuple[str, int, float]] = []

    def update(lines: list[str], start_ns: np.ndarray, windows: np.ndarray, probabilities: np.ndarray) -> None:
        numbers = windows[:, 0, 0].astype(int).tolist()
        assert start_ns.tolist() == [n * HOP_NS for n in numbers]
        shown.extend(zip(lines, numbers, probabilities[:, 0].tolist(), strict=True))

    watch._detector.update = update  # type: ignore[assignment, method-assign]
    sent = [(line, 10 * k, 10) for k in range(20) for line in "ab"]
    for first in range(0, len(sent), at_once):
        watch.check(batch_of(sent[first : first + at_once]))
    for line in "ab":
        measured = [(number, seen) for name, number, seen in shown if name == line]
        assert measured == [(n, n + 1.0) for n in range(WARM_UP_WINDOWS, WARM_UP_WINDOWS + WINDOWS_OF_RECORD)]


def monitor_model() -> Any:
    """Return what the monitor reads of an artefact besides its network."""

    class Manifest:
        rejection = None

    class Model:
        model_id = "counting"
        manifest = Manifest()

    return Model()
