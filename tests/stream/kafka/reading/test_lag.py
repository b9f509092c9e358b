"""The lag probe: the backlog, and its behaviour if no broker answers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError

from stream.kafka.reading import lag as lag_module
from stream.kafka.reading.lag import LagProbe
from stream.kafka.reading.partition import Partition
from tests.stream.doubles import until

ONE, TWO = Partition("sensor-windows", 0), Partition("sensor-windows", 1)


class Broker:
    """Answer with given offsets; ``away`` refuses the connection."""

    def __init__(self, begins: dict[Partition, int], ends: dict[Partition, int]) -> None:
        self.begins, self.ends = begins, ends
        self.away = False
        self.consumers: list[Consumer] = []

    def consumer(self) -> Any:
        self.consumers.append(Consumer(self))
        return self.consumers[-1]


class Consumer:
    """The few calls that the probe makes to an ``AIOKafkaConsumer``."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.stopped = False

    async def start(self) -> None:
        if self.broker.away:
            raise KafkaConnectionError("nobody answers")

    async def stop(self) -> None:
        self.stopped = True

    async def end_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        await self.start()
        return {tp: self.broker.ends[Partition(*tp)] for tp in partitions}

    async def beginning_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        return {tp: self.broker.begins[Partition(*tp)] for tp in partitions}


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lag_module, "PROBE_EVERY_S", 0.001)


async def measured(probe: LagProbe, positions: dict[Partition, int | None], lag: int) -> None:
    task = asyncio.ensure_future(probe.run(lambda: positions))
    try:
        await until(lambda: probe.lag == lag)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await probe.close()


async def test_the_lag_is_what_is_appended_and_not_finished() -> None:
    broker = Broker({ONE: 0, TWO: 0}, {ONE: 100, TWO: 50})
    await measured(LagProbe(broker.consumer, "earliest"), {ONE: 90, TWO: 50}, 10)


async def test_a_partition_without_a_position_waits_from_its_beginning_or_not_at_all() -> None:
    broker = Broker({ONE: 30, TWO: 0}, {ONE: 100, TWO: 50})
    await measured(LagProbe(broker.consumer, "earliest"), {ONE: None, TWO: 49}, 71)
    await measured(LagProbe(broker.consumer, "latest"), {ONE: None, TWO: 49}, 1)


async def test_a_position_ahead_of_the_end_takes_nothing_off_other_partitions() -> None:
    broker = Broker({ONE: 0, TWO: 0}, {ONE: 5, TWO: 50})
    await measured(LagProbe(broker.consumer, "earliest"), {ONE: 9, TWO: 40}, 10)


async def test_an_unanswered_probe_keeps_the_lag_and_is_tried_again_with_a_new_connection() -> None:
    broker = Broker({ONE: 0}, {ONE: 100})
    probe = LagProbe(broker.consumer, "earliest")
    task = asyncio.ensure_future(probe.run(lambda: {ONE: 90}))
    await until(lambda: probe.lag == 10)
    broker.away = True
    await until(lambda: not probe.reachable)
    assert probe.lag == 10
    await until(lambda: len(broker.consumers) > 3)
    broker.away, broker.ends[ONE] = False, 120
    await until(lambda: probe.lag == 30)
    assert probe.reachable
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await probe.close()
    assert all(consumer.stopped for consumer in broker.consumers)


async def test_a_probe_that_fails_in_an_unforeseen_way_does_not_end_the_probing() -> None:
    # The watchdog depends on the lag, so a failing probe must not be silent.
    broker = Broker({ONE: 0}, {})
    probe = LagProbe(broker.consumer, "earliest")
    task = asyncio.ensure_future(probe.run(lambda: {ONE: 90}))
    await until(lambda: not probe.reachable)
    broker.ends[ONE] = 100
    await until(lambda: probe.lag == 10)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await probe.close()
