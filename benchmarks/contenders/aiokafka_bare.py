"""A bare aiokafka loop, as one would write it by hand; it shows the limit of Python.

It follows aiokafka's documentation for at-least-once delivery: ``getmany``, manual commit after the producer's delivery
reports, idempotent producer. Decoding and engine run outside the event loop, so that fetching continues meanwhile.
"""

from __future__ import annotations

import asyncio
import signal
import time

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from benchmarks.contenders.settings import ContenderSettings, say_ready, settings_of_process
from benchmarks.contenders.task import Task


async def run(settings: ContenderSettings, task: Task) -> None:
    """Consume until SIGTERM."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    consumer = AIOKafkaConsumer(
        settings.input_topic,
        bootstrap_servers=settings.bootstrap,
        group_id=settings.group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=100,
    )
    producer = AIOKafkaProducer(bootstrap_servers=settings.bootstrap, acks="all", enable_idempotence=True, linger_ms=1)
    async with consumer, producer:
        say_ready()
        committed_s, dirty = time.monotonic(), False
        while not stopping.is_set():
            fetched = await consumer.getmany(timeout_ms=200, max_records=settings.batch_records)
            records = [record for batch in fetched.values() for record in batch]
            if records:
                outputs = await loop.run_in_executor(None, task.answer, records)
                sent = [
                    await producer.send(settings.output_topic, output.value, output.key, headers=output.headers)
                    for output in outputs
                ]
                await asyncio.gather(*sent)
                dirty = True
            if dirty and time.monotonic() - committed_s >= settings.commit_interval_s:
                await consumer.commit()
                committed_s, dirty = time.monotonic(), False
        if dirty:
            await consumer.commit()


def main() -> None:
    """Run the contender."""
    settings = settings_of_process()
    asyncio.run(run(settings, Task(settings).with_engine()))


if __name__ == "__main__":
    main()
