"""Write and read recordings: the records of any topic in Parquet, byte for byte, readable even if cut off.

Parquet stores its metadata at the end, so an unfinished file has none. A recording is therefore written in Arrow's
stream format first, which is made for incremental writing: a file that was cut off anywhere, by SIGKILL or a full disk,
is readable up to its last complete batch. Closing converts the batches to Parquet, which replaces the stream;
``repair`` does the same for a file that was cut off.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import pyarrow as pa
import pyarrow.parquet as pq

from stream.errors import RecordingError

__all__ = [
    "RecordedHeaders",
    "RecordedMessage",
    "Recording",
    "RecordingWriter",
    "is_recording",
    "open_recording",
    "read_recording",
    "repair",
]

FORMAT = b"faultline-recording-2"
"""Format of new recordings. Format 1 had no ``timestamp_type`` and can still be read."""
SCHEMA = pa.schema(
    [
        ("topic", pa.string()),
        ("partition", pa.int32()),
        ("offset", pa.int64()),
        ("timestamp_ms", pa.int64()),
        ("timestamp_type", pa.int8()),
        ("key", pa.binary()),
        ("value", pa.binary()),
        ("headers", pa.list_(pa.struct([("key", pa.binary()), ("value", pa.binary())]))),
    ],
    metadata={b"format": FORMAT},
)
HEADER = SCHEMA.field("headers").type.value_type
LATER_COLUMNS = frozenset({"timestamp_type"})
"""Columns that recordings of format 1 lack."""
BATCH_BYTES = 8 * 1024 * 1024
"""Size of a batch, later a row group, in bytes of values: large enough to compress, small enough for memory."""
RECORD_BYTES = 64
"""Bytes counted per record in addition to its value, so that many small records fill a batch too."""
READ_ROWS = 256
"""Number of rows converted to records at a time; more would delay a paced replay (10 µs each)."""
REPEATING = ["topic", "partition", "timestamp_type", "key", "headers.list.element.key", "headers.list.element.value"]
"""Columns that are stored with a dictionary, which saves space; the records' values are all different."""
RISING = {"offset": "DELTA_BINARY_PACKED", "timestamp_ms": "DELTA_BINARY_PACKED"}

PARQUET, STREAM = b"PAR1", b"\xff\xff\xff\xff"
"""First bytes of a finished recording, and of an unfinished one."""
COMPRESSED = pa.ipc.IpcWriteOptions(compression="zstd")

RecordedHeaders = Sequence[tuple[str, bytes | None]]
"""Headers; invalid UTF-8 bytes of a name are surrogates (PEP 383), as in ``kafka.reading.tolerant_parser``."""


@dataclass(frozen=True, slots=True)
class RecordedMessage:
    """Record as it was on its topic.

    Attributes:
        timestamp_ms: Unix time in ms; −1 if the broker had none.
        timestamp_type: 0 if the sender set the timestamp, 1 if the broker set it at the append.
    """

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: RecordedHeaders = field(default_factory=list)
    timestamp_type: int = 0


