"""A worker process for delivery tests: the real worker around ``MarkedClassifier``, with a point at which to crash.

With ``FAULTLINE_TEST_ENGINE=shipped`` it has the real engine and the shipped model instead. ``FAULTLINE_TEST_DIE``
gives the point and the number of batches before it, e.g. ``before-acknowledge:5``.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import Any

from stream.detection.classify import Classifier
from stream.settings import Settings, load_settings
from stream.telemetry.logs import configure_logs
from stream.worker.app import Worker
from tests.delivery.processes.marked import SPEC, MarkedClassifier, die


def arm(worker: Worker, order: str) -> None:
    """Kill this process at a point of the record path, after a number of batches have passed it."""
    place, _, count = order.partition(":")
    left = int(count)

    def passing() -> None:
        nonlocal left
        left -= 1
        if left <= 0:
            die()

    publisher: Any = worker._publishers.events
    ledger: Any = worker.app.ledger
    if place == "before-publish":
        real_send = publisher.send

        async def send(records: Any) -> Any:
            passing()
            return await real_send(records)

        publisher.send = send
    elif place == "after-publish":
        real_confirm = publisher.confirm

        async def confirm(records: Any, sent: Any) -> None:
            await real_confirm(records, sent)
            passing()

        publisher.confirm = confirm
    elif place == "before-acknowledge":
        real_acknowledge = ledger.acknowledge

        def acknowledge(batch: Any) -> bool:
            passing()
            return bool(real_acknowledge(batch))

        ledger.acknowledge = acknowledge
    else:
        raise ValueError(f"no such place: {place}")


def classifier() -> Classifier:
    """Return the model that the test's environment asks for."""
    if os.environ.get("FAULTLINE_TEST_ENGINE") == "shipped":
        # Imported here: TensorFlow costs five times as much as all the rest of a worker's start.
        from model.artefact import shipped
        from model.engine import Engine

        return Engine(shipped("line"), threads=1).warm()
    return MarkedClassifier(
        raise_at=int(os.environ.get("FAULTLINE_TEST_RAISE_AT", "0")),
        delay_s=float(os.environ.get("FAULTLINE_TEST_DELAY_S", "0")),
    )


async def run(settings: Settings) -> int:
    """Run the worker with the settings of the test's environment."""
    worker = Worker(settings, SPEC, classifier())
    if order := os.environ.get("FAULTLINE_TEST_DIE"):
        arm(worker, order)
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, explain)
    return await worker.run()


def explain() -> None:
    """Print the stack of every task when a test sends SIGUSR1 to a worker that hangs."""
    for task in asyncio.all_tasks():
        task.print_stack(limit=4)


if __name__ == "__main__":
    settings = load_settings()
    configure_logs(settings)
    sys.exit(asyncio.run(run(settings)))
