"""Account for every record of sensor-windows: answered on window-classes, or a dead letter, or otherwise lost.

Run in a container of the stack, by tests.deploy.smoke, with FAULTLINE_WINDOW_CLASSES=true since the topics began.
Prints one JSON object.
"""

import json
import os
import time
from collections.abc import Iterator
from typing import Any

import msgspec
from confluent_kafka import Consumer, TopicPartition

DEADLINE_S = 240.0


def read_all(name: str) -> Iterator[Any]:
    """Return every record of a topic up to its present end."""
    consumer = Consumer(
        {
            "bootstrap.servers": os.environ["FAULTLINE_BROKER"],
            "group.id": "ledger",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
        }
    )
    partitions = consumer.list_topics(name, timeout=20).topics[name].partitions
    consumer.assign([TopicPartition(name, number, 0) for number in partitions])
    unread, end = set(partitions), time.monotonic() + DEADLINE_S
    while unread:
        if time.monotonic() > end:
            raise TimeoutError(f"{name}: not at the end of {sorted(unread)}")
        for message in consumer.consume(2000, 0.2):
            if message.error() is None:
                yield message
            elif message.error().name() == "_PARTITION_EOF":
                unread.discard(message.partition())
    consumer.close()


def main() -> None:
    """Print the numbers of records and windows sent, answered, dead, lost, and answered twice."""
    sent: dict[tuple[int, int], int] = {}
    for message in read_all("sensor-windows"):
        sent[message.partition(), message.offset()] = msgspec.msgpack.decode(message.value())["count"]
    answered: dict[tuple[int, int], int] = {}
    repeated = 0
    for message in read_all("window-classes"):
        answer = msgspec.msgpack.decode(message.value())
        place = answer["source"]["partition"], answer["source"]["offset"]
        if not answer["shadow"]:
            repeated += place in answered
            answered[place] = answer["count"]
    dead = set()
    for message in read_all("sensor-windows.dlq"):
        headers = dict(message.headers())
        dead.add(tuple(int(headers[f"faultline.error.{name}"]) for name in ("partition", "offset")))
    lost = [place for place in sent if place not in answered and place not in dead]
    print(
        json.dumps(
            {
                "records": len(sent),
                "windows": sum(sent.values()),
                "answered": len(sent.keys() & answered.keys()),
                "dead": len(sent.keys() & dead),
                "lost": len(lost),
                "answered_again": repeated,
            }
        )
    )


if __name__ == "__main__":
    main()
