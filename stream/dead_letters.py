"""Records that cannot be judged, with their cause in headers, in the manner of Kafka Connect's error headers."""

from __future__ import annotations

from stream.contract import HEADER_PREFIX, DeadLetterHeaders
from stream.decode import DeadRecord
from stream.publisher import Outgoing

MESSAGE_LIMIT = 500
"""Characters of the cause kept: enough for a person, harmless in a header."""


def dead_letter(dead: DeadRecord, topic: str) -> Outgoing:
    """The dead letter of a record: key, value and headers as received, plus the cause.

    The value of an oversize record stays where it is: the headers say topic, partition and offset.
    """
    record = dead.record
    by_reference = dead.reason == "oversize"
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
    headers = [(name, value) for name, value in record.headers]
    for name, value in cause.model_dump().items():
        text = str(value).lower() if isinstance(value, bool) else str(value)
        headers.append((f"{HEADER_PREFIX}error.{name.replace('_', '.')}", text.encode("utf-8", "replace")))
    return Outgoing(topic, record.key, None if by_reference else record.value, headers)
