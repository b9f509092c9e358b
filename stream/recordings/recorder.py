"""Record topics in order of time, until a bound is reached."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from aiokafka import TopicPartition

from stream.errors import RecordingError
from stream.kafka.errors import broker_errors
from stream.kafka.reading.reader import StartAt, TopicReader
from stream.recordings.merge import PartitionMerge
from stream.recordings.recording import RecordedMessage, RecordingWriter
from stream.recordings.retime import window_head
from stream.settings import Settings

REFRESH_S = 3.0
"""Interval of the search for new partitions."""
PATIENCE_S = 5.0
"""Longest wait for a partition that has more records but returns none."""
HELD_BYTES = 8 << 20
"""Number of waiting bytes at which a partition that is ahead of the others is no longer fetched."""


class Reader(Protocol):
    """Part of ``stream.kafka.reading.reader.TopicReader`` that the recorder uses."""

    @property
    def topics(self) -> Sequence[str]:
        """Return the names of the topics."""

    @property
    def partitions(self) -> int:
        """Return the number of their partitions."""

    @property
    def deleted(self) -> int:
        """Return the number of records that retention deleted before they could be read."""

    @property
    def final(self) -> bool:
        """Return True if the ends are fixed, so that no later records are read."""

    async def fetch(self, full: Collection[TopicPartition] = ()) -> Mapping[TopicPartition, list[Any]]:
        """Fetch records per partition; leave out the full ones."""

    def behind(self) -> list[TopicPartition]:
        """Return the partitions with records still to fetch."""

    async def refresh(self) -> None:
        """Search for new partitions."""

    async def fix_ends(self, before_ms: int | None = None) -> None:
        """Fix the ends: the current ends of the topics, or a time."""


class Sink(Protocol):
    """Part of ``RecordingWriter`` that the recorder uses."""

    @property
    def size(self) -> int:
        """Return the current size of the file in bytes."""

    def write(self, message: RecordedMessage) -> None:
        """Append one record."""

    def flush(self) -> None:
        """Write the appended records to the file, so that they survive a kill."""


@dataclass(frozen=True)
class RecordBounds:
    """Bounds of a recording.

    Attributes:
        start_ms: records before this time (Unix ms) are left out.
        end_ms: records at or after this time are left out; recording ends when no earlier ones can follow.
        until_end: True ends the recording at the ends that the topics had when it began.
        count: exact number of records.
        seconds: duration of the recording in seconds.
        flush_s: longest time until a record is written to the file and survives a kill.
    """

    start_ms: int | None = None
    end_ms: int | None = None
    until_end: bool = False
    count: int | None = None
    seconds: float | None = None
    flush_s: float = 10.0


@dataclass(frozen=True)
class RecordOptions:
    """Topics, file and bounds of a recording.

    Attributes:
        topics: names, or patterns such as ``faults.*``.
        path: path of the recording.
        start: start of reading on every partition.
        bounds: bounds of the recording.
        overwrite: True replaces an existing file.
    """

    topics: tuple[str, ...]
    path: Path
    start: StartAt
    bounds: RecordBounds
    overwrite: bool = False


@dataclass(slots=True)
class TopicCount:
    """Counts of the records of one topic."""

    records: int = 0
    windows: int = 0
    bytes: int = 0
    """Bytes of keys and values."""


@dataclass(slots=True)
class RecordCount:
    """Counts of the records of all topics."""

    topics: dict[str, TopicCount] = field(default_factory=dict)
    deleted: int = 0
    """Number of records that the broker's retention deleted before they could be read."""
    ended_by: str = ""
    """Bound that ended the recording: count, seconds, end or stop."""

    @property
    def records(self) -> int:
        """Return the number of records of all topics."""
        return sum(topic.records for topic in self.topics.values())

    @property
    def windows(self) -> int:
        """Return the number of windows of all topics."""
        return sum(topic.windows for topic in self.topics.values())

    @property
    def bytes(self) -> int:
        """Return the bytes of keys and values of all topics."""
        return sum(topic.bytes for topic in self.topics.values())


