"""The load: the same bytes for all, sent by a process of its own, as fast as it can or when each message is due.

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

EPOCH_NS = 1_767_225_600 * NS_PER_S  # 2026-01-01: what windows say of their time is the same in every run
LINES_PER_PARTITION = 64
OFTEN, OFTEN_FAULTY = 50, 5
"""Of so many windows of a line so many are faulty, where every moment needs its events."""
CATCH_UP_S = 0.0005
"""An open loop looks this often for what is due."""


class LoadError(FaultlineError):
    """The load could not be sent, so nothing measured by it means anything."""


class LoadPlan(FrozenModel):
    """What is sent."""

    bootstrap: str
    topic: str
    partitions: int = 4
    """Partitions of the topic that get messages."""
    messages: int = Field(ge=1)
    """Per partition, beside its first and last ones (see ``messages_of``)."""
    windows_per_message: int = 1
    samples: str
    """File of ``SampleWindows``."""
    faults: Literal["lifelike", "often"] = "lifelike"
    json_windows: bool = False
    messages_per_s: float | None = None
    """Of all partitions together; None sends as fast as it can."""
    due: str | None = None
    """File for the due times: int64 (partitions, messages), Unix ns, by offset; 0 for what was sent before."""
    begin: str | None = None
    """The first messages are sent at once, then the process prints ``ready``; the others when this file appears."""


class LoadMessage(NamedTuple):
    """One message of a partition."""

    line: bytes
    value: bytes


def edge_messages(spec: SignalSpec, windows_per_message: int) -> int:
    """Messages at each end of a partition that confirm a fault for certain."""
    return -(-spec.episode.of // windows_per_message)


def messages_of(plan: LoadPlan, spec: SignalSpec, samples: SampleWindows, partition: int) -> Iterator[LoadMessage]:
    """All messages of one partition.

    The first and the last ones tell of a fault that nobody misses, each on a line of its own, so that the first and
    the last of what a contender publishes tell when it began and when it was through.
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
    """Windows of a line, float32 (windows_per_message, samples, channels); lines are shifted against one another."""
    source = samples.lifelike if plan.faults == "lifelike" else samples.quiet
    waveform: NDArray[np.float32] = source[line % len(source)]
    at = (first + 53 * line + np.arange(plan.windows_per_message)) % len(waveform)
    windows: NDArray[np.float32] = waveform[at]
    if plan.faults == "lifelike":
        return windows
    place = (first + 7 * line + np.arange(plan.windows_per_message)) % OFTEN
    faulty = place < OFTEN_FAULTY
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
    """Sends to partitions in turn; every record counts, and one that fails ends the run."""

    def __init__(self, plan: LoadPlan) -> None:
        self._plan = plan
        self._headers = [(HEADER_CONTENT_TYPE, JSON.encode())] if plan.json_windows else MSGPACK_HEADERS
        settings: dict[str, Any] = {"bootstrap.servers": plan.bootstrap, "log_level": 0, "acks": "all"}
        if plan.messages_per_s is None:
            settings |= {"linger.ms": 20, "batch.size": 900_000, "queue.buffering.max.messages": 200_000}
        else:
            settings |= {"linger.ms": 0}
        # Idempotent: the offset of a record is its place in the plan.
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
            raise LoadError(f"the load was not sent: {self._failed or f'{left} messages are left'}")


def fill(plan: LoadPlan) -> None:
    """Send everything as fast as it goes."""
    spec, samples, sender = load_spec("line"), SampleWindows.load(Path(plan.samples)), _Sender(plan)
    streams = [messages_of(plan, spec, samples, partition) for partition in range(plan.partitions)]
    for number, row in enumerate(zip(*streams, strict=True)):
        for partition, message in enumerate(row):
            sender.send(partition, message)
        if number % 256 == 0:
            sender.poll()
    sender.flush()


def open_loop(plan: LoadPlan) -> None:
    """Send every message when it is due, whatever has become of those before, and note when each was due.

    The first messages are sent beforehand: a contender that has taken them has started.
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
