"""The states of lines: writing, restoring, and no event lost by a crash at any point."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faultline.testing import class_probabilities, class_windows
from model.spec import load_spec
from stream.contract import Outgoing, SourceRecord
from stream.detection.decode import LineWindows
from stream.detection.episodes import EpisodeTracker
from stream.detection.events import fault_event
from stream.detection.following import Memories
from stream.detection.line_state import LineState, decode_state, encode_state, spec_key
from stream.kafka.reading.partition import Partition
from stream.worker.state_store import LineStates, PartitionStates, state_records
from tests.stream.doubles import line_windows, track, until

SPEC = load_spec("line")
TRACKER = EpisodeTracker(SPEC)
AG, AB = SPEC.class_index("AG"), SPEC.class_index("AB")
TOPIC = "line-states"
GROUP = "faultline"


def judge(states: PartitionStates, line: str, sequence: int, classes: list[int]) -> list[Any]:
    entry: LineWindows = line_windows(len(classes), sequence=sequence, line=line, spec=SPEC)
    tracked = track(
        TRACKER,
        states.lines.get(line),
        entry,
        class_windows(classes, SPEC),
        class_probabilities(classes, SPEC),
    )
    states.lines[line] = tracked.state
    return [fault_event(step, SPEC, "m", SourceRecord(topic="t", partition=0, offset=0)) for step in tracked.steps]


def partition(group: str = GROUP, rows: Any = (), **options: Any) -> PartitionStates:
    return PartitionStates(group, rows, spec=SPEC, **options)


def changes(states: PartitionStates, lines: Iterable[str], group: str = GROUP) -> list[Outgoing]:
    """Return the records to write after a batch of the lines, for a model without a memory."""
    names = list(lines)
    return state_records(states.changes(names, Memories("m", np.zeros((len(names), 0), np.float32))), group, TOPIC, 3)


def written(states: PartitionStates, *lines: str) -> list[tuple[bytes | None, LineState]]:
    return [(out.key, decode_state(out.value or b"")) for out in changes(states, lines)]


def key(line: str, group: str = GROUP) -> bytes:
    return f"{group}\x1f{line}".encode()


def row(line: str, sequence: int, classes: list[int] | None = None, start_ns: int | None = None) -> tuple[bytes, bytes]:
    states = partition(GROUP)
    judge(states, line, sequence, classes or [0])
    state = states.lines[line]
    state.start_ns = state.start_ns if start_ns is None else start_ns
    return key(line), encode_state(state)


def test_an_idle_line_is_not_written_and_a_busy_one_is_and_once_more_when_it_is_idle_again() -> None:
    states = partition(GROUP)
    judge(states, "l", 0, [0, 0])
    assert written(states, "l") == []
    judge(states, "l", 2, [AG])
    assert [name for name, _ in written(states, "l")] == [key("l")]
    judge(states, "l", 3, [AG, AG])
    assert written(states, "l")[0][1].episode is not None
    judge(states, "l", 5, [0] * 8)
    assert [state.idle for _, state in written(states, "l")] == [True]
    judge(states, "l", 13, [0])
    assert written(states, "l") == []


def test_a_state_goes_to_the_partition_its_windows_came_from() -> None:
    states = partition(GROUP)
    judge(states, "l", 0, [AG])
    (out,) = changes(states, ["l"])
    assert (out.topic, out.partition) == (TOPIC, 3)


def test_the_last_state_of_a_line_is_restored() -> None:
    states = partition(GROUP, [row("a", 0), row("b", 7), row("a", 5)])
    assert {line: state.sequence for line, state in states.lines.items()} == {"a": 5, "b": 7}
    assert all(state.restored for state in states.lines.values())


def test_a_straggler_of_a_former_owner_does_not_win() -> None:
    assert partition(GROUP, [row("a", 9), row("a", 4)]).lines["a"].sequence == 9


def test_a_line_whose_clock_was_set_back_is_restored_as_it_was_last() -> None:
    _, earlier = row("a", 0)
    hour = 3_600_000_000_000
    last = row("a", 5, start_ns=decode_state(earlier).start_ns - hour)
    assert partition(GROUP, [row("a", 4), last]).lines["a"].sequence == 5


def test_a_line_whose_source_restarted_is_restored_as_it_was_last() -> None:
    first = row("a", 900)
    last = row("a", 3, start_ns=decode_state(first[1]).start_ns + 10**12)
    assert partition(GROUP, [first, last]).lines["a"].sequence == 3


def test_a_straggler_that_left_a_busy_state_in_the_topic_is_overwritten() -> None:
    # Compaction keeps the straggler, so it would be used after the next restart.
    states = partition(GROUP, [row("a", 9), row("a", 4, [AG])])
    judge(states, "a", 10, [0])
    assert [state.idle for _, state in written(states, "a")] == [True]


def test_a_tombstone_forgets_a_line() -> None:
    assert partition(GROUP, [row("a", 1), (key("a"), None)]).lines == {}


def test_rows_that_are_no_states_are_ignored() -> None:
    other_version = encode_state(LineState(version=3))
    states = partition(
        GROUP, [(key("") + b"\xff", b""), (key("a"), b"nonsense"), (key("b"), other_version), row("c", 1)]
    )
    assert set(states.lines) == {"c"}


@pytest.mark.parametrize("other", ["shadow", "fault", "faultline2", ""])
def test_groups_on_one_topic_have_states_of_their_own(other: str) -> None:
    topic: list[tuple[bytes, bytes | None]] = []
    events = []
    for group in (GROUP, other):
        states = partition(group, topic)
        events.append([event.event_id for event in judge(states, "l", 0, [AG] * 3)])
        topic += [(out.key or b"", out.value) for out in changes(states, ["l"], group)]
    assert len(events[0]) == 1
    assert events[1] == events[0], "nothing counts as repeated that only another group has seen"
    judge(states, "l", 3, [AG])
    topic += [(out.key or b"", out.value) for out in changes(states, ["l"], other)]
    assert partition(GROUP, topic).lines["l"].sequence == 2
    assert partition(other, topic).lines["l"].sequence == 3


# Memory --------------------------------------------------------------------------------------------------------------


def test_idle_lines_silent_for_longest_are_forgotten_when_there_are_too_many() -> None:
    states = partition(GROUP, max_lines=100)
    for number in range(100):
        judge(states, f"l{number}", 0, [0])
        assert written(states, f"l{number}") == []
    judge(states, "l0", 1, [0])
    written(states, "l0")
    assert len(states.lines) == 100
    judge(states, "new", 0, [0])
    written(states, "new")
    # A tenth at a time, and l0 was active recently.
    assert next(iter(states.lines)) == "l12"
    assert list(states.lines)[-2:] == ["l0", "new"]


def test_busy_lines_are_never_forgotten_nor_those_whose_end_is_not_written() -> None:
    states = partition(GROUP, max_lines=20)
    for number in range(40):
        judge(states, f"busy{number}", 0, [AG] * 3)
        written(states, f"busy{number}")
    # Idle again, but the topic does not have this state yet.
    judge(states, "busy7", 3, [0] * 8)
    for number in range(200):
        judge(states, f"idle{number}", 0, [0])
        written(states, f"idle{number}")
    assert {f"busy{number}" for number in range(40)} <= set(states.lines)
    assert len(states.lines) <= 40 + 20
    assert [state.idle for _, state in written(states, "busy7")] == [True]


def test_a_restored_partition_is_bounded_too() -> None:
    rows = [row(f"l{number}", 0) for number in range(100)] + [row("busy", 0, [AG])]
    states = partition(GROUP, [rows[-1], *rows[:-1]], max_lines=10)
    assert len(states.lines) <= 10
    assert "busy" in states.lines


@settings(max_examples=40)
@given(
    runs=st.fixed_dictionaries(
        {name: st.lists(st.tuples(st.sampled_from([0, 0, AG, AB]), st.integers(1, 9)), max_size=8) for name in "abcd"}
    ),
    order=st.lists(st.integers(0, 3), max_size=60),
    max_lines=st.integers(1, 3),
)
def test_forgetting_idle_lines_changes_no_event(runs: Any, order: list[int], max_lines: int) -> None:
    stream = stream_of({line: [(*part, 0) for part in parts] for line, parts in runs.items()}, order, 2)
    told = []
    for states in (partition(GROUP), partition(GROUP, max_lines=max_lines)):
        events = []
        for line, sequence, part in stream:
            events += [event.model_dump(exclude={"quality"}) for event in judge(states, line, sequence, part)]
            changes(states, [line])
        told.append(events)
    assert told[0] == told[1]


def test_a_spec_with_other_classes_has_another_key() -> None:
    fewer = SPEC.model_copy(update={"classes": SPEC.classes[:-1]})
    assert spec_key(fewer) != spec_key(SPEC) == spec_key(SPEC.model_copy(update={"description": "reworded"}))


class Reader:
    """Read a given log, as often as asked; ``ready`` delays it."""

    def __init__(self, rows: dict[int, list[tuple[bytes, bytes]]]) -> None:
        self.rows = rows
        self.reads: list[int] = []
        self.ready = asyncio.Event()
        self.ready.set()

    async def read(self, partition: int) -> list[tuple[bytes, bytes]]:
        rows = list(self.rows.get(partition, []))
        self.reads.append(partition)
        await self.ready.wait()
        return rows


async def test_a_partition_is_read_once_until_it_is_assigned_anew() -> None:
    reader = Reader({0: [row("a", 1)], 1: [row("b", 1)]})
    states = LineStates(reader, GROUP, spec=SPEC)
    first, second = Partition("sensor-windows", 0), Partition("sensor-windows", 1)
    assert set((await states.of(first)).lines) == {"a"}
    assert await states.of(first) is await states.of(first)
    assert set((await states.of(second)).lines) == {"b"}
    assert (reader.reads, states.count()) == ([0, 1], 2)
    states.forget()
    assert states.count() == 0
    await states.of(first)
    assert reader.reads == [0, 1, 0]


async def test_what_was_read_for_a_former_assignment_is_not_used_for_the_next() -> None:
    reader = Reader({0: [row("a", 1)]})
    reader.ready.clear()
    states = LineStates(reader, GROUP, spec=SPEC)
    reading = asyncio.ensure_future(states.of(Partition("sensor-windows", 0)))
    await until(lambda: reader.reads)
    # A rebalance: another worker had the partition and continued to track it.
    reader.rows[0].append(row("a", 8))
    states.forget()
    reader.ready.set()
    assert (await reading).lines["a"].sequence == 8


# Crashes -------------------------------------------------------------------------------------------------------------

RUNS = st.lists(
    st.tuples(st.sampled_from([0, 0, AG, AB]), st.integers(1, 10), st.sampled_from([0, 0, 0, 5])),
    min_size=1,
    max_size=10,
)
Stream = list[tuple[str, int, list[int]]]


def stream_of(runs: dict[str, list[tuple[int, int, int]]], order: list[int], size: int) -> Stream:
    """Draw records of several lines, interleaved: line, sequence, classes. A run may begin with a gap."""
    queues: list[Stream] = []
    for line, parts in runs.items():
        sequence, records = 0, []
        for fault, length, gap in parts:
            sequence += gap
            for first in range(0, length, size):
                part = [fault] * min(size, length - first)
                records.append((line, sequence, part))
                sequence += len(part)
        queues.append(records)
    mixed: Stream = []
    for choice in order:
        alive = [queue for queue in queues if queue]
        if not alive:
            break
        mixed.append(alive[choice % len(alive)].pop(0))
    return mixed + [record for queue in queues for record in queue]


@settings(max_examples=60)
@given(
    runs=st.fixed_dictionaries({"a": RUNS, "b": RUNS}),
    order=st.lists(st.integers(0, 1), max_size=30),
    size=st.integers(1, 4),
    data=st.data(),
)
def test_crashes_at_any_point_lose_no_event_and_add_none(runs: Any, order: list[int], size: int, data: Any) -> None:
    stream = stream_of(runs, order, size)
    undisturbed = partition(GROUP)
    expected = {
        event.event_id: event for line, sequence, part in stream for event in judge(undisturbed, line, sequence, part)
    }

    topic: list[tuple[bytes, bytes | None]] = []
    published: dict[str, Any] = {}
    committed = crashes = 0
    while committed < len(stream):
        states, position = partition(GROUP, topic), committed
        while position < len(stream):
            batch = stream[position : position + data.draw(st.integers(1, 6))]
            position += len(batch)
            dies = data.draw(st.integers(0, 6)) if crashes < 8 else 6
            events = [event for line, sequence, part in batch for event in judge(states, line, sequence, part)]
            changed = [(out.key or b"", out.value) for out in changes(states, {r[0]: None for r in batch})]
            # The order of acknowledgement; a crash may happen between any two steps, or within one.
            if dies == 0:
                events = events[: len(events) // 2]
            for event in events:
                assert published.setdefault(event.event_id, event).model_dump(exclude={"quality"}) == event.model_dump(
                    exclude={"quality"}
                )
            if dies == 1:
                changed = changed[: len(changed) // 2]
            if dies > 0:
                topic += changed
            if dies > 2:
                committed = position
            if dies < 4:
                crashes += 1
                break
    assert {key: event.model_dump(exclude={"quality"}) for key, event in published.items()} == {
        key: event.model_dump(exclude={"quality"}) for key, event in expected.items()
    }
