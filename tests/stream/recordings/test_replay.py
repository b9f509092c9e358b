"""A replay sends the recorded records at the recorded pace and counts exactly those that the broker acknowledged."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaTimeoutError
from hypothesis import given
from hypothesis import strategies as st

from model.spec import load_spec
from stream.contract import HEADER_CONTENT_TYPE, JSON, NS_PER_S
from stream.errors import RecordingError
from stream.kafka.clients import producer_kwargs
from stream.kafka.embedded import PARTITIONS, EmbeddedBroker
from stream.kafka.reading.lag import GroupLag
from stream.recordings.clip import Clip, Moment
from stream.recordings.pacing import Pacer, Punctuality
from stream.recordings.recording import RecordedMessage, RecordingWriter
from stream.recordings.replay import Replayer, ReplayOptions
from stream.recordings.retime import moved, window_head
from stream.recordings.sources import ClippedSource, SamplesSource, SourceOptions, open_source
from stream.settings import Settings, load_settings
from stream.windowing import MSGPACK_HEADERS, OutgoingWindows, window_messages

SPEC = load_spec("line")
RATE_HZ = 1600.0
START_NS = 1_700_000_000 * NS_PER_S


def write_recording(path: Path, lines: int = 3, seconds: float = 0.5) -> list[RecordedMessage]:
    rng = np.random.default_rng(1)
    messages: list[OutgoingWindows] = []
    for line in range(lines):
        samples = rng.standard_normal((round(seconds * RATE_HZ), 6)).astype(np.float32)
        labels = np.zeros(len(samples), int)
        messages += window_messages(f"l{line}", samples, SPEC, rate_hz=RATE_HZ, start_ns=START_NS, labels=labels)
    recorded = [
        RecordedMessage("sensor-windows", 0, at, m.end_ns // 10**6, m.line.encode(), m.value, list(MSGPACK_HEADERS))
        for at, m in enumerate(sorted(messages, key=lambda message: (message.end_ns, message.line)))
    ]
    with RecordingWriter(path) as writer:
        for message in recorded:
            writer.write(message)
    return recorded


@pytest.fixture
def settings(embedded_broker: EmbeddedBroker) -> Settings:
    return load_settings(broker=embedded_broker.bootstrap)


async def read_all(settings: Settings, topic: str, count: int) -> list[Any]:
    """Return the records of a topic, each partition in order."""
    records: list[Any] = []
    async with AIOKafkaConsumer(bootstrap_servers=settings.broker, auto_offset_reset="earliest") as consumer:
        consumer.assign([TopicPartition(topic, number) for number in range(PARTITIONS)])
        while len(records) < count:
            for part in (await consumer.getmany(timeout_ms=5000)).values():
                records += part
    return records


class InstantProducer:
    """A producer that acknowledges at once, or when the test calls for it."""

    def __init__(self, fail_at: int | None = None, hold: bool = False) -> None:
        self.sent: list[tuple[str, bytes | None, bytes | None, dict[str, Any]]] = []
        self.held: list[asyncio.Future[None]] = []
        self._fail_at = fail_at
        self._hold = hold
        self._grown = asyncio.Event()

    async def until(self, count: int) -> None:
        """Return when a number of records were sent."""
        while len(self.sent) < count:
            self._grown.clear()
            await self._grown.wait()

    async def send(self, topic: str, value: bytes | None, key: bytes | None, **options: Any) -> Awaitable[None]:
        self.sent.append((topic, value, key, options))
        self._grown.set()
        future = asyncio.get_running_loop().create_future()
        if self._hold:
            self.held.append(future)
        elif len(self.sent) == self._fail_at:
            future.set_exception(KafkaTimeoutError())
        else:
            future.set_result(None)
        return future

    def heads(self, key: bytes) -> list[tuple[int, int, int]]:
        found = [window_head(value) for _, value, of, _ in self.sent if of == key]
        return [(head.sequence, head.start_ns, head.count) for head in found if head is not None]


# Pace -----------------------------------------------------------------------------------------------------------------


@given(
    st.floats(0.1, 100),
    st.lists(st.integers(0, 10 * NS_PER_S), min_size=1, max_size=20).map(sorted),
    st.lists(st.floats(0, 1), min_size=20, max_size=20),
)
def test_a_record_is_never_sent_before_it_is_due(speed: float, dues_ns: list[int], work_s: list[float]) -> None:
    now = [50.0]
    pacer = Pacer(speed, lambda: now[0])
    for due_ns, work in zip(dues_ns, work_s, strict=False):
        now[0] += max(0.0, pacer.wait_s(due_ns))
        elapsed_s = (due_ns - dues_ns[0]) / NS_PER_S / speed
        assert now[0] >= 50.0 + elapsed_s - 1e-6
        now[0] += work


def test_a_late_replay_catches_up_with_its_pace() -> None:
    now = [0.0]
    pacer = Pacer(1.0, lambda: now[0])
    assert pacer.wait_s(0) == 0.0
    now[0] = 5.0
    assert pacer.wait_s(1 * NS_PER_S) == -4.0
    assert pacer.wait_s(6 * NS_PER_S) == 1.0


def test_without_a_pace_nothing_waits() -> None:
    pacer = Pacer(None, lambda: 0.0)
    assert [pacer.wait_s(due) for due in (0, NS_PER_S, 100 * NS_PER_S)] == [0.0, 0.0, 0.0]


async def test_how_well_the_pace_was_kept_is_counted(tmp_path: Path) -> None:
    recorded = write_recording(tmp_path / "r.parquet", lines=1)
    now = [0.0]

    class SlowProducer(InstantProducer):
        async def send(self, topic: str, value: bytes | None, key: bytes | None, **options: Any) -> Awaitable[None]:
            now[0] += 1.0
            return await super().send(topic, value, key, **options)

    replayer = Replayer(
        open_source(tmp_path / "r.parquet"), SlowProducer(), ReplayOptions(speed=1.0), clock_s=lambda: now[0]
    )
    count = await replayer.run()
    assert count.punctuality is not None
    last_s = (recorded[-1].timestamp_ms - recorded[0].timestamp_ms) / 1000
    assert count.punctuality.quantile_ms(0.0) == 0.0
    assert count.punctuality.quantile_ms(1.0) == round((len(recorded) - 1 - last_s) * 1000)


@given(st.lists(st.floats(-0.001, 90.0), min_size=1, max_size=200), st.floats(0.01, 1.0))
def test_lateness_is_counted_in_bounded_steps(late_s: list[float], share: float) -> None:
    kept = Punctuality()
    for number, late in enumerate(late_s):
        kept.note(float(number), late)
    exact_ms = sorted(min(late, 60.0) * 1000 for late in late_s)[math.ceil(share * len(late_s) - 1e-9) - 1]
    assert abs(kept.quantile_ms(share) - exact_ms) <= (0.5 if exact_ms > 99 else 0.006)


def test_drift_is_the_last_second_s_lateness_beyond_the_first_second_s() -> None:
    kept = Punctuality()
    for tenth in range(601):
        kept.note(tenth / 10, 0.002 + tenth / 10 * 0.001)
    assert kept.drift_ms == pytest.approx(59.05, abs=0.1)


# Bytes, times, sequence -----------------------------------------------------------------------------------------------


async def test_a_recording_is_replayed_byte_for_byte_with_its_times(tmp_path: Path, settings: Settings) -> None:
    recorded = write_recording(tmp_path / "r.parquet")
    async with AIOKafkaProducer(**producer_kwargs(settings)) as producer:
        count = await Replayer(open_source(tmp_path / "r.parquet"), producer, ReplayOptions(speed=None)).run()
    assert count.complete
    assert count.confirmed_records == len(recorded)
    heads = [window_head(message.value) for message in recorded]
    assert count.confirmed_windows == sum(head.count for head in heads if head is not None)
    seen = await read_all(settings, "sensor-windows", len(recorded))
    for line in {message.key for message in recorded}:
        sent = [(m.value, m.timestamp_ms, tuple(m.headers)) for m in recorded if m.key == line]
        assert [(r.value, r.timestamp, r.headers) for r in seen if r.key == line] == sent
        assert len({r.partition for r in seen if r.key == line}) == 1


async def test_restamp_begins_now_and_changes_nothing_else(tmp_path: Path) -> None:
    recorded = write_recording(tmp_path / "r.parquet")
    producer, now_ns = InstantProducer(), 1_800_000_000 * NS_PER_S
    options = ReplayOptions(speed=None, restamp=True)
    await Replayer(open_source(tmp_path / "r.parquet"), producer, options, now_ns=lambda: now_ns).run()
    by_ns = now_ns - recorded[0].timestamp_ms * 10**6
    for before, (_, value, key, sent) in zip(recorded, producer.sent, strict=True):
        assert before.value is not None
        assert value is not None
        old, new = msgspec.msgpack.decode(before.value), msgspec.msgpack.decode(value)
        assert new == {**old, "start_ns": old["start_ns"] + by_ns}
        assert key == before.key
        assert sent["timestamp_ms"] is None  # stamped when it is sent


async def test_each_pass_of_a_loop_goes_on_in_time_and_sequence(tmp_path: Path) -> None:
    recorded = write_recording(tmp_path / "r.parquet")
    producer = InstantProducer()
    replayer = Replayer(open_source(tmp_path / "r.parquet"), producer, ReplayOptions(speed=None, loop=True))
    running = asyncio.create_task(replayer.run())
    await producer.until(3 * len(recorded))
    replayer.stop()
    await running
    assert [value for _, value, _, _ in producer.sent[: len(recorded)]] == [m.value for m in recorded]
    hop_ns = round(SPEC.hop * NS_PER_S / RATE_HZ)
    heads = producer.heads(b"l1")
    for (sequence, start_ns, count), following in itertools.pairwise(heads):
        assert following[:2] == (sequence + count, start_ns + count * hop_ns)


@given(
    st.fixed_dictionaries(
        {"sequence": st.integers(0, 2**40), "start_ns": st.integers(0, 2**60), "data": st.binary(max_size=64)},
        optional={"labels": st.lists(st.integers(0, 11)), "gateway": st.text(), "more": st.none() | st.floats(0, 1)},
    ),
    st.integers(0, 2**60),
    st.integers(0, 2**40),
)
def test_moving_keeps_every_other_field(body: dict[str, Any], by_ns: int, by_windows: int) -> None:
    expected = {**body, "start_ns": body["start_ns"] + by_ns, "sequence": body["sequence"] + by_windows}
    value = moved(msgspec.msgpack.encode(body), by_ns=by_ns, by_windows=by_windows)
    assert msgspec.msgpack.decode(value) == expected
    text = msgspec.json.encode({**body, "data": "AAAA"})
    assert msgspec.json.decode(moved(text, by_ns=by_ns, by_windows=by_windows)) == {**expected, "data": "AAAA"}


@given(st.binary(max_size=200))
def test_any_bytes_have_a_head_or_none(value: bytes) -> None:
    head = window_head(value)
    assert head is None or head.count is not None


async def test_records_that_are_no_windows_are_sent_as_they_are(tmp_path: Path) -> None:
    odd = [
        RecordedMessage("sensor-windows", 0, 0, 1000, b"k", b"\xc1 poison", [("h", b"1"), ("h", b"2")]),
        RecordedMessage("sensor-windows", 0, 1, 1001, b"k", None, []),
        RecordedMessage("sensor-windows", 0, 2, 1002, None, b"", [(HEADER_CONTENT_TYPE, JSON.encode())]),
    ]
    with RecordingWriter(tmp_path / "r.parquet") as writer:
        for message in odd:
            writer.write(message)
    producer = InstantProducer()
    count = await Replayer(
        open_source(tmp_path / "r.parquet"), producer, ReplayOptions(speed=None, restamp=True, topic="other")
    ).run()
    assert [(topic, value, key) for topic, value, key, _ in producer.sent] == [("other", m.value, m.key) for m in odd]
    assert [sent["headers"] for *_, sent in producer.sent] == [m.headers for m in odd]
    assert (count.confirmed_records, count.windows) == (3, 0)


# Confirmation and back-pressure ---------------------------------------------------------------------------------------


async def test_a_record_that_is_not_confirmed_ends_the_replay_and_is_counted(tmp_path: Path) -> None:
    write_recording(tmp_path / "r.parquet")
    producer = InstantProducer(fail_at=5)
    options = ReplayOptions(speed=None, max_in_flight=1)
    count = await Replayer(open_source(tmp_path / "r.parquet"), producer, options).run()
    assert (count.records, count.confirmed_records) == (5, 4)
    assert not count.complete
    assert "KafkaTimeoutError" in str(count.failure)


async def test_no_more_than_max_in_flight_are_unconfirmed(tmp_path: Path) -> None:
    recorded = write_recording(tmp_path / "r.parquet")
    producer = InstantProducer(hold=True)
    replayer = Replayer(open_source(tmp_path / "r.parquet"), producer, ReplayOptions(speed=None, max_in_flight=3))
    running = asyncio.create_task(replayer.run())
    confirmed = 0
    while not running.done():
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(producer.held) - confirmed <= 3
        if confirmed < len(producer.held):
            producer.held[confirmed].set_result(None)
            confirmed += 1
    assert running.result().confirmed_records == len(recorded)


async def test_a_silent_broker_ends_the_replay_with_a_reason(tmp_path: Path) -> None:
    write_recording(tmp_path / "r.parquet")
    options = ReplayOptions(speed=None, max_in_flight=3, confirm_timeout_s=0.05)
    count = await Replayer(open_source(tmp_path / "r.parquet"), InstantProducer(hold=True), options).run()
    assert (count.records, count.confirmed_records) == (3, 0)
    assert "no confirmation" in str(count.failure)


async def test_the_replay_pauses_while_the_workers_are_behind(tmp_path: Path) -> None:
    recorded = write_recording(tmp_path / "r.parquet", seconds=2.0)
    producer = InstantProducer()
    done = 0

    async def lag() -> int:
        nonlocal done
        behind = len(producer.sent) - done
        assert behind <= 30
        done += 7
        return behind

    options = ReplayOptions(speed=None, max_lag=20)
    count = await Replayer(open_source(tmp_path / "r.parquet"), producer, options, lag=lag).run()
    assert count.confirmed_records == len(recorded)


async def test_lag_is_what_the_group_has_not_committed(settings: Settings) -> None:
    async with AIOKafkaProducer(**producer_kwargs(settings)) as producer:
        for number in range(10):
            await producer.send_and_wait("w", b"%d" % number, partition=number % 2)
    async with GroupLag(settings, "workers", ["w"]) as lag:
        assert await lag.measure() == 10
        member = AIOKafkaConsumer("w", bootstrap_servers=settings.broker, group_id="workers", enable_auto_commit=False)
        async with member:
            await member.commit({TopicPartition("w", 0): 4})
            assert await lag.measure() == 6


async def test_stop_ends_a_long_wait_and_keeps_the_count(tmp_path: Path) -> None:
    first, second = write_recording(tmp_path / "r.parquet", lines=1, seconds=0.1)[:2]
    late = RecordedMessage(second.topic, 0, 1, first.timestamp_ms + 3_600_000, second.key, second.value, [])
    with RecordingWriter(tmp_path / "r.parquet") as writer:
        writer.write(first)
        writer.write(late)
    producer = InstantProducer()
    replayer = Replayer(open_source(tmp_path / "r.parquet"), producer, ReplayOptions())
    running = asyncio.create_task(replayer.run())
    await producer.until(1)
    replayer.stop()
    count = await running
    assert (count.records, count.confirmed_records) == (1, 1)


# Sources --------------------------------------------------------------------------------------------------------------


def test_samples_are_sent_as_windows_of_lines_side_by_side() -> None:
    rng = np.random.default_rng(2)
    lines = [
        (name, rng.standard_normal((length, 6)).astype(np.float32), np.arange(length) % 12)
        for name, length in (("a", 100), ("b", 64), ("short", 31))
    ]
    source = SamplesSource(lines, SPEC, RATE_HZ, SourceOptions(windows_per_message=4, start_ns=START_NS))
    records = list(source.records())
    assert [(record.key, record.windows) for record in records] == [
        (b"a", 4),
        (b"b", 4),
        (b"b", 1),
        (b"a", 4),
        (b"a", 1),
    ]
    assert source.total == len(records)
    assert [record.due_ns for record in records] == sorted(record.due_ns for record in records)
    body = msgspec.msgpack.decode(records[0].value or b"")
    assert body["labels"] == [31 % 12, 39 % 12, 47 % 12, 55 % 12]
    block = np.frombuffer(body["data"], "<f4").reshape(4, 32, 6)
    np.testing.assert_array_equal(block[1], lines[0][1][8:40])


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "cannot be replayed; supported kinds"),
        (b"a,b,c\n1,2,3\n", "cannot be replayed; supported kinds"),
        (b"PAR1 but no more", "not a Parquet file"),
    ],
)
def test_a_file_that_cannot_be_replayed_says_why(tmp_path: Path, content: bytes, complaint: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(RecordingError, match=complaint):
        open_source(path)


def test_a_missing_file_and_an_option_of_another_kind_are_errors(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="no such file"):
        open_source(tmp_path / "none")
    write_recording(tmp_path / "r.parquet")
    with pytest.raises(RecordingError, match="whose messages are sent unchanged"):
        open_source(tmp_path / "r.parquet", SourceOptions(windows_per_message=3))


def test_a_part_of_a_recording_is_given_by_seconds_or_by_the_clock(tmp_path: Path) -> None:
    recorded = write_recording(tmp_path / "r.parquet", lines=2, seconds=1.0)
    begin_ms = recorded[0].timestamp_ms
    inside = [message for message in recorded if begin_ms + 200 <= message.timestamp_ms < begin_ms + 500]
    assert 0 < len(inside) < len(recorded)
    by_seconds = Clip(Moment(seconds=0.2), Moment(seconds=0.5))
    by_clock = Clip(Moment(unix_ns=(begin_ms + 200) * 10**6), Moment(unix_ns=(begin_ms + 500) * 10**6))
    for clip in (by_seconds, by_clock):
        source = open_source(tmp_path / "r.parquet", SourceOptions(clip=clip))
        assert [record.value for record in source.records()] == [message.value for message in inside]
        assert source.total == len(inside)


def test_the_rest_of_a_recording_is_what_is_not_in_its_first_part(tmp_path: Path) -> None:
    recorded = write_recording(tmp_path / "r.parquet")
    cut = Moment(seconds=0.25)
    first = open_source(tmp_path / "r.parquet", SourceOptions(clip=Clip(end=cut)))
    rest = open_source(tmp_path / "r.parquet", SourceOptions(clip=Clip(first=cut)))
    assert [r.value for r in (*first.records(), *rest.records())] == [message.value for message in recorded]
    assert first.begin_ns == rest.begin_ns == recorded[0].timestamp_ms * 10**6


def test_a_part_of_the_samples_is_selected_by_when_they_are_due() -> None:
    samples = np.zeros((1600, 6), np.float32)
    options = SourceOptions(windows_per_message=4, start_ns=START_NS)
    whole = SamplesSource([("a", samples, np.zeros(1600, int))], SPEC, RATE_HZ, options)
    part = ClippedSource(whole, Clip(Moment(seconds=0.5), Moment(seconds=0.6)))
    dues = [record.due_ns for record in part.records()]
    assert dues == [r.due_ns for r in whole.records() if 0.5 <= (r.due_ns - whole.begin_ns) / NS_PER_S < 0.6]
    assert dues
