"""Recordings: the records of any topic in Parquet, byte for byte."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.parquet as pq

from stream.errors import RecordingError

FORMAT = b"faultline-recording-1"
SCHEMA = pa.schema(
    [
        ("topic", pa.string()),
        ("partition", pa.int32()),
        ("offset", pa.int64()),
        ("timestamp_ms", pa.int64()),
        ("key", pa.binary()),
        ("value", pa.binary()),
        ("headers", pa.list_(pa.struct([("key", pa.string()), ("value", pa.binary())]))),
    ],
    metadata={b"format": FORMAT},
)
ROW_GROUP_BYTES = 8 * 1024 * 1024
"""Values gathered before a row group is written: large enough for compression, small enough to hold in memory."""


@dataclass(frozen=True, slots=True)
class RecordedMessage:
    """One record as it was on its topic."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]] = field(default_factory=list)


class RecordingWriter:
    """Writes a recording; a file appears under its name only when complete.

    Example:
        >>> import tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "r.parquet"
        >>> with RecordingWriter(path) as writer:
        ...     writer.write(RecordedMessage("t", 0, 0, 1, b"k", b"v"))
        >>> [message.value for message in read_recording(path)]
        [b'v']
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._partial = path.with_name(path.name + ".partial")
        try:
            self._writer = pq.ParquetWriter(self._partial, SCHEMA, compression="zstd")
        except OSError as error:
            raise RecordingError(f"cannot write {path}: {error.strerror or error}") from error
        self._rows: list[RecordedMessage] = []
        self._bytes = 0
        self.count = 0

    def write(self, message: RecordedMessage) -> None:
        """Append one record."""
        self._rows.append(message)
        self._bytes += len(message.value or b"") + 64
        self.count += 1
        if self._bytes >= ROW_GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        if not self._rows:
            return
        rows = self._rows
        columns = [
            pa.array([row.topic for row in rows], pa.string()),
            pa.array([row.partition for row in rows], pa.int32()),
            pa.array([row.offset for row in rows], pa.int64()),
            pa.array([row.timestamp_ms for row in rows], pa.int64()),
            pa.array([row.key for row in rows], pa.binary()),
            pa.array([row.value for row in rows], pa.binary()),
            pa.array(
                [[{"key": k, "value": v} for k, v in row.headers] for row in rows],
                SCHEMA.field("headers").type,
            ),
        ]
        self._writer.write_batch(pa.record_batch(columns, schema=SCHEMA))
        self._rows, self._bytes = [], 0

    def close(self) -> None:
        """Write what is left and give the file its name."""
        self._flush()
        self._writer.close()
        os.replace(self._partial, self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._writer.close()
            self._partial.unlink(missing_ok=True)


def open_recording(path: Path) -> pq.ParquetFile:
    """The Parquet file of a recording, its schema checked.

    Raises:
        RecordingError: no such file, not Parquet, or not a recording of ours.
    """
    if not path.is_file():
        raise RecordingError(f"no such recording: {path}")
    try:
        recording = pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise RecordingError(f"{path} is not a Parquet file: {error}") from error
    missing = set(SCHEMA.names) - set(recording.schema_arrow.names)
    if missing:
        raise RecordingError(
            f"{path} is Parquet but not a recording: it lacks the columns {', '.join(sorted(missing))}"
        )
    return recording


def read_recording(path: Path) -> Iterator[RecordedMessage]:
    """Records of a recording in their order, one row group in memory at a time.

    Raises:
        RecordingError: see ``open_recording``; also when a row group is damaged.
    """
    recording = open_recording(path)
    try:
        for batch in recording.iter_batches(batch_size=4096, columns=SCHEMA.names):
            for row in batch.select(SCHEMA.names).cast(SCHEMA).to_pylist():
                headers = [(header["key"], header["value"]) for header in row["headers"] or []]
                yield RecordedMessage(**{**row, "headers": headers})
    except (pa.ArrowException, OSError) as error:
        raise RecordingError(f"{path} is damaged or no recording: {error}") from error
