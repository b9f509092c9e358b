"""Decode the bytes of a micro-batch into arrays in one pass. An invalid record is separated; the others continue."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from model.spec import SignalSpec
from stream.contract import (
    HEADER_CONTENT_TYPE,
    JSON,
    MAX_LINE_BYTES,
    MAX_NS,
    MAX_RATE_HZ,
    MAX_SEQUENCE,
    MIN_RATE_HZ,
    MSGPACK,
    NS_PER_S,
    DeadLetterReason,
)
from stream.errors import ContractError

MSGPACK_HEADER = (HEADER_CONTENT_TYPE, MSGPACK.encode())
"""Header that nearly all records have; comparing it is faster than parsing it."""
SURELY_FITS = 2.0**62
"""Below this value, rounding in floating point cannot hide an overflow of 63 bits."""
VALUE_BYTES = 4
"""Size of one sample (float32) in bytes."""


class IncomingRecord(Protocol):
    """Fields of a consumed record that decoding reads; aiokafka's ``ConsumerRecord`` has all of them."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]
    """Headers. A value may be None; invalid UTF-8 bytes of a name are surrogates (see ``tolerant_parser``)."""


@dataclass(slots=True)
class WindowRecord:
    """Record that was not consumed from Kafka but comes from a file, a recording or memory."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]] = (MSGPACK_HEADER,)


class WindowBody(msgspec.Struct, frozen=True, gc=False):
    """``contract.WindowMessage`` in MessagePack, as a type that is decoded fast."""

    spec: str
    sequence: Annotated[int, msgspec.Meta(ge=0, le=MAX_SEQUENCE)]
    start_ns: Annotated[int, msgspec.Meta(ge=0, le=MAX_NS)]
    rate_hz: Annotated[float, msgspec.Meta(ge=MIN_RATE_HZ, le=MAX_RATE_HZ)]
    count: Annotated[int, msgspec.Meta(ge=1)]
    data: bytes
    labels: list[int] | None = None


class JsonWindowBody(msgspec.Struct, frozen=True, gc=False):
    """``contract.WindowMessage`` in JSON, where the block is base64 text or nested lists."""

    spec: str
    sequence: Annotated[int, msgspec.Meta(ge=0, le=MAX_SEQUENCE)]
    start_ns: Annotated[int, msgspec.Meta(ge=0, le=MAX_NS)]
    rate_hz: Annotated[float, msgspec.Meta(ge=MIN_RATE_HZ, le=MAX_RATE_HZ)]
    count: Annotated[int, msgspec.Meta(ge=1)]
    data: str | list[Any]
    labels: list[int] | None = None


_decode_msgpack = msgspec.msgpack.Decoder(WindowBody).decode
_decode_json = msgspec.json.Decoder(JsonWindowBody).decode


class InvalidRecordError(ContractError):
    """A record cannot be decoded. ``reason`` is the reason of its dead letter."""

    def __init__(self, reason: DeadLetterReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(slots=True)
class LineWindows:
    """Windows of one record: rows ``first … first + count`` of the batch's block, all of one line."""

    record: IncomingRecord
    line: str
    sequence: int
    start_ns: int
    rate_hz: float
    first: int
    count: int
    labels: list[int] | None


@dataclass(slots=True)
class DeadRecord:
    """Invalid record, and the reason why it is invalid."""

    record: IncomingRecord
    reason: DeadLetterReason
    message: str


@dataclass(slots=True)
class DecodedBatch:
    """Micro-batch as arrays: ``windows`` is float32 (n, samples, channels), per unit, in the order of ``records``."""

    windows: NDArray[np.float32]
    records: list[LineWindows]
    dead: list[DeadRecord]


def _content_type(record: IncomingRecord) -> str | None:
    for name, value in record.headers:
        if name.lower() == HEADER_CONTENT_TYPE:
            return (value or b"").decode("ascii", "replace").split(";")[0].strip().lower() or None
    return None


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_json(record: IncomingRecord, value: bytes) -> bool:
    kind = _content_type(record) if record.headers else None
    # Without a content-type header the first byte decides: a MessagePack map never starts with "{" or white space.
    return kind == JSON or (kind is None and value[:1] in b"{ \t\r\n")


def _json_block(data: str | list[Any], shape: tuple[int, ...]) -> bytes:
    if isinstance(data, str):
        try:
            return base64.b64decode(data, validate=True)
        except (binascii.Error, ValueError) as error:
            raise InvalidRecordError("bad-bytes", f"data is not base64: {error}") from None
    try:
        # No dtype is given, because NumPy would convert text and null to numbers.
        values = np.asarray(data)
    except (ValueError, OverflowError):
        raise InvalidRecordError("wrong-shape", "data is not a regular nested list of numbers") from None
    if values.dtype.kind not in "iuf" or values.shape != shape:
        raise InvalidRecordError(
            "wrong-shape", f"data must be numbers in lists nested as {shape}, not {values.dtype} {values.shape}"
        )
    with np.errstate(over="ignore"):
        return values.astype("<f4").tobytes()


