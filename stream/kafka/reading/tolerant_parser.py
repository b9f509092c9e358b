"""Parse fetched records despite header names that are not UTF-8, into lightweight record objects.

To Kafka's broker a header name is bytes. aiokafka's parser decodes it and raises if it cannot. The record, those after
it in its batch, and the records that the same fetch drained from other partitions can then never be read. Here such a
batch is parsed again by aiokafka's parser in Python, on a buffer that decodes any name and keeps invalid bytes as
surrogates (PEP 383); ``stream.detection.decode`` makes a dead letter of the record.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import msgspec
from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords

LENGTH = struct.Struct(">8xi")
"""Beginning of every batch: its offset (8 bytes, skipped) and the length of the rest."""


class _AnyNameBytes(bytearray):
    """Bytes whose slices decode any content."""

    def __getitem__(self, at: Any) -> Any:
        found = super().__getitem__(at)
        return _AnyNameBytes(found) if isinstance(at, slice) else found

    def decode(self, encoding: str = "utf-8", errors: str = "surrogateescape") -> str:
        return super().decode(encoding, errors)


class _AnyNameBatch(_DefaultRecordBatchPy):  # type: ignore[misc]
    """aiokafka's batch in Python on ``_AnyNameBytes``; it decodes header names only."""

    def __iter__(self) -> Iterator[Any]:
        super().__iter__()
        self._buffer: Any = _AnyNameBytes(self._buffer)
        return self


class _TolerantBatch:
    """Batch of aiokafka that is parsed again from the first header name that is not UTF-8."""

    def __init__(self, batch: Any, data: memoryview) -> None:
        self._batch = batch
        self._data = data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:
        return next(self._batch)

    def __iter__(self) -> Iterator[Any]:
        parsed = 0
        try:
            for record in self._batch:
                parsed += 1
                yield record
            return
        except (UnicodeDecodeError, CorruptRecordException) as error:
            # The parser in Python wraps the error that the parser in C raises directly.
            if not isinstance(error, UnicodeDecodeError) and not isinstance(error.__cause__, UnicodeDecodeError):
                raise
        for index, record in enumerate(_AnyNameBatch(self._data)):
            if index >= parsed:
                yield record


class TolerantRecords:
    """aiokafka's ``MemoryRecords`` (the batches of a fetched partition), with tolerant batches.

    Args:
        data: bytes as the broker sent them.
    """

    def __init__(self, data: bytes) -> None:
        self._records = MemoryRecords(data)
        self._data = memoryview(data)
        self._next = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._records, name)

    def next_batch(self) -> _TolerantBatch:
        """Return the next batch; call ``has_next`` before."""
        begin = self._next
        self._next = begin + LENGTH.size + LENGTH.unpack_from(self._data, begin)[0]
        return _TolerantBatch(self._records.next_batch(), self._data[begin : self._next])


class FetchedRecord(msgspec.Struct, gc=False):
    """Fields of aiokafka's ``ConsumerRecord`` that Faultline uses, in an object that is faster to create.

    Garbage collection does not track it, because it cannot be part of a reference cycle.
    """

    topic: str
    partition: int
    offset: int
    timestamp: int
    timestamp_type: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


def _fetched_record(_: Any, tp: Any, record: Any) -> FetchedRecord:
    """Replace ``PartitionRecords._consumer_record``; Faultline's consumers have no deserialisers."""
    return FetchedRecord(
        tp.topic,
        tp.partition,
        record.offset,
        record.timestamp,
        record.timestamp_type,
        record.key,
        record.value,
        tuple(record.headers),
    )


def patch_aiokafka_parser() -> None:
    """Make every consumer of this process parse with these classes; further calls have no effect.

    This is a monkey patch of ``aiokafka.consumer.fetcher``: the fetcher takes its parser and its record class from
    module and class attributes, and aiokafka has no argument or hook to give it others.
    """
    fetcher.MemoryRecords = TolerantRecords
    fetcher.PartitionRecords._consumer_record = _fetched_record
