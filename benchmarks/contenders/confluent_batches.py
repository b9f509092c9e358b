"""confluent-kafka in batches: the C library's consumer and producer, our decode and our engine.

As its documentation has it for at-least-once delivery: ``Consumer.consume`` for many messages per call, automatic
commits off, ``flush`` and a look at every delivery report before ``commit``, an idempotent producer. The reviewed
settings:

- A batch is the first message that is there and then all that librdkafka has fetched meanwhile, as aiokafka's
  ``getmany`` does. One ``consume(n, timeout)`` would wait out its timeout whenever fewer than n messages are there.
- Prefetching stays at librdkafka's default of 100,000 messages, and goes on in its own threads during a batch.
- ``flush`` sends what is buffered whatever ``linger.ms`` says, so lingering costs no time.
- Offsets are committed by time, synchronously, and before partitions are given away.
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
    """A message in the attributes that ``decode`` reads."""
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
    """Commit all that was consumed; that there is nothing new is no error."""
    try:
        consumer.commit(asynchronous=False)
    except KafkaException as error:
        if error.args[0].code() != KafkaError._NO_OFFSET:
            raise


class ConfirmingProducer:
    """A producer that knows whether all that it was given has been delivered.

    Args:
        producer: of confluent-kafka, or one with its methods.
        topic: where everything goes.
    """

    def __init__(self, producer: Any, topic: str) -> None:
        self._producer = producer
        self._topic = topic
        self._failed: str | None = None

    def produce(self, outputs: Any) -> None:
        """Buffer records (``task.Output``); their delivery goes on in the background."""
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
        """Return when the broker has confirmed everything; raises TaskError if it has not."""
        left = self._producer.flush(FLUSH_S)
        if left or self._failed:
            raise TaskError(f"the broker did not confirm: {self._failed or f'{left} records after {FLUSH_S:.0f} s'}")


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
                # As Kafka's own clients choose it, so that a line keeps its partition.
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
