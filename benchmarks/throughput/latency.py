"""Latency under an open-loop load: messages are sent when they are due, whatever has become of those before."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.contenders import Contender
from benchmarks.harness.broker import Appended, BenchError
from benchmarks.harness.environment import Environment, Filled
from benchmarks.harness.load import edge_messages
from benchmarks.throughput.throughput import until_committed
from stream.contract import NS_PER_MS

WARM_SHARE = 0.2
"""The first part of a run is not counted, though the contender has started: caches and branch predictors are cold."""
PERCENTILES = (50.0, 99.0, 99.9)
OVERTIME_S = 120.0


@dataclass(frozen=True)
class Latency:
    """One contender at one rate. Milliseconds are p50, p99 and p99.9.

    Attributes:
        load: what the rate is, e.g. "50 %" of the contender's own maximum.
        appended_ms: window appended → output appended, both by the broker's clock.
        due_ms: window due → output appended: what a sender that could not keep up would hide.
        late_ms: how late the sender itself was (due → appended), p99.
        drained_s: from the last message's being due until nothing was uncommitted.
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
        """For JSON."""
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
) -> Latency:
    """Run a contender under a steady load.

    Args:
        environment: where.
        contender: who.
        messages_per_s: of all partitions together.
        seconds: how long.
        load: a name for the rate.
        windows_per_message: grouped by the gateway.
        topic_partitions: of the topic of windows; the environment's when None.
        loaded_partitions: those that get messages; all when None, the others stay idle.
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
        faults="often",
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
    """Join outputs with the messages that they are the answers to.

    Args:
        due_ns: int64 (partitions, messages), when each was due; 0 for what was sent before the load began.
        came_ms: by partition, when each was appended.
        out: what was published.

    Raises:
        BenchError: nothing was published once the run was warm.
    """
    regular = due_ns > 0
    began_ns = due_ns[regular].min()
    warm_ns = began_ns + WARM_SHARE * (due_ns.max() - began_ns)
    due = due_ns[out.partition, out.offset]
    came = np.stack(came_ms[: len(due_ns)])[out.partition, out.offset]
    counted = due >= warm_ns
    if not counted.any():
        raise BenchError(f"{contender.title} published nothing under {load} load: let it run for longer")
    late_ms = (np.stack(came_ms[: len(due_ns)]) - due_ns / NS_PER_MS)[regular]
    return Latency(
        contender=contender.name,
        windows_per_message=windows_per_message,
        load=load,
        messages_per_s=messages_per_s,
        outputs=int(counted.sum()),
        appended_ms=_percentiles((out.appended_ms - came)[counted]),
        # Whole milliseconds, as record timestamps are: an output is never sooner after its due time than after it came.
        due_ms=_percentiles((out.appended_ms - due // NS_PER_MS)[counted]),
        late_ms=round(float(np.percentile(late_ms, 99)), 2),
        drained_s=drained_s,
    )


def _percentiles(values: NDArray[Any]) -> tuple[float, ...]:
    return tuple(round(float(value), 2) for value in np.percentile(values, PERCENTILES))