class RecordingWriter:
    """Writer of a recording.

    Args:
        path: path of the recording; an existing file is replaced.
        keep: True writes every batch to ``path`` at once and keeps the file after an error; False gives the file its
            name only when it is complete, and removes it after an error.

    Raises:
        RecordingError: the file cannot be written.

    Example:
        >>> import tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "r.parquet"
        >>> with RecordingWriter(path) as writer:
        ...     writer.write(RecordedMessage("t", 0, 0, 1, b"k", b"v"))
        >>> [message.value for message in read_recording(path)]
        [b'v']
    """

    def __init__(self, path: Path, *, keep: bool = False) -> None:
        self.path = path
        self._keep = keep
        self._target = path if keep else path.with_name(path.name + ".partial")
        try:
            self._file = self._target.open("wb", buffering=0)
        except OSError as error:
            raise RecordingError(f"cannot write {path}: {error.strerror or error}; choose another path") from error
        self._encoded = io.BytesIO()
        self._stream = pa.ipc.new_stream(self._encoded, SCHEMA, options=COMPRESSED)
        self._rows: list[RecordedMessage] = []
        self._bytes = 0
        self.count = 0
        """Number of records written."""
        self.size = 0
        """Current size of the file in bytes."""

    def write(self, message: RecordedMessage) -> None:
        """Append one record; a full batch is written to the file."""
        self._rows.append(message)
        self._bytes += len(message.value or b"") + RECORD_BYTES
        self.count += 1
        if self._bytes >= BATCH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write the collected records as a batch, which then survives a kill."""
        if not self._rows:
            return
        self._stream.write_batch(_batch(self._rows))
        self._put(self._encoded.getvalue())
        self._encoded.seek(0)
        self._encoded.truncate()
        self._rows, self._bytes = [], 0

    def close(self) -> None:
        """Write the remaining records, convert the file to Parquet, and give it its name.

        Raises:
            RecordingError: the disk is full; with ``keep`` the batches stay at ``path`` and can be read there.
        """
        if self._file.closed:
            return
        with self._file:
            self.flush()
            os.fsync(self._file.fileno())
        self.size = _finish(self._target, self.path)

    def _put(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[self._file.write(view) :]
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file.fileno(), self.size)
            raise RecordingError(
                f"cannot write {self.path}: {error.strerror or error}; free disk space or choose another path"
            ) from error
        self.size += len(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None or self._keep:
            self.close()
        else:
            self._file.close()
            self._target.unlink(missing_ok=True)


class Recording:
    """Opened recording.

    Attributes:
        path: path of the file.
        count: number of records.
        complete: True if the recording was closed; otherwise it contains the records up to the last complete batch.
    """

    def __init__(self, path: Path, complete: bool) -> None:
        self.path = path
        self.complete = complete
        if complete:
            with self._parquet() as file:
                self.count = file.metadata.num_rows
        else:
            with path.open("rb") as stream:
                self.count = sum(batch.num_rows for batch in _whole_batches(stream))

    def _parquet(self) -> pq.ParquetFile:
        file = pq.ParquetFile(self.path, page_checksum_verification=True)
        missing = set(SCHEMA.names) - LATER_COLUMNS - set(file.schema_arrow.names)
        if missing:
            file.close()
            raise RecordingError(
                f"{self.path} is Parquet but not a recording: it lacks the columns "
                f"{', '.join(sorted(missing))}; give a file written by faultline record"
            )
        return file

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yield batches of some columns, in the order of the file.

        Raises:
            RecordingError: the file is damaged.
        """
        wanted = [name for name in SCHEMA.names if name in columns]
        try:
            if not self.complete:
                with self.path.open("rb") as stream:
                    for batch in _whole_batches(stream):
                        yield from _slices(batch.select(wanted))
                return
            with self._parquet() as file:
                there = [name for name in wanted if name in file.schema_arrow.names]
                schema = pa.schema([SCHEMA.field(name) for name in there])
                for batch in file.iter_batches(batch_size=READ_ROWS, columns=there):
                    yield batch.select(there).cast(schema)
        except (pa.ArrowException, OSError) as error:
            raise RecordingError(
                f"{self.path} is damaged or not a recording: {error}; copy it again or record again"
            ) from error

    def messages(self) -> Iterator[RecordedMessage]:
        """Yield the records in order, with one row group in memory at a time. Raises the same errors as ``batches``."""
        for batch in self.batches(SCHEMA.names):
            for row in batch.to_pylist():
                row["headers"] = [
                    (header["key"].decode("utf-8", "surrogateescape"), header["value"])
                    for header in row["headers"] or ()
                ]
                yield RecordedMessage(**row)


