"""Send measured samples to Faultline, as a gateway in a substation does.

Start a broker and a worker first, then run it:

    faultline broker --port-file broker.txt &
    export FAULTLINE_BROKER=$(cat broker.txt)     # or the address of your own Kafka, such as kafka-1:9092
    faultline worker &
    python examples/send_windows.py feeder-7

It simulates some seconds of one line in amperes and volts, converts them to per unit, cuts them into overlapping
windows and sends these to the topic `sensor-windows`. It prints how many windows it sent. `faultline subscribe` shows
the faults that a worker finds in them.
"""

from __future__ import annotations

import asyncio
import sys
import time

import numpy as np
from aiokafka import AIOKafkaProducer
from numpy.typing import NDArray

import faultline

PEAK = np.repeat([400 * np.sqrt(2), 110_000 * np.sqrt(2 / 3)], 3)
"""One per unit of ia, ib, ic (A) and va, vb, vc (V, phase to ground): the peaks of this line's rated values."""


def measured(seconds: float) -> tuple[NDArray[np.float32], float]:
    """Return samples (T, 6) in amperes and volts and their rate in Hz. Read your own instrument here."""
    record = faultline.scenario(lines=1, seconds=seconds, seed=4)
    return record.samples[0] * PEAK, record.rate_hz


async def send(line: str, seconds: float = 13.0) -> int:
    """Send some seconds of a line and return the number of windows that the broker has acknowledged."""
    settings = faultline.load_settings()
    spec = faultline.load_spec("line")
    samples, rate_hz = measured(seconds)
    messages = faultline.window_messages(
        line,
        (samples / PEAK).astype(np.float32),
        spec,
        rate_hz=rate_hz,
        start_ns=time.time_ns() - round(seconds * 1e9),  # Unix time of the first sample, UTC
        first_sequence=0,  # counts a line's windows: go on with the next number, so that a gap is noticed
    )
    # Idempotence keeps the order of a line's windows when the producer sends a batch again.
    producer = AIOKafkaProducer(bootstrap_servers=settings.broker, enable_idempotence=True)
    async with producer:
        sent = 0
        for message in messages:
            await producer.send(
                settings.topic_windows,
                message.value,
                key=message.line.encode(),  # all windows of a line go to one partition, in order
                headers=faultline.SIMULATED_HEADERS,  # MSGPACK_HEADERS for samples of your own instruments
                timestamp_ms=message.end_ns // 1_000_000,
            )
            sent += message.count
        await producer.flush()
    return sent


if __name__ == "__main__":
    name = sys.argv[1] if len(sys.argv) > 1 else "feeder-1"
    print(f"{name}: {asyncio.run(send(name))} windows sent")
