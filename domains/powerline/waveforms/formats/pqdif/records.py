"""Read the physical layer of PQDIF: a chain of records, each with a header and a body of tagged elements.

A body is a tree of collections, scalars and vectors whose positions are relative to the body. Sizes and positions are
compared with the bytes that exist before anything is read, and bodies are inflated up to a limit.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from domains.powerline.waveforms.errors import RecordError
from domains.powerline.waveforms.record import Finding
from stream.contract import NS_PER_S

SIGNATURE = UUID("4a111440-e49f-11cf-9900-505144494600").bytes_le
"""First bytes of every record, hence of the file."""
HEADER_BYTES = 64
COLLECTION, SCALAR, VECTOR = 1, 2, 3
NUMBERS = {
    1: "<B", 2: "<H", 3: "<I",
    10: "<B", 11: "<H",
    20: "<b", 21: "<h", 22: "<i",
    30: "<B", 31: "<H", 32: "<I",
    40: "<f", 41: "<d",
}  # fmt: skip
"""Codes of numbers by their types: booleans, characters, whole numbers, real numbers."""
CHAR1, CHAR2, TIMESTAMP, GUID = 10, 11, 50, 60
STAMP = np.dtype([("day", "<u4"), ("seconds", "<f8")])
UNIX_DAY = 25569
"""Day number of 1970-01-01. The days count from 1900-01-01 as Excel does, which is two days more than the calendar."""
LAST_DAY = UNIX_DAY + 100_000
MAX_RATIO = 100
"""Largest ratio of inflated bytes to the size of the file, beyond ``LEAST_INFLATED``; waveforms reach 10."""
LEAST_INFLATED = 32 << 20
MAX_TEXT = 4096
"""Largest number of characters that are read of a text."""
MAX_COLLECTION = 100_000
"""Largest number of elements of one collection."""
MAX_ELEMENTS = 2_000_000
"""Largest number of elements that are read from one record."""
MAX_READINGS = 8
"""Largest number of times that every element is read on average: collections with shared series several times."""
_HEADER = struct.Struct("<16s16s4I16x")
_ELEMENT = struct.Struct("<16sBBBx8s")
_LINK = struct.Struct("<II")
_COUNT = struct.Struct("<I")
_FIRST_CHUNK, _LAST_CHUNK = 4096, 1 << 20
_MAX_STREAMS = 20_000

Bytes = NDArray[np.uint8]


class Element(NamedTuple):
    """Entry of a collection, as stored."""

    tag: bytes
    kind: int
    type: int
    embedded: int
    content: bytes
    """The value itself if it is embedded, else the position and size in the body."""


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A record of the chain.

    Attributes:
        tag: type of the record.
        position: first byte of its header in the file.
        start, stop: bytes of its body in the file.
        checksum: checksum in the header; 0 if it has none.
    """

    tag: bytes
    position: int
    start: int
    stop: int
    checksum: int