def open_recording(path: Path) -> Recording:
    """Open a recording, even one that was cut off.

    Raises:
        RecordingError: there is no such file, it is not Parquet, or not a recording.
    """
    if not path.is_file():
        raise RecordingError(f"no such recording: {path}; check the path")
    try:
        with path.open("rb") as file:
            complete = file.read(len(STREAM)) != STREAM
        recording = Recording(path, complete)
    except pa.ArrowException as error:
        raise RecordingError(
            f"{path} is not a Parquet file, or its end is missing: copy it again. A recording that Faultline 0.1 left"
            f" unfinished can only be repaired by that version's faultline record --repair ({error})"
        ) from error
    except OSError as error:
        raise RecordingError(f"cannot read {path}: {error.strerror or error}; check its permissions") from error
    if not complete and not recording.count:
        raise RecordingError(f"{path} was cut off before its first batch of records was complete: record again")
    return recording


def is_recording(path: Path) -> bool:
    """Return True if a file is a recording, or may be one that was cut off."""
    with path.open("rb") as file:
        magic = file.read(len(PARQUET))
        if magic not in (PARQUET, STREAM):
            return False
        file.seek(0)
        try:
            schema = pq.read_schema(path) if magic == PARQUET else pa.ipc.open_stream(file).schema
        except (pa.ArrowException, OSError):
            return True
    return {"topic", "offset", "value"} <= set(schema.names)


def read_recording(path: Path) -> Iterator[RecordedMessage]:
    """Yield the records of a recording in order, with one row group in memory at a time.

    Raises:
        RecordingError: see ``open_recording``; or a row group is damaged.
    """
    yield from open_recording(path).messages()


def repair(path: Path) -> Recording:
    """Convert a recording that was cut off to Parquet, which any tool reads; leave a complete one unchanged.

    Only an incomplete last batch is dropped.

    Raises:
        RecordingError: see ``open_recording``; or the file cannot be written.
    """
    recording = open_recording(path)
    if recording.complete:
        return recording
    _finish(path, path)
    return open_recording(path)


def _finish(stream: Path, path: Path) -> int:
    """Replace a stream by a Parquet file at ``path`` with its complete batches; return the size of the file."""
    partial = path.with_name(path.name + ".finishing")
    try:
        with stream.open("rb") as source, partial.open("wb") as sink:
            with pq.ParquetWriter(
                sink,
                SCHEMA,
                compression="zstd",
                use_dictionary=REPEATING,
                column_encoding=RISING,
                write_statistics=["partition", "offset", "timestamp_ms"],
                write_page_checksum=True,
            ) as writer:
                for batch in _whole_batches(source):
                    writer.write_batch(batch)
            sink.flush()
            os.fsync(sink.fileno())
            size = sink.tell()
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise RecordingError(
            f"cannot finish {path} as Parquet: {error.strerror or error}; the records stay in {stream}, which can"
            f" be replayed; free disk space, then run: faultline record --repair {stream}"
        ) from error
    if stream != path:
        stream.unlink()
    return size


def _whole_batches(stream: BinaryIO) -> Iterator[pa.RecordBatch]:
    """Yield the complete batches of a stream, up to the point where it was cut off. An empty file has none.

    Raises:
        ArrowException: a batch before the end of the file is damaged.
        OSError: the same, as Arrow reports it for some kinds of damage.
    """
    try:
        yield from pa.ipc.open_stream(stream)
    except (pa.ArrowException, OSError):
        if stream.read(1):
            raise


def _slices(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    for first in range(0, batch.num_rows, READ_ROWS):
        yield batch.slice(first, READ_ROWS)


def _batch(rows: Sequence[RecordedMessage]) -> pa.RecordBatch:
    offsets, names, values = [0], [], []
    for row in rows:
        for name, value in row.headers:
            names.append(name.encode("utf-8", "surrogateescape"))
            values.append(value)
        offsets.append(len(names))
    header = pa.StructArray.from_arrays(
        [pa.array(names, pa.binary()), pa.array(values, pa.binary())], fields=list(HEADER)
    )
    columns = [
        *(pa.array([getattr(row, name) for row in rows], SCHEMA.field(name).type) for name in SCHEMA.names[:-1]),
        pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), header),
    ]
    return pa.record_batch(columns, schema=SCHEMA)
