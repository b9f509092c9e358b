"""A model follows lines: each new window advances the memory once, whatever the batches, repeats and restarts are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from faultline.testing import FakeClassifier
from model.spec import load_spec
from stream.detection.decode import DecodedBatch, LineWindows
from stream.detection.following import Followed, Following
from stream.detection.line_state import LineState, spec_key
from stream.detection.order import Positions
from tests.stream.doubles import START_NS, CountingClassifier, hop_ns, line_windows

SPEC = load_spec("line")
HOP_NS = hop_ns(SPEC)


def batch(*records: tuple[str, int, int]) -> DecodedBatch:
    """Return a batch of records, each of a line, its first sequence and its number of windows.

    The first sample of a window is its sequence.
    """
    entries, values, first = [], [], 0
    for line, sequence, count in records:
        entry = line_windows(count, sequence=sequence, line=line, spec=SPEC)
        entry.first, first = first, first + count
        entries.append(entry)
        values += range(sequence, sequence + count)
    windows = np.zeros((first, *SPEC.window_shape), np.float32)
    windows[:, 0, 0] = values
    return DecodedBatch(windows, entries, [])


class Line:
    """Positions and a following that start with the given states."""

    def __init__(self, engine: Any = None, states: dict[str, LineState] | None = None) -> None:
        self.positions = Positions(SPEC)
        self.following = Following(engine or CountingClassifier(SPEC), SPEC.none_index, len(SPEC.classes))
        self.states = states or {}
        self.memory: dict[str, NDArray[np.float32]] = {}

    def send(self, *records: tuple[str, int, int]) -> Followed:
        decoded = batch(*records)
        ordered = self.positions.order(decoded, self.states)
        followed = self.following.follow(decoded, ordered)
        self.memory.update(zip(ordered.names, followed.memories[0].values, strict=True))
        return followed

    def steps(self, line: str = "a") -> float:
        """Return the number of windows that the line's memory has counted."""
        return float(self.memory[line][0])


def test_a_memory_advances_once_per_new_window_of_its_line() -> None:
    ours = Line()
    ours.send(("a", 0, 3), ("b", 0, 1), ("a", 3, 2))
    ours.send(("b", 1, 4))
    assert (ours.steps("a"), ours.steps("b")) == (5, 5)


def test_repeated_windows_advance_nothing_and_are_answered_with_no_fault() -> None:
    ours = Line()
    ours.send(("a", 0, 4))
    followed = ours.send(("a", 2, 4), ("a", 0, 6))
    assert ours.steps() == 6
    answers = followed.probabilities[0]
    assert (answers[[0, 1, *range(4, 10)], SPEC.none_index] == 1).all()
    assert (answers[2:4, SPEC.none_index] < 1).all()


def test_a_batch_of_repeats_alone_calls_no_engine() -> None:
    engine = CountingClassifier(SPEC)
    ours = Line(engine)
    ours.send(("a", 0, 4))
    ours.send(("a", 0, 4))
    assert engine.calls == [4]


@pytest.mark.parametrize(
    ("sequence", "start_ns", "flag"),
    [
        (9, START_NS + 9 * HOP_NS, "gap"),
        (4, START_NS, "late"),
        (0, START_NS + 99 * HOP_NS, "source-restart"),
    ],
)
def test_a_line_that_breaks_begins_cold_also_within_a_batch(sequence: int, start_ns: int, flag: str) -> None:
    ours = Line()
    decoded = batch(("a", 0, 4), ("a", sequence, 2))
    decoded.records[1].start_ns = start_ns
    ordered = ours.positions.order(decoded, {})
    followed = ours.following.follow(decoded, ordered)
    assert ordered.breaks == [None, flag]
    assert ordered.names == ["a", "a"]
    assert followed.memories[0].values[:, 0].tolist() == [4, 2]
    assert ours.send(("b", 0, 1)).memories[0].values[:, 0].tolist() == [1]


def test_a_line_goes_on_from_its_last_run() -> None:
    ours = Line()
    ours.send(("a", 0, 4), ("a", 9, 2))
    ours.send(("a", 11, 1))
    assert ours.steps() == 3


def state_of(ours: Line, sequence: int, model_id: str = "model-a") -> LineState:
    memory = ours.memory["a"].astype("<f4").tobytes()
    return LineState(
        sequence=sequence,
        start_ns=START_NS + sequence * HOP_NS,
        restored=True,
        spec=spec_key(SPEC),
        memory=memory,
        memory_of=model_id,
    )


def test_a_restored_memory_goes_on_also_after_windows_that_are_repeated() -> None:
    first = Line()
    first.send(("a", 0, 4))
    ours = Line(states={"a": state_of(first, 3)})
    ours.send(("a", 0, 4))
    ours.send(("a", 2, 4))
    assert ours.steps() == 6


def test_a_memory_of_another_model_or_after_a_gap_is_cold() -> None:
    first = Line()
    first.send(("a", 0, 4))
    other = Line(states={"a": state_of(first, 3, "model-b")})
    other.send(("a", 4, 2))
    after_gap = Line(states={"a": state_of(first, 3)})
    after_gap.send(("a", 9, 2))
    assert (other.steps(), after_gap.steps()) == (2, 2)


