"""Send records whose header name is not UTF-8, between valid ones of the same batch, which no client's API allows.

    AIOKAFKA_NO_EXTENSIONS=1 python -m tests.delivery.processes.malformed_headers \
        BOOTSTRAP TOPIC PARTITION SEQUENCE PATTERN

It sends one batch to one partition: a letter ``g`` of the pattern is a valid record of a quiet line, ``x`` a malformed
one. Only aiokafka's builder in Python calls a header name's own ``encode``, so the variable is needed. It prints the
offsets of the malformed records.
"""

from __future__ import annotations

import asyncio
import sys

from aiokafka import AIOKafkaProducer

from tests.delivery.processes.marked import marked_message


class NotUtf8(str):
    """A name that encodes to bytes that are not UTF-8."""

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        return b"\xff\xfe"


async def send(bootstrap: str, topic: str, partition: int, sequence: int, pattern: str) -> list[int]:
    """Send the batch and return the offsets of its malformed records."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, max_batch_size=500_000)
    await producer.start()
    try:
        batch = producer.create_batch()
        for index, kind in enumerate(pattern):
            value = marked_message(sequence + index, [0], 0)
            headers = [(NotUtf8("name"), b"")] if kind == "x" else []
            key = f"quiet-{partition}".encode()
            assert batch.append(key=key, value=value, timestamp=None, headers=headers) is not None
        sent = await (await producer.send_batch(batch, topic, partition=partition))
        return [sent.offset + index for index, kind in enumerate(pattern) if kind == "x"]
    finally:
        await producer.stop()


if __name__ == "__main__":
    bootstrap, topic, partition, sequence, pattern = sys.argv[1:]
    print(*asyncio.run(send(bootstrap, topic, int(partition), int(sequence), pattern)))
