"""confluent-kafka in batches: the consumer and producer of the C library with our decoding and our engine.

It follows the documentation for at-least-once delivery: ``Consumer.consume`` for many messages per call, no automatic
commits, ``flush`` and a check of every delivery report before ``commit``, an idempotent producer. The reviewed settings
are:

- A batch is the first available message and all that librdkafka has fetched by then, as in aiokafka's ``getmany``. A
  single ``consume(n, timeout)`` would wait for its timeout whenever fewer than n messages are available.
- Prefetching stays at librdkafka's default of 100,000 messages, and continues in its own threads during a batch.
- ``flush`` sends buffered messages regardless of ``linger.ms``, so lingering costs no time.
- Offsets are committed at an interval, synchronously, and before partitions are revoked.
"""

from __future__ import annotations

import signal
import time
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer

from benchmarks.contenders.settings import ContenderSettings, say_ready, settings_of_process
from benchmarks.contenders.task import Record, Task, TaskError

IDLE_S = 0.1
FLUSH_S = 30.0


def record_of(message: Message) -> Record:
    """Convert a message to a record with the attributes that ``decode`` reads."""
    if message.error() is not None:
        raise KafkaException(message.error())
    return Record(
        message.topic(),
        message.partition(),
        message.offset(),
        message.timestamp()[1],
        message.key(),
        message.value(),
        message.headers() or (),
    )


def commit(consumer: Consumer) -> None:
    """Commit all consumed messages; it is not an error if there are no new ones."""
    try:
        consumer.commit(asynchronous=False)
    except KafkaException as error:
        if error.args[0].code() != KafkaError._NO_OFFSET:
            raise


class ConfirmingProducer:
    """A producer that checks the delivery of all its records.

    Args:
        producer: a producer of confluent-kafka, or one with its methods.
        topic: output topic of all records.
    """

    def __init__(self, producer: Any, topic: str) -> None:
        """Wrap ``producer``."""
        self._producer = producer
        self._topic = topic
        self._failed: str | None = None

    def produce(self, outputs: Any) -> None:
        """Buffer records (``task.Output``); they are delivered in the background."""
        for output in outputs:
            self._producer.produce(
                self._topic,
                output.value,
                output.key,
                headers=list(output.headers),
                on_delivery=self._delivered,
            )

    def _delivered(self, error: KafkaError | None, _: Message) -> None:
        if error is not None:
            self._failed = str(error)

    def confirm(self) -> None:
        """Wait until the broker has acknowledged everything.

        Raises:
            TaskError: a record was not acknowledged.
        """
        left = self._producer.flush(FLUSH_S)
        if left or self._failed:
            reason = self._failed or f"{left} records are outstanding after {FLUSH_S:.0f} s"
            raise TaskError(f"the broker did not acknowledge all records: {reason}")


def run(settings: ContenderSettings, task: Task) -> None:
    """Consume until SIGTERM."""
    stopping: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopping.append(number))
    consumer = Consumer(
        {
            "bootstrap.servers": settings.bootstrap,
            "group.id": settings.group,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 100,
        }
    )
    producer = ConfirmingProducer(
        Producer(
            {
                "bootstrap.servers": settings.bootstrap,
                "enable.idempotence": True,
                "acks": "all",
                "linger.ms": 1,
                # The partitioner of Kafka's Java clients, so that a line keeps its partition.
                "partitioner": "murmur2_random",
            }
        ),
        settings.output_topic,
    )
    consumer.subscribe(
        [settings.input_topic], on_assign=lambda *_: say_ready(), on_revoke=lambda consumer, _: commit(consumer)
    )
    committed_s, dirty = time.monotonic(), False
    while not stopping:
        messages = consumer.consume(1, IDLE_S)
        if messages and settings.batch_records > 1:
            messages += consumer.consume(settings.batch_records - 1, 0)
        if messages:
            producer.produce(task.answer([record_of(message) for message in messages]))
            producer.confirm()
            dirty = True
        if dirty and time.monotonic() - committed_s >= settings.commit_interval_s:
            commit(consumer)
            committed_s, dirty = time.monotonic(), False
    commit(consumer)
    consumer.close()


def main() -> None:
    """Run the contender."""
    settings = settings_of_process()
    run(settings, Task(settings).with_engine())


if __name__ == "__main__":
    main()
