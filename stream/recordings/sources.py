"""Sources of a replay: kinds of file, each known by its content."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from model.domain import domain_of
from model.spec import SignalSpec
from stream.contract import NS_PER_MS, NS_PER_S
from stream.errors import RecordingError
from stream.recordings.clip import Clip
from stream.recordings.recording import RecordedHeaders, is_recording, open_recording
from stream.recordings.retime import window_head
from stream.windowing import MSGPACK_HEADERS, cut_windows, window_messages

DEFAULT_WINDOWS_PER_MESSAGE = 100
"""Where we make the messages: 77 KB of windows of 32 samples of six channels, 5 ms of single samples at 20 kHz."""


class ReplayRecord(msgspec.Struct, frozen=True, gc=False):
    """One record to send. ``due_ns`` is when it was sent, by the source's clock; ``windows`` 0 if not countable."""

    topic: str | None
    key: bytes | None
    value: bytes | None
    headers: RecordedHeaders
    timestamp_ms: int | None
    due_ns: int
    windows: int
    partition: int | None = None
    """Where it was recorded."""


class Source(Protocol):
    """Something that can be replayed, as often as wanted."""

    @property
    def total(self) -> int | None:
        """Return the number of records, where it is known beforehand."""

    @property
    def topics(self) -> frozenset[str]:
        """Return the topics that the records name themselves; empty where they name none."""

    @property
    def begin_ns(self) -> int:
        """Return the earliest ``due_ns``."""

    def records(self) -> Iterator[ReplayRecord]:
        """Yield the records in the order in which they are to be sent."""


@dataclass(frozen=True)
class SourceOptions:
    """Options of a source; an option that its kind does not have is an error.

    Attributes:
        windows_per_message: windows grouped in one message, where we make the messages.
        lines: number of lines to make of it: a table without lines of its own is cut, of others the domain makes
            many of one (``Domain.fan_out``).
        start_ns: Unix time of the first sample, where the file has no times.
        clip: which stretch of it.
    """

    windows_per_message: int | None = None
    lines: int | None = None
    start_ns: int | None = None
    clip: Clip = field(default_factory=Clip)


