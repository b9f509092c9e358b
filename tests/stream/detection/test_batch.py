"""Tracking of batches: the result is that of a simple model that goes through each line window by window."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from faultline.testing import class_probabilities
from model.domain import domain_of
from model.spec import EpisodePolicy, load_spec
from stream.contract import NS_PER_S
from stream.detection.batch import track_batch
from stream.detection.decode import DecodedBatch, LineWindows
from stream.detection.episodes import EpisodeStep, EpisodeTracker
from stream.detection.line_state import LineState, decode_state, encode_state
from stream.detection.order import all_new
from tests.stream.doubles import RATE_HZ, START_NS, line_windows

SPEC = load_spec("line")
SIGNAL = domain_of(SPEC).signal
NONE, AG, AB, ABC, ABCG = (SPEC.class_index(name) for name in ("none", "AG", "AB", "ABC", "ABCG"))
MERGED = SPEC.equivalent_indices()
SPAN_NS = SPEC.samples * NS_PER_S / RATE_HZ

RUNS = st.lists(
    st.tuples(st.sampled_from([NONE, NONE, AG, AB, ABC, ABCG]), st.integers(1, 12), st.sampled_from([0.6, 0.9, 0.99])),
    min_size=1,
    max_size=8,
)


def test_an_empty_batch_has_no_steps() -> None:
    batch = DecodedBatch(np.zeros((0, *SPEC.window_shape), np.float32), [], [])
    answers = np.zeros((0, len(SPEC.classes)), np.float32)
    tracked = track_batch(EpisodeTracker(SPEC), {}, batch, answers, all_new(batch))
    assert (tracked.steps, tracked.lines) == ([], {})


@settings(max_examples=80)
@given(lines=st.lists(RUNS, min_size=1, max_size=3), seed=st.integers(0, 9999), data=st.data())
@pytest.mark.parametrize("policy", [SPEC.episode, EpisodePolicy(confirm=1, of=1, clear=2), EpisodePolicy(of=6)])
def test_steps_are_those_of_the_simple_model_however_lines_and_windows_are_batched(
    policy: EpisodePolicy, lines: list[Any], seed: int, data: Any
) -> None:
    rng = np.random.default_rng(seed)
    classes = [np.repeat([run[0] for run in runs], [run[1] for run in runs]) for runs in lines]
    answers = [_answers(runs, rng) for runs in lines]
    windows = [_windows(len(one), rng) for one in classes]
    tracker, states = EpisodeTracker(SPEC, policy), {}
    found: list[list[Any]] = [[] for _ in lines]
    at = [0] * len(lines)
    while any(at[k] < len(classes[k]) for k in range(len(lines))):
        entries, blocks, rows = [], [], []
        for k in data.draw(st.lists(st.integers(0, len(lines) - 1), min_size=1, max_size=6)):
            count = min(data.draw(st.integers(1, 7)), len(classes[k]) - at[k])
            if count:
                entry = line_windows(count, sequence=at[k], line=str(k), spec=SPEC)
                entry.first = sum(len(block) for block in blocks)
                entries.append(entry)
                blocks.append(windows[k][at[k] : at[k] + count])
                rows.append(answers[k][at[k] : at[k] + count])
                at[k] += count
        if entries:
            _judge(tracker, states, entries, blocks, rows, found)
            states = {line: decode_state(encode_state(state)) for line, state in states.items()}
    for k in range(len(lines)):
        assert found[k] == simple_model(windows[k], answers[k], policy)


def _judge(
    tracker: EpisodeTracker,
    states: dict[str, LineState],
    entries: list[LineWindows],
    blocks: list[NDArray[np.float32]],
    rows: list[NDArray[np.float32]],
    found: list[list[Any]],
) -> None:
    batch = DecodedBatch(np.concatenate(blocks), entries, [])
    tracked = track_batch(tracker, states, batch, np.concatenate(rows), all_new(batch))
    assert tracked.outcomes["judged"] == sum(entry.count for entry in entries)
    for entry, step in tracked.steps:
        assert step.line == entry.line
        found[int(step.line)].append(_facts(step))


def _facts(step: EpisodeStep) -> Any:
    return (
        step.state,
        step.sequence,
        step.fault_class,
        step.previous_class,
        step.inception_ns,
        step.cleared_ns,
        step.quality,
        step.probabilities.tolist(),
    )


def _answers(runs: Any, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return probabilities of runs of windows that agree about the class, but not about the numbers."""
    rows = np.concatenate([class_probabilities([name] * length, SPEC, share) for name, length, share in runs])
    noisy = rows * rng.uniform(0.9, 1.0, rows.shape).astype(np.float32)
    return np.asarray(noisy / noisy.sum(axis=1, keepdims=True), np.float32)


