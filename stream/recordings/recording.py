"""Recordings: the records of any topic in Parquet, byte for byte, readable whatever ended them.

A recording grows by row groups. Each is written as a small Parquet file of its own, whose last four bytes are a
trailer of ours instead of Parquet's magic; the trailer says where the small file began. So a file that was cut off
anywhere, by SIGKILL or a full disk, is read back from its last whole trailer to its beginning. Closing adds one footer
for all row groups (``stream.recordings.parquet_footer``), after which the file is plain Parquet for any tool;
``repair`` does the same for a file that was cut off.
"""

from __future__ import annotations

import contextlib
import mmap
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.parquet as pq

from stream.errors import RecordingError
from stream.recordings.parquet_footer import MAGIC, JointFooter
from stream.recordings.recording_format import (
    LATER_COLUMNS,
    READ_ROWS,
    RECORD_BYTES,
    ROW_GROUP_BYTES,
    SCHEMA,
    TRAILER,
    TRAILER_MAGIC,
    Part,
    RecordedMessage,
    small_parquet,
)

__all__ = [
    "RecordedMessage",
    "Recording",
    "RecordingWriter",
    "is_recording",
    "open_recording",
    "read_recording",
    "repair",
]


class RecordingWriter:
    """Writes a recording.

    Args:
        path: where; what is there is replaced.
        keep: what is written is at ``path`` from the first row group on and stays there whatever happens; else the
            file appears under its name only when complete, and an error leaves nothing.

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
            raise RecordingError(f"cannot write {path}: {error.strerror or error}") from error
        self._footer = JointFooter()
        self._rows: list[RecordedMessage] = []
        self._bytes = 0
        self.count = 0
        """Records taken."""
        self.size = 0
        """Bytes of the file so far."""

    def write(self, message: RecordedMessage) -> None:
        """Append one record; from time to time a row group goes to the file."""
        self._rows.append(message)
        self._bytes += len(message.value or b"") + RECORD_BYTES
        self.count += 1
        if self._bytes >= ROW_GROUP_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what was gathered as a row group; from then on it outlives a kill."""
        if self._rows:
            self._append(small_parquet(self._rows), len(self._rows))
            self._rows, self._bytes = [], 0

    def close(self) -> None:
        """Write what is left and the footer, and give the file its name."""
        if self._file.closed:
            return
        try:
            self.flush()
            if not self.size:
                self._append(small_parquet([]), 0)
            self._put(self._footer.encoded())
            os.fsync(self._file.fileno())
        finally:
            self._file.close()
        if not self._keep:
            os.replace(self._target, self.path)

    def _append(self, parquet: pa.Buffer, rows: int) -> None:
        data = memoryview(parquet)
        self._footer.add(data, self.size)
        self._put(b"".join([data[: -len(MAGIC)], TRAILER.pack(TRAILER_MAGIC, self.size, rows)]))

    def _put(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[self._file.write(view) :]
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file.fileno(), self.size)
            raise RecordingError(f"cannot write {self.path}: {error.strerror or error}") from error
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
    """A recording that was opened.

    Attributes:
        path: of the file.
        count: records in it.
        complete: whether it was closed; else it holds what was written up to the last row group.
    """

    def __init__(self, path: Path, parts: Sequence[Part] | None) -> None:
        self.path = path
        self.complete = parts is None
        self._parts = parts
        if parts is None:
            self.count = sum(whole.metadata.num_rows for whole in self._files())
        else:
            self.count = sum(part.rows for part in parts)

    def _files(self) -> Iterator[pq.ParquetFile]:
        """The file, or the small files of one that was cut off, one at a time in memory."""
        if self._parts is None:
            with pq.ParquetFile(self.path, page_checksum_verification=True) as whole:
                _check_columns(self.path, whole)
                yield whole
            return
        with self.path.open("rb") as file:
            for part in self._parts:
                small = pa.BufferReader(part.read(file))
                yield pq.ParquetFile(small, page_checksum_verification=True)

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Some columns, in the order of the file.

        Raises:
            RecordingError: a row group is damaged.
        """
        wanted = [name for name in SCHEMA.names if name in columns]
        try:
            for part in self._files():
                there = [name for name in wanted if name in part.schema_arrow.names]
                schema = pa.schema([SCHEMA.field(name) for name in there])
                for batch in part.iter_batches(batch_size=READ_ROWS, columns=there):
                    yield batch.select(there).cast(schema)
        except (pa.ArrowException, OSError) as error:
            raise RecordingError(f"{self.path} is damaged or no recording: {error}") from error

    def messages(self) -> Iterator[RecordedMessage]:
        """Its records in their order, one row group in memory at a time. Raises as ``batches``."""
        for batch in self.batches(SCHEMA.names):
            for row in batch.to_pylist():
                row["headers"] = [
                    (header["key"].decode("utf-8", "surrogateescape"), header["value"])
                    for header in row["headers"] or ()
                ]
                yield RecordedMessage(**row)


def open_recording(path: Path) -> Recording:
    """Open a recording, also one whose writing was cut off.

    Raises:
        RecordingError: no such file, not Parquet, or not a recording of ours.
    """
    if not path.is_file():
        raise RecordingError(f"no such recording: {path}")
    try:
        try:
            return Recording(path, None)
        except (pa.ArrowException, OSError):
            # Bytes of a file that was cut off can end as Parquet ends; Arrow says either.
            return Recording(path, _whole_parts(path))
    except OSError as error:
        raise RecordingError(f"cannot read {path}: {error.strerror or error}") from error


def is_recording(path: Path) -> bool:
    """Whether a file is a recording, or Parquet that was cut off and may be one."""
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            return False
    try:
        return {"topic", "offset", "value"} <= set(pq.read_schema(path).names)
    except (pa.ArrowException, OSError):
        return True


def read_recording(path: Path) -> Iterator[RecordedMessage]:
    """Records of a recording in their order, one row group in memory at a time.

    Raises:
        RecordingError: see ``open_recording``; also when a row group is damaged.
    """
    yield from open_recording(path).messages()


def repair(path: Path) -> Recording:
    """Make plain Parquet, which any tool reads, of a recording that was cut off; a whole one is left as it is.

    Nothing is lost by it: what is taken away is the rest of a row group that was never whole.

    Raises:
        RecordingError: as ``open_recording``, or the file cannot be written.
    """
    recording = open_recording(path)
    if recording.complete:
        return recording
    footer = JointFooter()
    parts = _whole_parts(path)
    try:
        with path.open("r+b") as file:
            for part in parts:
                footer.add(part.read(file), part.first)
            file.truncate(parts[-1].end + TRAILER.size)
            file.seek(0, os.SEEK_END)
            file.write(footer.encoded())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise RecordingError(f"cannot repair {path}: {error.strerror or error}") from error
    return open_recording(path)


def _whole_parts(path: Path) -> list[Part]:
    """Every small file of a recording that was cut off.

    Raises:
        RecordingError: there is none.
    """
    if path.stat().st_size:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            end = data.rfind(TRAILER_MAGIC)
            while end >= 0:
                if parts := _chain(data, end):
                    return parts
                end = data.rfind(TRAILER_MAGIC, 0, end)
    raise RecordingError(f"{path} is not a Parquet file, and no row group of a recording is whole in it")


def _chain(data: mmap.mmap, end: int) -> list[Part]:
    """Small files back from the trailer at ``end``; empty where that is none, but bytes that look like one."""
    parts: list[Part] = []
    while end >= 0 and end + TRAILER.size <= len(data):
        magic, first, rows = TRAILER.unpack_from(data, end)
        if magic != TRAILER_MAGIC or first >= end or data[first : first + len(MAGIC)] != MAGIC:
            return []
        parts.append(Part(first, end, rows))
        if first == 0:
            return parts[::-1]
        end = first - TRAILER.size
    return []


def _check_columns(path: Path, file: pq.ParquetFile) -> None:
    missing = set(SCHEMA.names) - LATER_COLUMNS - set(file.schema_arrow.names)
    if missing:
        raise RecordingError(
            f"{path} is Parquet but not a recording: it lacks the columns {', '.join(sorted(missing))}"
        )
