"""Open the sources of a replay; each kind of file is recognised by its content."""

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
import structlog
from numpy.typing import NDArray

from model.domain import domain_of
from model.spec import SignalSpec
from stream.contract import NS_PER_MS, NS_PER_S
from stream.errors import RecordingError
from stream.recordings.clip import Clip
from stream.recordings.recording import RecordedHeaders, is_recording, open_recording
from stream.recordings.retime import window_head
from stream.windowing import MSGPACK_HEADERS, cut_windows, window_messages

log = structlog.get_logger(__name__)

DEFAULT_WINDOWS_PER_MESSAGE = 100
"""Default number of windows per message that Faultline builds: 77 KB for windows of 32 samples of six channels, or 5 ms
for single-sample windows at 20 kHz."""


class ReplayRecord(msgspec.Struct, frozen=True, gc=False):
    """Record to send. ``due_ns`` is its time by the source's clock; ``windows`` is 0 if they cannot be counted."""

    topic: str | None
    key: bytes | None
    value: bytes | None
    headers: RecordedHeaders
    timestamp_ms: int | None
    due_ns: int
    windows: int
    partition: int | None = None
    """Partition on which it was recorded."""


class Source(Protocol):
    """Source that can be replayed any number of times."""

    @property
    def total(self) -> int | None:
        """Return the number of records; None if it is not known beforehand."""

    @property
    def topics(self) -> frozenset[str]:
        """Return the topics that the records name; empty if they name none."""

    @property
    def begin_ns(self) -> int:
        """Return the earliest ``due_ns``."""

    def records(self) -> Iterator[ReplayRecord]:
        """Yield the records in sending order."""


def _log_warning(text: str) -> None:
    log.warning("source-finding", what=text)


@dataclass(frozen=True)
class SourceOptions:
    """Options of a source; an option that its kind does not support is an error.

    Attributes:
        windows_per_message: number of windows per message, for sources whose messages Faultline builds.
        lines: number of lines to make from the source. A table without lines is cut into lines; for other sources the
            domain makes many lines from one (``Domain.fan_out``).
        start_ns: Unix time in ns of the first sample, for files without times.
        clip: time range to replay.
        warn: function that receives one line of text per finding about the file that a person should check; by default
            it is logged.
    """

    windows_per_message: int | None = None
    lines: int | None = None
    start_ns: int | None = None
    clip: Clip = field(default_factory=Clip)
    warn: Callable[[str], None] = _log_warning


class RecordingSource:
    """Recording: its records byte for byte, limited to ``options.clip`` by their Kafka timestamps."""

    def __init__(self, path: Path, options: SourceOptions) -> None:
        if options.windows_per_message is not None:
            raise RecordingError(
                f"{path} is a recording, whose messages are sent unchanged: remove the option for windows per message"
            )
        self._recording = open_recording(path)
        self.begin_ns = self._begin_ms() * NS_PER_MS
        first_ns, end_ns = options.clip.bounds_ns(self.begin_ns)
        self._first_ms, self._end_ms = -(-first_ns // NS_PER_MS), -(-end_ns // NS_PER_MS)
        self.total: int | None = 0
        self.partitions: dict[str, int] = {}
        """Minimum number of partitions of every topic, given the highest recorded partition."""
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
    """Labelled samples without times, sent as windows of lines in parallel.

    Args:
        lines: for every line its id, samples float32 (n, channels), and class index of every sample (n,).
        spec: signal spec of the windows.
        rate_hz: samples per second.
        options: windows per message, and the time of the first sample.
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
    """Time range of a source, by the times at which its records are due."""

    def __init__(self, source: Source, clip: Clip) -> None:
        self._source = source
        self._first_ns, self._end_ns = clip.bounds_ns(source.begin_ns)
        self.total: int | None = None
        self.topics = source.topics
        self.begin_ns = max(source.begin_ns, self._first_ns)

    def records(self) -> Iterator[ReplayRecord]:
        """Yield the records of the source that are due in the time range."""
        return (record for record in self._source.records() if self._first_ns <= record.due_ns < self._end_ns)


@dataclass(frozen=True)
class SourceKind:
    """Kind of file.

    Attributes:
        name: name for people.
        recognises: returns True if a file is of this kind, by its content.
        open: opens a file as a source.
        cuts_lines: True if ``open`` itself makes ``SourceOptions.lines`` lines.
        endings: suffixes that a given path may lack, for kinds that consist of several files.
        is_inside: returns True for a path into a file of this kind, such as ``a.zip/b.cfg``.
    """

    name: str
    recognises: Callable[[Path], bool]
    open: Callable[[Path, SourceOptions], Source]
    cuts_lines: bool = False
    endings: tuple[str, ...] = ()
    is_inside: Callable[[Path], bool] | None = None


RECORDING = SourceKind("Parquet recording", is_recording, RecordingSource)


def open_source(path: Path, options: SourceOptions | None = None, kinds: Sequence[SourceKind] = (RECORDING,)) -> Source:
    """Open a file by its content, regardless of its name.

    Args:
        path: path of the file.
        options: options of the source.
        kinds: supported kinds; a domain adds its own to those of this package.

    Raises:
        RecordingError: there is no such file, its kind is unknown, it is damaged, or it does not support an option.
    """
    kind = kind_of(path, kinds)
    options = options or SourceOptions()
    source = kind.open(path, options)
    clipped = options.clip and not isinstance(source, RecordingSource)
    return ClippedSource(source, options.clip) if clipped else source


def open_replay(path: Path, spec: SignalSpec, options: SourceOptions | None = None, read: Any = None) -> Source:
    """Open a file for a replay, as several lines if requested.

    Args:
        path: a recording, or a file of a kind that the spec's domain supports.
        spec: signal spec of the windows.
        options: options of the source.
        read: information that overrides the file's own, in the form that the domain defines: see ``Domain.sources``.

    Raises:
        RecordingError: the file cannot be replayed, or not as several lines.
        SpecError: the domain cannot make several lines from one.
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
    """Return the file of a path; if there is none, try the endings of the kinds."""
    if path.is_file():
        return path
    longer = (Path(f"{path}{ending}") for kind in kinds for ending in kind.endings)
    return next((there for there in longer if there.is_file()), path)


def kind_of(path: Path, kinds: Sequence[SourceKind]) -> SourceKind:
    """Return the kind of a file. Raises RecordingError if the file is missing or of none of the kinds."""
    if not path.is_file():
        for kind in kinds:
            if kind.is_inside is not None and kind.is_inside(path):
                return kind
        raise RecordingError(f"no such file to replay: {path}; check the path")
    for kind in kinds:
        if kind.recognises(path):
            return kind
    raise RecordingError(
        f"{path} cannot be replayed; supported kinds of file are: {', '.join(kind.name for kind in kinds)}"
    )
