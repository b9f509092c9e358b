"""The load is the same for all, valid for the worker's decoder, and its first and last messages are certain faults."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks.harness.load import LoadMessage, LoadPlan, edge_messages, messages_of
from benchmarks.harness.windows import SampleWindows, sample_windows
from model.artefact import shipped
from model.engine import Engine
from model.spec import load_spec
from stream.detection.decode import decode_batch
from stream.detection.episodes import EpisodeTracker
from tests.stream.doubles import track

SPEC = load_spec("line")


@pytest.fixture(scope="module")
def samples() -> SampleWindows:
    return sample_windows(SPEC)


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(shipped("line"))


def _plan(**more: Any) -> LoadPlan:
    given = {"bootstrap": "localhost:9092", "topic": "t", "messages": 200, "samples": "none"}
    return LoadPlan.model_validate(given | more)


def _records(messages: list[LoadMessage]) -> list[Any]:
    return [
        SimpleNamespace(topic="t", partition=0, offset=at, timestamp=0, key=one.line, value=one.value, headers=())
        for at, one in enumerate(messages)
    ]


def test_the_same_plan_is_the_same_bytes(samples: SampleWindows) -> None:
    plan = _plan(windows_per_message=3)
    assert list(messages_of(plan, SPEC, samples, 1)) == list(messages_of(plan, SPEC, samples, 1))
    assert list(messages_of(plan, SPEC, samples, 1)) != list(messages_of(plan, SPEC, samples, 0))


@pytest.mark.parametrize("windows_per_message", [1, 3, 16])
def test_each_end_of_a_partition_confirms_an_episode(
    samples: SampleWindows, engine: Engine, windows_per_message: int
) -> None:
    plan = _plan(windows_per_message=windows_per_message)
    messages = list(messages_of(plan, SPEC, samples, 0))
    edge = edge_messages(SPEC, windows_per_message)
    assert len(messages) == plan.messages + 2 * edge
    for part in (messages[:edge], messages[-edge:]):
        decoded = decode_batch(_records(part), SPEC, max_bytes=1_000_000)
        probabilities = engine.classify(decoded.windows)
        assert (1 - probabilities[:, SPEC.none_index] > SPEC.episode.certainty).all()
        tracker, state, steps = EpisodeTracker(SPEC), None, []
        for entry in decoded.records:
            span = slice(entry.first, entry.first + entry.count)
            found = track(tracker, state, entry, decoded.windows[span], probabilities[span])
            state = found.state
            steps += found.steps
        assert [step.state for step in steps] == ["onset"]


def test_lines_go_on_without_gap_or_repeat(samples: SampleWindows) -> None:
    messages = list(messages_of(_plan(windows_per_message=2, faults="often"), SPEC, samples, 0))
    decoded = decode_batch(_records(messages), SPEC, max_bytes=1_000_000)
    assert not decoded.dead
    nexts: dict[str, tuple[int, int]] = {}
    hop_ns = SPEC.hop * 1e9 / SPEC.rate_hz
    for entry in decoded.records:
        sequence, start_ns = nexts.get(entry.line, (0, entry.start_ns))
        assert entry.sequence == sequence
        assert abs(entry.start_ns - start_ns) <= 1
        nexts[entry.line] = entry.sequence + entry.count, entry.start_ns + round(entry.count * hop_ns)


@pytest.mark.parametrize(("faults", "share"), [("often", 5 / 50), ("rare", 5 / 10_000)])
def test_a_load_has_as_many_faults_as_its_kind_says(samples: SampleWindows, faults: str, share: float) -> None:
    # 64 lines in each of four partitions: 160 windows of every line are 40,960 messages.
    plan, marked = _plan(faults=faults, messages=160 * 64), replace(samples, fault=np.full_like(samples.fault, 9))
    faulty = 0
    for partition in range(4):
        messages = [one for one in messages_of(plan, SPEC, marked, partition) if one.line.startswith(b"line-")]
        windows = decode_batch(_records(messages), SPEC, max_bytes=1_000_000).windows
        faulty += int((windows[:, 0, 0] == 9).sum())
    assert faulty / (4 * plan.messages) == pytest.approx(share, rel=0.2)


def test_json_windows_are_the_same_windows(samples: SampleWindows) -> None:
    blocks = [
        decode_batch(
            _records(list(messages_of(_plan(json_windows=wanted, messages=20), SPEC, samples, 0))),
            SPEC,
            max_bytes=1_000_000,
        ).windows
        for wanted in (False, True)
    ]
    np.testing.assert_array_equal(*blocks)


@pytest.mark.slow
def test_the_quiet_windows_are_quiet_and_most_of_life_is(samples: SampleWindows, engine: Engine) -> None:
    def faulty(windows: Any) -> Any:
        probabilities = engine.classify(windows.reshape(-1, *SPEC.window_shape))
        return 1 - probabilities[:, SPEC.none_index] > SPEC.episode.certainty

    assert not faulty(samples.quiet).any()
    assert 0 < faulty(samples.lifelike).mean() < 0.05


def test_material_is_read_as_it_was_written(samples: SampleWindows, tmp_path: Path) -> None:
    samples.save(tmp_path / "samples.npz")
    again = SampleWindows.load(tmp_path / "samples.npz")
    np.testing.assert_array_equal(again.fault, samples.fault)
    np.testing.assert_array_equal(again.lifelike, samples.lifelike)