class Recorder:
    """Recorder that writes a reader's records to a sink.

    Args:
        reader: reader of the topics, positioned at the start of the recording.
        sink: receives the records.
        bounds: bounds of the recording.
        clock_s: returns monotonic seconds.
        now_ms: returns the Unix time in ms.

    Example: ``await Recorder(reader, writer, RecordBounds(count=100)).run()``
    """

    def __init__(
        self,
        reader: Reader,
        sink: Sink,
        bounds: RecordBounds,
        *,
        clock_s: Callable[[], float] = time.monotonic,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self.reader = reader
        self.sink = sink
        self._bounds = bounds
        self._clock_s = clock_s
        self._now_ms = now_ms
        self._merge: PartitionMerge[TopicPartition, Any] = PartitionMerge()
        self._stopping = False
        self.count = RecordCount({name: TopicCount() for name in reader.topics})

    def stop(self) -> None:
        """End the recording; ``run`` returns when the fetched records are written."""
        self._stopping = True

    async def run(self) -> RecordCount:
        """Record until a bound is reached or ``stop`` is called."""
        began_s = refreshed_s = flushed_s = heard_s = self._clock_s()
        if self._bounds.until_end:
            await self.reader.fix_ends()
        while not (ended := self._ended(self._clock_s() - began_s)):
            heard = await self._fetch()
            now_s = self._clock_s()
            heard_s = now_s if heard else heard_s
            self._write(self.reader.behind() if now_s - heard_s < PATIENCE_S else ())
            if now_s - flushed_s >= self._bounds.flush_s:
                self.sink.flush()
                flushed_s = now_s
            if not self.reader.final:
                if self._bounds.end_ms is not None and self._now_ms() >= self._bounds.end_ms:
                    await self.reader.fix_ends(self._bounds.end_ms)
                elif now_s - refreshed_s >= REFRESH_S:
                    await self.reader.refresh()
                    refreshed_s = now_s
        self._write(())
        self.count.ended_by = ended
        return self.count

    def _ended(self, elapsed_s: float) -> str:
        if self._stopping:
            return "stop"
        if self._bounds.count is not None and self.count.records >= self._bounds.count:
            return "count"
        if self._bounds.seconds is not None and elapsed_s >= self._bounds.seconds:
            return "seconds"
        return "end" if self.reader.final and not self.reader.behind() else ""

    async def _fetch(self) -> bool:
        """Fetch once; return True if the fetch returned records."""
        full = [partition for partition, held in self._merge.held.items() if held >= HELD_BYTES]
        fetched = await self.reader.fetch(full)
        for partition, records in fetched.items():
            self._merge.add(partition, records)
        self.count.deleted = self.reader.deleted
        return bool(fetched)

    def _write(self, behind: Sequence[TopicPartition]) -> None:
        bounds = self._bounds
        for record in self._merge.ready(behind):
            if bounds.count is not None and self.count.records >= bounds.count:
                return
            if bounds.start_ms is not None and record.timestamp < bounds.start_ms:
                continue
            if bounds.end_ms is not None and record.timestamp >= bounds.end_ms:
                continue
            self.sink.write(as_recorded(record))
            topic, head = self.count.topics[record.topic], window_head(record.value)
            topic.records += 1
            topic.windows += 0 if head is None else head.count
            topic.bytes += len(record.key or b"") + len(record.value or b"")


def as_recorded(record: Any) -> RecordedMessage:
    """Return the recorded fields of an aiokafka ``ConsumerRecord``."""
    return RecordedMessage(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        timestamp_ms=record.timestamp,
        key=record.key,
        value=record.value,
        headers=list(record.headers),
        timestamp_type=record.timestamp_type or 0,
    )


@asynccontextmanager
async def open_recorder(settings: Settings, options: RecordOptions) -> AsyncIterator[Recorder]:
    """Open topics and a file, and yield a recorder; the caller calls its ``run``.

    Args:
        settings: broker and credentials.
        options: topics, file and bounds.

    Yields:
        The recorder. Its ``count`` may be read while it runs, and ``stop`` may be called at any time. At the end of the
        block the file is converted to Parquet.

    Raises:
        RecordingError: the file exists or cannot be written.
        BrokerError: there is no broker, no right, or no such topic.
    """
    if options.path.exists() and not options.overwrite:
        raise RecordingError(f"{options.path} exists: give --overwrite or another name")
    with broker_errors(settings):
        async with TopicReader(settings, options.topics, options.start) as reader:
            with RecordingWriter(options.path, keep=True) as writer:
                yield Recorder(reader, writer, options.bounds)
