"""Send the load: the same bytes for all contenders, at full speed or each message when it is due.

It runs as a separate process:

python -m benchmarks.harness.load FILE      # FILE holds a LoadPlan as JSON
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
from confluent_kafka import Producer
from numpy.typing import NDArray
from pydantic import Field

from benchmarks.harness.windows import SampleWindows
from model.errors import FaultlineError
from model.frozen import FrozenModel
from model.spec import SignalSpec, load_spec
from stream.contract import HEADER_CONTENT_TYPE, JSON, NS_PER_S
from stream.windowing import MSGPACK_HEADERS, encode_windows

EPOCH_NS = 1_767_225_600 * NS_PER_S  # 2026-01-01: the times of windows are the same in every run
LINES_PER_PARTITION = 64
FAULTY = 5
"""Number of successive faulty windows in each cycle of a line, for loads that need events at all times."""
CYCLES = {"often": (50, 7), "rare": (10_000, 39)}
"""Windows in a cycle of a line, and by how many the next line is ahead, by the kind of load.

With one window per message, "often" is a storm with one event (onset or clear) in 25 messages, and "rare" a quiet grid
with one onset in 10,000 messages, spread over the lines of four partitions.
"""
CATCH_UP_S = 0.0005
"""Interval in which the open loop checks for due messages."""


Faults = Literal["lifelike", "often", "rare"]
"""Kind of load: simulated operation, or one of ``CYCLES``."""


class LoadError(FaultlineError):
    """The load could not be sent, so its measurements are not valid."""


class LoadPlan(FrozenModel):
    """The messages to send, and when to send them."""

    bootstrap: str
    topic: str
    partitions: int = 4
    """Number of partitions that get messages."""
    messages: int = Field(ge=1)
    """Messages per partition, in addition to the first and last ones (see ``messages_of``)."""
    windows_per_message: int = 1
    samples: str
    """File of ``SampleWindows``."""
    faults: Faults = "lifelike"
    json_windows: bool = False
    messages_per_s: float | None = None
    """Rate over all partitions; None sends at full speed."""
    due: str | None = None
    """File for the due times: int64 (partitions, messages), Unix ns, by offset; 0 for messages sent beforehand."""
    begin: str | None = None
    """The process sends the first messages, prints ``ready``, and sends the others once this file exists."""


class LoadMessage(NamedTuple):
    """One message of a partition."""

    line: bytes
    value: bytes


def edge_messages(spec: SignalSpec, windows_per_message: int) -> int:
    """Return the number of messages at each end of a partition that suffice to confirm a fault."""
    return -(-spec.episode.of // windows_per_message)


def messages_of(plan: LoadPlan, spec: SignalSpec, samples: SampleWindows, partition: int) -> Iterator[LoadMessage]:
    """Yield all messages of one partition.

    The first and the last ones contain a fault that every contender finds, each on a separate line. A contender's first
    and last outputs therefore mark when it began and when it finished.
    """
    edge = edge_messages(spec, plan.windows_per_message)
    yield from _fault(plan, spec, samples, f"head-{partition}", edge)
    lines = [f"line-{partition:02d}-{number:03d}" for number in range(LINES_PER_PARTITION)]
    for index in range(plan.messages):
        turn, number = divmod(index, LINES_PER_PARTITION)
        first = turn * plan.windows_per_message
        windows = _windows(plan, samples, number + partition * LINES_PER_PARTITION, first)
        yield _message(plan, spec, lines[number], first, windows)
    yield from _fault(plan, spec, samples, f"tail-{partition}", edge)


def _windows(plan: LoadPlan, samples: SampleWindows, line: int, first: int) -> NDArray[np.float32]:
    """Return windows of a line, float32 (windows_per_message, samples, channels); each line has its own time shift."""
    source = samples.lifelike if plan.faults == "lifelike" else samples.quiet
    waveform: NDArray[np.float32] = source[line % len(source)]
    at = (first + 53 * line + np.arange(plan.windows_per_message)) % len(waveform)
    windows: NDArray[np.float32] = waveform[at]
    if plan.faults == "lifelike":
        return windows
    cycle, ahead = CYCLES[plan.faults]
    place = (first + ahead * line + np.arange(plan.windows_per_message)) % cycle
    faulty = place < FAULTY
    windows[faulty] = samples.fault[place[faulty] % len(samples.fault)]
    return windows


def _fault(plan: LoadPlan, spec: SignalSpec, samples: SampleWindows, line: str, messages: int) -> Iterator[LoadMessage]:
    at = np.arange(plan.windows_per_message) % len(samples.fault)
    for index in range(messages):
        yield _message(plan, spec, line, index * plan.windows_per_message, samples.fault[at])


def _message(plan: LoadPlan, spec: SignalSpec, line: str, sequence: int, windows: NDArray[np.float32]) -> LoadMessage:
    start_ns = EPOCH_NS + round(sequence * spec.hop * NS_PER_S / spec.rate_hz)
    if not plan.json_windows:
        value = encode_windows(windows, spec, sequence=sequence, start_ns=start_ns, rate_hz=spec.rate_hz)
        return LoadMessage(line.encode(), value)
    body: dict[str, Any] = {
        "spec": spec.name,
        "sequence": sequence,
        "start_ns": start_ns,
        "rate_hz": spec.rate_hz,
        "count": len(windows),
        "data": windows.tolist(),
    }
    return LoadMessage(line.encode(), msgspec.json.encode(body))


class _Sender:
    """Producer of the load; a record that cannot be delivered ends the run."""

    def __init__(self, plan: LoadPlan) -> None:
        self._plan = plan
        self._headers = [(HEADER_CONTENT_TYPE, JSON.encode())] if plan.json_windows else MSGPACK_HEADERS
        settings: dict[str, Any] = {"bootstrap.servers": plan.bootstrap, "log_level": 0, "acks": "all"}
        if plan.messages_per_s is None:
            settings |= {"linger.ms": 20, "batch.size": 900_000, "queue.buffering.max.messages": 200_000}
        else:
            settings |= {"linger.ms": 0}
        # Idempotent, so that the offset of a record equals its position in the plan.
        self._producer = Producer({**settings, "enable.idempotence": True})
        self._failed: str | None = None

    def send(self, partition: int, message: LoadMessage) -> None:
        while True:
            try:
                self._producer.produce(
                    self._plan.topic,
                    message.value,
                    message.line,
                    partition=partition,
                    headers=self._headers,
                    on_delivery=self._delivered,
                )
                return
            except BufferError:
                self._producer.poll(0.05)

    def poll(self) -> None:
        self._producer.poll(0)

    def _delivered(self, error: Any, _: Any) -> None:
        if error is not None:
            self._failed = str(error)

    def flush(self) -> None:
        left = self._producer.flush(120)
        if left or self._failed:
            raise LoadError(f"the load was not sent: {self._failed or f'{left} messages were not delivered in 120 s'}")


def fill(plan: LoadPlan) -> None:
    """Send everything at full speed."""
    spec, samples, sender = load_spec("line"), SampleWindows.load(Path(plan.samples)), _Sender(plan)
    streams = [messages_of(plan, spec, samples, partition) for partition in range(plan.partitions)]
    for number, row in enumerate(zip(*streams, strict=True)):
        for partition, message in enumerate(row):
            sender.send(partition, message)
        if number % 256 == 0:
            sender.poll()
    sender.flush()


def open_loop(plan: LoadPlan) -> None:
    """Send every message when it is due, regardless of earlier ones, and write the due times.

    The first messages are sent beforehand: a contender that has committed them has started.
    """
    assert plan.messages_per_s is not None
    spec, samples, sender = load_spec("line"), SampleWindows.load(Path(plan.samples)), _Sender(plan)
    streams = [messages_of(plan, spec, samples, partition) for partition in range(plan.partitions)]
    first = edge_messages(spec, plan.windows_per_message)
    total = plan.messages + first
    row_ns = plan.partitions * NS_PER_S / plan.messages_per_s
    rows = zip(*streams, strict=True)
    for row in itertools.islice(rows, first):
        for partition, message in enumerate(row):
            sender.send(partition, message)
    sender.flush()
    _wait_to_begin(plan)
    began_ns = time.time_ns()
    due_ns = began_ns + (
        np.arange(total)[None, :] * row_ns + np.arange(plan.partitions)[:, None] * row_ns / plan.partitions
    ).astype(np.int64)
    for number, row in enumerate(rows):
        for partition, message in enumerate(row):
            while (wait_ns := int(due_ns[partition, number]) - time.time_ns()) > 0:
                sender.poll()
                time.sleep(min(wait_ns / NS_PER_S, CATCH_UP_S))
            sender.send(partition, message)
        if number % 64 == 0:
            sender.poll()
    sender.flush()
    if plan.due is not None:
        np.save(plan.due, np.pad(due_ns, ((0, 0), (first, 0))))


def _wait_to_begin(plan: LoadPlan) -> None:
    print("ready", flush=True)
    while plan.begin is not None and not Path(plan.begin).exists():
        time.sleep(0.01)


def main() -> None:
    """Send the plan of the file that the first argument names."""
    plan = LoadPlan.model_validate_json(Path(sys.argv[1]).read_bytes())
    if plan.messages_per_s is None:
        fill(plan)
    else:
        open_loop(plan)


if __name__ == "__main__":
    main()
