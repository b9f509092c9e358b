"""Measure latency under an open-loop load: messages are sent when they are due, regardless of earlier ones."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.contenders import Contender
from benchmarks.harness.broker import Appended, BenchError
from benchmarks.harness.environment import Environment, Filled
from benchmarks.harness.load import Faults, edge_messages
from benchmarks.throughput.throughput import until_committed
from stream.contract import NS_PER_MS

WARM_SHARE = 0.2
"""First share of a run that is not counted: the contender has started, but caches and branch predictors are cold."""
PERCENTILES = (50.0, 99.0, 99.9)
OVERTIME_S = 120.0


@dataclass(frozen=True)
class Latency:
    """Latencies of one contender at one rate, as p50, p99 and p99.9 in milliseconds.

    Attributes:
        contender: name of the contender.
        windows_per_message: windows in every message.
        load: name of the rate, e.g. "50 %" of the contender's own maximum.
        messages_per_s: rate over all partitions.
        outputs: number of outputs that were counted.
        appended_ms: from appending the window to appending the output, both by the broker's clock.
        due_ms: from the window's due time to appending the output; this includes delays of the sender.
        late_ms: delay of the sender (due to appended), p99.
        drained_s: seconds from the last due message until everything was committed.
    """

    contender: str
    windows_per_message: int
    load: str
    messages_per_s: float
    outputs: int
    appended_ms: tuple[float, ...]
    due_ms: tuple[float, ...]
    late_ms: float
    drained_s: float

    def as_dict(self) -> dict[str, Any]:
        """Return the values for JSON."""
        return asdict(self)


def measure_latency(
    environment: Environment,
    contender: Contender,
    *,
    messages_per_s: float,
    seconds: float,
    load: str,
    windows_per_message: int = 1,
    topic_partitions: int | None = None,
    loaded_partitions: int | None = None,
    faults: Faults = "often",
) -> Latency:
    """Run a contender under a constant load.

    Args:
        environment: environment of the run.
        contender: contender to measure.
        messages_per_s: rate over all partitions.
        seconds: duration of the load.
        load: name of the rate.
        windows_per_message: windows in every message.
        topic_partitions: partitions of the input topic; the environment's if None.
        loaded_partitions: number of partitions that get messages, the others stay idle; all if None.
        faults: kind of load, "often" for a storm or "rare" for a quiet grid.
    """
    partitions = topic_partitions or environment.partitions
    loaded = loaded_partitions or partitions
    topic = environment.name("windows")
    environment.broker.create(topic, partitions)
    begin, due_file = environment.folder / f"{topic}.begin", environment.folder / f"{topic}.npy"
    plan = environment.plan(
        topic,
        max(1, round(messages_per_s * seconds / loaded)),
        windows_per_message,
        partitions=loaded,
        faults=faults,
        json_windows=contender.json,
        messages_per_s=messages_per_s,
        begin=str(begin),
        due=str(due_file),
    )
    settings, topics = environment.settings(contender, topic, windows_per_message, partitions=partitions)
    filled = Filled(topic, environment.records_of(plan), environment.records_of(plan) * windows_per_message)
    with environment.contender(contender, settings) as child, environment.load(plan) as sender:
        child.wait_ready()
        sender.wait_ready()
        first = edge_messages(environment.spec, windows_per_message) * loaded
        until_committed(
            environment, child, settings.group, Filled(topic, first, first * windows_per_message), partitions
        )
        begin.touch()
        environment.say(f"{child.name}: {messages_per_s:,.0f} messages/s for {seconds:.0f} s")
        sender.wait_ended(seconds + OVERTIME_S)
        ended_s = time.monotonic()
        until_committed(environment, child, settings.group, filled, partitions)
        drained_s = time.monotonic() - ended_s
    due_ns = np.load(due_file)
    came = environment.broker.append_times(topic, partitions)
    out = environment.broker.appended(topics)
    environment.broker.delete([topic, *topics])
    return latency_of(contender, load, messages_per_s, windows_per_message, due_ns, came, out, drained_s)


def latency_of(
    contender: Contender,
    load: str,
    messages_per_s: float,
    windows_per_message: int,
    due_ns: NDArray[np.int64],
    came_ms: list[NDArray[np.int64]],
    out: Appended,
    drained_s: float,
) -> Latency:
    """Compute latencies by joining outputs with the messages that they answer.

    Args:
        contender: the contender.
        load: name of the rate.
        messages_per_s: rate over all partitions.
        windows_per_message: windows in every message.
        due_ns: due times, int64 (partitions, messages); 0 for messages sent before the load began.
        came_ms: append times of the messages, by partition.
        out: outputs with their append times.
        drained_s: seconds from the last due message until everything was committed.

    Raises:
        BenchError: nothing was published after the warm-up.
    """
    regular = due_ns > 0
    began_ns = due_ns[regular].min()
    warm_ns = began_ns + WARM_SHARE * (due_ns.max() - began_ns)
    due = due_ns[out.partition, out.offset]
    came = np.stack(came_ms[: len(due_ns)])[out.partition, out.offset]
    counted = due >= warm_ns
    if not counted.any():
        raise BenchError(f"{contender.title} published nothing at load {load}: use a longer --duration")
    late_ms = (np.stack(came_ms[: len(due_ns)]) - due_ns / NS_PER_MS)[regular]
    return Latency(
        contender=contender.name,
        windows_per_message=windows_per_message,
        load=load,
        messages_per_s=messages_per_s,
        outputs=int(counted.sum()),
        appended_ms=_percentiles((out.appended_ms - came)[counted]),
        # Whole milliseconds like record timestamps, so that due_ms is never below appended_ms.
        due_ms=_percentiles((out.appended_ms - due // NS_PER_MS)[counted]),
        late_ms=round(float(np.percentile(late_ms, 99)), 2),
        drained_s=drained_s,
    )


def _percentiles(values: NDArray[Any]) -> tuple[float, ...]:
    return tuple(round(float(value), 2) for value in np.percentile(values, PERCENTILES))
