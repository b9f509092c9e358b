"""The micro-batch consumer where Faust's own would lose time; ``tests/delivery`` tests that it loses no record."""

from __future__ import annotations

from typing import Any

import pytest
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from stream.worker.transport import RETRY_FETCH_S, MicroBatchConsumer

ZERO, ONE = TP("sensor-windows", 0), TP("sensor-windows", 1)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the times for which Faust was asked to wait for records."""
    waits: list[float] = []

    async def wait_next_records(_: Any, timeout: float) -> tuple[None, None]:  # noqa: ASYNC109
        waits.append(timeout)
        return None, None

    monkeypatch.setattr(driver.Consumer, "_wait_next_records", wait_next_records)
    return waits


def consumer(*, active: set[TP], buffered: set[TP], flowing: bool = True) -> MicroBatchConsumer:
    """Return a consumer without a broker, with only the part that selects the partitions to fetch."""
    made: MicroBatchConsumer = object.__new__(MicroBatchConsumer)
    made._active_partitions, made._buffered_partitions, made.flow_active = active, buffered, flowing
    made.assignment = lambda: {ZERO, ONE}  # type: ignore[method-assign]
    return made


@pytest.mark.parametrize(
    ("active", "buffered", "flowing", "waits"),
    [
        ({ZERO, ONE}, set(), True, [1.0]),
        ({ZERO}, {ONE}, True, [RETRY_FETCH_S]),
        (set(), {ZERO, ONE}, True, []),
        ({ZERO, ONE}, {TP("sensor-windows", 2)}, True, [1.0]),  # revoked since
        (set(), {ZERO, ONE}, False, [1.0]),  # in a rebalance it waits for the flow, as Faust does
    ],
)
async def test_a_partition_that_was_left_out_is_soon_asked_for_again(
    asked: list[float], active: set[TP], buffered: set[TP], flowing: bool, waits: list[float]
) -> None:
    await consumer(active=active, buffered=buffered, flowing=flowing)._wait_next_records(1.0)
    assert asked == waits
