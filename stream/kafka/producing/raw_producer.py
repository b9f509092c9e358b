"""Send any record that a topic can hold, including those that aiokafka's producer refuses.

aiokafka refuses a record with neither key nor value, and a header name that is not UTF-8 (see
``stream.kafka.reading.tolerant_parser``). Such a record is sent as a batch of its own. aiokafka's builder in pure
Python builds this batch, because that builder calls the name's own ``encode``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy

FRAME_BYTES = 256
"""Upper bound for a batch with one record, without key, value and headers."""


class _Name(str):
    """Header name whose invalid UTF-8 bytes are kept as surrogates."""

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        return super().encode("utf-8", "surrogateescape")


class _SingleBatch(BatchBuilder):  # type: ignore[misc]
    """Batch for one record."""

    def __init__(self, size: int) -> None:
        super().__init__(size, 0)
        self._builder = _DefaultRecordBatchBuilderPy(2, 0, 0, -1, -1, 0, size)

    def _set_producer_state(self, producer_id: int, producer_epoch: int, base_sequence: int) -> None:
        self._builder.set_producer_state(producer_id, producer_epoch, base_sequence)


async def send_any(
    producer: AIOKafkaProducer,
    topic: str,
    value: bytes | None,
    key: bytes | None,
    *,
    headers: Sequence[tuple[str, bytes | None]],
    timestamp_ms: int | None,
    partition: int | None = None,
) -> Awaitable[Any]:
    """Buffer a record after those of its partition that were buffered before.

    Args:
        producer: started producer, which sends ordinary records itself.
        topic: topic to send to.
        value: value; None makes a tombstone.
        key: key; it decides the partition unless it is None.
        headers: names and values; invalid UTF-8 bytes of a name are surrogates, and a value may be None.
        timestamp_ms: Unix time in ms; None for now.
        partition: partition to send to; None lets the key decide.

    Returns:
        A future that resolves with the broker's acknowledgement.
    """
    plain = all(name.isascii() or _is_utf8(name) for name, _ in headers)
    if plain and not (key is None and value is None):
        options: dict[str, Any] = {} if partition is None else {"partition": partition}
        options |= {"timestamp_ms": timestamp_ms, "headers": list(headers)}
        buffered: Awaitable[Any] = await producer.send(topic, value, key, **options)
        return buffered
    await producer.partitions_for(topic)
    chosen = producer._partition(topic, partition, key, value, key, value)
    size = sum(len(name) * 4 + len(text or b"") + 32 for name, text in headers)
    batch = _SingleBatch(FRAME_BYTES + size + len(key or b"") + len(value or b""))
    names = [(_Name(name), text) for name, text in headers]
    batch.append(timestamp=timestamp_ms, key=key, value=value, headers=names)
    batch.close()
    sent: Awaitable[Any] = await producer.send_batch(batch, topic, partition=chosen)
    return sent


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