class RecordChain:
    """Records of a file in the order of their links.

    Args:
        path: the file, for messages.
        content: bytes of the file.
        max_bytes: largest number of bytes to which all bodies together are inflated.

    Attributes:
        findings: problems of the chain and of the bodies that were read.
    """

    def __init__(self, path: Path, content: Bytes, max_bytes: int) -> None:
        self.path = path
        self.findings: list[Finding] = []
        self.compressed = False
        self._content = content
        self._limit = self._left = min(max_bytes, max(LEAST_INFLATED, MAX_RATIO * len(content)))
        self.records = list(self._walk())
        if sum(record.stop - record.position for record in self.records) > len(content):
            raise RecordError(f"{path}: its records overlap: the file is damaged, copy it again")

    def _walk(self) -> Iterator[StoredRecord]:
        """Yield the records. The chain ends before a link that leads nowhere."""
        content, position, seen = self._content, 0, set[int]()
        while True:
            header = content[position : position + HEADER_BYTES].tobytes()
            if len(header) < HEADER_BYTES or header[:16] != SIGNATURE:
                if position == 0:
                    message = "the file does not begin with a record of PQDIF: it is of another kind, or damaged"
                    raise RecordError.at_byte(self.path, 0, message)
                message = f"no record begins at byte {position}, to which the one before it refers"
                self._warn(f"{message}: the file is not complete, later records are missing")
                return
            seen.add(position)
            _, tag, header_size, size, following, checksum = _HEADER.unpack(header)
            start = position + (header_size if HEADER_BYTES <= header_size <= 4096 else HEADER_BYTES)
            stop = min(start + size, len(content))
            if stop < start + size:
                self._warn(f"the record at byte {position} is cut off at the end of the file")
            yield StoredRecord(tag, position, min(start, stop), stop, checksum)
            if following == 0:
                return
            if following in seen:
                self._warn(f"the records from byte {following} on follow each other in a circle: each is read once")
                return
            position = following

    def _warn(self, message: str) -> None:
        self.findings.append(Finding("warning", "record-damaged", message))

    def body(self, record: StoredRecord) -> Body:
        """Return the body of a record, inflated if it is compressed.

        The content decides, since some writers leave small bodies uncompressed: a compressed body begins with a header
        of zlib, which as a number of elements is more than the body can hold.
        """
        stored = self._content[record.start : record.stop]
        if not _is_compressed(stored):
            self._check(record, stored, stored)
            return Body(self.path, stored, record.position, record.start)
        self.compressed = True
        inflated = self._inflated(record, stored)
        self._check(record, stored, inflated)
        return Body(self.path, inflated, record.position, None)

    def _inflated(self, record: StoredRecord, stored: Bytes) -> Bytes:
        """Inflate a body: usually one stream of zlib, from some writers several in a row.

        The checksum at the end of a stream is compared here instead of by zlib, which would withhold the data.
        """
        inflated = bytearray()
        at = 0
        for _ in range(_MAX_STREAMS):
            if not _is_stream(stored[at : at + 2]):
                break
            first, fed, chunk = len(inflated), at + 2, _FIRST_CHUNK
            stream = zlib.decompressobj(-zlib.MAX_WBITS)
            try:
                while not stream.eof and fed < len(stored):
                    piece = stored[fed : fed + chunk].tobytes()
                    fed, chunk = fed + len(piece), min(2 * chunk, _LAST_CHUNK)
                    inflated += stream.decompress(piece, self._left - len(inflated) + 1)
                    if len(inflated) > self._left:
                        self._left = 0
                        message = f"the bodies unpack to more than {self._limit:,} bytes: export the file in parts"
                        raise RecordError.at_byte(self.path, record.position, message)
            except zlib.error:
                self._warn(f"the compressed body of the record at byte {record.position} is damaged")
                break
            if not stream.eof:
                self._warn(f"the compressed body of the record at byte {record.position} is not complete")
                break
            at = fed - len(stream.unused_data)
            ends = stored[at : at + 4].tobytes()
            at += 4
            if int.from_bytes(ends, "big") != zlib.adler32(memoryview(inflated)[first:]):
                self._warn(f"the checksum of the compressed body at byte {record.position} is wrong: check the data")
        self._left -= len(inflated)
        return np.frombuffer(inflated, np.uint8)

    def _check(self, record: StoredRecord, stored: Bytes, inflated: Bytes) -> None:
        """Report a checksum in the header that fits in none of the usual ways; the standard does not define one."""
        if record.checksum == 0 or _is_checksum(record.checksum, stored):
            return
        if inflated is stored or not _is_checksum(record.checksum, inflated):
            message = f"the checksum of the record at byte {record.position} is not one of its content"
            self.findings.append(Finding("note", "record-checksum", message))


def _is_checksum(checksum: int, content: Bytes) -> bool:
    return checksum in (zlib.adler32(content.data), zlib.crc32(content.data))


def _is_stream(start: Bytes) -> bool:
    """Return True if two bytes are a header of zlib without a preset dictionary."""
    if len(start) < 2:
        return False
    method, flags = int(start[0]), int(start[1])
    return method & 15 == 8 and method >> 4 <= 7 and (method * 256 + flags) % 31 == 0 and not flags & 32


def _is_compressed(stored: Bytes) -> bool:
    if len(stored) < 4 or not _is_stream(stored[:2]):
        return False
    (count,) = _COUNT.unpack(stored[:4].tobytes())
    return bool(4 + count * _ELEMENT.size > len(stored))


