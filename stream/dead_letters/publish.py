"""Write records that cannot be processed, with their cause in headers like those of Kafka Connect."""

from __future__ import annotations

from stream.contract import HEADER_PREFIX, DeadLetterHeaders, Outgoing
from stream.detection.decode import DeadRecord

MESSAGE_LIMIT = 500
"""Maximum length of the cause's message: enough for a person, and small for a header."""
COPY_LIMIT = 1_010_000
"""Largest total size of key, value and headers: with the added headers it is below the producer's limit of 1,048,576.

The producer would refuse a larger record for ever, which would block its partition.
"""
KEY_LIMIT = 900_000
HEADER_OVERHEAD = 10
"""Largest size of a header in addition to its name and value: two lengths."""


def _size(key: bytes, value: bytes, headers: list[tuple[str, bytes | None]]) -> int:
    sizes = (len(name.encode()) + len(text or b"") + HEADER_OVERHEAD for name, text in headers)
    return len(key) + len(value) + sum(sizes)


def _escaped(name: str) -> str:
    """Return a header name with the bytes that are not UTF-8 escaped, since no producer accepts them unescaped."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def dead_letter(dead: DeadRecord, topic: str) -> Outgoing:
    """Return the dead letter of a record: key, value and headers as received, and the cause.

    The value of an oversize record is not copied; the headers give its topic, partition and offset.
    """
    record = dead.record
    key, received = record.key or b"", list(record.headers)
    if dead.reason == "bad-headers":
        received = [(_escaped(name), text) for name, text in received]
    by_reference = dead.reason == "oversize" or _size(key, record.value or b"", received) > COPY_LIMIT
    cause = DeadLetterHeaders(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        stage="decode",
        reason=dead.reason,
        message=dead.message[:MESSAGE_LIMIT],
        by_reference=by_reference,
        timestamp_ms=record.timestamp,
    )
    headers = [] if by_reference else received
    for name, value in cause.model_dump().items():
        text = str(value).lower() if isinstance(value, bool) else str(value)
        headers.append((f"{HEADER_PREFIX}error.{name.replace('_', '.')}", text.encode("utf-8", "replace")))
    kept_key = record.key if len(key) <= KEY_LIMIT else None
    kept_value = None if by_reference else record.value
    # aiokafka's producer always refuses a record with neither key nor value.
    return Outgoing(topic, b"" if kept_key is None and kept_value is None else kept_key, kept_value, headers)
