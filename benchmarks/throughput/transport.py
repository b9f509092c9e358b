"""Compare the records/s of a Faust agent on our transport with bare aiokafka ``getmany``, on Apache Kafka.

    python -m benchmarks.throughput.transport --records 400000

Both read the same topic in the same run. Each contender runs in a separate process and is timed from its first record
to its last. The order alternates, so that neither always has the warm cache. The last line is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import aiokafka
import faust
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from benchmarks.kafka.server import KafkaServer
from stream.kafka.clients import consumer_kwargs
from stream.settings import Settings, load_settings
from stream.worker.transport import BatchApp, BatchSchema
from tests.delivery.processes.harness import REPOSITORY
from tests.delivery.processes.marked import marked_message

TOPIC, PARTITIONS = "records", 4


class Watch:
    """Counter of records that measures the rate from the first to the last one."""

    def __init__(self, expected: int) -> None:
        """Create the counter; ``expected`` is the number of records."""
        self._left = expected
        self._expected = expected
        self._began: float | None = None
        self.rate = 0.0
        self.done = asyncio.Event()

    def count(self, records: int) -> None:
        """Count records; the last one sets ``done`` and ``rate``."""
        if self._began is None:
            self._began = time.perf_counter()
            # The first fetch starts the clock and is not counted.
            self._expected -= records
        self._left -= records
        if self._left <= 0:
            self.rate = self._expected / (time.perf_counter() - self._began)
            self.done.set()


async def bare(settings: Settings, records: int) -> float:
    """Measure aiokafka alone: ``getmany`` in a loop, with offsets committed at the worker's interval."""
    watch = Watch(records)
    consumer = aiokafka.AIOKafkaConsumer(TOPIC, **consumer_kwargs(settings, group=settings.group))
    await consumer.start()
    committed = time.monotonic()
    while not watch.done.is_set():
        for batch in (await consumer.getmany(timeout_ms=1000)).values():
            watch.count(len(batch))
        if time.monotonic() - committed > settings.commit_interval_s:
            await consumer.commit()
            committed = time.monotonic()
    await consumer.stop()
    return watch.rate


async def agent(settings: Settings, records: int) -> float:
    """Measure the worker's transport: a Faust agent that acknowledges every batch it receives."""
    watch = Watch(records)

    async def nothing_begun() -> None: ...

    app = BatchApp(settings, drain=nothing_begun, on_new_assignment=lambda _: None)

    @app.agent(app.topic(TOPIC, schema=BatchSchema()), name="count")  # type: ignore[untyped-decorator]
    async def count(batches: Any) -> None:
        async for event in batches.noack().events():
            watch.count(len(event.value.records))
            app.ledger.acknowledge(event.value)

    await app.start()
    await watch.done.wait()
    await app.stop()
    return watch.rate


CONTENDERS: dict[str, Callable[[Settings, int], Coroutine[Any, Any, float]]] = {"bare": bare, "agent": agent}


def fill(bootstrap: str, records: int) -> None:
    """Fill the topic with records of one 32×6 window each."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(TOPIC, PARTITIONS, 1)])[TOPIC].result(20)
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 20, "batch.size": 500_000, "log_level": 0})
    value = marked_message(0, [0], 0)
    for number in range(records):
        while True:
            try:
                producer.produce(TOPIC, value, b"line-%d" % (number % 64), partition=number % PARTITIONS)
                break
            except BufferError:
                producer.poll(0.2)
        if number % 10_000 == 0:
            producer.poll(0)
            print(f"\rwriting {number:,} of {records:,} records", end="", file=sys.stderr)
    producer.flush(120)
    print(f"\rwrote {records:,} records of {len(value)} bytes", file=sys.stderr)


def run_one(name: str, bootstrap: str, records: int, number: int) -> float:
    """Run one contender in a separate process, and return its records/s."""
    environment = {**os.environ, "FAULTLINE_BROKER": bootstrap, "FAULTLINE_GROUP": f"bench-{name}-{number}"}
    command = [sys.executable, "-m", "benchmarks.throughput.transport", "--contender", name, "--records", str(records)]
    answer = subprocess.run(
        command, cwd=REPOSITORY, env=environment, check=True, capture_output=True, text=True, timeout=300
    )
    rate = float(answer.stdout.split()[-1])
    print(f"{name:6} {rate:12,.0f} records/s", file=sys.stderr)
    return rate


def main() -> None:
    """Run the benchmark, or a single contender."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=400_000, help="number of records in the topic")
    parser.add_argument("--rounds", type=int, default=3, help="pairs of runs, in alternating order")
    parser.add_argument("--contender", choices=sorted(CONTENDERS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contender:
        print(asyncio.run(CONTENDERS[options.contender](load_settings(), options.records)))
        return
    with tempfile.TemporaryDirectory() as folder, KafkaServer(Path(folder)) as kafka:
        fill(kafka.bootstrap, options.records)
        order = [name for turn in range(options.rounds) for name in (("bare", "agent"), ("agent", "bare"))[turn % 2]]
        rates: dict[str, list[float]] = {name: [] for name in CONTENDERS}
        for number, name in enumerate(order):
            rates[name].append(run_one(name, kafka.bootstrap, options.records, number))
    ratios = [ours / theirs for ours, theirs in zip(rates["agent"], rates["bare"], strict=True)]
    print(
        json.dumps(
            {
                "agent_over_bare": round(statistics.median(ratios), 3),
                "ratios": [round(ratio, 3) for ratio in ratios],
                "records_per_s": {name: [round(rate) for rate in found] for name, found in rates.items()},
                "records": options.records,
                "partitions": PARTITIONS,
                "versions": {
                    "python": platform.python_version(),
                    "faust": faust.__version__,
                    "aiokafka": aiokafka.__version__,
                },
                "cores": os.cpu_count(),
            }
        )
    )


if __name__ == "__main__":
    main()