class RecordingSource:
    """A Parquet recording of ours: its records byte for byte, those of ``options.clip`` by their Kafka time."""

    def __init__(self, path: Path, options: SourceOptions) -> None:
        if options.windows_per_message is not None:
            raise RecordingError(
                f"{path} is a recording: its windows stay grouped as they are, without an option for it"
            )
        self._recording = open_recording(path)
        self.begin_ns = self._begin_ms() * NS_PER_MS
        first_ns, end_ns = options.clip.bounds_ns(self.begin_ns)
        self._first_ms, self._end_ms = -(-first_ns // NS_PER_MS), -(-end_ns // NS_PER_MS)
        self.total: int | None = 0
        self.partitions: dict[str, int] = {}
        """Of every topic, how many partitions it has at least."""
        for batch in self._recording.batches(["topic", "partition", "timestamp_ms"]):
            self._survey(pa.table(batch.columns, schema=batch.schema))
        self.topics = frozenset(self.partitions)

    def _begin_ms(self) -> int:
        lowest = [pc.min(batch.column(0)).as_py() for batch in self._recording.batches(["timestamp_ms"])]
        return min((time for time in lowest if time is not None), default=0)

    def _survey(self, rows: pa.Table) -> None:
        times = rows.column("timestamp_ms")
        inside = pc.and_(pc.greater_equal(times, self._first_ms), pc.less(times, self._end_ms))
        kept = rows.filter(inside)
        self.total = (self.total or 0) + kept.num_rows
        for row in kept.group_by("topic").aggregate([("partition", "max")]).to_pylist():
            there = self.partitions.get(row["topic"], 0)
            self.partitions[row["topic"]] = max(there, row["partition_max"] + 1)

    def records(self) -> Iterator[ReplayRecord]:
        """Yield records in the order of the file."""
        for message in self._recording.messages():
            if not self._first_ms <= message.timestamp_ms < self._end_ms:
                continue
            head = window_head(message.value)
            yield ReplayRecord(
                topic=message.topic,
                key=message.key,
                value=message.value,
                headers=message.headers,
                timestamp_ms=message.timestamp_ms,
                due_ns=message.timestamp_ms * NS_PER_MS,
                windows=0 if head is None else head.count,
                partition=message.partition,
            )


class SamplesSource:
    """Labelled samples without times of their own, sent as windows of lines that run side by side.

    Args:
        lines: per line its id, samples float32 (n, channels), and class index of every sample (n,).
        spec: of the windows.
        rate_hz: samples per second.
        options: windows per message, and when the first sample was.
    """

    def __init__(
        self,
        lines: Sequence[tuple[str, NDArray[np.float32], NDArray[np.integer]]],
        spec: SignalSpec,
        rate_hz: float,
        options: SourceOptions,
    ) -> None:
        self._lines = lines
        self._spec = spec
        self._rate_hz = rate_hz
        self._per_message = options.windows_per_message or DEFAULT_WINDOWS_PER_MESSAGE
        self._start_ns = time.time_ns() if options.start_ns is None else options.start_ns
        self.topics: frozenset[str] = frozenset()
        self.begin_ns = self._start_ns + round(spec.samples * NS_PER_S / rate_hz)

    @property
    def total(self) -> int | None:
        """Return the number of messages."""
        windows = [len(cut_windows(samples, self._spec)) for _, samples, _ in self._lines]
        return sum(-(-count // self._per_message) for count in windows)

    def records(self) -> Iterator[ReplayRecord]:
        """Yield messages of all lines in time order."""
        lines = [
            window_messages(
                line,
                samples,
                self._spec,
                rate_hz=self._rate_hz,
                start_ns=self._start_ns,
                windows_per_message=self._per_message,
                labels=labels,
            )
            for line, samples, labels in self._lines
        ]
        for message in heapq.merge(*lines, key=lambda message: message.end_ns):
            yield ReplayRecord(
                topic=None,
                key=message.line.encode(),
                value=message.value,
                headers=MSGPACK_HEADERS,
                timestamp_ms=None,
                due_ns=message.end_ns,
                windows=message.count,
            )


class ClippedSource:
    """A stretch of a source, by when its records are due."""

    def __init__(self, source: Source, clip: Clip) -> None:
        self._source = source
        self._first_ns, self._end_ns = clip.bounds_ns(source.begin_ns)
        self.total: int | None = None
        self.topics = source.topics
        self.begin_ns = max(source.begin_ns, self._first_ns)

    def records(self) -> Iterator[ReplayRecord]:
        """Yield those of the source that are due in the stretch."""
        return (record for record in self._source.records() if self._first_ns <= record.due_ns < self._end_ns)


@dataclass(frozen=True)
class SourceKind:
    """One kind of file.

    Attributes:
        name: for people.
        recognises: whether a file is of this kind, by its content.
        open: makes a source of it.
        cuts_lines: whether ``open`` itself makes ``SourceOptions.lines`` lines of it.
        endings: what a path may lack to name a file, where several files belong together.
    """

    name: str
    recognises: Callable[[Path], bool]
    open: Callable[[Path, SourceOptions], Source]
    cuts_lines: bool = False
    endings: tuple[str, ...] = ()


RECORDING = SourceKind("Parquet recording", is_recording, RecordingSource)


def open_source(path: Path, options: SourceOptions | None = None, kinds: Sequence[SourceKind] = (RECORDING,)) -> Source:
    """Open a file by what it holds, whatever it is called.

    Args:
        path: the file.
        options: for the source.
        kinds: what it may be; the command line knows more kinds than this package.

    Raises:
        RecordingError: no such file, of no kind that we know, damaged, or an option that it does not have.
    """
    kind = kind_of(path, kinds)
    options = options or SourceOptions()
    source = kind.open(path, options)
    clipped = options.clip and not isinstance(source, RecordingSource)
    return ClippedSource(source, options.clip) if clipped else source


def open_replay(path: Path, spec: SignalSpec, options: SourceOptions | None = None, read: Any = None) -> Source:
    """Open a file for a replay, as many lines where that is asked for.

    Args:
        path: a recording, or a file of a kind that the spec's domain knows.
        spec: of the windows that are made of the file, and that are made many lines.
        options: which part of it and how.
        read: what is known of the file better than it tells, as the domain wants it: see ``Domain.sources``.

    Raises:
        RecordingError: the file cannot be replayed, or not as many lines.
        SpecError: the domain cannot make lines of a line.
    """
    options = options or SourceOptions()
    domain = domain_of(spec)
    kinds: tuple[SourceKind, ...] = (RECORDING, *domain.sources(spec, read))
    found = located(path, kinds)
    source = open_source(found, options, kinds)
    if options.lines is None or kind_of(found, kinds).cuts_lines:
        return source
    fanned_out: Source = domain.fan_out(source, options.lines, spec)
    return fanned_out


def located(path: Path, kinds: Sequence[SourceKind]) -> Path:
    """Return the file that a path names, with one of the kinds' endings where it is none by itself."""
    if path.is_file():
        return path
    longer = (Path(f"{path}{ending}") for kind in kinds for ending in kind.endings)
    return next((there for there in longer if there.is_file()), path)


def kind_of(path: Path, kinds: Sequence[SourceKind]) -> SourceKind:
    """Return the kind of a file. Raises RecordingError where it is missing or none of them."""
    if not path.is_file():
        raise RecordingError(f"no such file to replay: {path}")
    for kind in kinds:
        if kind.recognises(path):
            return kind
    raise RecordingError(f"{path} is nothing that can be replayed; known are: {', '.join(kind.name for kind in kinds)}")