class Body:
    """Body of a record.

    Args:
        path: the file, for messages.
        content: bytes of the body.
        position: first byte of the record in the file.
        start: first byte of the body in the file; None if the body was inflated.
    """

    def __init__(self, path: Path, content: Bytes, position: int, start: int | None) -> None:
        self.content = content
        self._bytes = content.data
        self._path = path
        self._position = position
        self._start = start
        self._elements_left = min(MAX_READINGS * len(content) // _ELEMENT.size, MAX_ELEMENTS)

    @property
    def root(self) -> Collection:
        """The first collection, which holds all others."""
        return self.collection(0)

    def error(self, offset: int, message: str) -> RecordError:
        """Return an error at a position in the body."""
        if self._start is not None:
            return RecordError.at_byte(self._path, self._start + offset, message)
        return RecordError.at_byte(self._path, self._position, f"{message} (byte {offset} of the unpacked body)")

    def part(self, offset: int, size: int, what: str) -> memoryview:
        """Return bytes of the body; what: names them for the message if they do not exist."""
        if offset + size > len(self._bytes):
            raise self.error(offset, f"{what} of {size:,} bytes lies outside its record: the file is damaged")
        return self._bytes[offset : offset + size]

    def count(self, offset: int, what: str) -> int:
        """Return the number of entries or values that is stored at a position."""
        return int(_COUNT.unpack(self.part(offset, _COUNT.size, what))[0])

    def collection(self, offset: int) -> Collection:
        """Return the collection at a position."""
        count = self.count(offset, "a collection")
        entries = self.part(offset + _COUNT.size, count * _ELEMENT.size, "a collection")
        self._elements_left -= count
        if self._elements_left < 0 or count > MAX_COLLECTION:
            raise self.error(offset, "the collections of the record overlap or are too large: the file is damaged")
        return Collection(self, map(Element._make, _ELEMENT.iter_unpack(entries)))


class Collection:
    """Elements of a collection, by tag.

    Args:
        body: the body that contains it.
        elements: its elements in their order.
    """

    def __init__(self, body: Body, elements: Iterable[Element]) -> None:
        self.body = body
        self._by_tag: dict[bytes, list[Element]] = {}
        for element in elements:
            self._by_tag.setdefault(element.tag, []).append(element)

    def _first(self, tag: bytes, kind: int) -> Element | None:
        """Return the first element with a tag, if it is of a kind."""
        found = self._by_tag.get(tag)
        return found[0] if found and found[0].kind == kind else None

    def collection(self, tag: bytes, index: int = 0) -> Collection | None:
        """Return the collection with a tag and an index among those with the tag; None if there is none."""
        found = self._by_tag.get(tag, [])
        return self._nested(found[index]) if 0 <= index < len(found) and found[index].kind == COLLECTION else None

    def collections(self, tag: bytes) -> Iterator[Collection]:
        """Yield the collections with a tag."""
        for element in self._by_tag.get(tag, ()):
            if element.kind == COLLECTION:
                yield self._nested(element)

    def _nested(self, element: Element) -> Collection:
        return self.body.collection(_LINK.unpack(element.content)[0])

    def _scalar(self, element: Element, size: int) -> bytes | memoryview:
        """Return the bytes of a scalar; empty if it is said to be embedded where it has no room."""
        if element.embedded:
            return element.content[:size] if size <= len(element.content) else b""
        return self.body.part(_LINK.unpack(element.content)[0], size, "a value")

    def number(self, tag: bytes) -> float | None:
        """Return a number; None if it is missing or not finite."""
        element = self._first(tag, SCALAR)
        code = None if element is None else NUMBERS.get(element.type)
        if element is None or code is None:
            return None
        value = float(struct.unpack(code, self._scalar(element, struct.calcsize(code)))[0])
        return value if math.isfinite(value) else None

    def whole(self, tag: bytes) -> int | None:
        """Return a whole number; None if it is missing."""
        value = self.number(tag)
        return None if value is None else int(value)

    def guid(self, tag: bytes) -> bytes:
        """Return an identifier; empty if it is missing."""
        element = self._first(tag, SCALAR)
        return bytes(self._scalar(element, 16)) if element is not None and element.type == GUID else b""

    def moment_ns(self, tag: bytes) -> int | None:
        """Return a time as Unix nanoseconds; None if it is missing or no plausible time."""
        element = self._first(tag, SCALAR)
        if element is None or element.type != TIMESTAMP:
            return None
        stored = self._scalar(element, STAMP.itemsize)
        return stamp_ns(*struct.unpack("<Id", stored)) if stored else None

    def text(self, tag: bytes) -> bytes:
        """Return a text up to its end mark, undecoded; text of two-byte characters becomes UTF-8."""
        element = self._first(tag, VECTOR)
        return b"" if element is None else self._text(element)

    def texts(self, tag: bytes) -> bytes:
        """Return the texts of all elements with a tag, separated by spaces."""
        return b" ".join(self._text(element) for element in self._by_tag.get(tag, [])[:8] if element.kind == VECTOR)

    def _text(self, element: Element) -> bytes:
        if element.type not in (CHAR1, CHAR2):
            return b""
        stored = self._values(element, np.dtype(NUMBERS[element.type]))[:MAX_TEXT].tobytes()
        if element.type == CHAR2:
            stored = stored.decode("utf-16-le", "replace").encode("utf-8", "replace")
        return stored.split(b"\0", 1)[0].strip()

    def vector(self, tag: bytes) -> tuple[NDArray[Any], int] | None:
        """Return numbers or times as stored, without a copy, and their position in the body; None if missing."""
        element = self._first(tag, VECTOR)
        if element is None:
            return None
        offset = _LINK.unpack(element.content)[0]
        dtype = STAMP if element.type == TIMESTAMP else np.dtype(NUMBERS.get(element.type, "V0"))
        if dtype.itemsize == 0:
            raise self.body.error(offset, f"values of the type {element.type} are no numbers")
        return self._values(element, dtype), offset

    def _values(self, element: Element, dtype: np.dtype[Any]) -> NDArray[Any]:
        offset = _LINK.unpack(element.content)[0]
        count = self.body.count(offset, "a vector")
        part = self.body.part(offset + _COUNT.size, count * dtype.itemsize, "a vector")
        return np.frombuffer(part, dtype) if count else np.empty(0, dtype)


def stamp_ns(day: int, seconds: float) -> int | None:
    """Return a time as Unix nanoseconds; None before 1970, after 2243, or if the seconds are no number.

    Example:
        >>> stamp_ns(25570, 1.5)
        86401500000000
    """
    if not UNIX_DAY <= day <= LAST_DAY or not 0 <= seconds < 1e6:
        return None
    return (day - UNIX_DAY) * 86_400 * NS_PER_S + round(seconds * NS_PER_S)
