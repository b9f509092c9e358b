"""One footer for several Parquet files that were written one after another into one file.

Parquet keeps its table of contents, the footer, at the end, so a file that grows has none until it is closed, and
Arrow cannot append. Here every row group is first a whole small Parquet file; afterwards one more footer, at the very
end, lists the row groups of all of them at the places where they lie. The small footers in between stay as bytes that
no reader looks at, as the format allows.

A footer is Thrift in compact protocol; of it only places in the file are changed, whatever else it holds is kept.
Source: apache/parquet-format, ``parquet.thrift``; apache/thrift, ``thrift-compact-protocol.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from stream.errors import RecordingError

MAGIC = b"PAR1"
TAIL_BYTES = 8
"""Length of the footer, 4 bytes, and the magic."""

TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = range(1, 13)
MAX_DEPTH = 32
"""A footer nests five deep; a damaged one must not recurse without end."""

# Fields of parquet.thrift.
FILE_ROWS, FILE_ROW_GROUPS = 3, 4
GROUP_COLUMNS, GROUP_FILE_OFFSET, GROUP_ORDINAL = 1, 5, 7
CHUNK_FILE_OFFSET, CHUNK_META, CHUNK_OFFSET_INDEX, CHUNK_COLUMN_INDEX = 2, 3, 4, 6
META_PLACES = (9, 10, 11, 14)
"""Data page, index page, dictionary page, Bloom filter."""


@dataclass(slots=True)
class _Struct:
    fields: dict[int, tuple[int, Any]]
    """Id → type and value, in the order of the ids."""


@dataclass(slots=True)
class _List:
    kind: int
    items: list[Any]


@dataclass(frozen=True, slots=True)
class _Raw:
    """A value that is encoded already."""

    encoded: bytes


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def _byte(self) -> int:
        value = self._data[self._at]
        self._at += 1
        return value

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    def _zigzag(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)

    def _bytes(self, count: int) -> bytes:
        if count > len(self._data) - self._at:
            raise IndexError("beyond the end")
        self._at += count
        return self._data[self._at - count : self._at]

    def struct(self, depth: int = 0) -> _Struct:
        fields: dict[int, tuple[int, Any]] = {}
        number = 0
        while header := self._byte():
            kind, delta = header & 0x0F, header >> 4
            number = number + delta if delta else self._zigzag()
            fields[number] = (kind, self._value(kind, depth + 1))
        return _Struct(fields)

    def _value(self, kind: int, depth: int, *, in_list: bool = False) -> Any:
        if depth > MAX_DEPTH:
            raise ValueError("nested too deep")
        if kind in (TRUE, FALSE):
            # A field's type is its value; in a list it is a byte.
            return self._byte() if in_list else kind
        if kind == BYTE:
            return self._byte()
        if kind in (I16, I32, I64):
            return self._zigzag()
        if kind == DOUBLE:
            return self._bytes(8)
        if kind == BINARY:
            return self._bytes(self._varint())
        if kind in (LIST, SET):
            header = self._byte()
            count, of = header >> 4, header & 0x0F
            count = self._varint() if count == 15 else count
            return _List(of, [self._value(of, depth + 1, in_list=True) for _ in range(count)])
        if kind == STRUCT:
            return self.struct(depth)
        raise ValueError(f"a field of type {kind}")


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _zigzag(value: int) -> bytes:
    return _varint(value << 1 if value >= 0 else (-value << 1) - 1)


def _encode(kind: int, value: Any) -> bytes:
    if isinstance(value, _Raw):
        return value.encoded
    if kind in (TRUE, FALSE, BYTE):
        return bytes([value])
    if kind in (I16, I32, I64):
        return _zigzag(value)
    if kind == BINARY:
        return _varint(len(value)) + bytes(value)
    if kind in (LIST, SET):
        count = len(value.items)
        header = bytes([count << 4 | value.kind]) if count < 15 else bytes([0xF0 | value.kind]) + _varint(count)
        return header + b"".join(_encode(value.kind, item) for item in value.items)
    if kind == STRUCT:
        return _encode_struct(value)
    return bytes(value)


def _encode_struct(value: _Struct) -> bytes:
    out, last = [], 0
    for number, (kind, field) in value.fields.items():
        delta = number - last
        out.append(bytes([delta << 4 | kind]) if 0 < delta < 16 else bytes([kind]) + _zigzag(number))
        if kind not in (TRUE, FALSE):
            out.append(_encode(kind, field))
        last = number
    return b"".join(out) + b"\0"


def _shift(struct: _Struct, numbers: Sequence[int], by: int) -> None:
    for number in numbers:
        if number in struct.fields:
            kind, place = struct.fields[number]
            # Writers of today leave a chunk's own place at 0, "not said".
            struct.fields[number] = (kind, place + by if place else place)


def _moved_group(group: _Struct, by: int) -> bytes:
    group.fields.pop(GROUP_ORDINAL, None)
    _shift(group, [GROUP_FILE_OFFSET], by)
    for chunk in group.fields[GROUP_COLUMNS][1].items:
        _shift(chunk, [CHUNK_FILE_OFFSET, CHUNK_OFFSET_INDEX, CHUNK_COLUMN_INDEX], by)
        _shift(chunk.fields[CHUNK_META][1], META_PLACES, by)
    return _encode_struct(group)


class JointFooter:
    """Gathers the footers of small Parquet files of one schema, and makes the one that joins them."""

    def __init__(self) -> None:
        self._first: _Struct | None = None
        self._groups: list[_Raw] = []
        self._rows = 0

    def add(self, parquet: bytes | memoryview, place: int) -> None:
        """Take a whole small Parquet file that lies at ``place`` of the large one.

        Raises:
            RecordingError: its footer cannot be read.
        """
        length = int.from_bytes(parquet[-TAIL_BYTES:-4], "little")
        footer = bytes(parquet[-TAIL_BYTES - length : -TAIL_BYTES])
        try:
            tree = _Reader(footer).struct()
            groups = tree.fields[FILE_ROW_GROUPS][1].items
            moved = [_Raw(_moved_group(group, place)) for group in groups]
            rows = tree.fields[FILE_ROWS][1]
        except (IndexError, KeyError, ValueError, TypeError, AttributeError) as error:
            raise RecordingError(f"the Parquet footer of the row group at byte {place} is damaged: {error!r}") from None
        self._groups += moved
        self._rows += rows
        if self._first is None:
            self._first = tree

    def encoded(self) -> bytes:
        """Footer, its length and the magic: what ends the large file. ``add`` must have been called once."""
        if self._first is None:
            raise RecordingError("a Parquet footer needs at least one row group")
        fields = {
            **self._first.fields,
            FILE_ROWS: (I64, self._rows),
            FILE_ROW_GROUPS: (LIST, _List(STRUCT, list(self._groups))),
        }
        footer = _encode_struct(_Struct(dict(sorted(fields.items()))))
        return footer + len(footer).to_bytes(4, "little") + MAGIC