def test_a_forgotten_line_begins_cold_and_its_slot_serves_another() -> None:
    ours = Line()
    ours.send(("a", 0, 4))
    ours.positions.forget(["a", "unknown"])
    ours.send(("b", 4, 1))
    ours.send(("a", 4, 1))
    assert (ours.steps("b"), ours.steps("a")) == (1, 1)
    assert {position.slot for position in ours.positions.lines.values()} == {0, 1}


def test_a_model_that_did_not_follow_the_windows_before_begins_cold() -> None:
    ours = Line()
    ours.send(("a", 0, 4), ("b", 0, 1))
    late = Following(CountingClassifier(SPEC), SPEC.none_index, len(SPEC.classes))
    for records, expected in ((("a", 4, 2),), [2]), ((("a", 6, 1), ("b", 1, 1)), [3, 1]):
        decoded = batch(*records)
        ordered = ours.positions.order(decoded, {})
        assert late.follow(decoded, ordered).memories[0].values[:, 0].tolist() == expected
    decoded = batch(("a", 7, 5))
    ours.positions.order(decoded, {})
    decoded = batch(("a", 12, 1))
    ordered = ours.positions.order(decoded, {})
    assert late.follow(decoded, ordered).memories[0].values[:, 0].tolist() == [1]


def test_memories_of_an_earlier_batch_do_not_change() -> None:
    ours = Line()
    before = ours.send(("a", 0, 4)).memories[0]
    ours.send(("a", 4, 4))
    assert before.values[:, 0].tolist() == [4]


def test_batches_of_several_partitions_share_one_call() -> None:
    engine = CountingClassifier(SPEC)
    ours = Line(engine)
    other = Positions(SPEC, ours.positions._slots)
    parts = [batch(("a", 0, 2), ("b", 0, 1)), batch(("a", 0, 3))]
    ordered = [ours.positions.order(parts[0], {}), other.order(parts[1], {})]
    call = ours.following.begin(parts, ordered)
    followed = call.compute()
    ours.following.end(call)
    assert engine.calls == [6]
    assert [one.values[:, 0].tolist() for one in followed.memories] == [[2, 1], [3]]
    assert [len(one) for one in followed.probabilities] == [3, 3]
    assert ours.send(("a", 2, 1), ("b", 1, 1)).memories[0].values[:, 0].tolist() == [3, 2]


def test_batches_of_one_partition_share_one_call() -> None:
    ours = Line()
    ours.send(("a", 0, 1))
    parts = [batch(("a", 1, 2), ("b", 0, 1)), batch(("b", 1, 1)), batch(("a", 3, 1), ("a", 9, 2)), batch(("a", 11, 1))]
    ordered = [ours.positions.order(part, {}) for part in parts]
    call = ours.following.begin(parts, ordered)
    followed = call.compute()
    ours.following.end(call)
    assert [one.values[:, 0].tolist() for one in followed.memories] == [[4, 2], [2], [4, 3], [3]]
    assert ours.send(("a", 12, 1), ("b", 2, 1)).memories[0].values[:, 0].tolist() == [4, 3]


def test_windows_of_a_model_without_a_memory_are_not_copied() -> None:
    class Watching(FakeClassifier):
        """Classifier without a memory that keeps the windows it was given."""

        def classify(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
            self.given = windows
            return super().classify(windows)

    engine = Watching(SPEC)
    decoded = batch(("a", 0, 3), ("b", 0, 2))
    Following(engine, SPEC.none_index, len(SPEC.classes)).follow(decoded, Positions(SPEC).order(decoded, {}))
    assert engine.given is decoded.windows


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.tuples(st.sampled_from("ab"), st.integers(-3, 3), st.integers(1, 4)), max_size=4)))
def test_answers_do_not_depend_on_how_records_are_batched(parts: list[list[tuple[str, int, int]]]) -> None:
    at = {"a": 0, "b": 0}
    batches = []
    for part in parts:
        records = []
        for line, jump, count in part:
            sequence = max(0, at[line] + jump)
            records.append((line, sequence, count))
            at[line] = sequence + count
        batches.append(records)
    batched, single = Line(), Line()
    for records in batches:
        answers = [row for record in records for row in single.send(record).probabilities[0]]
        if records:
            np.testing.assert_array_equal(batched.send(*records).probabilities[0], answers)
    assert {line: row.tolist() for line, row in batched.memory.items()} == {
        line: row.tolist() for line, row in single.memory.items()
    }


def test_a_record_that_decoding_made_keeps_its_own_rows() -> None:
    decoded = batch(("a", 5, 2), ("b", 0, 2), ("a", 5, 4))
    ordered = Positions(SPEC).order(decoded, {})
    rows = ordered.rows(decoded.records)
    assert rows is not None
    assert (rows.tolist(), ordered.run_of_window().tolist()) == ([0, 1, 2, 3, 6, 7], [0, 0, 1, 1, 0, 0])
    assert isinstance(decoded.records[0], LineWindows)