def _check_times(body: WindowBody | JsonWindowBody, spec: SignalSpec) -> None:
    """Raise if a time or sequence number computed from the body exceeds 63 bits."""
    samples = (body.count - 1) * spec.hop + spec.samples
    if body.start_ns + samples * NS_PER_S / body.rate_hz < SURELY_FITS and body.sequence + body.count < SURELY_FITS:
        return
    if not math.isfinite(body.rate_hz):
        raise InvalidRecordError("bad-bytes", f"rate_hz must be a number, not {body.rate_hz}")
    end_ns = body.start_ns + round(samples * NS_PER_S / body.rate_hz)
    if end_ns > MAX_NS or body.sequence + body.count - 1 > MAX_SEQUENCE:
        raise InvalidRecordError("bad-bytes", "the last window's time or sequence is beyond 63 bits")


def _check_shape(body: WindowBody | JsonWindowBody, block: bytes, spec: SignalSpec) -> None:
    window_bytes = spec.samples * len(spec.channels) * VALUE_BYTES
    if len(block) != body.count * window_bytes:
        raise InvalidRecordError(
            "wrong-shape",
            f"data has {len(block)} bytes, but {body.count} windows of ({spec.samples}, {len(spec.channels)}) float32 "
            f"have {body.count * window_bytes}",
        )
    labels = body.labels
    if labels is not None and (
        len(labels) != body.count or not all(0 <= label < len(spec.classes) for label in labels)
    ):
        raise InvalidRecordError(
            "wrong-shape", f"labels must be {body.count} class indices from 0 to {len(spec.classes) - 1}"
        )


def decode_record(
    record: IncomingRecord, spec: SignalSpec, max_bytes: int
) -> tuple[str, WindowBody | JsonWindowBody, bytes]:
    """Return line id, body and float32 block of one record.

    Raises:
        InvalidRecordError: the record is invalid; the error has the reason of its dead letter.
    """
    value, key, headers = record.value, record.key, record.headers
    plain = len(headers) == 1 and headers[0] == MSGPACK_HEADER
    if not plain:
        for name, _ in headers:
            if not name.isascii() and not _is_utf8(name):
                raise InvalidRecordError("bad-headers", f"the name of a header is not UTF-8: {name[:64]!a}")
    if value is None:
        raise InvalidRecordError("tombstone", "the record has no value")
    if not value:
        raise InvalidRecordError("empty", "the value has no bytes")
    if len(value) > max_bytes:
        raise InvalidRecordError("oversize", f"the value has {len(value)} bytes, more than {max_bytes}")
    if not key:
        raise InvalidRecordError("bad-key", "the record has no key; the key must be the line's id")
    if len(key) > MAX_LINE_BYTES:
        raise InvalidRecordError("bad-key", f"the key has {len(key)} bytes, more than {MAX_LINE_BYTES}")
    try:
        line = key.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidRecordError("bad-key", "the key is not UTF-8") from None
    body: WindowBody | JsonWindowBody
    try:
        body = _decode_msgpack(value) if plain or not _is_json(record, value) else _decode_json(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRecordError("bad-bytes", f"not a window message: {error}") from None
    if body.spec != spec.name:
        raise InvalidRecordError("wrong-spec", f"spec {body.spec[:64]!r}, but this worker classifies {spec.name!r}")
    block = (
        body.data
        if isinstance(body, WindowBody)
        else _json_block(body.data, (body.count, spec.samples, len(spec.channels)))
    )
    _check_shape(body, block, spec)
    _check_times(body, spec)
    return line, body, block


def decode_batch(records: Sequence[IncomingRecord], spec: SignalSpec, *, max_bytes: int) -> DecodedBatch:
    """Decode the records of a micro-batch.

    Args:
        records: consumed records, in order.
        spec: required signal spec of the windows.
        max_bytes: largest value in bytes; a larger one is invalid.

    Returns:
        The windows of all valid records as one block, and the invalid records.
    """
    good: list[LineWindows] = []
    dead: list[DeadRecord] = []
    blocks: list[bytes] = []
    first = 0
    for record in records:
        try:
            line, body, block = decode_record(record, spec, max_bytes)
        except InvalidRecordError as error:
            dead.append(DeadRecord(record, error.reason, str(error)))
            continue
        good.append(
            LineWindows(record, line, body.sequence, body.start_ns, body.rate_hz, first, body.count, body.labels)
        )
        blocks.append(block)
        first += body.count
    shape = (first, spec.samples, len(spec.channels))
    windows = np.frombuffer(b"".join(blocks), "<f4").reshape(shape)
    batch = DecodedBatch(windows, good, dead)
    return batch if np.isfinite(windows).all() else _without_infinities(batch)


def _without_infinities(batch: DecodedBatch) -> DecodedBatch:
    """Separate the records that contain NaN or infinity. This is rare, so the code is written for clarity."""
    finite = np.logical_and.reduce(np.isfinite(batch.windows), axis=(1, 2))
    kept: list[LineWindows] = []
    rows: list[NDArray[np.float32]] = []
    first = 0
    for entry in batch.records:
        span = slice(entry.first, entry.first + entry.count)
        if finite[span].all():
            rows.append(batch.windows[span])
            entry.first = first
            first += entry.count
            kept.append(entry)
        else:
            wrong = int((~finite[span]).sum())
            message = f"{wrong} of {entry.count} windows contain NaN or infinity"
            batch.dead.append(DeadRecord(entry.record, "not-finite", message))
    windows = np.concatenate(rows) if rows else batch.windows[:0]
    batch.dead.sort(key=lambda dead: dead.record.offset)
    return DecodedBatch(windows, kept, batch.dead)