def _windows(count: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return windows with various inceptions, a third of them with a dead or a clipped channel."""
    windows = rng.normal(0, 1, (count, *SPEC.window_shape)).astype(np.float32)
    windows[rng.random(count) < 0.17, :, 4] = 0
    clipped = rng.random(count) < 0.17
    windows[clipped, :, 0] = np.clip(windows[clipped, :, 0], -0.4, 0.4)
    return windows


def simple_model(windows: NDArray[np.float32], answers: NDArray[np.float32], policy: EpisodePolicy) -> list[Any]:
    """Return the steps of a line without gaps, window by window, with every value computed anew."""
    steps: list[Any] = []
    suspects: list[tuple[int, bool]] = []
    episode: dict[str, Any] | None = None
    for index, row in enumerate(answers):
        fault_class = int(row.argmax())
        if episode is None:
            certain = fault_class != NONE and not 1.0 - float(row[NONE]) < policy.certainty
            suspects = [*suspects, (index, certain)][-policy.of :]
            faulty = [number for number, sure in suspects if sure]
            if len(faulty) >= policy.confirm:
                mean = np.mean(answers[faulty].astype(np.float64), axis=0)
                inception_ns = _start_ns(faulty[0]) + round(
                    SIGNAL.inception_sample(windows[faulty[0]], SPEC) * NS_PER_S / RATE_HZ
                )
                chosen = max((k for k in range(len(mean)) if k != NONE), key=lambda k: mean[k])
                quality = SIGNAL.quality_flags(windows[index], SPEC)
                episode = {"class": chosen, "quality": quality, "inception_ns": inception_ns, "last": index}
                episode |= {"quiet": 0, "rivals": []}
                steps.append(_step("onset", index, episode, None, None, mean))
                suspects = []
        elif fault_class == NONE:
            episode["quiet"] += 1
            episode["rivals"] = []
            if episode["quiet"] == policy.clear:
                cleared_ns = _start_ns(episode["last"]) + round(SPAN_NS) - round(SPAN_NS / 2)
                cleared_ns = max(cleared_ns, episode["inception_ns"])
                steps.append(_step("clear", index, episode, None, cleared_ns, np.eye(len(row))[NONE]))
                episode = None
        else:
            episode |= {"quiet": 0, "last": index}
            known = {MERGED[int(answers[number].argmax())] for number in episode["rivals"]}
            if MERGED[fault_class] == MERGED[episode["class"]]:
                episode["rivals"] = []
            elif known == {MERGED[fault_class]}:
                episode["rivals"].append(index)
            else:
                episode["rivals"] = [index]
            if len(episode["rivals"]) >= policy.confirm:
                mean = np.mean(answers[episode["rivals"]].astype(np.float64), axis=0)
                alike = [k for k in range(len(mean)) if MERGED[k] == MERGED[fault_class]]
                previous, episode["class"] = episode["class"], max(alike, key=lambda k: mean[k])
                episode |= {"rivals": [], "quality": episode["quality"] | SIGNAL.quality_flags(windows[index], SPEC)}
                steps.append(_step("update", index, episode, previous, None, mean))
    return steps


def _start_ns(index: int) -> int:
    return START_NS + round(index * SPEC.hop * NS_PER_S / RATE_HZ)


def _step(
    state: str, index: int, episode: Any, previous: int | None, cleared_ns: int | None, mean: NDArray[np.float64]
) -> Any:
    quality = tuple(flag for flag in ("missing-channel", "saturation") if flag in episode["quality"])
    return state, index, episode["class"], previous, episode["inception_ns"], cleared_ns, quality, mean.tolist()
