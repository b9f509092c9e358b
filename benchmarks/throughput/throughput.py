"""Measure throughput: the speed at which a contender processes a backlog that exists before it starts."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

import psutil

from benchmarks.contenders import Contender
from benchmarks.harness.broker import Appended, BenchError
from benchmarks.harness.environment import Environment, Filled
from benchmarks.harness.load import edge_messages
from benchmarks.harness.processes import Measured

POLL_S = 0.1
STUCK_S = 60.0


@dataclass(frozen=True)
class Drained:
    """Result of one contender's run over a backlog.

    Attributes:
        contender: name of the contender.
        windows_per_message: windows in every message.
        publish: "events" or "answers".
        windows: number of windows in the backlog.
        outputs: number of published records.
        windows_per_s: windows/s from the first to the last output that the broker appended.
        records_per_s: messages/s over the same time.
        by_commits_per_s: windows/s from the start of consuming until everything is committed. It is accurate to the
            interval of commits, and comparable if there are few outputs.
        cpu_s_per_million: CPU seconds of the contender's processes per million windows, without start-up.
        broker_cpu_s_per_million: CPU seconds of the broker in the same time per million windows.
        peak_rss_mb: largest resident memory of the contender's processes together.
        cold_start_s: seconds from the start of the process to the first output.
    """

    contender: str
    windows_per_message: int
    publish: str
    windows: int
    outputs: int
    windows_per_s: float
    records_per_s: float
    by_commits_per_s: float
    cpu_s_per_million: float
    broker_cpu_s_per_million: float
    peak_rss_mb: float
    cold_start_s: float

    def as_dict(self) -> dict[str, Any]:
        """Return the values for JSON."""
        return asdict(self)


def measure_throughput(
    environment: Environment,
    contender: Contender,
    filled: Filled,
    windows_per_message: int,
    publish: str,
    broker_pid: int | None,
) -> Drained:
    """Let a contender process a backlog from beginning to end.

    Raises:
        BenchError: the contender ended, stopped committing, or did not publish an output that is required of all.
    """
    settings, topics = environment.settings(
        contender,
        filled.topic,
        windows_per_message,
        publish=publish,
        batch_deadline_ms=contender.backlog_deadline_ms,
    )
    with environment.contender(contender, settings) as child:
        child.wait_ready()
        began_s, cpu_s, broker_s = time.monotonic(), child.cpu_s(), _cpu_s(broker_pid)
        until_committed(environment, child, settings.group, filled, environment.partitions)
        took_s = time.monotonic() - began_s
        cpu_s, broker_s = child.cpu_s() - cpu_s, _cpu_s(broker_pid) - broker_s
        child.stop()
        appended = environment.broker.appended(topics)
    _check(appended, environment, filled, edge_messages(environment.spec, windows_per_message), child)
    first_ms = int(appended.appended_ms.min())
    seconds = max(int(appended.appended_ms.max()) - first_ms, 1) / 1000
    environment.broker.delete(topics)
    return Drained(
        contender=contender.name,
        windows_per_message=windows_per_message,
        publish=publish,
        windows=filled.windows,
        outputs=len(appended),
        windows_per_s=filled.windows / seconds,
        records_per_s=filled.records / seconds,
        by_commits_per_s=filled.windows / took_s,
        cpu_s_per_million=cpu_s / filled.windows * 1e6,
        broker_cpu_s_per_million=broker_s / filled.windows * 1e6,
        peak_rss_mb=child.peak_rss / 1e6,
        cold_start_s=(first_ms - child.started_ms) / 1000,
    )


def _cpu_s(pid: int | None) -> float:
    if pid is None:
        return 0.0
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def until_committed(environment: Environment, child: Measured, group: str, filled: Filled, partitions: int) -> None:
    """Wait until a group has committed all records of a topic.

    Raises:
        BenchError: the process has ended, or has stopped committing.
    """
    moved_s, before = time.monotonic(), -1
    while True:
        committed = environment.broker.committed(group, filled.topic, partitions)
        if committed >= filled.records:
            return
        child.check()
        if committed != before:
            moved_s, before = time.monotonic(), committed
            environment.say(f"{child.name}: {committed:,} of {filled.records:,} records")
        if time.monotonic() - moved_s > STUCK_S:
            raise BenchError(
                f"{child.name} committed nothing for {STUCK_S:.0f} s after {committed} of {filled.records} records: "
                f"read {child.log}"
            )
        time.sleep(POLL_S)


def _check(appended: Appended, environment: Environment, filled: Filled, edge: int, child: Measured) -> None:
    """Check that the fault in every partition's last messages was published, which every contender must find."""
    last = filled.records // environment.partitions - edge
    for partition in range(environment.partitions):
        if not (appended.offset[appended.partition == partition] >= last).any():
            raise BenchError(
                f"{child.name} published nothing for the last messages of partition {partition}: read {child.log}"
            )
