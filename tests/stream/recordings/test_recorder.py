"""The recorder: the records it takes, their order, and its end; and partitions merged by time."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from stream.recordings import recorder as recorder_module
from stream.recordings.merge import PartitionMerge
from stream.recordings.recorder import RecordBounds, RecordCount, Recorder
from stream.recordings.recording import RecordedMessage
from stream.windowing import MSGPACK_HEADERS
from tests.delivery.processes.marked import marked_message

FIRST, SECOND = TopicPartition("t", 0), TopicPartition("t", 1)


def consumed(partition: TopicPartition, offset: int, time_ms: int, value: bytes | None = b"v") -> Any:
    return SimpleNamespace(
        topic=partition.topic,
        partition=partition.partition,
        offset=offset,
        timestamp=time_ms,
        timestamp_type=0,
        key=b"k",
        value=value,
        headers=tuple(MSGPACK_HEADERS),
    )


def timed(partition: TopicPartition, *times_ms: int) -> list[Any]:
    return [consumed(partition, offset, time_ms) for offset, time_ms in enumerate(times_ms)]


class Topic:
    """Partitions that exist from the beginning and deliver the given portions."""

    topics = ("t",)
    partitions = 2
    deleted = 0

    def __init__(self, portions: list[dict[TopicPartition, list[Any]]]) -> None:
        self._portions = portions
        self._ends: dict[TopicPartition, int] = {}
        self._at: dict[TopicPartition, int] = {}
        for portion in portions:
            for partition, records in portion.items():
                self._at[partition] = 0
                self._ends[partition] = self._ends.get(partition, 0) + len(records)
        self.final = False
        self.asked_before_ms: int | None = None
        self.left_alone: list[Collection[TopicPartition]] = []
        self.refreshed = 0

    async def fetch(self, full: Collection[TopicPartition] = ()) -> Mapping[TopicPartition, list[Any]]:
        self.left_alone.append(list(full))
        portion = self._portions.pop(0) if self._portions else {}
        for partition, records in portion.items():
            self._at[partition] += len(records)
        return portion

    def behind(self) -> list[TopicPartition]:
        return [partition for partition, at in self._at.items() if at < self._ends[partition]]

    async def refresh(self) -> None:
        self.refreshed += 1

    async def fix_ends(self, before_ms: int | None = None) -> None:
        self.final, self.asked_before_ms = True, before_ms


class MemorySink:
    """Keep all written records, and their number after every flush."""

    def __init__(self) -> None:
        self.kept: list[RecordedMessage] = []
        self.flushed: list[int] = []

    def write(self, message: RecordedMessage) -> None:
        self.kept.append(message)

    def flush(self) -> None:
        self.flushed.append(len(self.kept))

    @property
    def size(self) -> int:
        return sum(len(message.value or b"") for message in self.kept)

    @property
    def times_ms(self) -> list[int]:
        return [message.timestamp_ms for message in self.kept]


async def recorded(topic: Topic, bounds: RecordBounds, *, now_ms: int = 10**12) -> tuple[RecordCount, MemorySink]:
    """Record on a clock that advances by a second at every reading."""
    sink, seconds = MemorySink(), itertools.count()
    recorder = Recorder(topic, sink, bounds, clock_s=lambda: float(next(seconds)), now_ms=lambda: now_ms)
    return await recorder.run(), sink


async def test_partitions_that_come_one_after_another_are_written_in_the_order_of_time() -> None:
    topic = Topic([{FIRST: timed(FIRST, 1, 4, 6)}, {SECOND: timed(SECOND, 2, 3, 7)}])
    count, sink = await recorded(topic, RecordBounds(until_end=True))
    assert sink.times_ms == [1, 2, 3, 4, 6, 7]
    assert (count.records, count.ended_by) == (6, "end")


async def test_a_partition_that_gives_nothing_is_not_waited_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder_module, "PATIENCE_S", 3.0)
    silent: list[dict[TopicPartition, list[Any]]] = [{} for _ in range(10)]
    topic = Topic([{FIRST: timed(FIRST, 5, 6)}, *silent, {SECOND: timed(SECOND, 1)}])
    _, sink = await recorded(topic, RecordBounds(until_end=True))
    assert sink.times_ms == [5, 6, 1]


async def test_a_count_is_kept_exactly() -> None:
    topic = Topic([{FIRST: timed(FIRST, *range(10))}])
    count, sink = await recorded(topic, RecordBounds(count=4))
    assert sink.times_ms == [0, 1, 2, 3]
    assert (count.records, count.ended_by) == (4, "count")


async def test_times_outside_the_bounds_are_left_out() -> None:
    topic = Topic([{FIRST: timed(FIRST, 1, 5, 3, 9, 4, 12)}])
    _, sink = await recorded(topic, RecordBounds(start_ms=3, end_ms=9), now_ms=20)
    assert sink.times_ms == [5, 3, 4]
    assert topic.asked_before_ms == 9


async def test_an_end_to_come_is_waited_for() -> None:
    topic, now = Topic([{FIRST: timed(FIRST, 1)}]), itertools.count(95)
    sink, seconds = MemorySink(), itertools.count()
    recorder = Recorder(
        topic, sink, RecordBounds(end_ms=100), clock_s=lambda: float(next(seconds)), now_ms=lambda: next(now)
    )
    assert (await recorder.run()).ended_by == "end"
    assert next(now) > 100
    assert topic.refreshed, "new partitions are looked for while recording goes on"


async def test_what_was_taken_is_safe_after_the_flush_time() -> None:
    topic = Topic([{FIRST: [record]} for record in timed(FIRST, *range(12))])
    _, sink = await recorded(topic, RecordBounds(until_end=True, flush_s=2.0))
    assert sink.flushed
    assert all(later > earlier for earlier, later in itertools.pairwise([0, *sink.flushed]))


async def test_seconds_and_a_stop_end_it() -> None:
    count, _ = await recorded(Topic([]), RecordBounds(seconds=5))
    assert count.ended_by == "seconds"
    sink = MemorySink()
    recorder = Recorder(Topic([{FIRST: timed(FIRST, 1)}]), sink, RecordBounds())
    recorder.stop()
    assert (await recorder.run()).ended_by == "stop"


async def test_a_partition_far_ahead_is_left_alone_until_the_others_catch_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder_module, "HELD_BYTES", 10)
    ahead = [consumed(FIRST, offset, 100 + offset, b"12345") for offset in range(4)]
    topic = Topic([{FIRST: ahead[:2]}, {}, {SECOND: timed(SECOND, 1, 200)}, {FIRST: ahead[2:]}])
    _, sink = await recorded(topic, RecordBounds(until_end=True))
    assert topic.left_alone[:4] == [[], [FIRST], [FIRST], []]
    assert sink.times_ms == [1, 100, 101, 102, 103, 200]


async def test_records_windows_and_bytes_are_counted_per_topic() -> None:
    value = marked_message(0, [0, 0, 0], 10**18)
    topic = Topic([{FIRST: [consumed(FIRST, 0, 1, value), consumed(FIRST, 1, 2, None), consumed(FIRST, 2, 3, b"x")]}])
    count, sink = await recorded(topic, RecordBounds(until_end=True))
    assert (count.records, count.windows, count.bytes) == (3, 3, len(value) + 3 + 1)
    assert [(m.key, m.value, m.offset, list(m.headers)) for m in sink.kept] == [
        (b"k", value, 0, MSGPACK_HEADERS),
        (b"k", None, 1, MSGPACK_HEADERS),
        (b"k", b"x", 2, MSGPACK_HEADERS),
    ]


@given(st.lists(st.lists(st.integers(0, 50), max_size=8), min_size=1, max_size=4), st.randoms())
def test_merging_keeps_every_partition_s_order_and_loses_nothing(times: list[list[int]], chance: Any) -> None:
    merge: PartitionMerge[int, Any] = PartitionMerge()
    left = {number: timed(TopicPartition("t", number), *part) for number, part in enumerate(times)}
    out: list[Any] = []
    while any(left.values()):
        number = chance.choice([number for number, part in left.items() if part])
        portion, left[number] = left[number][:2], left[number][2:]
        merge.add(number, portion)
        out += merge.ready([number for number, part in left.items() if part])
    out += merge.ready()
    for number, part in enumerate(times):
        assert [record.offset for record in out if record.partition == number] == list(range(len(part)))
    assert not any(merge.held.values())


@given(st.lists(st.lists(st.integers(0, 50), max_size=8).map(sorted), min_size=1, max_size=4), st.randoms())
def test_partitions_in_the_order_of_time_are_merged_into_the_order_of_time(times: list[list[int]], chance: Any) -> None:
    merge: PartitionMerge[int, Any] = PartitionMerge()
    left = {number: timed(TopicPartition("t", number), *part) for number, part in enumerate(times)}
    out: list[Any] = []
    while any(left.values()):
        number = chance.choice([number for number, part in left.items() if part])
        portion, left[number] = left[number][:2], left[number][2:]
        merge.add(number, portion)
        out += merge.ready([number for number, part in left.items() if part])
    out += merge.ready()
    assert [record.timestamp for record in out] == sorted(time for part in times for time in part)
