"""What a recording is made of: the columns of its Parquet, its row groups, and the trailer between them."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from stream.recordings.parquet_footer import MAGIC

FORMAT = b"faultline-recording-2"
"""Of what we write; 1 had no ``timestamp_type`` and is read as well."""
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
"""Not in recordings of format 1."""
ROW_GROUP_BYTES = 8 * 1024 * 1024
"""Values gathered before a row group is written: large enough for compression, small enough to hold in memory."""
RECORD_BYTES = 64
"""What a record weighs beside its value, so that many small ones fill a row group too."""
READ_ROWS = 256
"""Turned into records at a time: more would make a paced replay stumble (10 µs each)."""
TRAILER = struct.Struct("<8sQQ")
"""Magic, where the small Parquet file begins, and how many records it has."""
TRAILER_MAGIC = b"FLTREC\x02\n"
REPEATING = ["topic", "partition", "timestamp_type", "key", "headers.list.element.key", "headers.list.element.value"]
"""Columns of which a dictionary is worth while; values are all different."""
RISING = {"offset": "DELTA_BINARY_PACKED", "timestamp_ms": "DELTA_BINARY_PACKED"}

RecordedHeaders = Sequence[tuple[str, bytes | None]]
"""Names with the bytes that are not UTF-8 as surrogates (PEP 383), as ``stream.kafka.tolerant_parser`` has them."""


@dataclass(frozen=True, slots=True)
class RecordedMessage:
    """One record as it was on its topic.

    Attributes:
        timestamp_ms: Unix ms; −1 where the broker had none.
        timestamp_type: 0 set by the sender, 1 set by the broker when it was appended.
    """

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: RecordedHeaders = field(default_factory=list)
    timestamp_type: int = 0


@dataclass(frozen=True, slots=True)
class Part:
    """One row group as a small Parquet file: its bytes ``first … end`` of the recording, the last magic left out."""

    first: int
    end: int
    rows: int

    def read(self, file: BinaryIO) -> bytes:
        """The small file, whole."""
        file.seek(self.first)
        return file.read(self.end - self.first) + MAGIC


def small_parquet(rows: Sequence[RecordedMessage]) -> pa.Buffer:
    """A whole Parquet file with one row group."""
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
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(
        sink,
        SCHEMA,
        compression="zstd",
        use_dictionary=REPEATING,
        column_encoding=RISING,
        write_statistics=["partition", "offset", "timestamp_ms"],
        write_page_checksum=True,
    ) as writer:
        if rows:
            writer.write_batch(pa.record_batch(columns, schema=SCHEMA))
    return sink.getvalue()
